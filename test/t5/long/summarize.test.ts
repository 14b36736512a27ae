import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Block } from "../../../src/t5/text-to-text/content.ts";
import { chooseWithin, countWords, firstWords, spreadOrder } from "../../../src/t5/text-to-text/long/choose.ts";
import {
  collectText,
  planSummary,
  type Section,
  sectionsOf,
  splitSentences,
  summarizeLong,
  telling,
} from "../../../src/t5/text-to-text/long/index.ts";
import { anyText, count, type Fake, fake, fill, PREFIX, randomOf } from "./fakes.ts";

const BOUNDS = { count, maxInputTokens: 128, maxNewTokens: 128 };

/** Prose in which no sentence is like another. */
function prose(sentences: number, seed = 1, wordsEach = 12): string {
  const random = randomOf(seed);
  return Array.from({ length: sentences }, (_, i) => {
    const words = 2 + Math.floor(random() * wordsEach);
    const rest = Array.from({ length: words }, () => "lorem ipsum dolor sit amet".split(" ")[Math.floor(random() * 5)]);
    return `Sentence ${i} ${rest.join(" ")}${i % 7 === 6 ? ".\n\n" : ". "}`;
  }).join("");
}

const sentencesOf = (text: string) => splitSentences(text).flatMap((piece) => (piece.isSentence ? [piece.text] : []));
const wordsOf = (text: string) => text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));

/** Ways to summarize, from a line of a few words without a full stop to nearly all of the text. */
const WAYS: Record<string, (text: string) => string> = {
  "a few words": (text) => wordsOf(text).slice(0, 5).join(" "),
  "a line": (text) => wordsOf(text).slice(0, 11).join(" "),
  "the first sentence": (text) => sentencesOf(text)[0] ?? "",
  "every third sentence": (text) =>
    sentencesOf(text)
      .filter((_, i) => i % 3 === 0)
      .join(" "),
  "all of it": (text) => text,
  "one endless sentence": (text) => text.replace(/[.!?]/g, ","),
  "words more than it has": (text) => `${text} ${wordsOf(text).reverse().join(" ")}`,
};

describe("a summary in words", () => {
  test.each(Object.entries(WAYS))("is within a tenth of them when the model gives %s", async (_, way) => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 3, max: 400 }),
        fc.integer({ min: 60, max: 400 }),
        fc.integer(),
        async (sentences, words, maxInputTokens, seed) => {
          const model = fake(way, { maxInputTokens, seed });
          const text = prose(sentences, seed);
          const summary = await collectText(summarizeLong(model, text, { fill, words }));
          await check(summary, { words, model, sentences });
        },
      ),
      { numRuns: 40 },
    );
  });

  test("is within a tenth of them whatever the model and the text", async () => {
    const way = fc.constantFrom(
      ...Object.values(WAYS),
      () => "",
      () => "Always the same line",
      (text: string) => text.slice(0, 30),
    );
    await fc.assert(
      fc.asyncProperty(
        way,
        anyText,
        fc.integer({ min: 1, max: 100 }),
        fc.integer(),
        async (answer, text, words, seed) => {
          const model = fake(answer, { maxInputTokens: 80, seed });
          await check(await collectText(summarizeLong(model, text, { fill, words })), { words, model });
        },
      ),
      { numRuns: 100 },
    );
  });

  test("has so many from texts that are long enough: the promise is not kept by notes", async () => {
    for (const [name, way] of Object.entries(WAYS)) {
      for (const words of [20, 50, 100, 200]) {
        // Some 5,000 words.
        const { text, notes } = await collectText(summarizeLong(fake(way), prose(500), { fill, words }));
        expect([
          name,
          notes.filter((note) => /asked for;|were asked for\.$/.test(note) && /together/.test(note)),
        ]).toEqual([name, []]);
        expect(Math.abs(countWords(text) - words)).toBeLessThanOrEqual(words / 10);
      }
    }
  });

  test("is of whole sentences, in the text's order, from all over it", async () => {
    const first = WAYS["the first sentence"] as (text: string) => string;
    const source = prose(300, 3);
    const { text, notes } = await collectText(summarizeLong(fake(first), source, { fill, words: 150 }));
    expect(notes).toEqual([]);
    const places = sentencesOf(text).map((sentence) => source.indexOf(sentence));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    for (const third of [0, 1, 2]) {
      const within = places.filter((place) => Math.floor((3 * place) / source.length) === third);
      expect(within.length).toBeGreaterThan(1);
    }
  });

  test("of a text that has too few is all that it has, and a note", async () => {
    const line = WAYS["a few words"] as (text: string) => string;
    const { text, notes } = await collectText(
      summarizeLong(fake(line), "One is here. Two is there.", { fill, words: 50 }),
    );
    expect(text).toBe("One is here. Two is there.");
    expect(notes).toEqual(["The text's summaries have 6 words together; 50 were asked for."]);
  });

  test("says nothing twice", async () => {
    const { text } = await collectText(
      summarizeLong(
        fake(() => "A text."),
        prose(200),
        { fill, words: 40 },
      ),
    );
    expect(text).toBe("A text.");
  });

  test("is cut at a word when its sentences are too long, and says so", async () => {
    const model = fake(() => "this one sentence, with its clauses, goes on and on and on");
    const { text, notes } = await collectText(summarizeLong(model, "A. B.", { fill, words: 5 }));
    expect(text).toBe("this one sentence, with its…");
    expect(notes).toEqual([expect.stringMatching(/cut/)]);
  });

  test.each([0, -1, 2.5, Number.NaN])("is not of %s words", async (words) => {
    const summary = collectText(summarizeLong(fake(String), "One.", { fill, words }));
    await expect(summary).rejects.toMatchObject({ code: "E_INPUT" });
    expect(() => planSummary("One.", BOUNDS, { fill, words })).toThrowError(
      expect.objectContaining({ code: "E_INPUT" }),
    );
  });
});

/** Within a tenth; or all that the summaries of single sentences have, which is less. */
async function check(
  { text, notes }: { text: string; notes: readonly string[] },
  { words, model, sentences }: { words: number; model: Fake; sentences?: number },
) {
  const own = countWords(text);
  const short = notes.find((note) => /together/.test(note));
  if (!short) {
    if (notes.some((note) => /nothing/i.test(note))) return expect(own).toBe(0);
    expect(own).toBeGreaterThanOrEqual(0.9 * words);
    return expect(own).toBeLessThanOrEqual(1.1 * words);
  }
  expect(short).toContain(`have ${own} words together; ${words} were`);
  expect(own).toBeLessThan(0.9 * words);
  // Windows were a sentence each before it gave up.
  if (sentences) expect(new Set(model.lists.flat()).size).toBeGreaterThanOrEqual(sentences);
}

describe("a summary", () => {
  test("of a text that fits is one prompt of it, as it stands, streamed", async () => {
    const text = "  One.\n\n- Two.  ";
    const model = fake(() => "  Summed up  in\nwords. ");
    const pieces: string[] = [];
    for await (const piece of summarizeLong(model, text, { fill })) pieces.push(piece);
    expect(model.lists).toEqual([[fill(text)]]);
    expect(pieces.join("")).toBe("Summed up  in\nwords.");
    expect(pieces.length).toBeGreaterThan(1);
    expect(planSummary(text, BOUNDS, { fill })).toEqual({
      prompts: [fill(text)],
      size: { prompts: 1, promptTokens: count(fill(text)), longest: count(fill(text)) },
    });
  });

  test.each(Object.entries(WAYS))("of a long one is over summaries until one prompt holds them: %s", async (_, way) => {
    const model = fake(way, { maxInputTokens: 100 });
    const { text } = await collectText(summarizeLong(model, prose(300), { fill }));
    expect(model.lists[0]).toEqual(planSummary(prose(300), { ...BOUNDS, maxInputTokens: 100 }, { fill }).prompts);
    const sizes = model.lists.map(({ length }) => length);
    expect(sizes.at(-1)).toBe(1);
    for (const [i, size] of sizes.entries())
      if (i > 0) expect(size).toBeLessThanOrEqual(Math.ceil((sizes[i - 1] as number) / 2));
    expect(text).not.toBe("");
  });

  test("takes every word of the text, and each once", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 40, max: 200 }), (text, maxInputTokens) => {
        const { prompts, size } = planSummary(text, { ...BOUNDS, maxInputTokens }, { fill });
        expect(size.longest).toBeLessThanOrEqual(maxInputTokens);
        const words = prompts.flatMap((prompt) => wordsOf(prompt.slice(PREFIX.length)));
        // A word that no window holds is in parts.
        if (wordsOf(text).every((word) => count(fill(word)) <= maxInputTokens)) expect(words).toEqual(wordsOf(text));
      }),
    );
  });

  test("of sections is by section, its heading in every prompt", () => {
    const sections: Section[] = [
      { heading: "The beginning", text: prose(20, 1) },
      { heading: null, text: prose(20, 2) },
      { heading: "Nothing", text: " \n-- " },
      { heading: `A heading ${"so long ".repeat(40)}`, text: "that it is one of the text." },
    ];
    const { prompts } = planSummary(sections, BOUNDS, { fill });
    const texts = prompts.map((prompt) => prompt.slice(PREFIX.length));
    const own = texts.filter((text) => text.startsWith("The beginning. Sentence "));
    expect(own.length).toBeGreaterThan(1);
    expect(
      own
        .map((text) => text.slice("The beginning. ".length))
        .join(" ")
        .split(/\s+/),
    ).toEqual(prose(20, 1).trim().split(/\s+/));
    for (const text of texts) expect(text).not.toContain("Nothing");
    expect(texts.at(-1)).toMatch(/that it is one of the text\.$/);
    // Sections that fit together are one prompt.
    const small = [
      { heading: "One", text: "is here." },
      { heading: "Two?", text: "is there." },
    ];
    expect(planSummary(small, BOUNDS, { fill }).prompts).toEqual([fill("One. is here.\n\nTwo? is there.")]);
  });

  test("has short sections beside each other as one, whatever is asked of it", async () => {
    const sections = Array.from({ length: 60 }, (_, i) => ({ heading: `Question ${i}`, text: `Is answer ${i}.` }));
    const { prompts } = planSummary([...sections, { heading: "Long", text: prose(20) }], BOUNDS, { fill });
    const short = prompts.filter((prompt) => !prompt.includes("Long. "));
    expect(short.join(" ").match(/Question \d+\. Is answer \d+\./g)).toHaveLength(60);
    expect(short.length).toBeLessThanOrEqual(30);
    const { text } = await collectText(
      summarizeLong(
        fake((each) => each),
        sections,
        { fill, words: 100 },
      ),
    );
    expect(Math.abs(countWords(text) - 100)).toBeLessThanOrEqual(10);
  });

  test("of a document is by its headings", () => {
    const table = { title: null, section: null, columns: ["a"], rows: [["1"]] };
    const blocks: Block[] = [
      { kind: "paragraph", text: "Before." },
      { kind: "heading", level: 1, text: "Chapter 1" },
      { kind: "heading", level: 2, text: "Beginnings" },
      { kind: "paragraph", text: "Once." },
      { kind: "item", depth: 0, text: "one" },
      { kind: "item", depth: 1, text: "two", marker: "a)" },
      { kind: "table", table },
      { kind: "heading", level: 2, text: "Ends" },
    ];
    expect(sectionsOf({ title: "A book", blocks }, ({ columns }) => `<${columns}>`)).toEqual([
      { heading: "A book", text: "Before." },
      { heading: "Chapter 1: Beginnings", text: "Once.\n\n- one\n  a) two\n\n<a>" },
    ]);
    expect(sectionsOf({ title: null, blocks: [] }, () => "")).toEqual([]);
  });

  test("of nothing is nothing, and says so", async () => {
    for (const words of [undefined, 10]) {
      const model = fake(String);
      const summary = await collectText(summarizeLong(model, " \n--- ", { fill, words }));
      expect(summary).toEqual({ text: "", notes: [expect.stringMatching(/nothing to summarize/)] });
      expect(model.lists).toEqual([]);
    }
    const { text, notes } = await collectText(
      summarizeLong(
        fake(() => ""),
        prose(100),
        { fill },
      ),
    );
    expect([text, notes]).toEqual(["", [expect.stringMatching(/empty/)]]);
  });

  test("that the model does not end says so", async () => {
    const { notes } = await collectText(
      summarizeLong(
        fake((text) => text.repeat(80)),
        "One. Two.",
        { fill },
      ),
    );
    expect(notes).toEqual([expect.stringMatching(/limit of new tokens/)]);
  });
});

describe("a choice of sentences", () => {
  test("hits the band whenever some choice does, as near to what is wanted as any", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 10 }),
        fc.integer({ min: 1, max: 60 }),
        (words, wanted) => {
          const band = { wanted, least: Math.ceil(0.9 * wanted), most: Math.floor(1.1 * wanted) };
          const { chosen, cut } = chooseWithin(words, [...words.keys()].reverse(), band);
          expect([...new Set(chosen)].sort((a, b) => a - b)).toEqual(chosen);
          const sums = Array.from({ length: 2 ** words.length }, (_, set) =>
            words.reduce((sum, own, i) => sum + (set & (1 << i) ? own : 0), 0),
          );
          const within = sums.filter((sum) => sum >= band.least && sum <= band.most);
          const off = Math.min(...within.map((sum) => Math.abs(sum - wanted)));
          const own = chosen.reduce((sum, i) => sum + (cut?.index === i ? cut.words : (words[i] as number)), 0);
          if (within.length > 0) expect([cut, Math.abs(own - wanted)]).toEqual([null, off]);
          else if (words.reduce((sum, each) => sum + each, 0) >= band.least)
            expect([own, cut === null]).toEqual([wanted, false]);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("counts as words what stands between blanks, and cuts after so many", () => {
    expect(countWords("It's 3.5 — well-known, isn't it? … -")).toBe(5);
    expect(firstWords("One, two — three, four.", 3)).toBe("One, two — three…");
    fc.assert(
      fc.property(fc.lorem({ maxCount: 20 }), fc.integer({ min: 1, max: 30 }), (text, words) => {
        expect(countWords(firstWords(text, words))).toBe(Math.min(words, countWords(text)));
      }),
    );
  });

  test("is spread: every beginning of the order is", () => {
    expect(spreadOrder(8)).toEqual([0, 4, 2, 6, 1, 5, 3, 7]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), (size) => {
        expect(spreadOrder(size).sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i));
      }),
    );
  });
});

describe("what a number of words may cost", () => {
  test("all rounds together read at most eight times what the first does, and a note says when that was it", async () => {
    const read: number[] = [];
    // A template far longer than a sentence: to read each by itself is to read the template as often.
    const long = (text: string) => fill(`${"word ".repeat(60)}${text}`);
    const model = fake(() => "So little.", { maxInputTokens: 512 });
    const counted = {
      ...model,
      generate(prompts: readonly string[], options: Parameters<typeof model.generate>[1]) {
        read.push(prompts.reduce((sum, prompt) => sum + count(prompt), 0));
        return model.generate(prompts, options);
      },
    };
    const text = Array.from({ length: 400 }, (_, i) => `It is ${i}.`).join(" ");
    const { notes } = await collectText(summarizeLong(counted, text, { fill: long, words: 300 }));
    const all = read.reduce((sum, each) => sum + each, 0);
    expect(all).toBeLessThanOrEqual(8 * read[0]!);
    expect(notes).toContain(
      "All rounds together read a text at most 8 times over: no further one was made for the number of words.",
    );
  });

  test("progress is told after each prompt, never more than there are", async () => {
    const told: string[] = [];
    const model = telling(
      fake((text) => sentencesOf(text)[0] ?? ""),
      ({ done, of }) => void told.push(`${done} of ${of}`),
    );
    await collectText(summarizeLong(model, prose(100), { fill }));
    const [done, of] = told.at(-1)!.split(" of ").map(Number);
    expect(told.length).toBe(done);
    expect(done).toBe(of);
    expect(told.map((each) => Number(each.split(" ")[0]))).toEqual(told.map((_, i) => i + 1));
    expect(told.length).toBeGreaterThan(2);
  });
});
