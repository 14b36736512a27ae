/** Symmetric quantization of weights: int8 with one float32 scale a row, int4 with one float16 scale a group of 32. */
import { Float16Array } from "@petamoriken/float16";
import { GROUP, groupsOf } from "../src/t5/manifest.ts";

const MAX_INT = 127;

/** Smallest normal float32: a smaller scale would lose digits of its own, and with them the error bound. */
const MIN_SCALE = 2 ** -126;

/** Adding and subtracting this rounds a double of small magnitude to the nearest integer, half to even. */
const ROUNDER = 1.5 * 2 ** 52;

/** Scales tried for a row: the narrowest that holds it, and so many wider ones, each by this much of it. */
const WIDER_SCALES = 20;
const WIDER_BY = 0.002;

/**
 * Quantizes rows: `weight ≈ int × scale`, off by at most half a scale.
 *
 * The narrowest scale is max|w| / 127 of its row, so that −128 is never used; of it and some slightly wider ones a row
 * takes the one with the least squared error. A row of zeros has scale 0.
 *
 * @param weights `[rows, columns]`, finite
 * @param ints receives `[rows, columns]`
 * @param scales receives `[rows]`
 */
export function quantizeRows(weights: Float32Array, columns: number, ints: Int8Array, scales: Float32Array): void {
  const rows = weights.length / columns;
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    const end = start + columns;
    let max = 0;
    for (let i = start; i < end; i++) {
      const magnitude = Math.abs(weights[i]!);
      if (magnitude > max) max = magnitude;
    }
    const scale =
      max === 0 ? 0 : bestScale(weights.subarray(start, end), Math.max(Math.fround(max / MAX_INT), MIN_SCALE));
    scales[row] = scale;
    if (scale === 0) {
      ints.fill(0, start, end);
      continue;
    }
    for (let i = start; i < end; i++) {
      // A scale rounded down to float32 can make max / scale a little more than 127, never as much as 127.5.
      ints[i] = weights[i]! / scale + ROUNDER - ROUNDER;
    }
  }
}

function bestScale(row: Float32Array, narrowest: number): number {
  let best = narrowest;
  let least = Number.POSITIVE_INFINITY;
  for (let step = 0; step <= WIDER_SCALES; step++) {
    const scale = Math.fround(narrowest * (1 + step * WIDER_BY));
    const inverse = 1 / scale;
    let error = 0;
    for (let i = 0; i < row.length; i++) {
      const exact = row[i]! * inverse;
      const difference = exact - (exact + ROUNDER - ROUNDER);
      error += difference * difference;
    }
    error *= scale * scale;
    if (error < least) {
      least = error;
      best = scale;
    }
  }
  return best;
}

/** Scales tried for a group: those that bring its largest weight to −8 ÷ this, to 7 and a little beyond. */
const GROUP_FITS = [1.3, 1.25, 1.2, 1.15, 1.1, 1.05, 1, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85];

const LOWEST = -8;
const HIGHEST = 7;

/**
 * Quantizes rows to nibbles: `weight ≈ (nibble − 8) × scale`, a scale a group. Of some scales a group takes the one with
 * the least squared error; a negative one gives its largest weight the level −8 whatever its sign.
 *
 * @param weights `[rows, columns]`, finite
 * @param nibbles receives `[rows, groups × 16]` bytes, the even weight in the low half; beyond `columns` zeros (8)
 * @param scales receives `[rows, groups]` float16 bits
 */
export function quantizeGroups(weights: Float32Array, columns: number, nibbles: Uint8Array, scales: Uint16Array): void {
  const groups = groupsOf(columns);
  const rows = weights.length / columns;
  const half = new Float16Array(1);
  const halfBits = new Uint16Array(half.buffer);
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const start = row * columns + g * GROUP;
      const end = Math.min(start + GROUP, (row + 1) * columns);
      let extreme = 0;
      for (let i = start; i < end; i++) if (Math.abs(weights[i]!) > Math.abs(extreme)) extreme = weights[i]!;
      let best = 0;
      let bestBits = 0;
      let least = Number.POSITIVE_INFINITY;
      for (const fit of GROUP_FITS) {
        half[0] = (extreme / LOWEST) * fit;
        const scale = half[0];
        // Zero, or beyond what float16 holds.
        if (scale === 0 || !Number.isFinite(scale)) continue;
        let error = 0;
        for (let i = start; i < end; i++) {
          const level = Math.min(HIGHEST, Math.max(LOWEST, weights[i]! / scale + ROUNDER - ROUNDER));
          const difference = weights[i]! - level * scale;
          error += difference * difference;
        }
        if (error < least) {
          least = error;
          best = scale;
          bestBits = halfBits[0]!;
        }
      }
      scales[row * groups + g] = bestBits;
      const to = (row * groups + g) * (GROUP / 2);
      for (let i = 0; i < GROUP; i += 2) {
        const [even, odd] = [start + i, start + i + 1].map((at) =>
          at < end && best !== 0
            ? Math.min(HIGHEST, Math.max(LOWEST, weights[at]! / best + ROUNDER - ROUNDER)) - LOWEST
            : -LOWEST,
        ) as [number, number];
        nibbles[to + i / 2] = even | (odd << 4);
      }
    }
  }
}

/** Largest magnitude that a float16 scale brings to a level. */
export const INT4_LARGEST = 65504 * -LOWEST;

/** Index of the first value beyond a magnitude, −1 when there is none. */
export function firstBeyond(values: Float32Array, magnitude: number): number {
  return values.findIndex((value) => Math.abs(value) > magnitude);
}

/** Index of the first NaN or infinity, −1 when all are finite. */
export function firstNonFinite(values: Float32Array): number {
  let sum = 0;
  // Anything finite times zero is zero; NaN and infinity make the sum NaN for good.
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}
