/** A corpus as counted segments: what a piece of a Unigram vocabulary may be a part of. */

import { normalize, SPACE } from "./normalizer.ts";

/**
 * Runs of letters with the apostrophe that ends them, of digits, of anything else: no piece crosses from one to the other,
 * much as with SentencePiece's `split_by_unicode_script`. The apostrophe makes `l'` and `qu'` pieces: with 8,064 tokens
 * for English, German and French, 4.7 % fewer tokens of a French sentence than when it stands alone.
 */
const RUNS = /[\p{L}\p{M}]+['’]?|['’]|\p{N}+|[^\p{L}\p{M}\p{N}'’]+/gu;

/** Longer runs (of a script without spaces, of base64) are cut: the sums of {@link expectPieces} stay within a float64. */
const LONGEST_RUN = 32;

/** Distinct segments counted at once; beyond it the rarest are forgotten. About 100 bytes each. */
const MOST_SEGMENTS = 1_000_000;

/** Segments of a corpus, each once; characters are numbered by falling count. */
export interface Segments {
  /** Characters by number; 0 is none. */
  readonly alphabet: readonly string[];
  /** How often each comes, by number. */
  readonly characterCounts: Float64Array;
  /** Characters of all segments, one segment after the other, 0 after each. */
  readonly characters: Uint32Array;
  /** Where each segment begins in `characters`; one more than there are segments. */
  readonly starts: Uint32Array;
  /** How often each segment comes. */
  readonly counts: Float64Array;
  /** Characters of the corpus that are not covered, and how often they come. */
  readonly uncovered: { readonly distinct: number; readonly count: number };
}

/** Counts segments while texts pass by, in a fixed amount of memory. */
export class SegmentCounter {
  readonly #counts = new Map<string, number>();
  readonly #characters = new Map<string, number>();
  readonly #most: number;
  /** What a segment's count must pass not to be forgotten (Manku and Motwani 2002, lossy counting). */
  #least = 0;

  constructor(mostSegments = MOST_SEGMENTS) {
    this.#most = mostSegments;
  }

  add(text: string): void {
    for (const word of normalize(text).split(/\s+/)) {
      if (word === "") continue;
      let isFirst = true;
      for (const [run] of word.matchAll(RUNS)) {
        const marked = isFirst ? SPACE + run : run;
        isFirst = false;
        if (marked.length <= LONGEST_RUN) this.#count(marked);
        else for (const part of cut(marked)) this.#count(part);
      }
    }
  }

  #count(segment: string): void {
    this.#counts.set(segment, (this.#counts.get(segment) ?? 0) + 1);
    if (this.#counts.size <= this.#most) return;
    this.#least++;
    for (const [rare, count] of this.#counts) if (count <= this.#least) this.#forget(rare, count);
  }

  /** A segment is forgotten, its characters are not. */
  #forget(segment: string, count: number): void {
    this.#counts.delete(segment);
    countCharacters(this.#characters, segment, count);
  }

  /**
   * @param coverage share of the corpus' characters to cover, the most frequent ones; the others are cut out
   */
  finish(coverage: number): Segments {
    for (const [segment, count] of this.#counts) countCharacters(this.#characters, segment, count);
    const byCount = [...this.#characters].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    const total = byCount.reduce((sum, [, count]) => sum + count, 0);
    const numbers = new Map<string, number>();
    let covered = 0;
    for (const [character, count] of byCount) {
      // The last one may be what the share is reached with; the space is always needed.
      if (covered >= coverage * total && character !== SPACE) continue;
      covered += count;
      numbers.set(character, numbers.size + 1);
    }
    const parts = new Map<string, number>();
    for (const [segment, count] of this.#counts) {
      for (const part of coveredParts(segment, numbers)) parts.set(part, (parts.get(part) ?? 0) + count);
    }
    this.#counts.clear();
    return pack(parts, numbers, this.#characters, {
      distinct: byCount.length - numbers.size,
      count: total - covered,
    });
  }
}

function* cut(run: string): Generator<string> {
  const characters = [...run];
  for (let at = 0; at < characters.length; at += LONGEST_RUN) yield characters.slice(at, at + LONGEST_RUN).join("");
}

function countCharacters(characters: Map<string, number>, segment: string, count: number): void {
  for (const character of segment) characters.set(character, (characters.get(character) ?? 0) + count);
}

/** What lies between characters that are not covered. */
function coveredParts(segment: string, numbers: ReadonlyMap<string, number>): string[] {
  let part = "";
  const parts: string[] = [];
  for (const character of segment) {
    if (numbers.has(character)) part += character;
    else {
      parts.push(part);
      part = "";
    }
  }
  return [...parts, part].filter((each) => each !== "");
}

function pack(
  parts: ReadonlyMap<string, number>,
  numbers: ReadonlyMap<string, number>,
  characterCounts: ReadonlyMap<string, number>,
  uncovered: Segments["uncovered"],
): Segments {
  // In an order of their own: the same corpus gives the same vocabulary, however its lines are ordered.
  const sorted = [...parts.keys()].sort();
  const starts = new Uint32Array(sorted.length + 1);
  const counts = new Float64Array(sorted.length);
  const lengths = sorted.map((segment) => [...segment].length);
  const characters = new Uint32Array(lengths.reduce((sum, length) => sum + length + 1, 0));
  let at = 0;
  for (const [i, segment] of sorted.entries()) {
    starts[i] = at;
    counts[i] = parts.get(segment) as number;
    for (const character of segment) characters[at++] = numbers.get(character) as number;
    characters[at++] = 0;
  }
  starts[sorted.length] = at;
  const alphabet = ["", ...numbers.keys()];
  const byNumber = Float64Array.from(alphabet, (character) => characterCounts.get(character) ?? 0);
  return { alphabet, characterCounts: byNumber, characters, starts, counts, uncovered };
}
