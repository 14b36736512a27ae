/**
 * Which tokens of a text are noise: masks as T5 draws them (Raffel et al. 2020, section 3.1.4; t5/data/preprocessors.py
 * of google-research/text-to-text-transfer-transformer, whose names are kept). In a mask 1 is noise.
 */
import type { RandomNumbers } from "./random.ts";

/** Python's and TensorFlow's: a half goes to the even neighbour. */
function round(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

export interface SpanNoise {
  /** Share of the tokens that are noise. */
  density: number;
  /** Mean length of a span of noise, in tokens. */
  meanSpan: number;
}

/** How many tokens of a text are noise, and in how many spans: both are fixed by its length (`random_spans_noise_mask`). */
export function spanCounts(length: number, { density, meanSpan }: SpanNoise): { tokens: number; spans: number } {
  const tokens = Math.min(Math.max(round(length * density), 1), length - 1);
  // As many spans at most as there are tokens between them.
  const spans = Math.min(Math.max(round(tokens / meanSpan), 1), length - tokens);
  return { tokens, spans };
}

/**
 * Random spans (`random_spans_noise_mask`): the first span is no noise, the last one is; all such masks are equally likely.
 *
 * @param length of the text, in tokens; 2 at least
 */
export function randomSpansMask(length: number, noise: SpanNoise, random: RandomNumbers): Uint8Array {
  const { tokens, spans } = spanCounts(length, noise);
  const noiseLengths = randomSegmentation(tokens, spans, random);
  const otherLengths = randomSegmentation(length - tokens, spans, random);
  const mask = new Uint8Array(length);
  let at = 0;
  for (let span = 0; span < spans; span++) {
    at += otherLengths[span] as number;
    mask.fill(1, at, at + (noiseLengths[span] as number));
    at += noiseLengths[span] as number;
  }
  return mask;
}

/** Lengths of `segments` parts that are not empty, of `items` together (`_random_segmentation`). */
function randomSegmentation(items: number, segments: number, random: RandomNumbers): number[] {
  const lengths: number[] = [];
  let length = 1;
  let breaks = segments - 1;
  // Each set of places to break at is equally likely (Knuth, TAOCP 2, algorithm 3.4.2 S).
  for (let places = items - 1; places > 0; places--) {
    if (random.below(places) < breaks) {
      lengths.push(length);
      length = 0;
      breaks--;
    }
    length++;
  }
  return [...lengths, length];
}

/** Each token is noise by itself (`iid_noise_mask`). */
export function iidMask(length: number, density: number, random: RandomNumbers): Uint8Array {
  return Uint8Array.from({ length }, () => (random.unit() < density ? 1 : 0));
}

/** Spans of noise, each a sentinel in the input. */
export function spansIn(mask: Uint8Array): number {
  return mask.reduce((spans, isNoise, i) => spans + (isNoise && !mask[i - 1] ? 1 : 0), 0);
}

/**
 * Tokens of a text that the corrupted input of which just fits (`random_spans_helper`): input and target end in eos, and
 * a sentinel stands for each span.
 *
 * @param inputLength longest input, in tokens
 * @param sentinels that there are: a text of more spans is not made
 */
export function textLengthFor(inputLength: number, noise: SpanNoise, sentinels: number): number {
  const fits = (length: number) => {
    const { tokens, spans } = spanCounts(length, noise);
    return length - tokens + spans + 1 <= inputLength && spans <= sentinels;
  };
  let length = 2;
  while (fits(length + 1)) length++;
  return length;
}
