// Linear layers over int8 weights whose rows lie in pairs, for the steps of the plain module: [n / 2][k][2], a number of the even
// row beside one of the odd row, 128 added to the even one. Sums are exact integers, as in linear-i8.ts: the same bits as there.
//
// Read as int16, a pair is 256 x odd + even. A mask leaves the even numbers, a shift the odd ones, and nothing else is needed to
// widen them. Where every load is checked against the memory's end, as in workerd, one row to three take a quarter to a third
// less time than over weights as they were. For many rows, as of a prompt, pairs are widened first (linear-panels-i8.ts).
import { streamRows } from "./linear-i8";
import { linearPanels, PANEL_ROWS } from "./linear-panels-i8";
import { dotI16, evenBytesMask, highTwo, lowHalves, sumLanesI32, sumRows } from "./math";
import { INT32_COLUMNS, piecesOf } from "./quantize";

/**
 * Lays the rows of a matrix in pairs, where it lies, if this module reads them so and the shape allows it.
 *
 * @param w [n, k] int8
 * @param spare k bytes to use
 * @returns 1 if it did
 */
export function pairRows(w: usize, n: i32, k: i32, spare: usize): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) return 0;
  if ((n & 1) | (k & 15)) return 0;
  const bytes = <usize>k;
  const flip = i8x16.splat(-128);
  for (const end = w + <usize>n * bytes; w < end; w += bytes << 1) {
    memory.copy(spare, w, bytes);
    // What is written never reaches what is still to be read of the odd row.
    for (let i: usize = 0; i < bytes; i += 16) {
      const even = v128.xor(v128.load(spare + i), flip);
      const odd = v128.load(w + bytes + i);
      const to = w + (i << 1);
      v128.store(to, i8x16.shuffle(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
      v128.store(to, i8x16.shuffle(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31), 16);
    }
  }
  return 1;
}

/** 128 x the sum of the activations of each piece of a row: what the totals of even weight rows are too large by. */
function putOffsets(x: usize, k: i32, to: usize): void {
  for (const end = x + (<usize>k << 1); x < end; to += 4) {
    const stop = min(x + (<usize>INT32_COLUMNS << 1), end);
    let sums = i32x4.splat(0);
    for (; x < stop; x += 16) sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(v128.load(x)));
    store<i32>(to, sumLanesI32(sums) << 7);
  }
}

/** What two pairs of totals are too large by: [offset of the first, 0, of the second, 0]. */
@inline
function offsetsOf(first: usize, second: usize): v128 {
  return v128.load32_lane(second, v128.load32_zero(first), 2);
}

/**
 * One activation row times four streams of `pairs` pairs of weight rows, `far` bytes apart: the dots, int32. Scales and results
 * are left to {@link putTotals}: eight more streams would be more than prefetchers follow.
 *
 * @param to where the totals of the first stream's first pair go; those of the other streams `pairs` pairs on each
 * @param pitch bytes from one piece's totals to the next one's
 */
function stepTotals(x: usize, k: i32, offsets: usize, w: usize, far: usize, pairs: usize, to: usize, pitch: usize): void {
  const apart = pairs << 3;
  let w0 = w;
  let w1 = w0 + far;
  let w2 = w1 + far;
  let w3 = w2 + far;
  const end = x + (<usize>k << 1);
  const mask = evenBytesMask();
  for (const stop = to + apart; to < stop; to += 8) {
    let at = to;
    let offset = offsets;
    for (let p = x; p < end; at += pitch, offset += 4) {
      let even0 = i32x4.splat(0);
      let even1 = i32x4.splat(0);
      let even2 = i32x4.splat(0);
      let even3 = i32x4.splat(0);
      let odd0 = i32x4.splat(0);
      let odd1 = i32x4.splat(0);
      let odd2 = i32x4.splat(0);
      let odd3 = i32x4.splat(0);
      const pieceEnd = min(p + (<usize>INT32_COLUMNS << 1), end);
      // Four products a lane and turn: 4 x 127 x 8191 fits 24 bits.
      for (; p < pieceEnd; p += 32) {
        const x0 = v128.load(p);
        const x1 = v128.load(p, 16);
        let v = v128.load(w0);
        let u = v128.load(w0, 16);
        even0 = dotI16(v128.and(v, mask), x0, even0);
        even0 = dotI16(v128.and(u, mask), x1, even0);
        odd0 = dotI16(i16x8.shr_s(v, 8), x0, odd0);
        odd0 = dotI16(i16x8.shr_s(u, 8), x1, odd0);
        w0 += 32;
        v = v128.load(w1);
        u = v128.load(w1, 16);
        even1 = dotI16(v128.and(v, mask), x0, even1);
        even1 = dotI16(v128.and(u, mask), x1, even1);
        odd1 = dotI16(i16x8.shr_s(v, 8), x0, odd1);
        odd1 = dotI16(i16x8.shr_s(u, 8), x1, odd1);
        w1 += 32;
        v = v128.load(w2);
        u = v128.load(w2, 16);
        even2 = dotI16(v128.and(v, mask), x0, even2);
        even2 = dotI16(v128.and(u, mask), x1, even2);
        odd2 = dotI16(i16x8.shr_s(v, 8), x0, odd2);
        odd2 = dotI16(i16x8.shr_s(u, 8), x1, odd2);
        w2 += 32;
        v = v128.load(w3);
        u = v128.load(w3, 16);
        even3 = dotI16(v128.and(v, mask), x0, even3);
        even3 = dotI16(v128.and(u, mask), x1, even3);
        odd3 = dotI16(i16x8.shr_s(v, 8), x0, odd3);
        odd3 = dotI16(i16x8.shr_s(u, 8), x1, odd3);
        w3 += 32;
      }
      const over = offsetsOf(offset, offset);
      let totals = i32x4.sub(sumRows(even0, odd0, even1, odd1), over);
      v128.store64_lane(at, totals, 0);
      v128.store64_lane(at + apart, totals, 1);
      totals = i32x4.sub(sumRows(even2, odd2, even3, odd3), over);
      v128.store64_lane(at + apart * 2, totals, 0);
      v128.store64_lane(at + apart * 3, totals, 1);
    }
  }
}

/** Scales the totals of one activation row and puts them out: exact, rounded to float32 once. @param n a multiple of 4 */
function putTotals(from: usize, pieces: usize, n: usize, scales: usize, rowScale: f32, out: usize, adds: bool): void {
  const by = f32x4.splat(rowScale);
  const bytes = n << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    let totals = f32x4.convert_i32x4_s(v128.load(from + at));
    if (pieces > 1) {
      let low = f64x2.splat(0);
      let high = low;
      for (let i: usize = 0, piece = from + at; i < pieces; i++, piece += bytes) {
        low = f64x2.add(low, f64x2.convert_low_i32x4_s(v128.load64_zero(piece)));
        high = f64x2.add(high, f64x2.convert_low_i32x4_s(v128.load64_zero(piece, 8)));
      }
      const first = f32x4.demote_f64x2_zero(low);
      const second = f32x4.demote_f64x2_zero(high);
      totals = lowHalves(first, second);
    }
    let values = f32x4.mul(totals, f32x4.mul(v128.load(scales + at), by));
    if (adds) values = f32x4.add(values, v128.load(out + at));
    v128.store(out + at, values);
  }
}

/** Scales the totals of a pair of weight rows (float64) and one activation row, and puts them out. */
@inline
function emit(totals: v128, scales: v128, rowScale: usize, to: usize, adds: bool): void {
  let values = f32x4.mul(f32x4.demote_f64x2_zero(totals), f32x4.mul(scales, v128.load32_splat(rowScale)));
  if (adds) values = f32x4.add(values, v128.load64_zero(to));
  v128.store64_lane(to, values, 0);
}

/**
 * Two pairs of weight rows, from two streams, times two activation rows: eight sums, as many as registers hold beside what
 * they are made of.
 *
 * @param columns at most those whose totals fit an int32
 * @param totals [2][4] int32: of the first pair and of the second one, the even weight row times the first activation row,
 *   the odd one times the first, and both times the second
 */
function tile2x2(wa: usize, wb: usize, x: usize, y: usize, columns: usize, totals: usize): void {
  const mask = evenBytesMask();
  let evenA0 = i32x4.splat(0);
  let evenA1 = evenA0;
  let evenB0 = evenA0;
  let evenB1 = evenA0;
  let oddA0 = evenA0;
  let oddA1 = evenA0;
  let oddB0 = evenA0;
  let oddB1 = evenA0;
  for (const end = wa + (columns << 1); wa < end; wa += 16, wb += 16, x += 16, y += 16) {
    let v = v128.load(wa);
    const evenA = v128.and(v, mask);
    const oddA = i16x8.shr_s(v, 8);
    v = v128.load(wb);
    const evenB = v128.and(v, mask);
    const oddB = i16x8.shr_s(v, 8);
    v = v128.load(x);
    evenA0 = dotI16(evenA, v, evenA0);
    oddA0 = dotI16(oddA, v, oddA0);
    evenB0 = dotI16(evenB, v, evenB0);
    oddB0 = dotI16(oddB, v, oddB0);
    v = v128.load(y);
    evenA1 = dotI16(evenA, v, evenA1);
    oddA1 = dotI16(oddA, v, oddA1);
    evenB1 = dotI16(evenB, v, evenB1);
    oddB1 = dotI16(oddB, v, oddB1);
  }
  v128.store(totals, sumRows(evenA0, oddA0, evenA1, oddA1));
  v128.store(totals, sumRows(evenB0, oddB0, evenB1, oddB1), 16);
}

/** A pair of weight rows times one activation row. */
function tile1(w: usize, x: usize, k: i32, offsets: usize, scales: v128, rowScale: usize, to: usize, adds: bool): void {
  const mask = evenBytesMask();
  let total = f64x2.splat(0);
  for (const end = w + (<usize>k << 1); w < end; offsets += 4) {
    let a = i32x4.splat(0);
    let b = a;
    for (const stop = min(w + (<usize>INT32_COLUMNS << 1), end); w < stop; w += 32, x += 32) {
      let v = v128.load(w);
      let levels = v128.load(x);
      a = dotI16(v128.and(v, mask), levels, a);
      b = dotI16(i16x8.shr_s(v, 8), levels, b);
      v = v128.load(w, 16);
      levels = v128.load(x, 16);
      a = dotI16(v128.and(v, mask), levels, a);
      b = dotI16(i16x8.shr_s(v, 8), levels, b);
    }
    const totals = i32x4.sub(sumRows(a, b, a, b), v128.load32_zero(offsets));
    total = f64x2.add(total, f64x2.convert_low_i32x4_s(totals));
  }
  emit(total, scales, rowScale, to, adds);
}

/**
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n): linearI8 of rows that
 * {@link pairRows} laid in pairs. Plain module only.
 *
 * @param q activations from quantizeRows [rows, k] int16, `rowScales` [rows] f32
 * @param offsets rows x ceil(k / 2048) x 4 bytes to use
 * @param w [n / 2][k][2] from pairRows, `scales` [n] f32
 * @param out [rows, n] f32, rows `ldo` elements apart
 * @param accumulate 1 to add to out, 0 to set it
 * @param scratch to use by a single row: n x 4 bytes to accumulate, as much for every 2048 of a longer k; by several rows 32 bytes,
 *   from PANEL_ROWS on what linearPanels needs
 */
export function linearPairsI8(
  q: usize,
  rowScales: usize,
  offsets: usize,
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
  if (ASC_FEATURE_RELAXED_SIMD) return;
  const adds = accumulate != 0;
  const stride = <usize>k << 1;
  const pieces = piecesOf(k);
  const rowOffsets = pieces << 2;
  for (let row = 0; row < rows; row++) putOffsets(q + <usize>row * stride, k, offsets + <usize>row * rowOffsets);
  let first = 0;
  if (rows == 1) {
    first = n & ~7;
    // Where nothing is added to, the place of a result holds its total before.
    const totals = !adds && pieces == 1 ? out : scratch;
    const pitch = <usize>first << 2;
    const pairs = <usize>streamRows(first >> 1, k << 1);
    stepTotals(q, k, offsets, w, pairs * stride, pairs, totals, pitch);
    // The last stream goes on through what is left, four neighbours at a time.
    for (let row = pairs << 3; row < <usize>first; row += 8) {
      stepTotals(q, k, offsets, w + row * <usize>k, stride, 1, totals + (row << 2), pitch);
    }
    putTotals(totals, pieces, <usize>first, scales, load<f32>(rowScales), out, adds);
  }
  const pitch = <usize>ldo << 2;
  if (rows >= PANEL_ROWS) first = linearPanels(q, rowScales, offsets, rows, k, w, scales, n, out, pitch, adds, scratch);
  // Two streams, from the beginning and from the middle; an odd last pair goes by itself.
  const half = (n - first) >> 2;
  const far = <usize>half << 3;
  for (let i = 0; i < half; i++) {
    const na = <usize>(first + (i << 1));
    const wa = w + na * <usize>k;
    const wb = wa + <usize>half * stride;
    const scalesA = v128.load64_zero(scales + (na << 2));
    const scalesB = v128.load64_zero(scales + (na << 2) + far);
    let to = out + (na << 2);
    let row = 0;
    let x = q;
    let offset = offsets;
    let rowScale = rowScales;
    for (; row + 2 <= rows; row += 2) {
      let totalA0 = f64x2.splat(0);
      let totalA1 = totalA0;
      let totalB0 = totalA0;
      let totalB1 = totalA0;
      for (let from = 0, at = offset; from < k; from += INT32_COLUMNS, at += 4) {
        const bytes = <usize>from << 1;
        const over = offsetsOf(at, at + rowOffsets);
        const some = <usize>min(INT32_COLUMNS, k - from);
        // Two calls, lest Binaryen makes one function of all this: in workerd a tenth slower, for a mask on the stack.
        if (from == 0) tile2x2(wa, wb, x, x + stride, some, scratch);
        else tile2x2(wa + bytes, wb + bytes, x + bytes, x + stride + bytes, some, scratch);
        let totals = i32x4.sub(v128.load(scratch), over);
        totalA0 = f64x2.add(totalA0, f64x2.convert_low_i32x4_s(totals));
        totalA1 = f64x2.add(totalA1, highTwo(totals));
        totals = i32x4.sub(v128.load(scratch, 16), over);
        totalB0 = f64x2.add(totalB0, f64x2.convert_low_i32x4_s(totals));
        totalB1 = f64x2.add(totalB1, highTwo(totals));
      }
      emit(totalA0, scalesA, rowScale, to, adds);
      emit(totalB0, scalesB, rowScale, to + far, adds);
      emit(totalA1, scalesA, rowScale + 4, to + pitch, adds);
      emit(totalB1, scalesB, rowScale + 4, to + pitch + far, adds);
      x += stride << 1;
      offset += rowOffsets << 1;
      rowScale += 8;
      to += pitch << 1;
    }
    if (row < rows) {
      tile1(wa, x, k, offset, scalesA, rowScale, to, adds);
      tile1(wb, x, k, offset, scalesB, rowScale, to + far, adds);
    }
  }
  if (((n - first) & 2) == 0) return;
  const last = <usize>(n - 2);
  const by = v128.load64_zero(scales + (last << 2));
  for (let row: usize = 0; row < <usize>rows; row++) {
    const to = out + (last << 2) + row * pitch;
    tile1(w + last * <usize>k, q + row * stride, k, offsets + row * rowOffsets, by, rowScales + (row << 2), to, adds);
  }
}
