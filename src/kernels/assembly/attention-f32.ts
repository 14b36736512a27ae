import { exp1, exp4, highHalves, highWords, lowHalves, lowWords, maxLanes, sumLanes } from "./math";

/** [sum of a, sum of b, sum of c, sum of d], each in the order of sumLanes. */
function sumRows(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(
    lowWords(a, b),
    highWords(a, b),
  );
  const cd = f32x4.add(
    lowWords(c, d),
    highWords(c, d),
  );
  return f32x4.add(
    lowHalves(ab, cd),
    highHalves(ab, cd),
  );
}

/** The numbers at `at` and at one, two, three times `step` bytes from there. */
function loadApart(at: usize, step: usize): v128 {
  let v = v128.load32_zero(at);
  v = v128.load32_lane(at + step, v, 1);
  v = v128.load32_lane(at + step * 2, v, 2);
  return v128.load32_lane(at + step * 3, v, 3);
}

/** Puts the lanes where {@link loadApart} reads them. */
function storeApart(at: usize, step: usize, v: v128): void {
  v128.store32_lane(at, v, 0);
  v128.store32_lane(at + step, v, 1);
  v128.store32_lane(at + step * 2, v, 2);
  v128.store32_lane(at + step * 3, v, 3);
}

/** Scores of one query against all keys: scores[j] = q . k[j] + bias[j]. Returns the largest. */
function scoreKeys(q: usize, k: usize, bias: usize, scores: usize, keys: i32, dKv: i32): f32 {
  let largest: f32 = -Infinity;
  const bytes = <usize>dKv << 2;
  const whole = <usize>(dKv & ~7) << 2;
  let j = 0;
  // Four keys at a time share their loads of the query: one from each quarter, for hardware prefetchers follow long
  // sequential streams.
  const quarter = keys >> 2;
  if (whole == bytes && quarter > 0) {
    let most = f32x4.splat(-Infinity);
    const apart = <usize>quarter << 2;
    let k1 = k + <usize>quarter * bytes;
    let k2 = k1 + <usize>quarter * bytes;
    let k3 = k2 + <usize>quarter * bytes;
    const stop = q + bytes;
    for (let i = 0; i < quarter; i++) {
      let a = f32x4.splat(0);
      let b = a;
      let c = a;
      let d = a;
      for (let p = q; p < stop; p += 32, k += 32, k1 += 32, k2 += 32, k3 += 32) {
        let v = v128.load(p);
        a = f32x4.add(a, f32x4.mul(v, v128.load(k)));
        b = f32x4.add(b, f32x4.mul(v, v128.load(k1)));
        c = f32x4.add(c, f32x4.mul(v, v128.load(k2)));
        d = f32x4.add(d, f32x4.mul(v, v128.load(k3)));
        v = v128.load(p, 16);
        a = f32x4.add(a, f32x4.mul(v, v128.load(k, 16)));
        b = f32x4.add(b, f32x4.mul(v, v128.load(k1, 16)));
        c = f32x4.add(c, f32x4.mul(v, v128.load(k2, 16)));
        d = f32x4.add(d, f32x4.mul(v, v128.load(k3, 16)));
      }
      let four = sumRows(a, b, c, d);
      if (bias) four = f32x4.add(four, loadApart(bias + (<usize>i << 2), apart));
      storeApart(scores + (<usize>i << 2), apart, four);
      most = f32x4.pmax(most, four);
    }
    largest = maxLanes(most);
    j = quarter << 2;
    k = k3;
  }
  for (; j < keys; j++, k += bytes) {
    let a = f32x4.splat(0);
    let b = a;
    let i: usize = 0;
    for (; i < whole; i += 32) {
      a = f32x4.add(a, f32x4.mul(v128.load(q + i), v128.load(k + i)));
      b = f32x4.add(b, f32x4.mul(v128.load(q + i, 16), v128.load(k + i, 16)));
    }
    let score = sumLanes(f32x4.add(a, b));
    for (; i < bytes; i += 4) score += load<f32>(q + i) * load<f32>(k + i);
    if (bias) score += load<f32>(bias + (<usize>j << 2));
    store<f32>(scores + (<usize>j << 2), score);
    largest = max(largest, score);
  }
  return largest;
}

/** scores = e^(scores - largest); returns their sum. */
function exponentiate(scores: usize, keys: i32, largest: f32): f32 {
  const by = f32x4.splat(largest);
  let sums = f32x4.splat(0);
  let j = 0;
  for (; j + 4 <= keys; j += 4) {
    const at = scores + (<usize>j << 2);
    const e = exp4(f32x4.sub(v128.load(at), by));
    v128.store(at, e);
    sums = f32x4.add(sums, e);
  }
  let total = sumLanes(sums);
  for (; j < keys; j++) {
    const at = scores + (<usize>j << 2);
    const e = exp1(load<f32>(at) - largest);
    store<f32>(at, e);
    total += e;
  }
  return total;
}

/** Keys whose values are mixed before the next ones are read: their rows are one stretch of a few kilobytes. */
const MIXED_KEYS: i32 = 16;

/** out = sum over j of weights[j] v[j], times `factor`. */
function mixValues(weights: usize, v: usize, out: usize, keys: i32, dKv: i32, factor: f32): void {
  const by = f32x4.splat(factor);
  const stride = <usize>dKv << 2;
  const wide = dKv & ~31;
  for (let first = 0; first < keys; first += MIXED_KEYS) {
    const end = min(first + MIXED_KEYS, keys);
    const from = v + <usize>first * stride;
    for (let d = 0; d < wide; d += 32) {
      const to = out + (<usize>d << 2);
      let a0 = f32x4.splat(0);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let a4 = a0;
      let a5 = a0;
      let a6 = a0;
      let a7 = a0;
      if (first) {
        a0 = v128.load(to);
        a1 = v128.load(to, 16);
        a2 = v128.load(to, 32);
        a3 = v128.load(to, 48);
        a4 = v128.load(to, 64);
        a5 = v128.load(to, 80);
        a6 = v128.load(to, 96);
        a7 = v128.load(to, 112);
      }
      let at = from + (<usize>d << 2);
      for (let j = first; j < end; j++, at += stride) {
        const weight = v128.load32_splat(weights + (<usize>j << 2));
        a0 = f32x4.add(a0, f32x4.mul(weight, v128.load(at)));
        a1 = f32x4.add(a1, f32x4.mul(weight, v128.load(at, 16)));
        a2 = f32x4.add(a2, f32x4.mul(weight, v128.load(at, 32)));
        a3 = f32x4.add(a3, f32x4.mul(weight, v128.load(at, 48)));
        a4 = f32x4.add(a4, f32x4.mul(weight, v128.load(at, 64)));
        a5 = f32x4.add(a5, f32x4.mul(weight, v128.load(at, 80)));
        a6 = f32x4.add(a6, f32x4.mul(weight, v128.load(at, 96)));
        a7 = f32x4.add(a7, f32x4.mul(weight, v128.load(at, 112)));
      }
      v128.store(to, a0);
      v128.store(to, a1, 16);
      v128.store(to, a2, 32);
      v128.store(to, a3, 48);
      v128.store(to, a4, 64);
      v128.store(to, a5, 80);
      v128.store(to, a6, 96);
      v128.store(to, a7, 112);
    }
  }
  for (let d = 0; d < wide; d += 4) {
    const to = out + (<usize>d << 2);
    v128.store(to, f32x4.mul(v128.load(to), by));
  }
  let d = wide;
  for (; d + 4 <= dKv; d += 4) {
    let a = f32x4.splat(0);
    let at = v + (<usize>d << 2);
    for (let j = 0; j < keys; j++, at += stride) {
      a = f32x4.add(a, f32x4.mul(v128.load32_splat(weights + (<usize>j << 2)), v128.load(at)));
    }
    v128.store(out + (<usize>d << 2), f32x4.mul(a, by));
  }
  for (; d < dKv; d++) {
    let total: f32 = 0;
    let at = v + (<usize>d << 2);
    for (let j = 0; j < keys; j++, at += stride) total += load<f32>(weights + (<usize>j << 2)) * load<f32>(at);
    store<f32>(out + (<usize>d << 2), total * factor);
  }
}

/**
 * T5Attention without its projections over a float32 cache: softmax(q k^T + bias) v for each head and row; scores are not
 * scaled by 1 / sqrt(dKv).
 *
 * @param q [rows, heads x dKv] f32, rows `ldq` numbers apart
 * @param cache keys [heads, room, dKv] f32 of one layer, then its values, of which the first `keys` of a head count: one
 *   head is one stretch of memory
 * @param room keys that a head has room for
 * @param bias for head h, query row i and key j: bias[h x biasHead + j - i], already at the first row's origin;
 *   0 for none
 * @param out [rows, heads x dKv] f32
 * @param scores [keys] f32 to use
 */
export function attendF32(
  q: usize,
  ldq: i32,
  cache: usize,
  room: i32,
  bias: usize,
  biasHead: i32,
  out: usize,
  rows: i32,
  keys: i32,
  heads: i32,
  dKv: i32,
  scores: usize,
): void {
  const headBytes = <usize>dKv << 2;
  const stride = headBytes * <usize>heads;
  const values = cache + stride * <usize>room;
  for (let head = 0; head < heads; head++) {
    const at = <usize>head * headBytes;
    const first = at * <usize>room;
    for (let row = 0; row < rows; row++) {
      const rowBias = bias ? bias + (<usize>(head * biasHead) << 2) - (<usize>row << 2) : 0;
      const query = q + ((<usize>row * <usize>ldq) << 2) + at;
      const largest = scoreKeys(query, cache + first, rowBias, scores, keys, dKv);
      const total = exponentiate(scores, keys, largest);
      mixValues(scores, values + first, out + <usize>row * stride + at, keys, dKv, 1 / total);
    }
  }
}

/**
 * Stores keys in a cache as attendF32 reads them.
 *
 * @param from [rows, heads x dKv] f32, rows `ldf` numbers apart
 * @param cache from its token `first` on
 */
export function storeKeysF32(
  from: usize,
  ldf: i32,
  rows: i32,
  heads: i32,
  dKv: i32,
  cache: usize,
  room: i32,
  first: i32,
): void {
  const headBytes = <usize>dKv << 2;
  for (let row = 0; row < rows; row++, from += <usize>ldf << 2) {
    let at = cache + <usize>(first + row) * headBytes;
    for (let head = 0; head < heads; head++) {
      memory.copy(at, from + <usize>head * headBytes, headBytes);
      at += <usize>room * headBytes;
    }
  }
}

/** Stores values; parameters as {@link storeKeysF32}. */
export function storeValuesF32(
  from: usize,
  ldf: i32,
  rows: i32,
  heads: i32,
  dKv: i32,
  cache: usize,
  room: i32,
  first: i32,
): void {
  const values = cache + ((<usize>heads * <usize>room * <usize>dKv) << 2);
  storeKeysF32(from, ldf, rows, heads, dKv, values, room, first);
}
