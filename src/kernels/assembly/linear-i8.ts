// Linear layers over int8 weights [out, in] and 14-bit activations (quantize.ts). All sums are exact integers, turned
// into float64 and scaled once, so the relaxed and the plain module give the same bits.
//
// Weight rows are read in two streams, one from each half of the matrix: hardware prefetchers follow long sequential
// streams, and each pair of rows shares its loads of the activations (DESIGN.md, decision 1; `npm run bench`).
import { sumIntLanes } from "./math";

/** An int32 lane of the plain module holds this many elements of a row: 8192 / 4 x 127 x 8191 < 2^31. */
const CHUNK: i32 = 8192;

/** Where results go, and how: set once a call, read by every tile. */
let outAt: usize = 0;
let outRow: i32 = 0;
let scaleAt: usize = 0;
let rowScaleAt: usize = 0;
let adds: bool = false;

function emit(row: i32, column: i32, total: f64): void {
  const scale = <f64>load<f32>(rowScaleAt + (<usize>row << 2)) * <f64>load<f32>(scaleAt + (<usize>column << 2));
  const at = outAt + ((<usize>row * <usize>outRow + <usize>column) << 2);
  const value = <f32>(total * scale);
  store<f32>(at, adds ? load<f32>(at) + value : value);
}

function dotRelaxed(w: v128, x: v128, acc: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
}

function dotPlain(w: v128, x: v128, acc: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
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
  let ta: f64 = 0;
  let tb: f64 = 0;
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
    // Every digit pair carries an offset of 8192: take 8192 times the row's sum back.
    ta = sumIntLanes(ha) * 128 + sumIntLanes(la) - 8192.0 * <f64>load<i32>(sums + (<usize>na << 2));
    tb = sumIntLanes(hb) * 128 + sumIntLanes(lb) - 8192.0 * <f64>load<i32>(sums + (<usize>nb << 2));
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
        a0 = dotPlain(v128.load8x8_s(a), x0, a0);
        a1 = dotPlain(v128.load8x8_s(a, 8), x1, a1);
        b0 = dotPlain(v128.load8x8_s(b), x0, b0);
        b1 = dotPlain(v128.load8x8_s(b, 8), x1, b1);
        b += 16;
        p += 32;
      }
      // Added as float64: two int32 lanes may not fit one.
      ta += sumIntLanes(a0) + sumIntLanes(a1);
      tb += sumIntLanes(b0) + sumIntLanes(b1);
    }
  }
  if (whole < k) {
    ta += tail(wa, x, whole, k);
    tb += tail(wb, x, whole, k);
  }
  emit(row, na, ta);
  if (nb != na) emit(row, nb, tb);
}

/** Two weight rows times two activation rows (relaxed module). */
function tile2x2(wa: usize, wb: usize, na: i32, nb: i32, x: usize, stride: usize, row: i32, k: i32, sums: usize): void {
  let ah0 = i32x4.splat(0);
  let al0 = ah0;
  let ah1 = ah0;
  let al1 = ah0;
  let bh0 = ah0;
  let bl0 = ah0;
  let bh1 = ah0;
  let bl1 = ah0;
  const end = wa + <usize>k;
  let b = wb;
  let p = x;
  for (let a = wa; a < end; a += 16) {
    const va = v128.load(a);
    const vb = v128.load(b);
    const q = p + stride;
    let digits = v128.load(p);
    ah0 = dotRelaxed(va, digits, ah0);
    bh0 = dotRelaxed(vb, digits, bh0);
    digits = v128.load(p, 16);
    al0 = dotRelaxed(va, digits, al0);
    bl0 = dotRelaxed(vb, digits, bl0);
    digits = v128.load(q);
    ah1 = dotRelaxed(va, digits, ah1);
    bh1 = dotRelaxed(vb, digits, bh1);
    digits = v128.load(q, 16);
    al1 = dotRelaxed(va, digits, al1);
    bl1 = dotRelaxed(vb, digits, bl1);
    b += 16;
    p += 32;
  }
  const oa = 8192.0 * <f64>load<i32>(sums + (<usize>na << 2));
  const ob = 8192.0 * <f64>load<i32>(sums + (<usize>nb << 2));
  emit(row, na, sumIntLanes(ah0) * 128 + sumIntLanes(al0) - oa);
  emit(row + 1, na, sumIntLanes(ah1) * 128 + sumIntLanes(al1) - oa);
  emit(row, nb, sumIntLanes(bh0) * 128 + sumIntLanes(bl0) - ob);
  emit(row + 1, nb, sumIntLanes(bh1) * 128 + sumIntLanes(bl1) - ob);
}

/** Two weight rows times four activation rows (plain module): a weight is widened once for four products. */
function tile2x4(wa: usize, wb: usize, na: i32, nb: i32, x: usize, stride: usize, row: i32, k: i32): void {
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  let b = wb;
  let p0 = x;
  let p1 = x + stride;
  let p2 = p1 + stride;
  let p3 = p2 + stride;
  const end = wa + <usize>k;
  for (let a = wa; a < end; a += 8) {
    const va = v128.load8x8_s(a);
    const vb = v128.load8x8_s(b);
    let v = v128.load(p0);
    a0 = dotPlain(va, v, a0);
    b0 = dotPlain(vb, v, b0);
    v = v128.load(p1);
    a1 = dotPlain(va, v, a1);
    b1 = dotPlain(vb, v, b1);
    v = v128.load(p2);
    a2 = dotPlain(va, v, a2);
    b2 = dotPlain(vb, v, b2);
    v = v128.load(p3);
    a3 = dotPlain(va, v, a3);
    b3 = dotPlain(vb, v, b3);
    b += 8;
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
  }
  emit(row, na, sumIntLanes(a0));
  emit(row + 1, na, sumIntLanes(a1));
  emit(row + 2, na, sumIntLanes(a2));
  emit(row + 3, na, sumIntLanes(a3));
  emit(row, nb, sumIntLanes(b0));
  emit(row + 1, nb, sumIntLanes(b1));
  emit(row + 2, nb, sumIntLanes(b2));
  emit(row + 3, nb, sumIntLanes(b3));
}

/**
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n).
 *
 * @param q activations from quantizeRows [rows, ceil(k / 16) x 32 bytes], `rowScales` [rows] f32
 * @param w [n, k] int8, `scales` [n] f32, `sums` [n] int32 from rowSums (read by the relaxed module only)
 * @param out [rows, n] f32, rows `ldo` elements apart
 * @param accumulate 1 to add to out, 0 to set it
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
): void {
  outAt = out;
  outRow = ldo;
  scaleAt = scales;
  rowScaleAt = rowScales;
  adds = accumulate != 0;
  const stride = <usize>(((k + 15) >> 4) << 5);
  // The far stream begins in the middle; an odd last row is paired with itself.
  const half = (n + 1) >> 1;
  const tiles = ASC_FEATURE_RELAXED_SIMD ? (k & 15) == 0 : (k & 15) == 0 && k <= CHUNK;
  for (let na = 0; na < half; na++) {
    const nb = na + half < n ? na + half : na;
    const wa = w + <usize>na * <usize>k;
    const wb = w + <usize>nb * <usize>k;
    let row = 0;
    let x = q;
    if (tiles && nb != na) {
      if (ASC_FEATURE_RELAXED_SIMD) {
        for (; row + 2 <= rows; row += 2, x += stride * 2) tile2x2(wa, wb, na, nb, x, stride, row, k, sums);
      } else {
        for (; row + 4 <= rows; row += 4, x += stride * 4) tile2x4(wa, wb, na, nb, x, stride, row, k);
      }
    }
    for (; row < rows; row++, x += stride) tile2x1(wa, wb, na, nb, x, row, k, sums);
  }
}

/**
 * Sum of each int8 weight row over its whole blocks of 16 (the scalar tail needs no correction).
 *
 * @param w [n, k] int8
 * @param sums [n] int32
 */
export function rowSums(w: usize, n: i32, k: i32, sums: usize): void {
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
