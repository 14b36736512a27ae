/**
 * The Unigram language model's training (Kudo 2018, section 3.2): expectation and maximization over all segmentations,
 * then the pieces whose loss costs least are pruned. As SentencePiece does it (unigram_model_trainer.cc), whose details,
 * the prior of the M step and how a loss is estimated, are kept.
 */
import type { Pieces } from "./seed-pieces.ts";
import type { Segments } from "./segments.ts";
import { Trie } from "./trie.ts";

/** Pieces that are expected less often are dropped (`kExpectedFrequencyThreshold`). */
const LEAST_EXPECTED = 0.5;
/**
 * Every character counts e^4 times its probability, on all ways through a segment alike: sums over a segment of 32
 * characters stay within a float64, whether it is common (1 nat a character) or rare (15).
 */
const TILT = 4;

export interface Expectation {
  /** How often each piece is expected to come. */
  expected: Float64Array;
  /** Mean negative log-likelihood of a segment, in nats. */
  loss: number;
}

/** Calls back for each piece that stands in a segment: beginning by beginning, shorter ones first. */
function eachPiece(
  trie: Trie,
  characters: Uint32Array,
  start: number,
  length: number,
  found: (begin: number, end: number, piece: number) => void,
): void {
  for (let begin = 0; begin < length; begin++) {
    let node = Trie.ROOT;
    for (let end = begin; end < length; ) {
      node = trie.next(node, characters[start + end] as number);
      if (node < 0) break;
      end++;
      const piece = trie.pieceAt[node] as number;
      if (piece >= 0) found(begin, end, piece);
    }
  }
}

/** The E step: forward and backward sums over every way to segment, for every segment. */
export function expectPieces({ characters, starts, counts }: Segments, pieces: Pieces, trie: Trie): Expectation {
  const weights = pieces.scores.map((score, i) =>
    Math.exp(score + TILT * (pieces.characters[i] as Uint32Array).length),
  );
  const expected = new Float64Array(weights.length);
  const forward = new Float64Array(64);
  const backward = new Float64Array(64);
  // Edges of the segment at hand.
  const begins = new Uint8Array(64 * 64);
  const ends = new Uint8Array(64 * 64);
  const ids = new Int32Array(64 * 64);
  let edges = 0;
  const step = (begin: number, end: number, piece: number) => {
    begins[edges] = begin;
    ends[edges] = end;
    ids[edges++] = piece;
    forward[end] = (forward[end] as number) + (forward[begin] as number) * (weights[piece] as number);
  };
  let sum = 0;
  let total = 0;
  for (let segment = 0; segment < counts.length; segment++) {
    const start = starts[segment] as number;
    const length = (starts[segment + 1] as number) - start - 1;
    const count = counts[segment] as number;
    forward.fill(0, 1, length + 1);
    backward.fill(0, 0, length);
    forward[0] = 1;
    backward[length] = 1;
    edges = 0;
    eachPiece(trie, characters, start, length, step);
    const all = forward[length] as number;
    const share = count / all;
    for (let edge = edges - 1; edge >= 0; edge--) {
      const begin = begins[edge] as number;
      const piece = ids[edge] as number;
      const onward = (weights[piece] as number) * (backward[ends[edge] as number] as number);
      backward[begin] = (backward[begin] as number) + onward;
      expected[piece] = (expected[piece] as number) + share * (forward[begin] as number) * onward;
    }
    sum -= count * (Math.log(all) - TILT * length);
    total += count;
  }
  return { expected, loss: sum / total };
}

/**
 * The M step, with digamma for the logarithm: a sparse prior (SentencePiece's `RunMStep`). A character stays however rare.
 *
 * @param alphabetSize how many of the first pieces are characters
 */
export function maximize({ characters }: Pieces, expected: Float64Array, alphabetSize: number): Pieces {
  const kept: number[] = [];
  let sum = 0;
  for (let piece = 0; piece < characters.length; piece++) {
    const frequency = expected[piece] as number;
    if (piece >= alphabetSize && frequency < LEAST_EXPECTED) continue;
    kept.push(piece);
    sum += Math.max(frequency, LEAST_EXPECTED);
  }
  const total = digamma(sum);
  return {
    characters: kept.map((piece) => characters[piece] as Uint32Array),
    scores: Float64Array.from(kept, (piece) => digamma(Math.max(expected[piece] as number, LEAST_EXPECTED)) - total),
  };
}

/** ψ(x), by recurrence up to 7 and then asymptotically. */
export function digamma(x: number): number {
  let result = 0;
  let from = x;
  for (; from < 7; from++) result -= 1 / from;
  const y = from - 0.5;
  const y2 = 1 / (y * y);
  return result + Math.log(y) + y2 * (1 / 24 + y2 * (-7 / 960 + y2 * (31 / 8064 - (127 / 30_720) * y2)));
}

/** The most probable pieces of a text, but never `without`; null when there is no way. */
function segment(
  trie: Trie,
  scores: Float64Array,
  characters: Uint32Array,
  start: number,
  length: number,
  without: number,
): { pieces: number[]; score: number } | null {
  const best = new Float64Array(length + 1).fill(Number.NEGATIVE_INFINITY);
  const from = new Int32Array(length + 1);
  const last = new Int32Array(length + 1);
  best[0] = 0;
  eachPiece(trie, characters, start, length, (begin, end, piece) => {
    const score = (best[begin] as number) + (scores[piece] as number);
    if (piece === without || score <= (best[end] as number)) return;
    best[end] = score;
    from[end] = begin;
    last[end] = piece;
  });
  const score = best[length] as number;
  if (score === Number.NEGATIVE_INFINITY) return null;
  const pieces: number[] = [];
  for (let end = length; end > 0; end = from[end] as number) pieces.push(last[end] as number);
  return { pieces, score };
}

/** How often each piece comes when every segment is segmented in the most probable way. */
export function countBest({ characters, starts, counts }: Segments, { scores }: Pieces, trie: Trie): Float64Array {
  const frequencies = new Float64Array(scores.length);
  for (let i = 0; i < counts.length; i++) {
    const start = starts[i] as number;
    const way = segment(trie, scores, characters, start, (starts[i + 1] as number) - start - 1, -1);
    for (const piece of way?.pieces ?? []) frequencies[piece] = (frequencies[piece] as number) + (counts[i] as number);
  }
  return frequencies;
}

/**
 * Drops the pieces whose loss costs the corpus' likelihood least, taking it that each would be written with the second
 * best way to segment it (SentencePiece's `PruneSentencePieces`).
 *
 * @param size how many to keep
 */
export function prune(segments: Segments, pieces: Pieces, trie: Trie, alphabetSize: number, size: number): Pieces {
  const frequencies = countBest(segments, pieces, trie);
  const sum = frequencies.reduce((a, b) => a + b, 0);
  const candidates: { piece: number; loss: number }[] = [];
  for (let piece = alphabetSize; piece < pieces.scores.length; piece++) {
    const frequency = frequencies[piece] as number;
    if (frequency === 0) continue;
    const own = pieces.characters[piece] as Uint32Array;
    const other = segment(trie, pieces.scores, own, 0, own.length, piece);
    // Where the others are the better way, nothing is lost; every text has a way of characters.
    if (other === null || other.score > (pieces.scores[piece] as number)) continue;
    const logSum = Math.log(sum + frequency * (other.pieces.length - 1));
    const instead = other.pieces.reduce(
      (logProbability, each) => logProbability + Math.log((frequencies[each] as number) + frequency) - logSum,
      0,
    );
    candidates.push({ piece, loss: frequency * (Math.log(frequency) - Math.log(sum) - instead) });
  }
  candidates.sort((a, b) => b.loss - a.loss || a.piece - b.piece);
  const kept = [
    ...Array.from({ length: alphabetSize }, (_, i) => i),
    ...candidates
      .slice(0, Math.max(0, size - alphabetSize))
      .map(({ piece }) => piece)
      .sort((a, b) => a - b),
  ];
  return {
    characters: kept.map((piece) => pieces.characters[piece] as Uint32Array),
    scores: Float64Array.from(kept, (piece) => pieces.scores[piece] as number),
  };
}
