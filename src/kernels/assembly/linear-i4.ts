// Linear layers over int4 weights [out, in] in groups of 32 with a float16 scale each, and 14-bit activations
// (quantize.ts). A group's sum is an exact integer, scaled and added to the row's in float32, group after group: the
// relaxed and the plain module, and batches of any size, give the same bits.
//
// A byte holds two weights, the even one in its low half, both unsigned with an offset of 8. Activations are brought into
// that order once a call: a group's even elements, then its odd ones. The offset is taken off by the group's sum.
import { sumRows } from "./math";

/** Weights that share a scale, and bytes of their nibbles. */
const GROUP: i32 = 32;
const GROUP_BYTES: usize = 16;
/** Bytes of a group's activations in their prepared order. */
const PREPARED_BYTES: usize = 64;

/** Where results go, and how: set once a call. */
let outAt: usize = 0;
let outRow: i32 = 0;
let rowScaleAt: usize = 0;
let adds: bool = false;

/** Level of element `i` of a quantized row. */
function levelOf(q: usize, i: i32): i32 {
  const block = q + ((<usize>i >> 4) << 5);
  const j = <usize>(i & 15);
  if (ASC_FEATURE_RELAXED_SIMD) {
    return <i32>load<u8>(block + j) * 128 + <i32>load<u8>(block + j, 16) - 8192;
  }
  return <i32>load<i16>(block + (j << 1));
}

/** Prepares a group that the row's end cuts short: what is not there is zero. */
function prepareTail(q: usize, from: i32, k: i32, to: usize): i32 {
  memory.fill(to, 0, PREPARED_BYTES);
  let sum = 0;
  for (let i = from; i < k; i++) {
    const level = levelOf(q, i);
    sum += level;
    const j = <usize>(i - from);
    const place = to + (j & 1 ? (ASC_FEATURE_RELAXED_SIMD ? 16 : 32) : 0);
    if (ASC_FEATURE_RELAXED_SIMD) {
      store<i8>(place + (j >> 1), <i8>(level >> 7));
      store<u8>(place + (j >> 1), <u8>(level & 127), 32);
    } else {
      store<i16>(place + ((j >> 1) << 1), <i16>level);
    }
  }
  return sum;
}

/** Activation rows in the order of the nibbles; `sums` [rows, groups] receives 8 x the sum of each group. */
function prepare(q: usize, rows: i32, k: i32, to: usize, sums: usize): void {
  const stride = <usize>(((k + 15) >> 4) << 5);
  for (let row = 0; row < rows; row++) {
    let from = 0;
    for (; from + GROUP <= k; from += GROUP) {
      const p = q + (<usize>from << 1);
      const a = v128.load(p);
      const b = v128.load(p, 16);
      const c = v128.load(p, 32);
      const d = v128.load(p, 48);
      let sum: v128;
      if (ASC_FEATURE_RELAXED_SIMD) {
        // a, c: high digits with an offset of 64; b, d: low digits.
        const offset = i8x16.splat(64);
        const h0 = i8x16.sub(a, offset);
        const h1 = i8x16.sub(c, offset);
        v128.store(to, i8x16.shuffle(h0, h1, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
        v128.store(to, i8x16.shuffle(h0, h1, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), 16);
        v128.store(to, i8x16.shuffle(b, d, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), 32);
        v128.store(to, i8x16.shuffle(b, d, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31), 48);
        const high = i16x8.add(i16x8.extadd_pairwise_i8x16_s(h0), i16x8.extadd_pairwise_i8x16_s(h1));
        const low = i16x8.add(i16x8.extadd_pairwise_i8x16_s(b), i16x8.extadd_pairwise_i8x16_s(d));
        sum = i32x4.add(
          i32x4.shl(i32x4.extadd_pairwise_i16x8_s(high), 7),
          i32x4.extadd_pairwise_i16x8_s(low),
        );
      } else {
        v128.store(to, i8x16.shuffle(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29));
        v128.store(to, i8x16.shuffle(c, d, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29), 16);
        v128.store(to, i8x16.shuffle(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31), 32);
        v128.store(to, i8x16.shuffle(c, d, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31), 48);
        sum = i32x4.add(
          i32x4.add(i32x4.extadd_pairwise_i16x8_s(a), i32x4.extadd_pairwise_i16x8_s(b)),
          i32x4.add(i32x4.extadd_pairwise_i16x8_s(c), i32x4.extadd_pairwise_i16x8_s(d)),
        );
      }
      const total =
        i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1) + i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3);
      store<i32>(sums, total << 3);
      sums += 4;
      to += PREPARED_BYTES;
    }
    if (from < k) {
      store<i32>(sums, prepareTail(q, from, k, to) << 3);
      sums += 4;
      to += PREPARED_BYTES;
    }
    q += stride;
  }
}

/**
 * Four lanes that sum to a group's product: prepared activations at `p`, even and odd weights. Not a function in the module: at a
 * call all vectors that are at hand go to memory and back, and V8 puts one of eight such calls inline, no more.
 */
@inline
function dotGroup(p: usize, even: v128, odd: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    // The nibbles are the operand that must stay within 0..127; the digits may be signed.
    let high = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p), even, i32x4.splat(0));
    high = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 16), odd, high);
    let low = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 32), even, i32x4.splat(0));
    low = i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(p, 48), odd, low);
    return i32x4.add(i32x4.shl(high, 7), low);
  }
  const evens = i32x4.add(
    i32x4.dot_i16x8_s(v128.load(p), i16x8.extend_low_i8x16_u(even)),
    i32x4.dot_i16x8_s(v128.load(p, 16), i16x8.extend_high_i8x16_u(even)),
  );
  const odds = i32x4.add(
    i32x4.dot_i16x8_s(v128.load(p, 32), i16x8.extend_low_i8x16_u(odd)),
    i32x4.dot_i16x8_s(v128.load(p, 48), i16x8.extend_high_i8x16_u(odd)),
  );
  return i32x4.add(evens, odds);
}

/** The float16 numbers at `at` and at one, two, three times `step` bytes from there, as float32. */
@inline
function halves(at: usize, step: usize): v128 {
  let v = v128.load16_lane(at, i32x4.splat(0), 1);
  v = v128.load16_lane(at + step, v, 3);
  v = v128.load16_lane(at + step * 2, v, 5);
  v = v128.load16_lane(at + step * 3, v, 7);
  // The exponent moves three bits down below the sign, and its bias is mended by a multiplication.
  v = v128.and(i32x4.shr_s(v, 3), i32x4.splat(0x8fffffff));
  return f32x4.mul(v, f32x4.splat(5.192296858534828e33));
}

/** Puts out four results, `apart` bytes from one another. */
function emit(at: usize, apart: usize, row: i32, totals: v128): void {
  let values = f32x4.mul(totals, v128.load32_splat(rowScaleAt + (<usize>row << 2)));
  if (adds) {
    let before = v128.load32_zero(at);
    before = v128.load32_lane(at + apart, before, 1);
    before = v128.load32_lane(at + apart * 2, before, 2);
    before = v128.load32_lane(at + apart * 3, before, 3);
    values = f32x4.add(values, before);
  }
  v128.store32_lane(at, values, 0);
  v128.store32_lane(at + apart, values, 1);
  v128.store32_lane(at + apart * 2, values, 2);
  v128.store32_lane(at + apart * 3, values, 3);
}

/** Four weight rows, `step` bytes apart (`scaleStep` their scales), times one activation row. */
function tile4x1(w: usize, step: usize, scales: usize, scaleStep: usize, groups: usize, p: usize, sums: usize): v128 {
  const mask = i8x16.splat(15);
  let totals = f32x4.splat(0);
  const end = w + groups * GROUP_BYTES;
  for (; w < end; w += GROUP_BYTES) {
    let v = v128.load(w);
    const a = dotGroup(p, v128.and(v, mask), i8x16.shr_u(v, 4));
    v = v128.load(w + step);
    const b = dotGroup(p, v128.and(v, mask), i8x16.shr_u(v, 4));
    v = v128.load(w + step * 2);
    const c = dotGroup(p, v128.and(v, mask), i8x16.shr_u(v, 4));
    v = v128.load(w + step * 3);
    const d = dotGroup(p, v128.and(v, mask), i8x16.shr_u(v, 4));
    const products = i32x4.sub(sumRows(a, b, c, d), v128.load32_splat(sums));
    totals = f32x4.add(totals, f32x4.mul(f32x4.convert_i32x4_s(products), halves(scales, scaleStep)));
    p += PREPARED_BYTES;
    sums += 4;
    scales += 2;
  }
  return totals;
}

/** Four weight rows times two activation rows: a weight is unpacked once for both. */
function tile4x2(
  w: usize,
  step: usize,
  scales: usize,
  scaleStep: usize,
  groups: usize,
  p: usize,
  sums: usize,
  at: usize,
  apart: usize,
  row: i32,
): void {
  const mask = i8x16.splat(15);
  let totals0 = f32x4.splat(0);
  let totals1 = totals0;
  const end = w + groups * GROUP_BYTES;
  let p1 = p + groups * PREPARED_BYTES;
  const next = groups << 2;
  for (; w < end; w += GROUP_BYTES) {
    let v = v128.load(w);
    let even = v128.and(v, mask);
    let odd = i8x16.shr_u(v, 4);
    const a0 = dotGroup(p, even, odd);
    const a1 = dotGroup(p1, even, odd);
    v = v128.load(w + step);
    even = v128.and(v, mask);
    odd = i8x16.shr_u(v, 4);
    const b0 = dotGroup(p, even, odd);
    const b1 = dotGroup(p1, even, odd);
    v = v128.load(w + step * 2);
    even = v128.and(v, mask);
    odd = i8x16.shr_u(v, 4);
    const c0 = dotGroup(p, even, odd);
    const c1 = dotGroup(p1, even, odd);
    v = v128.load(w + step * 3);
    even = v128.and(v, mask);
    odd = i8x16.shr_u(v, 4);
    const d0 = dotGroup(p, even, odd);
    const d1 = dotGroup(p1, even, odd);
    const scale = halves(scales, scaleStep);
    let products = i32x4.sub(sumRows(a0, b0, c0, d0), v128.load32_splat(sums));
    totals0 = f32x4.add(totals0, f32x4.mul(f32x4.convert_i32x4_s(products), scale));
    products = i32x4.sub(sumRows(a1, b1, c1, d1), v128.load32_splat(sums + next));
    totals1 = f32x4.add(totals1, f32x4.mul(f32x4.convert_i32x4_s(products), scale));
    p += PREPARED_BYTES;
    p1 += PREPARED_BYTES;
    sums += 4;
    scales += 2;
  }
  emit(at, apart, row, totals0);
  emit(at + (<usize>outRow << 2), apart, row + 1, totals1);
}

/**
 * out[r, n] = (or +=) scale of row r x sum over groups of scale[n, g] x dot(activation group, weight group).
 *
 * @param q activations from quantizeRows [rows, ceil(k / 16) x 32 bytes], `rowScales` [rows] f32
 * @param w [n, ceil(k / 32) x 16 bytes] nibbles, those beyond k are 8; `scales` [n, ceil(k / 32)] f16
 * @param out [rows, n] f32, rows `ldo` elements apart
 * @param accumulate 1 to add to out, 0 to set it
 * @param scratch rows x ceil(k / 32) x 68 bytes to use
 */
export function linearI4(
  q: usize,
  rowScales: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  n: i32,
  out: usize,
  ldo: i32,
  accumulate: i32,
  scratch: usize,
): void {
  outAt = out;
  outRow = ldo;
  rowScaleAt = rowScales;
  adds = accumulate != 0;
  const groups = <usize>((k + GROUP - 1) >> 5);
  const sums = scratch + <usize>rows * groups * PREPARED_BYTES;
  prepare(q, rows, k, scratch, sums);
  const rowBytes = groups * GROUP_BYTES;
  // Four streams, one from each quarter of the matrix: what prefetchers follow best.
  const quarter = <usize>(n >> 2);
  const step = quarter * rowBytes;
  const scaleStep = quarter * groups << 1;
  const apart = quarter << 2;
  for (let column: usize = 0; column < quarter; column++) {
    const from = w + column * rowBytes;
    const own = scales + (column * groups << 1);
    let row = 0;
    let p = scratch;
    let sum = sums;
    let at = out + (column << 2);
    for (; row + 2 <= rows; row += 2) {
      tile4x2(from, step, own, scaleStep, groups, p, sum, at, apart, row);
      p += groups * PREPARED_BYTES * 2;
      sum += groups << 3;
      at += <usize>ldo << 3;
    }
    if (row < rows) emit(at, apart, row, tile4x1(from, step, own, scaleStep, groups, p, sum));
  }
  for (let last = n & ~3; last < n; last++) {
    const from = w + <usize>last * rowBytes;
    const own = scales + (<usize>last * groups << 1);
    for (let row = 0; row < rows; row++) {
      const p = scratch + <usize>row * groups * PREPARED_BYTES;
      const totals = tile4x1(from, 0, own, 0, groups, p, sums + (<usize>row * groups << 2));
      // All four are the same row: each adds to what was there before any of them.
      emit(out + ((<usize>row * <usize>ldo + <usize>last) << 2), 0, row, totals);
    }
  }
}
