// Linear layers over int4 weights [out, in] in groups of 32 with a float16 scale each, and 14-bit activations
// (quantize.ts). A group's sum is an exact integer, scaled and added to the row's in float32, group after group: the
// relaxed and the plain module, and batches of any size, give the same bits.
//
// A byte holds two weights, the even one in its low half, both unsigned with an offset of 8. Activations are brought once a call
// into the order in which they are taken out: bytes for the relaxed module, a group's even elements and then its odd ones; int16
// for the plain one, every fourth element from the first, from the second, the third and the fourth. The offset is taken off by
// the group's sum.
import { GROUP_BYTES, groupPrepared, linearPanelI4, PANEL_ROWS_I4, PREPARED_BYTES } from "./linear-panels-i4";
import { dotI16, firstNibbleMask, foldRows, lowNibblesMask, secondNibbleMask, sumPairs, sumRows } from "./math";

/** Weights that share a scale. */
const GROUP: i32 = 32;

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

/** Every second int16 of two vectors, one after the other. */
@inline
function evenLanes(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
}

@inline
function oddLanes(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
}

/** Prepares a group that the row's end cuts short: what is not there is zero. */
function prepareTail(q: usize, from: i32, k: i32, to: usize): i32 {
  memory.fill(to, 0, PREPARED_BYTES);
  let sum = 0;
  for (let i = from; i < k; i++) {
    const level = levelOf(q, i);
    sum += level;
    const j = <usize>(i - from);
    if (ASC_FEATURE_RELAXED_SIMD) {
      const place = to + ((j & 1) << 4) + (j >> 1);
      store<i8>(place, <i8>(level >> 7));
      store<u8>(place, <u8>(level & 127), 32);
    } else {
      store<i16>(to + ((j & 3) << 4) + ((j >> 2) << 1), <i16>level);
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
        const ab = evenLanes(a, b);
        const cd = evenLanes(c, d);
        const ab2 = oddLanes(a, b);
        const cd2 = oddLanes(c, d);
        v128.store(to, evenLanes(ab, cd));
        v128.store(to, evenLanes(ab2, cd2), 16);
        v128.store(to, oddLanes(ab, cd), 32);
        v128.store(to, oddLanes(ab2, cd2), 48);
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

// What is inline here must be: at a call all vectors that are at hand go to memory and back, and V8 puts one of eight such calls
// inline, no more.

/** Four lanes that sum to a group's product: even and odd weights, high and low digits of activations. Relaxed module. */
@inline
function dotDigits(even: v128, odd: v128, high0: v128, high1: v128, low0: v128, low1: v128): v128 {
  // The nibbles are the operand that must stay within 0..127; the digits may be signed.
  let high = i32x4.relaxed_dot_i8x16_i7x16_add_s(high0, even, i32x4.splat(0));
  high = i32x4.relaxed_dot_i8x16_i7x16_add_s(high1, odd, high);
  let low = i32x4.relaxed_dot_i8x16_i7x16_add_s(low0, even, i32x4.splat(0));
  low = i32x4.relaxed_dot_i8x16_i7x16_add_s(low1, odd, low);
  return i32x4.add(i32x4.shl(high, 7), low);
}

/** As {@link dotDigits}: the four nibbles of each int16, the second and fourth 16 times as large. Plain module. */
@inline
function dotNibbles(n0: v128, n1: v128, n2: v128, n3: v128, x0: v128, x1: v128, x2: v128, x3: v128): v128 {
  const sum = dotI16(n2, x2, i32x4.dot_i16x8_s(n0, x0));
  const sixteenfold = dotI16(n3, x3, i32x4.dot_i16x8_s(n1, x1));
  return i32x4.add(sum, i32x4.shr_s(sixteenfold, 4));
}

/** Masks for what follows, to be kept in registers. */
@inline
function firstMask(): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? lowNibblesMask() : firstNibbleMask();
}

/** A group's weights, taken apart for {@link dot}: two parts for the relaxed module, four for the plain one. */
@inline
function part0(v: v128, first: v128): v128 {
  return v128.and(v, first);
}

@inline
function part1(v: v128, first: v128, second: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v128.and(i16x8.shr_u(v, 4), first) : v128.and(v, second);
}

@inline
function part2(v: v128, first: v128): v128 {
  return v128.and(i16x8.shr_u(v, 8), first);
}

@inline
function part3(v: v128, second: v128): v128 {
  return v128.and(i16x8.shr_u(v, 8), second);
}

/** Four lanes that sum to the product of a group's weights, by their parts, with prepared activations. */
@inline
function dot(n0: v128, n1: v128, n2: v128, n3: v128, x0: v128, x1: v128, x2: v128, x3: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? dotDigits(n0, n1, x0, x1, x2, x3) : dotNibbles(n0, n1, n2, n3, x0, x1, x2, x3);
}

/** {@link dot} of weights that are used once. */
@inline
function dotOnce(v: v128, first: v128, second: v128, x0: v128, x1: v128, x2: v128, x3: v128): v128 {
  return dot(part0(v, first), part1(v, first, second), part2(v, first), part3(v, second), x0, x1, x2, x3);
}

/** {@link dot} with the activations at `p`. */
@inline
function dotAt(p: usize, n0: v128, n1: v128, n2: v128, n3: v128): v128 {
  return dot(n0, n1, n2, n3, v128.load(p), v128.load(p, 16), v128.load(p, 32), v128.load(p, 48));
}

/** Bits of a float16 that come to lie beside a float32's sign; the factor that mends its exponent's bias. */
const HALVES = memory.data<u32>([0x8fffffff, 0x8fffffff, 0x8fffffff, 0x8fffffff, 0x77800000]);

/** The float16 numbers at `at` and at one, two, three times `step` bytes from there, as float32. */
@inline
function halves(at: usize, step: usize): v128 {
  let v = v128.load16_lane(at, i32x4.splat(0), 1);
  v = v128.load16_lane(at + step, v, 3);
  v = v128.load16_lane(at + step * 2, v, 5);
  v = v128.load16_lane(at + step * 3, v, 7);
  // The exponent moves three bits down below the sign, and its bias is mended by a multiplication.
  return f32x4.mul(v128.and(i32x4.shr_s(v, 3), v128.load(HALVES)), v128.load32_splat(HALVES + 16));
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
  const first = firstMask();
  const second = secondNibbleMask();
  let totals = f32x4.splat(0);
  const end = w + groups * GROUP_BYTES;
  for (; w < end; w += GROUP_BYTES) {
    const x0 = v128.load(p);
    const x1 = v128.load(p, 16);
    const x2 = v128.load(p, 32);
    const x3 = v128.load(p, 48);
    const a = dotOnce(v128.load(w), first, second, x0, x1, x2, x3);
    const b = dotOnce(v128.load(w + step), first, second, x0, x1, x2, x3);
    const c = dotOnce(v128.load(w + step * 2), first, second, x0, x1, x2, x3);
    const d = dotOnce(v128.load(w + step * 3), first, second, x0, x1, x2, x3);
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
  const first = firstMask();
  const second = secondNibbleMask();
  let totals0 = f32x4.splat(0);
  let totals1 = totals0;
  const end = w + groups * GROUP_BYTES;
  let p1 = p + groups * PREPARED_BYTES;
  const next = groups << 2;
  for (; w < end; w += GROUP_BYTES) {
    // Two weight rows at a time, whose sums are folded at once: more would not have registers.
    let ab0 = i32x4.splat(0);
    let ab1 = ab0;
    let cd0 = ab0;
    let cd1 = ab0;
    for (let from = w, half = 0; half < 2; half++, from += step << 1) {
      ab0 = cd0;
      ab1 = cd1;
      let v = v128.load(from);
      let n0 = part0(v, first);
      let n1 = part1(v, first, second);
      let n2 = part2(v, first);
      let n3 = part3(v, second);
      cd0 = dotAt(p, n0, n1, n2, n3);
      cd1 = dotAt(p1, n0, n1, n2, n3);
      v = v128.load(from + step);
      n0 = part0(v, first);
      n1 = part1(v, first, second);
      n2 = part2(v, first);
      n3 = part3(v, second);
      cd0 = foldRows(cd0, dotAt(p, n0, n1, n2, n3));
      cd1 = foldRows(cd1, dotAt(p1, n0, n1, n2, n3));
    }
    const scale = halves(scales, scaleStep);
    let products = i32x4.sub(sumPairs(ab0, cd0), v128.load32_splat(sums));
    totals0 = f32x4.add(totals0, f32x4.mul(f32x4.convert_i32x4_s(products), scale));
    products = i32x4.sub(sumPairs(ab1, cd1), v128.load32_splat(sums + next));
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
 * @param scratch to use: for each of ceil(k / 32) groups 68 bytes a row and 288 more, 32 bytes a row, and 512; rows by fours
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
  if (!ASC_FEATURE_RELAXED_SIMD && rows >= PANEL_ROWS_I4) {
    widened(q, <usize>rows, k, groups, w, scales, n, scratch);
    return;
  }
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
  lastRows(scratch, sums, <usize>rows, groups, w, scales, n & ~3, n, 0);
}

/** Weight rows from `first` to `end`, one by one, for activation rows of which the first is row `row` of the results. */
function lastRows(
  p: usize,
  sums: usize,
  rows: usize,
  groups: usize,
  w: usize,
  scales: usize,
  first: i32,
  end: i32,
  row: usize,
): void {
  for (let last = first; last < end; last++) {
    const from = w + <usize>last * groups * GROUP_BYTES;
    const own = scales + (<usize>last * groups << 1);
    for (let r: usize = 0; r < rows; r++) {
      const totals = tile4x1(from, 0, own, 0, groups, p + r * groups * PREPARED_BYTES, sums + (r * groups << 2));
      // All four are the same row: each adds to what was there before any of them.
      emit(outAt + (((row + r) * <usize>outRow + <usize>last) << 2), 0, <i32>(row + r), totals);
    }
  }
}

/** Several activation rows: eight weight rows at a time are widened for all of them; what is left goes row by row. */
function widened(q: usize, rows: usize, k: i32, groups: usize, w: usize, scales: usize, n: i32, scratch: usize): void {
  const byFours = (rows + 3) & ~3;
  const grouped = scratch;
  const sums = grouped + byFours * groups * PREPARED_BYTES;
  const some = sums + (byFours * groups << 2);
  const own = some + groups * PREPARED_BYTES * 4;
  const work = own + (groups << 5);
  const stride = <usize>((k + 15) >> 4) << 5;
  const done = n & ~7;
  for (let row: usize = 0; row < rows; row += 4) {
    const at = sums + (row * groups << 2);
    const four = min<usize>(4, rows - row);
    prepare(q + row * stride, <i32>four, k, some, at);
    groupPrepared(some, four, groups, grouped + row * groups * PREPARED_BYTES);
    lastRows(some, at, four, groups, w, scales, done, n, row);
  }
  const rowBytes = groups * GROUP_BYTES;
  const pitch = <usize>outRow << 2;
  for (let row = 0; row < done; row += 8) {
    const from = w + <usize>row * rowBytes;
    const halved = scales + (<usize>row * groups << 1);
    for (let g: usize = 0; g < groups; g++) {
      v128.store(own + (g << 5), halves(halved + (g << 1), groups << 1));
      v128.store(own + (g << 5), halves(halved + (groups << 3) + (g << 1), groups << 1), 16);
    }
    const next = row + 8 < done ? from + rowBytes * 8 : 0;
    const to = outAt + (<usize>row << 2);
    linearPanelI4(grouped, sums, rowScaleAt, rows, groups, from, own, to, pitch, adds, next, work);
  }
}
