/** Symmetric int8 quantization of weights, one float32 scale a row. */

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

/** Index of the first NaN or infinity, −1 when all are finite. */
export function firstNonFinite(values: Float32Array): number {
  let sum = 0;
  // Anything finite times zero is zero; NaN and infinity make the sum NaN for good.
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}
