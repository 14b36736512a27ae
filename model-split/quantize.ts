/** Symmetric int8 quantization of weights, one float32 scale a row. */

const MAX_INT = 127;

/** Smallest normal float32: a smaller scale would lose digits of its own, and with them the error bound. */
const MIN_SCALE = 2 ** -126;

/** Adding and subtracting this rounds a double of small magnitude to the nearest integer, half to even. */
const ROUNDER = 1.5 * 2 ** 52;

/**
 * Quantizes rows: `weight ≈ int × scale`, off by at most half a scale.
 *
 * The scale is max|w| / 127 of its row, so that −128 is never used; a row of zeros has scale 0.
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
    const scale = max === 0 ? 0 : Math.max(Math.fround(max / MAX_INT), MIN_SCALE);
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

/** Index of the first NaN or infinity, −1 when all are finite. */
export function firstNonFinite(values: Float32Array): number {
  let sum = 0;
  // Anything finite times zero is zero; NaN and infinity make the sum NaN for good.
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}
