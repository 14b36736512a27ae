// Linear layers over int8 weights [out, in] and 14-bit activations (quantize.ts). Every sum is an exact integer, rounded
// to float32 once and scaled: the relaxed and the plain module, and batches of any size, give the same bits.
//
// Weight rows are read in two or four streams, one from each half or quarter of the matrix: hardware prefetchers follow
// long sequential streams, and the rows of a tile share their loads of the activations.
import { linearPanelsRelaxed, PANEL_ROWS } from "./linear-panels-relaxed-i8";
import { dotI16, dotRelaxed, joinLong, lowHalves, sumIntLanes, sumIntLanes2, sumRows } from "./math";
import { INT32_COLUMNS } from "./quantize";

/** Two int32 lanes of the plain module together hold half of this many products: 4096 / 2 x 127 x 8191 < 2^31. */
const CHUNK: i32 = 4096;

/** Where results go, and how: set once a call, read by every tile. */
let outAt: usize = 0;
let outRow: i32 = 0;
let scaleAt: usize = 0;
let rowScaleAt: usize = 0;
let adds: bool = false;

/** Scales the totals [weight row na, weight row nb] (float64) of one activation row and puts them out. */
function emit(row: i32, na: i32, nb: i32, totals: v128): void {
  let scales = v128.load32_zero(scaleAt + (<usize>na << 2));
  scales = v128.load32_lane(scaleAt + (<usize>nb << 2), scales, 1);
  scales = f32x4.mul(scales, v128.load32_splat(rowScaleAt + (<usize>row << 2)));
  let values = f32x4.mul(f32x4.demote_f64x2_zero(totals), scales);
  const at = outAt + ((<usize>row * <usize>outRow) << 2);
  const a = at + (<usize>na << 2);
  const b = at + (<usize>nb << 2);
  if (adds) values = f32x4.add(values, v128.load32_lane(b, v128.load32_zero(a), 1));
  v128.store32_lane(a, values, 0);
  v128.store32_lane(b, values, 1);
}

/** [128 x sum of ha + sum of la, 128 x sum of hb + sum of lb] as float64. */
@inline
function combineDigits(ha: v128, la: v128, hb: v128, lb: v128): v128 {
  return f64x2.add(f64x2.mul(sumIntLanes2(ha, hb), f64x2.splat(128)), sumIntLanes2(la, lb));
}

/** Every activation carries an offset of 8192 in its digits: 8192 times the sums of both weight rows. */
@inline
function offsets(sums: usize, na: i32, nb: i32): v128 {
  let pair = v128.load32_zero(sums + (<usize>na << 2));
  pair = v128.load32_lane(sums + (<usize>nb << 2), pair, 1);
  return f64x2.mul(f64x2.convert_low_i32x4_s(pair), f64x2.splat(8192));
}

/** Scalar end of a row whose length is no multiple of 16: elements `from` to `k`. */
function tail(w: usize, x: usize, from: i32, k: i32): f64 {
  let total: i64 = 0;
  const block = x + (<usize>from << 1);
  for (let i = from; i < k; i++) {
    const j = <usize>(i - from);
    const weight = <i64>load<i8>(w + <usize>i);
    if (ASC_FEATURE_RELAXED_SIMD) {
      total += weight * (<i64>load<u8>(block + j) * 128 + <i64>load<u8>(block + j, 16) - 8192);
    } else {
      total += weight * <i64>load<i16>(block + (j << 1));
    }
  }
  return <f64>total;
}

/** Two weight rows times one activation row. */
function tile2x1(wa: usize, wb: usize, na: i32, nb: i32, x: usize, row: i32, k: i32, sums: usize): void {
  const whole = k & ~15;
  let totals = f64x2.splat(0);
  if (ASC_FEATURE_RELAXED_SIMD) {
    let ha = i32x4.splat(0);
    let la = ha;
    let hb = ha;
    let lb = ha;
    const end = wa + <usize>whole;
    let b = wb;
    let p = x;
    for (let a = wa; a < end; a += 16) {
      const high = v128.load(p);
      const low = v128.load(p, 16);
      const va = v128.load(a);
      const vb = v128.load(b);
      ha = dotRelaxed(va, high, ha);
      la = dotRelaxed(va, low, la);
      hb = dotRelaxed(vb, high, hb);
      lb = dotRelaxed(vb, low, lb);
      b += 16;
      p += 32;
    }
    totals = f64x2.sub(combineDigits(ha, la, hb, lb), offsets(sums, na, nb));
  } else {
    for (let from = 0; from < whole; from += CHUNK) {
      let a0 = i32x4.splat(0);
      let a1 = a0;
      let b0 = a0;
      let b1 = a0;
      let a = wa + <usize>from;
      let b = wb + <usize>from;
      const end = wa + <usize>min(from + CHUNK, whole);
      let p = x + (<usize>from << 1);
      for (; a < end; a += 16) {
        const x0 = v128.load(p);
        const x1 = v128.load(p, 16);
        a0 = dotI16(v128.load8x8_s(a), x0, a0);
        a1 = dotI16(v128.load8x8_s(a, 8), x1, a1);
        b0 = dotI16(v128.load8x8_s(b), x0, b0);
        b1 = dotI16(v128.load8x8_s(b, 8), x1, b1);
        b += 16;
        p += 32;
      }
      totals = f64x2.add(totals, sumIntLanes2(i32x4.add(a0, a1), i32x4.add(b0, b1)));
    }
  }
  if (whole < k) {
    const rest = f64x2.replace_lane(f64x2.splat(tail(wa, x, whole, k)), 1, tail(wb, x, whole, k));
    totals = f64x2.add(totals, rest);
  }
  emit(row, na, nb, totals);
}

/**
 * Four totals, of which each parameter has four lanes to be added up: exact, rounded to float32 once.
 *
 * @param sums of the four weight rows
 */
@inline
function joinRows(
  a: v128,
  b: v128,
  c: v128,
  d: v128,
  la: v128,
  lb: v128,
  lc: v128,
  ld: v128,
  sums: v128,
  isLong: bool,
): v128 {
  if (isLong) return joinLong(sumRows(a, b, c, d), sumRows(la, lb, lc, ld), sums);
  // Sums may wrap on the way; the total fits.
  a = i32x4.add(i32x4.shl(a, 7), la);
  b = i32x4.add(i32x4.shl(b, 7), lb);
  c = i32x4.add(i32x4.shl(c, 7), lc);
  d = i32x4.add(i32x4.shl(d, 7), ld);
  return f32x4.convert_i32x4_s(i32x4.sub(sumRows(a, b, c, d), i32x4.shl(sums, 13)));
}

/** [a, b, c, d] -> [a, b, a, b] */
@inline
function twice(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
}

/** The numbers of weight rows na and nb, as [a, b, a, b]. */
@inline
function loadTwice(at: usize, na: i32, nb: i32): v128 {
  return twice(v128.load32_lane(at + (<usize>nb << 2), v128.load32_zero(at + (<usize>na << 2)), 1));
}

/** Puts out [a, b] of two activation rows. `to`: where row 0's a goes; `far` bytes on, its b. */
@inline
function putTwo(totals: v128, scales: v128, rowScale: usize, to: usize, far: usize): void {
  const pair = v128.load64_zero(rowScale);
  const rows = i8x16.shuffle(pair, pair, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7);
  let values = f32x4.mul(totals, f32x4.mul(scales, rows));
  const next = to + (<usize>outRow << 2);
  if (adds) {
    let before = v128.load32_zero(to);
    before = v128.load32_lane(to + far, before, 1);
    before = v128.load32_lane(next, before, 2);
    before = v128.load32_lane(next + far, before, 3);
    values = f32x4.add(values, before);
  }
  v128.store32_lane(to, values, 0);
  v128.store32_lane(to + far, values, 1);
  v128.store32_lane(next, values, 2);
  v128.store32_lane(next + far, values, 3);
}

/**
 * Two weight rows times two activation rows (relaxed module). `k` is a multiple of 16.
 *
 * @param scales, sums of both weight rows, [a, b, a, b]
 */
function tile2x2(
  wa: usize,
  wb: usize,
  p0: usize,
  stride: usize,
  k: i32,
  scales: v128,
  sums: v128,
  rowScale: usize,
  to: usize,
  far: usize,
): void {
  let ah0 = i32x4.splat(0);
  let al0 = ah0;
  let bh0 = ah0;
  let bl0 = ah0;
  let ah1 = ah0;
  let al1 = ah0;
  let bh1 = ah0;
  let bl1 = ah0;
  const end = wa + <usize>k;
  let p1 = p0 + stride;
  for (let a = wa; a < end; a += 16) {
    const va = v128.load(a);
    const vb = v128.load(wb);
    let digits = v128.load(p0);
    ah0 = dotRelaxed(va, digits, ah0);
    bh0 = dotRelaxed(vb, digits, bh0);
    digits = v128.load(p0, 16);
    al0 = dotRelaxed(va, digits, al0);
    bl0 = dotRelaxed(vb, digits, bl0);
    digits = v128.load(p1);
    ah1 = dotRelaxed(va, digits, ah1);
    bh1 = dotRelaxed(vb, digits, bh1);
    digits = v128.load(p1, 16);
    al1 = dotRelaxed(va, digits, al1);
    bl1 = dotRelaxed(vb, digits, bl1);
    wb += 16;
    p0 += 32;
    p1 += 32;
  }
  const isLong = k > INT32_COLUMNS;
  putTwo(joinRows(ah0, bh0, ah1, bh1, al0, bl0, al1, bl1, sums, isLong), scales, rowScale, to, far);
}

/**
 * Two weight rows times all activation rows, two at a time (relaxed module): eight sums. Twelve, for three rows, are an eighth
 * faster where V8 keeps them in registers (13.6), and take twice as long where it does not (15.0).
 */
function tiles(wa: usize, wb: usize, na: i32, nb: i32, x: usize, stride: usize, rows: i32, k: i32, sums: usize): void {
  const scales = loadTwice(scaleAt, na, nb);
  const both = loadTwice(sums, na, nb);
  const far = <usize>(nb - na) << 2;
  let to = outAt + (<usize>na << 2);
  let rowScale = rowScaleAt;
  let row = 0;
  for (; row + 2 <= rows; row += 2) {
    tile2x2(wa, wb, x, stride, k, scales, both, rowScale, to, far);
    x += stride << 1;
    to += <usize>outRow << 3;
    rowScale += 8;
  }
  if (row < rows) tile2x1(wa, wb, na, nb, x, row, k, sums);
}

/** Longest piece of a row whose total fits an int32 with the activations' offset in it: 1024 x 127 x 16383 < 2^31. */
const PIECE: i32 = 1024;

/** Pieces of a row that a step adds up by themselves. The total of a row that fits an int32 may wrap on the way. */
function piecesOf(k: i32): usize {
  return k <= INT32_COLUMNS ? 1 : <usize>((k + PIECE - 1) / PIECE);
}

/**
 * One activation row times four streams of `rows` weight rows, `far` bytes apart: the dots, int32, offset included. Scales, sums
 * and results are left to {@link putTotals}: twelve more streams would be more than prefetchers follow.
 *
 * @param x digits
 * @param piece bytes of the activations of each of a row's pieces
 * @param to where the total of the first stream's first row goes; those of the other streams `rows` numbers on each
 * @param pitch bytes from one piece's totals to the next one's
 */
function stepTotals(x: usize, k: i32, piece: usize, w: usize, far: usize, rows: usize, to: usize, pitch: usize): void {
  const apart = rows << 2;
  let w0 = w;
  let w1 = w0 + far;
  let w2 = w1 + far;
  let w3 = w2 + far;
  const end = x + (<usize>k << 1);
  for (const stop = to + apart; to < stop; to += 4) {
    let at = to;
    for (let p = x; p < end; at += pitch) {
      let a = i32x4.splat(0);
      let b = i32x4.splat(0);
      let c = i32x4.splat(0);
      let d = i32x4.splat(0);
      const pieceEnd = min(p + piece, end);
      let la = i32x4.splat(0);
      let lb = i32x4.splat(0);
      let lc = i32x4.splat(0);
      let ld = i32x4.splat(0);
      for (; p < pieceEnd; p += 32) {
        const high = v128.load(p);
        const low = v128.load(p, 16);
        let v = v128.load(w0);
        a = dotRelaxed(v, high, a);
        la = dotRelaxed(v, low, la);
        v = v128.load(w1);
        b = dotRelaxed(v, high, b);
        lb = dotRelaxed(v, low, lb);
        v = v128.load(w2);
        c = dotRelaxed(v, high, c);
        lc = dotRelaxed(v, low, lc);
        v = v128.load(w3);
        d = dotRelaxed(v, high, d);
        ld = dotRelaxed(v, low, ld);
        w0 += 16;
        w1 += 16;
        w2 += 16;
        w3 += 16;
      }
      a = i32x4.add(i32x4.shl(a, 7), la);
      b = i32x4.add(i32x4.shl(b, 7), lb);
      c = i32x4.add(i32x4.shl(c, 7), lc);
      d = i32x4.add(i32x4.shl(d, 7), ld);
      const totals = sumRows(a, b, c, d);
      v128.store32_lane(at, totals, 0);
      v128.store32_lane(at + apart, totals, 1);
      v128.store32_lane(at + apart * 2, totals, 2);
      v128.store32_lane(at + apart * 3, totals, 3);
    }
  }
}

/** The low two of four int32 of each piece and of the rows' sums, as exact totals in float64. */
@inline
function addPieces(from: usize, pieces: usize, pitch: usize, sums: usize): v128 {
  let total = f64x2.splat(0);
  for (; pieces > 0; pieces--, from += pitch) total = f64x2.add(total, f64x2.convert_low_i32x4_s(v128.load64_zero(from)));
  return f64x2.sub(total, f64x2.mul(f64x2.convert_low_i32x4_s(v128.load64_zero(sums)), f64x2.splat(8192)));
}

/**
 * Scales the totals of activation row 0 and puts them out: exact, rounded to float32 once.
 *
 * @param n a multiple of 4
 */
function putTotals(from: usize, pieces: usize, n: usize, sums: usize): void {
  const rowScale = v128.load32_splat(rowScaleAt);
  const bytes = n << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    let totals: v128;
    if (pieces > 1) {
      const first = f32x4.demote_f64x2_zero(addPieces(from + at, pieces, bytes, sums + at));
      const second = f32x4.demote_f64x2_zero(addPieces(from + at + 8, pieces, bytes, sums + at + 8));
      totals = lowHalves(first, second);
    } else {
      totals = v128.load(from + at);
      totals = f32x4.convert_i32x4_s(i32x4.sub(totals, i32x4.shl(v128.load(sums + at), 13)));
    }
    let values = f32x4.mul(totals, f32x4.mul(v128.load(scaleAt + at), rowScale));
    if (adds) values = f32x4.add(values, v128.load(outAt + at));
    v128.store(outAt + at, values);
  }
}

/** How far two streams are apart within a page of memory, that of the next stream but one included. */
@inline
function apartInPage(bytes: i32): i32 {
  const one = bytes & 4095;
  const two = (bytes << 1) & 4095;
  return min(one, 4096 - one) + min(two, 4096 - two);
}

/**
 * Rows of each of four streams through n weight rows of k bytes: a quarter, or so few less that the streams do not come to
 * the ends of their pages together. Hardware prefetchers stop at a page's end; four stops at once are a tenth of a step.
 */
export function streamRows(n: i32, k: i32): i32 {
  const quarter = n >> 2;
  let best = quarter;
  let most = apartInPage(quarter * k);
  for (let rows = quarter - 1; rows >= quarter - 7 && rows > 0; rows--) {
    const apart = apartInPage(rows * k);
    if (apart <= most) continue;
    most = apart;
    best = rows;
  }
  return best;
}

/** One activation row times the first `n` weight rows: the token step (relaxed module). @param k of 16, @param n of 4 a multiple */
function stepRow(x: usize, k: i32, w: usize, sums: usize, n: i32, scratch: usize): void {
  const pieces = piecesOf(k);
  // Where nothing is added to, the place of a result holds its total before.
  const totals = !adds && pieces == 1 ? outAt : scratch;
  const piece = <usize>(pieces > 1 ? PIECE : k) << 1;
  const pitch = <usize>n << 2;
  const rows = <usize>streamRows(n, k);
  stepTotals(x, k, piece, w, rows * <usize>k, rows, totals, pitch);
  // The last stream goes on through what is left, four neighbours at a time.
  for (let row = rows << 2; row < <usize>n; row += 4) {
    stepTotals(x, k, piece, w + row * <usize>k, <usize>k, 1, totals + (row << 2), pitch);
  }
  putTotals(totals, pieces, <usize>n, sums);
}

/**
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n). In the plain
 * module for what linear-pairs-i8.ts leaves: an odd number of weight rows, or of columns that is no multiple of 16.
 *
 * @param q activations from quantizeRows [rows, ceil(k / 16) x 32 bytes], `rowScales` [rows] f32
 * @param w [n, k] int8, `scales` [n] f32, `sums` [n] int32 from rowSums (read by the relaxed module only)
 * @param out [rows, n] f32, rows `ldo` elements apart
 * @param accumulate 1 to add to out, 0 to set it
 * @param scratch to use by a single row: n x 4 bytes to accumulate, as much for every 1024 of a k above 2048; by many rows, in the
 *   relaxed module, 8192 bytes and, for every four rows, 8 x k + 256 bytes
 */
export function linearI8(
  q: usize,
  rowScales: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  sums: usize,
  n: i32,
  out: usize,
  ldo: i32,
  accumulate: i32,
  scratch: usize,
): void {
  outAt = out;
  outRow = ldo;
  scaleAt = scales;
  rowScaleAt = rowScales;
  adds = accumulate != 0;
  const isWhole = (k & 15) == 0;
  if (ASC_FEATURE_RELAXED_SIMD && rows == 1 && isWhole) {
    stepRow(q, k, w, sums, n & ~3, scratch);
    for (let na = n & ~3; na < n; na++) {
      const wa = w + <usize>na * <usize>k;
      tile2x1(wa, wa, na, na, q, 0, k, sums);
    }
    return;
  }
  if (ASC_FEATURE_RELAXED_SIMD && rows >= PANEL_ROWS && isWhole) {
    const done = linearPanelsRelaxed(q, rowScales, rows, k, w, scales, sums, n, out, <usize>ldo << 2, adds, scratch);
    n -= done;
    w += <usize>done * <usize>k;
    const bytes = <usize>done << 2;
    scaleAt += bytes;
    sums += bytes;
    outAt += bytes;
  }
  const stride = <usize>(((k + 15) >> 4) << 5);
  // The far stream begins in the middle; an odd last row is paired with itself.
  const half = (n + 1) >> 1;
  for (let na = 0; na < half; na++) {
    const nb = na + half < n ? na + half : na;
    const wa = w + <usize>na * <usize>k;
    const wb = w + <usize>nb * <usize>k;
    if (ASC_FEATURE_RELAXED_SIMD && rows > 1 && isWhole && nb != na) {
      tiles(wa, wb, na, nb, q, stride, rows, k, sums);
      continue;
    }
    for (let row = 0, x = q; row < rows; row++, x += stride) tile2x1(wa, wb, na, nb, x, row, k, sums);
  }
}

/**
 * Sum of each int8 weight row over its whole blocks of 16 (the scalar tail needs no correction). The plain module needs none.
 *
 * @param w [n, k] int8
 * @param sums [n] int32
 */
export function rowSums(w: usize, n: i32, k: i32, sums: usize): void {
  if (!ASC_FEATURE_RELAXED_SIMD) return;
  const whole = <usize>(k & ~15);
  for (let row = 0; row < n; row++) {
    let acc = i32x4.splat(0);
    for (let i: usize = 0; i < whole; i += 16) {
      acc = i32x4.add(acc, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v128.load(w + i))));
    }
    store<i32>(sums + (<usize>row << 2), <i32>sumIntLanes(acc));
    w += <usize>k;
  }
}

/**
 * What the relaxed dot gives outside its range tells how this machine computes it, without a clock: 129540 is one
 * instruction on x86 (vpdpbusd), -508 a signed dot (ARM), 65534 the slower pair of multiplies with saturation.
 * The plain module answers 0.
 *
 * @param scratch 32 bytes to use
 */
export function probeDot(scratch: usize): i32 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(scratch, i8x16.splat(127));
    v128.store(scratch, i8x16.splat(-1), 16);
    return i32x4.extract_lane(dotRelaxed(v128.load(scratch), v128.load(scratch, 16), i32x4.splat(0)), 0);
  }
  return 0;
}
