import { maxLanes } from "./math";

/** Largest magnitude of a quantized activation: 14 bits, two 7-bit digits. */
const LEVELS: f32 = 8191.0;

function toLevels(x: usize, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x), inverse)));
}

/**
 * Quantizes float32 rows to 14 bits with one scale a row: value = integer x scale.
 *
 * A row takes 2 bytes an element, 32 bytes a block of 16 elements. In the relaxed module a block is 16 high digits,
 * then 16 low digits, of integer + 8192 = high x 128 + low, each digit 0..127 (the second operand of the relaxed dot
 * must stay in that range to mean the same everywhere). In the plain module a block is 16 int16.
 *
 * @param x [rows, k] f32
 * @param q [rows, ceil(k / 16) x 32 bytes]
 * @param scales [rows] f32
 */
export function quantizeRows(x: usize, rows: i32, k: i32, q: usize, scales: usize): void {
  const stride = ((k + 15) >> 4) << 5;
  for (let row = 0; row < rows; row++) {
    let m = f32x4.splat(0);
    let i = 0;
    for (; i + 4 <= k; i += 4) m = f32x4.max(m, f32x4.abs(v128.load(x + (i << 2))));
    let largest = maxLanes(m);
    for (; i < k; i++) largest = max(largest, abs(load<f32>(x + (i << 2))));
    const scale: f32 = largest / LEVELS;
    // A row of zeros, or one so small that its scale vanishes, is zero.
    const inverse: f32 = scale > 0 ? LEVELS / largest : 0;
    store<f32>(scales + (row << 2), scale);

    const by = f32x4.splat(inverse);
    let to = q;
    for (i = 0; i + 16 <= k; i += 16) {
      const from = x + (i << 2);
      const a = i16x8.narrow_i32x4_s(toLevels(from, by), toLevels(from + 16, by));
      const b = i16x8.narrow_i32x4_s(toLevels(from + 32, by), toLevels(from + 48, by));
      if (ASC_FEATURE_RELAXED_SIMD) {
        const offset = i16x8.splat(8192);
        const mask = i16x8.splat(127);
        const ua = i16x8.add(a, offset);
        const ub = i16x8.add(b, offset);
        v128.store(to, i8x16.narrow_i16x8_u(i16x8.shr_u(ua, 7), i16x8.shr_u(ub, 7)));
        v128.store(to, i8x16.narrow_i16x8_u(v128.and(ua, mask), v128.and(ub, mask)), 16);
      } else {
        v128.store(to, a);
        v128.store(to, b, 16);
      }
      to += 32;
    }
    for (let j = 0; i < k; i++, j++) {
      const level = <i32>nearest(load<f32>(x + (i << 2)) * inverse);
      if (ASC_FEATURE_RELAXED_SIMD) {
        store<u8>(to + j, (level + 8192) >> 7);
        store<u8>(to + j, (level + 8192) & 127, 16);
      } else {
        store<i16>(to + (j << 1), <i16>level);
      }
    }
    x += <usize>k << 2;
    q += stride;
  }
}
