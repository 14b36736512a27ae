import { loadSome, maxLanes, roundLanes, sumLanes } from "./math";

/** Largest magnitude of a quantized activation: 14 bits, two 7-bit digits. */
export const LEVELS: f32 = 8191.0;

/** Columns whose total with int8 weights fits an int32: 2048 x 127 x 8191 < 2^31. On the way to it sums may wrap. */
export const INT32_COLUMNS: i32 = 2048;

@inline
export function piecesOf(k: i32): usize {
  return <usize>((k + INT32_COLUMNS - 1) / INT32_COLUMNS);
}

/** What is done to a number before it is quantized. */
const AS_IT_IS: i32 = 0;
const CUT_AT_ZERO: i32 = 1;
const TIMES_WEIGHT: i32 = 2;

@inline
function prepared(v: v128, weight: usize, how: i32): v128 {
  if (how == CUT_AT_ZERO) return f32x4.pmax(f32x4.splat(0), v);
  if (how == TIMES_WEIGHT) return f32x4.mul(v, v128.load(weight));
  return v;
}

function preparedSome(at: usize, weight: usize, n: i32, how: i32): v128 {
  const v = loadSome(at, n);
  if (how == CUT_AT_ZERO) return f32x4.pmax(f32x4.splat(0), v);
  if (how == TIMES_WEIGHT) return f32x4.mul(v, loadSome(weight, n));
  return v;
}

/** Sixteen levels: in the relaxed module as digits with their offset, in the plain one as int16. */
function putBlock(v0: v128, v1: v128, v2: v128, v3: v128, to: usize): void {
  const a = i16x8.narrow_i32x4_s(v0, v1);
  const b = i16x8.narrow_i32x4_s(v2, v3);
  if (ASC_FEATURE_RELAXED_SIMD) {
    const mask = i16x8.splat(127);
    v128.store(to, i8x16.narrow_i16x8_u(i16x8.shr_u(a, 7), i16x8.shr_u(b, 7)));
    v128.store(to, i8x16.narrow_i16x8_u(v128.and(a, mask), v128.and(b, mask)), 16);
  } else {
    v128.store(to, a);
    v128.store(to, b, 16);
  }
}

/** What is added to a level before it is cut into digits. */
const OFFSET: i32 = ASC_FEATURE_RELAXED_SIMD ? 8192 : 0;

/** Quantizes one row whose largest prepared magnitude is known. */
function putRow(x: usize, weight: usize, k: i32, how: i32, largest: f32, q: usize): void {
  // A row of zeros, or one so small that its scale vanishes, is zero.
  const by = f32x4.splat(largest / LEVELS > 0 ? LEVELS / largest : 0);
  let i = 0;
  for (; i + 16 <= k; i += 16, x += 64, weight += 64, q += 32) {
    putBlock(
      roundLanes(f32x4.mul(prepared(v128.load(x), weight, how), by), OFFSET),
      roundLanes(f32x4.mul(prepared(v128.load(x, 16), weight + 16, how), by), OFFSET),
      roundLanes(f32x4.mul(prepared(v128.load(x, 32), weight + 32, how), by), OFFSET),
      roundLanes(f32x4.mul(prepared(v128.load(x, 48), weight + 48, how), by), OFFSET),
      q,
    );
  }
  if (i == k) return;
  const n = k - i;
  putBlock(
    roundLanes(f32x4.mul(preparedSome(x, weight, n, how), by), OFFSET),
    n > 4 ? roundLanes(f32x4.mul(preparedSome(x + 16, weight + 16, n - 4, how), by), OFFSET) : i32x4.splat(OFFSET),
    n > 8 ? roundLanes(f32x4.mul(preparedSome(x + 32, weight + 32, n - 8, how), by), OFFSET) : i32x4.splat(OFFSET),
    n > 12 ? roundLanes(f32x4.mul(preparedSome(x + 48, weight + 48, n - 12, how), by), OFFSET) : i32x4.splat(OFFSET),
    q,
  );
}

function largestOf(x: usize, k: i32, how: i32): f32 {
  let m = f32x4.splat(0);
  let n = m;
  let i = 0;
  for (; i + 8 <= k; i += 8, x += 32) {
    if (how == CUT_AT_ZERO) {
      m = f32x4.pmax(m, v128.load(x));
      n = f32x4.pmax(n, v128.load(x, 16));
    } else {
      m = f32x4.pmax(m, f32x4.abs(v128.load(x)));
      n = f32x4.pmax(n, f32x4.abs(v128.load(x, 16)));
    }
  }
  for (; i < k; i += 4, x += 16) {
    const v = loadSome(x, k - i);
    m = f32x4.pmax(m, how == CUT_AT_ZERO ? v : f32x4.abs(v));
  }
  return maxLanes(f32x4.pmax(m, n));
}

/** Largest of max(x, 0) over k f32. */
export function largestPositive(x: usize, k: i32): f32 {
  return largestOf(x, k, CUT_AT_ZERO);
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
  quantize(x, rows, k, AS_IT_IS, q, scales);
}

/** Quantizes max(x, 0); parameters as {@link quantizeRows}. */
export function reluQuantizeRows(x: usize, rows: i32, k: i32, q: usize, scales: usize): void {
  quantize(x, rows, k, CUT_AT_ZERO, q, scales);
}

function quantize(x: usize, rows: i32, k: i32, how: i32, q: usize, scales: usize): void {
  const stride = <usize>(((k + 15) >> 4) << 5);
  for (let row = 0; row < rows; row++) {
    const largest = largestOf(x, k, how);
    store<f32>(scales + (<usize>row << 2), largest / LEVELS);
    putRow(x, 0, k, how, largest, q);
    x += <usize>k << 2;
    q += stride;
  }
}

/**
 * T5LayerNorm and quantization in one: of y = x / sqrt(mean(x^2) + epsilon) x weight x factor the levels are those of
 * x x weight, for the root divides out; only the scale knows it.
 *
 * @param x [rows, k] f32, `weight` [k] f32
 * @param factor 1, or the scale of the decoder's output (T5 v1.0: k^-0.5)
 * @param q, scales as of {@link quantizeRows}
 */
export function normQuantizeRows(
  x: usize,
  weight: usize,
  rows: i32,
  k: i32,
  epsilon: f32,
  factor: f32,
  q: usize,
  scales: usize,
): void {
  const stride = <usize>(((k + 15) >> 4) << 5);
  for (let row = 0; row < rows; row++) {
    let squares = f32x4.splat(0);
    let more = squares;
    let m = squares;
    let at = x;
    let w = weight;
    let i = 0;
    for (; i + 8 <= k; i += 8, at += 32, w += 32) {
      const a = v128.load(at);
      const b = v128.load(at, 16);
      squares = f32x4.add(squares, f32x4.mul(a, a));
      more = f32x4.add(more, f32x4.mul(b, b));
      m = f32x4.pmax(m, f32x4.abs(f32x4.mul(a, v128.load(w))));
      m = f32x4.pmax(m, f32x4.abs(f32x4.mul(b, v128.load(w, 16))));
    }
    for (; i < k; i += 4, at += 16, w += 16) {
      const a = loadSome(at, k - i);
      squares = f32x4.add(squares, f32x4.mul(a, a));
      m = f32x4.pmax(m, f32x4.abs(f32x4.mul(a, loadSome(w, k - i))));
    }
    const largest = maxLanes(m);
    const inverse: f32 = factor / sqrt(sumLanes(f32x4.add(squares, more)) / <f32>k + epsilon);
    store<f32>(scales + (<usize>row << 2), (largest / LEVELS) * inverse);
    putRow(x, weight, k, TIMES_WEIGHT, largest, q);
    x += <usize>k << 2;
    q += stride;
  }
}
