/**
 * Vocabularies of our own. test/fixtures/corpus.txt.gz is a sample of Tatoeba's sentences and Debian's descriptions
 * (README, attribution), from the train splits; test/fixtures/reference has rows of the valid splits.
 */
import { fileURLToPath } from "node:url";
import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createTokenizer } from "../../src/t5/unigram.ts";
import { textsOf } from "../../src/training/data/texts.ts";
import { type Pieces, seedPieces } from "../../src/training/tokenizer/seed-pieces.ts";
import { SegmentCounter, type Segments } from "../../src/training/tokenizer/segments.ts";
import { trainTokenizer } from "../../src/training/tokenizer/train.ts";
import { Trie } from "../../src/training/tokenizer/trie.ts";
import { digamma, expectPieces, prune } from "../../src/training/tokenizer/unigram-em.ts";
import { readReference, TASKS } from "../quality/reference.ts";
import { take } from "./tokenizer.ts";

const CORPUS = fileURLToPath(new URL("../fixtures/corpus.txt.gz", import.meta.url));
const PREFIX = /^(translate English to (German|French)|summarize|classify package): /;
/** Tokens of {@link VALID} with T5's pieces, trimmed to as many. */
const TRIMMED = 37_661;

const VALID = TASKS.flatMap((task) =>
  readReference(task).flatMap(({ input, reference }) => [input.replace(PREFIX, ""), reference]),
);

async function* each(texts: readonly string[]) {
  yield* texts;
}

const train = async (texts: AsyncIterable<string>, size: number, coverage?: number) => {
  const trained = await trainTokenizer(texts, { size, coverage });
  return { ...trained, tokenizer: createTokenizer(trained.json, {}) };
};

const count = (encode: (text: string) => number[]) => VALID.reduce((sum, text) => sum + encode(text).length - 1, 0);

function segmentsOf(texts: readonly string[], coverage = 1, most?: number): Segments {
  const counter = new SegmentCounter(most);
  for (const text of texts) counter.add(text);
  return counter.finish(coverage);
}

/** Segments by name, with their counts. */
function namesOf({ alphabet, characters, starts, counts }: Segments): Record<string, number> {
  return Object.fromEntries(
    Array.from(counts, (times, i) => {
      const own = characters.subarray(starts[i], (starts[i + 1] as number) - 1);
      return [Array.from(own, (character) => alphabet[character]).join(""), times];
    }),
  );
}

const nameOf = ({ alphabet }: Segments, piece: Uint32Array) =>
  Array.from(piece, (character) => alphabet[character]).join("");

/** The sample is too small to have all that German and French write. */
const RARE = "Ärger über Öl; l'œuvre d'été, ça va? « Noël » – 100 %";

async function* corpusWithRare() {
  yield* textsOf(CORPUS);
  for (let i = 0; i < 5; i++) yield RARE;
}

describe("a trained tokenizer", async () => {
  const { json, size, uncovered, tokenizer } = await train(corpusWithRare(), 8064);

  test("needs fewer tokens for valid data than SentencePiece's, and than T5's pieces, of the same size", () => {
    const tokens = count((text) => tokenizer.encode(text).ids);
    // T5's, trimmed to the pieces that the data use (../shared/seed-checkpoint/tokenizer.json).
    expect(tokens).toBeLessThan(TRIMMED);
    // SentencePiece 0.2.3 on the same sample: unigram, vocab_size=7964, character_coverage=0.99999.
    expect(tokens).toBeLessThan(37_342);
  });

  test("is encoded alike by @huggingface/tokenizers", () => {
    const library = new LibraryTokenizer(json, {});
    for (const text of VALID) expect(tokenizer.encode(text)).toEqual(library.encode(text));
    const texts = fc.array(
      fc.oneof(fc.string({ unit: "grapheme" }), fc.constantFrom(...VALID.slice(0, 50), "<extra_id_3>")),
    );
    fc.assert(
      fc.property(texts, (parts) => {
        expect(tokenizer.encode(parts.join(" "))).toEqual(library.encode(parts.join(" ")));
      }),
    );
  });

  test("has T5's layout: pad, end and unknown first, sentinels last, the end after each text", () => {
    const last = size - 1;
    const names = [0, 1, 2, last - 99, last].map((id) => tokenizer.id_to_token(id));
    expect(names).toEqual(["<pad>", "</s>", "<unk>", "<extra_id_99>", "<extra_id_0>"]);
    expect(tokenizer.get_vocab().size).toBe(8064);
    expect(tokenizer.encode("a <extra_id_0> b").ids).toEqual([
      ...tokenizer.encode("a").ids.slice(0, -1),
      last,
      ...tokenizer.encode("b").ids,
    ]);
    const scores = (json as { model: { vocab: [string, number][] } }).model.vocab
      .slice(3, -100)
      .map(([, score]) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(Math.max(...scores)).toBeLessThan(0);
  });

  test("gives texts back, Ä and œ among them", () => {
    const decoding = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
    expect(tokenizer.decode(tokenizer.encode(RARE).ids, decoding)).toBe(RARE);
    for (const line of VALID) {
      const ids = tokenizer.encode(line).ids;
      if (ids.includes(2)) continue;
      const spaced = line.normalize("NFKC").trim().split(/\s+/).join(" ");
      expect(tokenizer.decode(ids, decoding)).toBe(spaced);
    }
    expect(uncovered.share).toBeLessThan(1e-5);
  });
});

describe("texts that are to be one token", async () => {
  const whole = ["translate English to German:", "summarize:"];
  const { json, size } = await trainTokenizer(textsOf(CORPUS), { size: 1000, whole });
  const [ours, library] = [createTokenizer(json, {}), new LibraryTokenizer(json, {})];
  const namesOf = (text: string) => ours.encode(text).ids.map((id) => ours.id_to_token(id));

  test("are, wherever they stand; what is around them is as without them", () => {
    const rest = ours.encode("das Haus").ids;
    const ids = whole.map((text) => ours.token_to_id(text));
    expect(ids).toEqual([3, 4]);
    expect(ours.encode(`${whole[0]} das Haus`).ids).toEqual([3, ...rest]);
    expect(ours.encode(`summarize:das Haus`).ids).toEqual([4, ...rest]);
    expect(namesOf("das summarize: Haus")).toEqual([...namesOf("das").slice(0, -1), "summarize:", ...namesOf("Haus")]);
    expect(namesOf("translate English to Dutch:")).not.toContain(whole[0]);
    expect(ours.get_vocab().size).toBe(size);
  });

  test("are read alike by @huggingface/tokenizers", () => {
    const part = fc.oneof(fc.constantFrom(...whole, "das", " ", "summarize", ":"), fc.string({ unit: "grapheme" }));
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        expect(ours.encode(parts.join(""))).toEqual(library.encode(parts.join("")));
      }),
    );
  });

  test.each([[" summarize:"], [""], ["</s>"], ["<extra_id_3>"]])("cannot be %j", async (text) => {
    const training = trainTokenizer(textsOf(CORPUS), { size: 1000, whole: [text] });
    await expect(training).rejects.toMatchObject({ code: "E_USAGE" });
  });

  test("cannot be given twice", async () => {
    const training = trainTokenizer(textsOf(CORPUS), { size: 1000, whole: ["a:", "a:"] });
    await expect(training).rejects.toMatchObject({ code: "E_USAGE" });
  });
});

test("the same corpus gives the same file, in whatever order its lines come", async () => {
  const texts = await take(textsOf(CORPUS), 1500);
  const one = await train(each(texts), 1000);
  const two = await train(each(texts.toReversed()), 1000);
  expect(JSON.stringify(two.json)).toBe(JSON.stringify(one.json));
});

test("a smaller coverage leaves rare characters out", async () => {
  const texts = await take(textsOf(CORPUS), 1500);
  const [all, most] = [await train(each(texts), 1000, 1), await train(each(texts), 1000, 0.99)];
  expect(all.uncovered).toEqual({ distinct: 0, share: 0 });
  expect(most.characters + most.uncovered.distinct).toBe(all.characters);
  expect(most.uncovered.share).toBeGreaterThan(0.005);
  expect(most.uncovered.share).toBeLessThanOrEqual(0.01);
  expect(most.tokenizer.get_vocab().size).toBe(1000);
});

test.each<[string, string[], number, string, RegExp]>([
  ["a corpus without a text", ["", "  "], 500, "E_INPUT", /has no text/],
  ["a corpus too small", ["ab ab ab"], 500, "E_INPUT", /gives \d+ tokens, 500 are asked for/],
  ["a size below its characters", ["abc def"], 105, "E_USAGE", /Give 110 at least/],
])("%s is refused", async (_, texts, size, code, message) => {
  await expect(train(each(texts), size)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
});

describe("segments", () => {
  test("are runs of letters, digits and others; an apostrophe ends a run of letters", () => {
    const text = "l'été,\u00851990s\u00a0(l'\uFEFFété) don't x▁y  ﬁn ''";
    expect(namesOf(segmentsOf([text]))).toEqual({
      "▁l'": 1,
      été: 2,
      ",": 1,
      "▁1990": 1,
      s: 1,
      "▁(": 1,
      "l'": 1,
      ")": 1,
      "▁don'": 1,
      t: 1,
      "▁x": 1,
      "▁y": 1,
      "▁fin": 1,
      "▁'": 1,
      "'": 1,
    });
  });

  test("are cut where a character is not covered, and where they are endless", () => {
    const segments = segmentsOf([`${"a".repeat(70)} ab${"a".repeat(20)}`], 0.98);
    expect(segments.uncovered).toEqual({ distinct: 1, count: 1 });
    expect(namesOf(segments)).toEqual({
      [`▁${"a".repeat(31)}`]: 1,
      [`${"a".repeat(32)}`]: 1,
      aaaaaaa: 1,
      "▁a": 1,
      [`${"a".repeat(20)}`]: 1,
    });
  });

  test("beyond what may be counted at once, the rarest are forgotten", () => {
    const words = Array.from({ length: 500 }, (_, i) => `w${String.fromCodePoint(0x4e00 + i)}`);
    const frequent = Array.from({ length: 40 }, () => "again and again").join(" ");
    const names = namesOf(segmentsOf([frequent, ...words, frequent], 1, 100));
    expect(Object.keys(names).length).toBeLessThanOrEqual(100);
    expect(names["▁again"]).toBeGreaterThan(100);
    expect(names["▁and"]).toBeGreaterThan(60);
  });
});

const words = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c", "é", "🙂"), minLength: 1, maxLength: 9 }), {
  minLength: 1,
  maxLength: 12,
});

test("seeds are the substrings that come twice and are not always part of the same longer one", () => {
  fc.assert(
    fc.property(words, (texts) => {
      const segments = segmentsOf([texts.join(" "), texts[0] as string]);
      const names = namesOf(segments);
      // By hand: how often each substring comes, and what follows it.
      const counts = new Map<string, number>();
      const followers = new Map<string, Set<string>>();
      for (const [name, times] of Object.entries(names)) {
        const characters = [...name];
        for (let begin = 0; begin < characters.length; begin++) {
          for (let end = begin + 2; end <= characters.length; end++) {
            const part = characters.slice(begin, end).join("");
            counts.set(part, (counts.get(part) ?? 0) + times);
            const after = followers.get(part) ?? new Set();
            followers.set(part, after.add(characters[end] ?? `end of ${name}`));
          }
        }
      }
      const expected = [...counts].filter(([part, times]) => {
        const after = [...(followers.get(part) as Set<string>)];
        return times >= 2 && (after.length > 1 || after[0]?.startsWith("end of "));
      });
      const pieces = seedPieces(segments, 1e6);
      const found = pieces.characters.slice(segments.alphabet.length - 1);
      expect(found.map((piece) => nameOf(segments, piece)).sort()).toEqual(expected.map(([part]) => part).sort());
      const total = pieces.scores.reduce((sum, score) => sum + Math.exp(score), 0);
      expect(total).toBeCloseTo(1, 9);
    }),
  );
});

/** Every way to write a text with pieces. */
function waysOf(text: string[], pieces: ReadonlyMap<string, number>): number[][] {
  if (text.length === 0) return [[]];
  return Array.from({ length: text.length }, (_, i) => i + 1).flatMap((length) => {
    const piece = pieces.get(text.slice(0, length).join(""));
    return piece === undefined ? [] : waysOf(text.slice(length), pieces).map((rest) => [piece, ...rest]);
  });
}

test("the E step's counts are those of all ways to segment, added up by hand", () => {
  fc.assert(
    fc.property(words, (texts) => {
      const segments = segmentsOf([texts.join(" "), texts[0] as string]);
      const pieces = seedPieces(segments, 1e6);
      const byName = new Map(pieces.characters.map((piece, i) => [nameOf(segments, piece), i]));
      const expected = new Float64Array(pieces.scores.length);
      let loss = 0;
      let total = 0;
      for (const [name, times] of Object.entries(namesOf(segments))) {
        const ways = waysOf([...name], byName);
        const weights = ways.map((way) =>
          Math.exp(way.reduce((sum, piece) => sum + (pieces.scores[piece] as number), 0)),
        );
        const all = weights.reduce((a, b) => a + b, 0);
        for (const [i, way] of ways.entries()) {
          for (const piece of way)
            expected[piece] = (expected[piece] as number) + (times * (weights[i] as number)) / all;
        }
        loss -= times * Math.log(all);
        total += times;
      }
      const computed = expectPieces(segments, pieces, new Trie(pieces));
      expect(computed.loss).toBeCloseTo(loss / total, 8);
      for (const [i, value] of expected.entries()) expect(computed.expected[i]).toBeCloseTo(value, 8);
    }),
    { numRuns: 50 },
  );
});

test("pruning drops what is seldom used, or better written otherwise, and never a character", () => {
  const segments = segmentsOf(["abab abab abab abab abcd cd cd cd"]);
  const alphabetSize = segments.alphabet.length - 1;
  const named = (names: Record<string, number>): Pieces => {
    const numbers = new Map(segments.alphabet.map((character, i) => [character, i]));
    const characters = segments.alphabet.slice(1).map((_, i) => Uint32Array.of(i + 1));
    const scores = characters.map(() => -4);
    for (const [name, score] of Object.entries(names)) {
      characters.push(Uint32Array.from(name, (character) => numbers.get(character) as number));
      scores.push(score);
    }
    return { characters, scores: Float64Array.from(scores) };
  };
  // abab is better written ab ab; ▁cd is worth more than bcd, which is used once.
  const pieces = named({ ab: -1, abab: -9, "▁cd": -2, bcd: -3.5, bab: -20 });
  const pruned = prune(segments, pieces, new Trie(pieces), alphabetSize, alphabetSize + 2);
  const kept = pruned.characters.slice(alphabetSize).map((piece) => nameOf(segments, piece));
  expect(pruned.characters).toHaveLength(alphabetSize + 2);
  expect(kept).toEqual(["ab", "▁cd"]);
});

test("digamma is the logarithm's derivative of the gamma function", () => {
  expect(digamma(1)).toBeCloseTo(-0.5772156649, 9);
  expect(digamma(0.5)).toBeCloseTo(-1.963510026, 9);
  expect(digamma(100)).toBeCloseTo(4.6001618527, 9);
});
