/** Trains a Unigram vocabulary on texts, and makes a T5's `tokenizer.json` of it. */
import { setImmediate } from "node:timers/promises";
import { EdgeT5Error } from "../../errors.ts";
import { t5TokenizerJson } from "../../t5/tokenizer-json.ts";
import { NORMALIZER } from "./normalizer.ts";
import { type Pieces, seedPieces } from "./seed-pieces.ts";
import { SegmentCounter, type Segments } from "./segments.ts";
import { Trie } from "./trie.ts";
import { countBest, expectPieces, maximize, prune } from "./unigram-em.ts";

/** Padding, end of sequence and unknown are 0, 1 and 2, as in every T5; sentinels are the last ids. */
const SPECIALS = ["<pad>", "</s>", "<unk>"];

/**
 * Nearly all: SentencePiece's 0.9995 leaves out Ö, ë and œ of a corpus that is mostly English. For scripts of thousands of
 * characters, 0.9995 is the better choice.
 */
export const DEFAULT_COVERAGE = 0.99999;

/** Of SentencePiece: iterations between two prunings, and how much of the pieces each leaves. */
const ITERATIONS = 2;
const SHRINKING = 0.75;
/** Training prunes down to a little more than is asked for; the least probable ones go last. */
const SURPLUS = 1.1;
/**
 * Substrings to begin with, for vocabularies up to a quarter of it. Of 47 MB of text, at 8,064 tokens, a million
 * (SentencePiece's) gave 0.5 % more tokens of valid texts in 25.6 s instead of 22.7, 100,000 the same in 18.0 s.
 */
const MOST_SEEDS = 300_000;

export interface TrainTokenizerOptions {
  /** Tokens of the vocabulary, specials and sentinels included: rows of the model's embedding. */
  size: number;
  /** Share of the corpus' characters that get a piece; the rarest others are unknown. Default: 0.99999. */
  coverage?: number | undefined;
  /** Texts that become one token each, before anything is segmented (SentencePiece's user-defined symbols). Default: none. */
  whole?: readonly string[] | undefined;
  /** Sentinels for span corruption. Default: 100. */
  sentinels?: number | undefined;
  /** @param dropped pieces, of `toDrop` that the training begins with and does not keep */
  onProgress?: ((dropped: number, toDrop: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface TrainedTokenizer {
  /** The object of a `tokenizer.json`. */
  json: object;
  /** Tokens of the vocabulary. */
  size: number;
  sentinels: number;
  /** Characters that have a piece. */
  characters: number;
  /** Distinct characters that have no piece, and their share of the corpus' characters. */
  uncovered: { distinct: number; share: number };
  /** Distinct segments that it was trained on. */
  segments: number;
  /** Of the corpus, spaces included. */
  charactersPerToken: number;
}

/**
 * @throws EdgeT5Error `E_INPUT` for a corpus without a text, or too small for `size`; `E_USAGE` for a `size` that its
 * characters do not fit; the signal's reason
 */
export async function trainTokenizer(
  texts: AsyncIterable<string>,
  { size, coverage = DEFAULT_COVERAGE, sentinels = 100, whole = [], onProgress, signal }: TrainTokenizerOptions,
): Promise<TrainedTokenizer> {
  checkWhole(whole);
  const counter = new SegmentCounter();
  for await (const text of texts) {
    signal?.throwIfAborted();
    counter.add(text);
  }
  const segments = counter.finish(coverage);
  const wanted = size - SPECIALS.length - whole.length - sentinels;
  const alphabetSize = segments.alphabet.length - 1;
  checkSize(size, wanted, alphabetSize);
  const pieces = await train(segments, wanted, alphabetSize, onProgress, signal);
  if (pieces.scores.length < wanted) {
    throw new EdgeT5Error(
      "E_INPUT",
      `The corpus gives ${pieces.scores.length + size - wanted} tokens, ${size} are asked for. Give more text, or a smaller --size.`,
    );
  }
  const kept = mostProbable(pieces, alphabetSize, wanted);
  const tokens = countBest(segments, kept, new Trie(kept)).reduce((a, b) => a + b, 0);
  const total = segments.characterCounts.reduce((a, b) => a + b, 0) + segments.uncovered.count;
  return {
    json: t5TokenizerJson({
      pieces: [...[...SPECIALS, ...whole].map((piece) => ({ piece, score: 0 })), ...named(kept, segments)],
      whole: new Set(whole),
      endId: 1,
      unknownId: 2,
      sentinels,
      normalizer: NORMALIZER,
      byteFallback: false,
    }),
    size,
    sentinels,
    characters: alphabetSize,
    uncovered: { distinct: segments.uncovered.distinct, share: segments.uncovered.count / total },
    segments: segments.counts.length,
    charactersPerToken: (total - segments.uncovered.count) / tokens,
  };
}

function checkWhole(whole: readonly string[]): void {
  for (const [i, text] of whole.entries()) {
    const reserved = SPECIALS.includes(text) || /^<extra_id_\d+>$/.test(text);
    if (!reserved && text.trim() === text && text !== "" && whole.indexOf(text) === i) continue;
    throw new EdgeT5Error(
      "E_USAGE",
      `${JSON.stringify(text)} cannot be a token of its own: give texts without spaces at their ends, each once, other than T5's specials.`,
    );
  }
}

function checkSize(size: number, wanted: number, alphabetSize: number): void {
  // The space is counted with every word.
  if (alphabetSize <= 1) {
    throw new EdgeT5Error(
      "E_INPUT",
      "The corpus has no text. Give one that is like what the model will read and write.",
    );
  }
  if (wanted < alphabetSize) {
    throw new EdgeT5Error(
      "E_USAGE",
      `The corpus has ${alphabetSize} characters to cover, and specials, whole texts and sentinels take ${size - wanted}: --size ${size} is too small. Give ${size - wanted + alphabetSize} at least, or a lower --coverage.`,
    );
  }
}

async function train(
  segments: Segments,
  wanted: number,
  alphabetSize: number,
  onProgress: TrainTokenizerOptions["onProgress"],
  signal: AbortSignal | undefined,
): Promise<Pieces> {
  let pieces = seedPieces(segments, Math.max(MOST_SEEDS, 4 * wanted));
  const seeds = pieces.scores.length;
  const aim = Math.floor(wanted * SURPLUS);
  const report = () => {
    if (seeds > aim) onProgress?.(seeds - Math.max(aim, pieces.scores.length), seeds - aim);
  };
  for (;;) {
    for (let iteration = 0; iteration < ITERATIONS; iteration++) {
      report();
      await setImmediate();
      signal?.throwIfAborted();
      const trie = new Trie(pieces);
      pieces = maximize(pieces, expectPieces(segments, pieces, trie).expected, alphabetSize);
    }
    if (pieces.scores.length <= aim) {
      report();
      return pieces;
    }
    const size = Math.max(aim, Math.floor(pieces.scores.length * SHRINKING));
    pieces = prune(segments, pieces, new Trie(pieces), alphabetSize, size);
  }
}

/** Every character, and of the other pieces the most probable ones. */
function mostProbable({ characters, scores }: Pieces, alphabetSize: number, size: number): Pieces {
  const others = Array.from({ length: scores.length - alphabetSize }, (_, i) => alphabetSize + i)
    .sort((a, b) => (scores[b] as number) - (scores[a] as number))
    .slice(0, size - alphabetSize);
  const kept = [...Array.from({ length: alphabetSize }, (_, i) => i), ...others];
  return {
    characters: kept.map((piece) => characters[piece] as Uint32Array),
    scores: Float64Array.from(kept, (piece) => scores[piece] as number),
  };
}

/** As a vocabulary lists them: by falling probability. */
function named({ characters, scores }: Pieces, { alphabet }: Segments): { piece: string; score: number }[] {
  return characters
    .map((own, i) => ({
      piece: Array.from(own, (character) => alphabet[character] as string).join(""),
      score: scores[i] as number,
    }))
    .sort((a, b) => b.score - a.score);
}
