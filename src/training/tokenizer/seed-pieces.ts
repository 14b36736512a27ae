/** The vocabulary that training begins with: every character, and the substrings that cover most of the corpus. */
import type { Segments } from "./segments.ts";

/** Pieces longer than this are never made, as in SentencePiece (`max_sentencepiece_length`). */
const LONGEST_PIECE = 16;

/** A vocabulary in training: the characters of the alphabet come first, in their order. */
export interface Pieces {
  /** Characters of each piece, by their number in the alphabet. */
  characters: Uint32Array[];
  /** Log-probability of each. */
  scores: Float64Array;
}

interface Substring {
  /** Where it stands first, in the segments' characters. */
  at: number;
  length: number;
  /** Characters of the corpus that it covers: times it comes × its length. */
  covers: number;
}

/**
 * Substrings of two characters and more that come twice and more, by how much of the corpus they cover (SentencePiece,
 * `MakeSeedSentencePieces`). One that is always followed by the same character is left to the longer one.
 *
 * @param most substrings to begin with
 */
export function seedPieces(segments: Segments, most: number): Pieces {
  const substrings = frequentSubstrings(segments, most);
  const { alphabet, characterCounts } = segments;
  const characters = alphabet.slice(1).map((_, i) => Uint32Array.of(i + 1));
  const weights = [...characterCounts.subarray(1)];
  for (const { at, length, covers } of substrings) {
    characters.push(segments.characters.slice(at, at + length));
    weights.push(covers);
  }
  const total = Math.log(weights.reduce((sum, weight) => sum + weight, 0));
  return { characters, scores: Float64Array.from(weights, (weight) => Math.log(weight) - total) };
}

/** Sorts all suffixes by their first {@link LONGEST_PIECE} characters; a run that shares a beginning is a substring. */
function frequentSubstrings({ characters, starts, counts }: Segments, most: number): Substring[] {
  const suffixes = new Uint32Array(characters.length - counts.length);
  /** How often the suffix at a place comes. */
  const weights = new Float64Array(characters.length);
  let filled = 0;
  for (let segment = 0; segment < counts.length; segment++) {
    for (let at = starts[segment] as number; at < (starts[segment + 1] as number) - 1; at++) {
      suffixes[filled++] = at;
      weights[at] = counts[segment] as number;
    }
  }
  let found: Substring[] = [];
  const keep = (substring: Substring) => {
    found.push(substring);
    if (found.length >= 4 * most) found = best(found, most);
  };
  const characterOf = (suffix: number, depth: number) => characters[(suffixes[suffix] as number) + depth] as number;

  /** Suffixes from `low` to before `high` share their first `depth` characters. */
  const visit = (low: number, high: number, depth: number): void => {
    let weight = 0;
    for (let i = low; i < high; i++) weight += weights[suffixes[i] as number] as number;
    if (weight < 2) return;
    let shared = depth;
    while (shared < LONGEST_PIECE && characterOf(low, shared) !== 0 && isShared(low, high, shared)) shared++;
    if (shared > 1) keep({ at: suffixes[low] as number, length: shared, covers: weight * shared });
    if (shared < LONGEST_PIECE) split(low, high, shared);
  };
  const isShared = (low: number, high: number, depth: number): boolean => {
    const character = characterOf(low, depth);
    for (let i = low + 1; i < high; i++) if (characterOf(i, depth) !== character) return false;
    return true;
  };
  /** Multikey quicksort (Bentley and Sedgewick 1997): by the character at `depth`, then each run by the next one. */
  const split = (low: number, high: number, depth: number): void => {
    if (high <= low) return;
    const pivot = characterOf((low + high) >>> 1, depth);
    let less = low;
    let more = high;
    for (let i = low; i < more; ) {
      const character = characterOf(i, depth);
      if (character < pivot) swap(i++, less++);
      else if (character > pivot) swap(i, --more);
      else i++;
    }
    split(low, less, depth);
    // After a segment's end there is nothing.
    if (pivot !== 0) visit(less, more, depth + 1);
    split(more, high, depth);
  };
  const swap = (a: number, b: number): void => {
    const suffix = suffixes[a] as number;
    suffixes[a] = suffixes[b] as number;
    suffixes[b] = suffix;
  };
  split(0, suffixes.length, 0);
  return best(found, most);
}

function best(substrings: Substring[], most: number): Substring[] {
  return substrings.sort((a, b) => b.covers - a.covers || b.length - a.length || a.at - b.at).slice(0, most);
}
