// Linear layers over int8 weights whose rows lie in pairs, for the steps of the plain module: [n / 2][k][2], a number of the even
// row beside one of the odd row, 128 added to the even one. Sums are exact integers, as in linear-i8.ts: the same bits as there.
//
// Read as int16, a pair is 256 x odd + even. A mask leaves the even numbers, a shift the odd ones, and nothing else is needed to
// widen them. A step shifts no weights: it multiplies pairs as they are, and the even ones, and shifts the difference of the
// sums, which is 256 x the sum over the odd row. As long as that fits 24 bits, whatever wrapped on the way is of no account.
// Where every load is checked against the memory's end, as in workerd, one row to three take a quarter to a third less time than
// over weights as they were. Many, as of a prompt, take a tenth more there: an encoder's weights stay as they are.
import { streamRows } from "./linear-i8";
import { evenBytesMask, sumLanesI32, sumRows } from "./math";

/** Columns whose total fits an int32: 2048 x 127 x 8191 < 2^31. On the way to it sums may wrap. */
const PIECE: i32 = 2048;

@inline
function piecesOf(k: i32): usize {
  return <usize>((k + PIECE - 1) / PIECE);
}

@inline
function dot(w: v128, x: v128, acc: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
}

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
    const stop = min(x + (<usize>PIECE << 1), end);
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
      const pieceEnd = min(p + (<usize>PIECE << 1), end);
      // Four products a lane and turn: 4 x 127 x 8191 fits 24 bits.
      for (; p < pieceEnd; p += 32) {
        const x0 = v128.load(p);
        const x1 = v128.load(p, 16);
        let v = v128.load(w0);
        let both = i32x4.dot_i16x8_s(v, x0);
        let even = i32x4.dot_i16x8_s(v128.and(v, mask), x0);
        v = v128.load(w0, 16);
        both = dot(v, x1, both);
        even = dot(v128.and(v, mask), x1, even);
        even0 = i32x4.add(even0, even);
        odd0 = i32x4.add(odd0, i32x4.shr_s(i32x4.sub(both, even), 8));
        w0 += 32;
        v = v128.load(w1);
        both = i32x4.dot_i16x8_s(v, x0);
        even = i32x4.dot_i16x8_s(v128.and(v, mask), x0);
        v = v128.load(w1, 16);
        both = dot(v, x1, both);
        even = dot(v128.and(v, mask), x1, even);
        even1 = i32x4.add(even1, even);
        odd1 = i32x4.add(odd1, i32x4.shr_s(i32x4.sub(both, even), 8));
        w1 += 32;
        v = v128.load(w2);
        both = i32x4.dot_i16x8_s(v, x0);
        even = i32x4.dot_i16x8_s(v128.and(v, mask), x0);
        v = v128.load(w2, 16);
        both = dot(v, x1, both);
        even = dot(v128.and(v, mask), x1, even);
        even2 = i32x4.add(even2, even);
        odd2 = i32x4.add(odd2, i32x4.shr_s(i32x4.sub(both, even), 8));
        w2 += 32;
        v = v128.load(w3);
        both = i32x4.dot_i16x8_s(v, x0);
        even = i32x4.dot_i16x8_s(v128.and(v, mask), x0);
        v = v128.load(w3, 16);
        both = dot(v, x1, both);
        even = dot(v128.and(v, mask), x1, even);
        even3 = i32x4.add(even3, even);
        odd3 = i32x4.add(odd3, i32x4.shr_s(i32x4.sub(both, even), 8));
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
      totals = i8x16.shuffle(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
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

/** The high two of four int32, as float64. */
@inline
function highTwo(v: v128): v128 {
  return f64x2.convert_low_i32x4_s(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
}

/**
 * Two pairs of weight rows, from two streams, times two activation rows, `stride` bytes apart: eight sums, as many as registers
 * hold beside what they are made of.
 *
 * @param scalesA, scalesB of the pairs; `far`: bytes from the first pair's results to the second one's
 */
function tile2x2(
  wa: usize,
  wb: usize,
  x: usize,
  stride: usize,
  k: i32,
  offsets: usize,
  scalesA: v128,
  scalesB: v128,
  rowScale: usize,
  to: usize,
  far: usize,
  pitch: usize,
  adds: bool,
): void {
  const mask = evenBytesMask();
  const rowOffsets = piecesOf(k) << 2;
  let totalA0 = f64x2.splat(0);
  let totalA1 = totalA0;
  let totalB0 = totalA0;
  let totalB1 = totalA0;
  let y = x + stride;
  for (const end = wa + (<usize>k << 1); wa < end; offsets += 4) {
    let evenA0 = i32x4.splat(0);
    let evenA1 = evenA0;
    let evenB0 = evenA0;
    let evenB1 = evenA0;
    let oddA0 = evenA0;
    let oddA1 = evenA0;
    let oddB0 = evenA0;
    let oddB1 = evenA0;
    for (const stop = min(wa + (<usize>PIECE << 1), end); wa < stop; wa += 16, wb += 16, x += 16, y += 16) {
      let v = v128.load(wa);
      const evenA = v128.and(v, mask);
      const oddA = i16x8.shr_s(v, 8);
      v = v128.load(wb);
      const evenB = v128.and(v, mask);
      const oddB = i16x8.shr_s(v, 8);
      v = v128.load(x);
      evenA0 = dot(evenA, v, evenA0);
      oddA0 = dot(oddA, v, oddA0);
      evenB0 = dot(evenB, v, evenB0);
      oddB0 = dot(oddB, v, oddB0);
      v = v128.load(y);
      evenA1 = dot(evenA, v, evenA1);
      oddA1 = dot(oddA, v, oddA1);
      evenB1 = dot(evenB, v, evenB1);
      oddB1 = dot(oddB, v, oddB1);
    }
    const over = offsetsOf(offsets, offsets + rowOffsets);
    let totals = i32x4.sub(sumRows(evenA0, oddA0, evenA1, oddA1), over);
    totalA0 = f64x2.add(totalA0, f64x2.convert_low_i32x4_s(totals));
    totalA1 = f64x2.add(totalA1, highTwo(totals));
    totals = i32x4.sub(sumRows(evenB0, oddB0, evenB1, oddB1), over);
    totalB0 = f64x2.add(totalB0, f64x2.convert_low_i32x4_s(totals));
    totalB1 = f64x2.add(totalB1, highTwo(totals));
  }
  emit(totalA0, scalesA, rowScale, to, adds);
  emit(totalB0, scalesB, rowScale, to + far, adds);
  emit(totalA1, scalesA, rowScale + 4, to + pitch, adds);
  emit(totalB1, scalesB, rowScale + 4, to + pitch + far, adds);
}

/** A pair of weight rows times one activation row. */
function tile1(w: usize, x: usize, k: i32, offsets: usize, scales: v128, rowScale: usize, to: usize, adds: bool): void {
  const mask = evenBytesMask();
  let total = f64x2.splat(0);
  for (const end = w + (<usize>k << 1); w < end; offsets += 4) {
    let a = i32x4.splat(0);
    let b = a;
    for (const stop = min(w + (<usize>PIECE << 1), end); w < stop; w += 32, x += 32) {
      let v = v128.load(w);
      let levels = v128.load(x);
      a = dot(v128.and(v, mask), levels, a);
      b = dot(i16x8.shr_s(v, 8), levels, b);
      v = v128.load(w, 16);
      levels = v128.load(x, 16);
      a = dot(v128.and(v, mask), levels, a);
      b = dot(i16x8.shr_s(v, 8), levels, b);
    }
    const totals = i32x4.sub(sumRows(a, b, a, b), v128.load32_zero(offsets));
    total = f64x2.add(total, f64x2.convert_low_i32x4_s(totals));
  }
  emit(total, scales, rowScale, to, adds);
}

/** From how many rows on four pairs of weight rows are widened for all of them first. */
const PANEL_ROWS: i32 = 8;
/** Columns of a panel: eight weight rows of them are what the first cache holds beside the activations. */
const STRIP: i32 = 512;
/** Bytes of the sums of four activation rows, each with eight weight rows. */
const GROUP_TOTALS: usize = 128;

/**
 * Puts activations together four rows by four, for a tile to read them with one load: [ceil(rows / 4)][k / 2][4][2]. Where the last
 * rows are not there, the group's first stands for them: nobody asks for what comes of it.
 */
function groupRows(q: usize, rows: i32, k: i32, to: usize): void {
  const stride = <usize>k << 1;
  for (let row = 0; row < rows; row += 4, q += stride << 2) {
    const second = row + 1 < rows ? stride : 0;
    const third = row + 2 < rows ? stride << 1 : 0;
    const fourth = row + 3 < rows ? stride * 3 : 0;
    for (let i: usize = 0; i < stride; i += 16, to += 64) {
      const a = v128.load(q + i);
      const b = v128.load(q + second + i);
      const c = v128.load(q + third + i);
      const d = v128.load(q + fourth + i);
      const ab = lowWords(a, b);
      const cd = lowWords(c, d);
      const ab2 = highWords(a, b);
      const cd2 = highWords(c, d);
      v128.store(to, lowHalves(ab, cd));
      v128.store(to, highHalves(ab, cd), 16);
      v128.store(to, lowHalves(ab2, cd2), 32);
      v128.store(to, highHalves(ab2, cd2), 48);
    }
  }
}

@inline
function lowWords(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
}

@inline
function highWords(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}

@inline
function lowHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

@inline
function highHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

/** Widens one column pair of four pairs of weight rows: the even rows to `to`, the odd ones `half` bytes on. */
@inline
function putColumns(v: v128, mask: v128, to: usize, half: usize): void {
  v128.store(to, v128.and(v, mask));
  v128.store(to + half, i16x8.shr_s(v, 8));
}

/**
 * Widens `columns` columns of four pairs of weight rows, `far` bytes apart, to int16: [2][columns / 2][4][2], the even rows of
 * all four pairs, then the odd ones.
 */
function packPanel(w0: usize, far: usize, columns: i32, to: usize): void {
  const mask = evenBytesMask();
  const half = <usize>columns << 3;
  let w1 = w0 + far;
  let w2 = w1 + far;
  let w3 = w2 + far;
  for (const end = to + half; to < end; to += 64) {
    const a = v128.load(w0);
    const b = v128.load(w1);
    const c = v128.load(w2);
    const d = v128.load(w3);
    const ab = lowWords(a, b);
    const cd = lowWords(c, d);
    const ab2 = highWords(a, b);
    const cd2 = highWords(c, d);
    putColumns(lowHalves(ab, cd), mask, to, half);
    putColumns(highHalves(ab, cd), mask, to + 16, half);
    putColumns(lowHalves(ab2, cd2), mask, to + 32, half);
    putColumns(highHalves(ab2, cd2), mask, to + 48, half);
    w0 += 16;
    w1 += 16;
    w2 += 16;
    w3 += 16;
  }
}

@inline
function row0(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
}

@inline
function row1(v: v128): v128 {
  return i8x16.shuffle(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
}

@inline
function row2(v: v128): v128 {
  return i8x16.shuffle(v, v, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
}

@inline
function row3(v: v128): v128 {
  return i8x16.shuffle(v, v, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15);
}

/**
 * A panel times four activation rows: eight sums. Three loads for eight dots, from pointers of their own and without offsets:
 * where loads are checked, each of them and each offset costs.
 *
 * @param goesOn whether it adds to the totals that are there
 * @param totals [4][2][4] int32: of each activation row the even weight rows of the four pairs, then the odd ones
 */
function tile4x8(panel: usize, columns: i32, x: usize, goesOn: bool, totals: usize): void {
  let even0 = i32x4.splat(0);
  let odd0 = even0;
  let even1 = even0;
  let odd1 = even0;
  let even2 = even0;
  let odd2 = even0;
  let even3 = even0;
  let odd3 = even0;
  if (goesOn) {
    even0 = v128.load(totals);
    odd0 = v128.load(totals, 16);
    even1 = v128.load(totals, 32);
    odd1 = v128.load(totals, 48);
    even2 = v128.load(totals, 64);
    odd2 = v128.load(totals, 80);
    even3 = v128.load(totals, 96);
    odd3 = v128.load(totals, 112);
  }
  const half = <usize>columns << 3;
  let odd = panel + half;
  for (const end = odd; panel < end; panel += 16, odd += 16, x += 16) {
    const e = v128.load(panel);
    const o = v128.load(odd);
    const v = v128.load(x);
    let levels = row0(v);
    even0 = dot(e, levels, even0);
    odd0 = dot(o, levels, odd0);
    levels = row1(v);
    even1 = dot(e, levels, even1);
    odd1 = dot(o, levels, odd1);
    levels = row2(v);
    even2 = dot(e, levels, even2);
    odd2 = dot(o, levels, odd2);
    levels = row3(v);
    even3 = dot(e, levels, even3);
    odd3 = dot(o, levels, odd3);
  }
  v128.store(totals, even0);
  v128.store(totals, odd0, 16);
  v128.store(totals, even1, 32);
  v128.store(totals, odd1, 48);
  v128.store(totals, even2, 64);
  v128.store(totals, odd2, 80);
  v128.store(totals, even3, 96);
  v128.store(totals, odd3, 112);
}

/** Adds int32 totals to exact ones [8] float64, or sets those. */
function addExact(totals: usize, offset: usize, goesOn: bool, to: usize): void {
  const even = i32x4.sub(v128.load(totals), v128.load32_splat(offset));
  const odd = v128.load(totals, 16);
  let a = f64x2.convert_low_i32x4_s(even);
  let b = highTwo(even);
  let c = f64x2.convert_low_i32x4_s(odd);
  let d = highTwo(odd);
  if (goesOn) {
    a = f64x2.add(a, v128.load(to));
    b = f64x2.add(b, v128.load(to, 16));
    c = f64x2.add(c, v128.load(to, 32));
    d = f64x2.add(d, v128.load(to, 48));
  }
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  v128.store(to, d, 48);
}

/** Four exact totals, rounded to float32. */
@inline
function rounded(at: usize): v128 {
  return lowHalves(f32x4.demote_f64x2_zero(v128.load(at)), f32x4.demote_f64x2_zero(v128.load(at, 16)));
}

/** Puts out what one activation row gave with four pairs of weight rows, whose results are `far` bytes apart. */
@inline
function putPairs(even: v128, odd: v128, to: usize, far: usize, adds: bool): void {
  let low = lowWords(even, odd);
  let high = highWords(even, odd);
  const to1 = to + far;
  const to2 = to1 + far;
  const to3 = to2 + far;
  if (adds) {
    low = f32x4.add(low, v128.load64_lane(to1, v128.load64_zero(to), 1));
    high = f32x4.add(high, v128.load64_lane(to3, v128.load64_zero(to2), 1));
  }
  v128.store64_lane(to, low, 0);
  v128.store64_lane(to1, low, 1);
  v128.store64_lane(to2, high, 0);
  v128.store64_lane(to3, high, 1);
}

/** The numbers of the even weight rows of four pairs, `far` bytes apart, or of the odd ones where `at` is theirs. */
@inline
function gather(at: usize, far: usize): v128 {
  let v = v128.load32_zero(at);
  v = v128.load32_lane(at + far, v, 1);
  v = v128.load32_lane(at + far * 2, v, 2);
  return v128.load32_lane(at + far * 3, v, 3);
}

/**
 * Many activation rows times four streams of `pairs` pairs of weight rows. Four pairs are widened once for all rows, to a panel
 * whose lanes are weight rows: nothing is added up across lanes, and a load serves more dots than over weights as they lie.
 *
 * @param q activations of groupRows
 * @param scratch a panel of 16 x 512 bytes and, for every four rows, 128 bytes of totals and, where k is above 2048, 256 more
 */
function panels(
  q: usize,
  rowScales: usize,
  offsets: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  pairs: i32,
  out: usize,
  pitch: usize,
  adds: bool,
  scratch: usize,
): void {
  const stride = <usize>k << 1;
  const groupBytes = stride << 2;
  const groups = <usize>((rows + 3) >> 2);
  const pieces = piecesOf(k);
  const rowOffsets = pieces << 2;
  const panel = scratch;
  const totals = panel + (<usize>STRIP << 4);
  const exact = totals + groups * GROUP_TOTALS;
  const far = <usize>pairs << 3;
  for (let pair = 0; pair < pairs; pair++, w += stride, scales += 8, out += 8) {
    for (let from = 0; from < k; from += STRIP) {
      const columns = min(STRIP, k - from);
      packPanel(w + (<usize>from << 1), <usize>pairs * stride, columns, panel);
      const inPiece = from & (PIECE - 1);
      let x = q + (<usize>from << 3);
      let at = totals;
      const end = at + groups * GROUP_TOTALS;
      // Two calls, lest Binaryen makes one function of all this, too large for V8's registers.
      if (inPiece == 0) for (; at < end; at += GROUP_TOTALS, x += groupBytes) tile4x8(panel, columns, x, false, at);
      else for (; at < end; at += GROUP_TOTALS, x += groupBytes) tile4x8(panel, columns, x, true, at);
      if (pieces == 1 || (inPiece + columns < PIECE && from + columns < k)) continue;
      const piece = from / PIECE;
      for (let row: usize = 0; row < <usize>rows; row++) {
        const offset = offsets + row * rowOffsets + (<usize>piece << 2);
        addExact(totals + (row << 5), offset, piece > 0, exact + (row << 6));
      }
    }
    const evenScales = gather(scales, far);
    const oddScales = gather(scales + 4, far);
    let to = out;
    for (let row: usize = 0; row < <usize>rows; row++, to += pitch) {
      const by = v128.load32_splat(rowScales + (row << 2));
      let even: v128;
      let odd: v128;
      if (pieces == 1) {
        const at = totals + (row << 5);
        even = f32x4.convert_i32x4_s(i32x4.sub(v128.load(at), v128.load32_splat(offsets + (row << 2))));
        odd = f32x4.convert_i32x4_s(v128.load(at, 16));
      } else {
        even = rounded(exact + (row << 6));
        odd = rounded(exact + (row << 6) + 32);
      }
      even = f32x4.mul(even, f32x4.mul(evenScales, by));
      odd = f32x4.mul(odd, f32x4.mul(oddScales, by));
      putPairs(even, odd, to, far, adds);
    }
  }
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
 * @param scratch to use by a single row: n x 4 bytes to accumulate, as much for every 2048 of a longer k
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
  if (rows >= PANEL_ROWS) {
    const grouped = scratch;
    const rest = grouped + stride * <usize>((rows + 3) & ~3);
    groupRows(q, rows, k, grouped);
    const pairs = streamRows(n >> 1, k << 1);
    panels(grouped, rowScales, offsets, rows, k, w, scales, pairs, out, pitch, adds, rest);
    first = pairs << 3;
    for (; first + 8 <= n; first += 8) {
      const at = <usize>first << 2;
      panels(grouped, rowScales, offsets, rows, k, w + <usize>first * <usize>k, scales + at, 1, out + at, pitch, adds, rest);
    }
  }
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
      tile2x2(wa, wb, x, stride, k, offset, scalesA, scalesB, rowScale, to, far, pitch, adds);
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
