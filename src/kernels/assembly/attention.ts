import { exp1, exp4, sumLanes } from "./math";

/** Scores of one query head against all keys: scores[j] = q . k[j] + bias[j]. Returns the largest. */
function scoreKeys(q: usize, k: usize, stride: usize, bias: usize, scores: usize, keys: i32, dKv: i32): f32 {
  let largest: f32 = -Infinity;
  const bytes = <usize>dKv << 2;
  const whole = <usize>(dKv & ~7) << 2;
  for (let j = 0; j < keys; j++, k += stride) {
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

/** out = sum over j of weights[j] v[j], times `factor`. */
function mixValues(weights: usize, v: usize, stride: usize, out: usize, keys: i32, dKv: i32, factor: f32): void {
  const by = f32x4.splat(factor);
  let d = 0;
  for (; d + 16 <= dKv; d += 16) {
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let e = a;
    let at = v + (<usize>d << 2);
    for (let j = 0; j < keys; j++, at += stride) {
      const weight = v128.load32_splat(weights + (<usize>j << 2));
      a = f32x4.add(a, f32x4.mul(weight, v128.load(at)));
      b = f32x4.add(b, f32x4.mul(weight, v128.load(at, 16)));
      c = f32x4.add(c, f32x4.mul(weight, v128.load(at, 32)));
      e = f32x4.add(e, f32x4.mul(weight, v128.load(at, 48)));
    }
    const to = out + (<usize>d << 2);
    v128.store(to, f32x4.mul(a, by));
    v128.store(to, f32x4.mul(b, by), 16);
    v128.store(to, f32x4.mul(c, by), 32);
    v128.store(to, f32x4.mul(e, by), 48);
  }
  for (; d < dKv; d++) {
    let total: f32 = 0;
    let at = v + (<usize>d << 2);
    for (let j = 0; j < keys; j++, at += stride) total += load<f32>(weights + (<usize>j << 2)) * load<f32>(at);
    store<f32>(out + (<usize>d << 2), total * factor);
  }
}

/**
 * T5Attention without its projections: softmax(q k^T + bias) v for each row and head; scores are not scaled by
 * 1 / sqrt(dKv).
 *
 * @param q [rows, heads x dKv] f32
 * @param k, v [keys, heads x dKv] f32
 * @param bias for head h, query row i and key j: bias[h x biasHead + j - i], already at the first row's origin;
 *   0 for none
 * @param out [rows, heads x dKv] f32
 * @param scores [keys] f32 to use
 */
export function attend(
  q: usize,
  k: usize,
  v: usize,
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
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const at = <usize>head * headBytes;
      const rowBias = bias ? bias + (<usize>(head * biasHead) << 2) - (<usize>row << 2) : 0;
      const largest = scoreKeys(q + at, k + at, stride, rowBias, scores, keys, dKv);
      const total = exponentiate(scores, keys, largest);
      mixValues(scores, v + at, stride, out + at, keys, dKv, 1 / total);
    }
    q += stride;
    out += stride;
  }
}
