// Attention over keys and values in int8, a float32 scale a head and token; queries and weights have 14 bits. Every dot is
// an exact integer, rounded to float32 once: the relaxed and the plain module give the same bits.
//
// A cache holds one layer's keys and values of one sequence, with room for a multiple of 16 tokens; D is dKv, rounded up to
// a multiple of 4. First the keys, head after head:
//   scales [room] f32, sums [room] int32 (x 8192)
//   keys [room / 16][D / 4][16 tokens][4] int8: four numbers of a key lie together, those of 16 keys side by side
// then the values, head after head:
//   scales [room] f32
//   values [D / 16][room / 4][16][4 tokens] int8: a number of four tokens' values together; the last tile may be narrower
// So a lane of a dot is a key, or a number of the output, and nothing is added across lanes; and a step reads the keys of
// all heads in one stretch of memory, then the values.
//
// In the plain module the first and the third of four numbers lie with 128 added, as bytes without a sign: a mask widens them
// to int16, a shift the other two. Their sums are too large by 128 x the sum of what they are multiplied with.
import { mixValues4, scoreKeys4, tooMuch } from "./attention-rows-i8";
import { fetch, fetchPieces } from "./fetch";
import { dotI16, dotRelaxed, evenBytesMask, expSixteen, loadSome, maxLanes, roundLanes, sumLanes, sumLanesI32 } from "./math";

/** Tokens of a block of keys. */
const BLOCK: i32 = 16;
/** Largest quantized query: 14 bits with a sign. */
const QUERY_LEVELS: f32 = 8191;
/** Largest quantized weight: 14 bits without one. */
const WEIGHT_LEVELS: f32 = 16383;
/** Tokens whose products fit an int32 together: 1024 x 127 x 16383 < 2^31. */
const CHUNK: usize = 1024;

@inline
function padded(dKv: i32): i32 {
  return (dKv + 3) & ~3;
}

/** A head's keys with their scales and sums. */
@inline
function keyBytes(room: i32, dKv: i32): usize {
  return <usize>room * <usize>(padded(dKv) + 8);
}

/** Bytes of four tokens in the tile of values that begins at number `tile`. */
@inline
function tileBytes(tile: i32, dKv: i32): i32 {
  return min(16, padded(dKv) - tile) << 2;
}

/** A head's values with their scales. */
@inline
function valueBytes(room: i32, dKv: i32): usize {
  return <usize>room * <usize>(padded(dKv) + 4);
}

/** Four int8 numbers, in the bytes of `v`, as a cache has them. */
@inline
function stored(v: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v : v128.xor(v, i16x8.splat(0x80));
}

@inline
function largestOf(at: usize, n: i32): f32 {
  let m = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4, at += 16) m = f32x4.pmax(m, f32x4.abs(v128.load(at)));
  if (i < n) m = f32x4.pmax(m, f32x4.abs(loadSome(at, n - i)));
  return maxLanes(m);
}

/**
 * Quantizes keys into a cache.
 *
 * @param from [rows, heads x dKv] f32, rows `ldf` numbers apart
 * @param first token of the first row
 */
export function storeKeysI8(
  from: usize,
  ldf: i32,
  rows: i32,
  heads: i32,
  dKv: i32,
  cache: usize,
  room: i32,
  first: i32,
): void {
  const roomBytes = <usize>room << 2;
  for (let row = 0; row < rows; row++, from += <usize>ldf << 2) {
    const token = <usize>(first + row);
    let head = cache;
    let at = from;
    for (let h = 0; h < heads; h++, head += keyBytes(room, dKv), at += <usize>dKv << 2) {
      const largest = largestOf(at, dKv);
      const scale = largest / 127;
      const by = f32x4.splat(scale > 0 ? 127 / largest : 0);
      let to = head + roomBytes * 2 + (token >> 4) * <usize>(padded(dKv) << 4) + ((token & 15) << 2);
      let sum = i32x4.splat(0);
      for (let i = 0; i < dKv; i += 4, to += 64) {
        const v = roundLanes(f32x4.mul(loadSome(at + (<usize>i << 2), dKv - i), by), 0);
        sum = i32x4.add(sum, v);
        const words = i16x8.narrow_i32x4_s(v, v);
        v128.store32_lane(to, stored(i8x16.narrow_i16x8_s(words, words)), 0);
      }
      store<f32>(head + (token << 2), scale);
      store<i32>(head + roomBytes + (token << 2), sumLanesI32(sum) << 13);
    }
  }
}

/** Quantizes values into a cache; parameters as {@link storeKeysI8}. */
export function storeValuesI8(
  from: usize,
  ldf: i32,
  rows: i32,
  heads: i32,
  dKv: i32,
  cache: usize,
  room: i32,
  first: i32,
): void {
  for (let row = 0; row < rows; row++, from += <usize>ldf << 2) {
    const token = <usize>(first + row);
    let scales = cache + <usize>heads * keyBytes(room, dKv);
    let at = from;
    for (let h = 0; h < heads; h++, scales += valueBytes(room, dKv), at += <usize>dKv << 2) {
      const largest = largestOf(at, dKv);
      const scale = largest / 127;
      const by = f32x4.splat(scale > 0 ? 127 / largest : 0);
      const values = scales + (<usize>room << 2);
      for (let i = 0; i < dKv; i += 4) {
        const tile = i & ~15;
        const place = (token >> 2) * <usize>tileBytes(tile, dKv) + (<usize>(i - tile) << 2) + (token & 3);
        const to = values + <usize>tile * <usize>room + place;
        let v = roundLanes(f32x4.mul(loadSome(at + (<usize>i << 2), dKv - i), by), 0);
        // Of four tokens, that is.
        if (!ASC_FEATURE_RELAXED_SIMD && !(token & 1)) v = v128.xor(v, i32x4.splat(0x80));
        v128.store8_lane(to, v, 0);
        v128.store8_lane(to, v, 4, 4);
        v128.store8_lane(to, v, 8, 8);
        v128.store8_lane(to, v, 12, 12);
      }
      store<f32>(scales + (token << 2), scale);
    }
  }
}

/** What is added to a query's level before it is cut into digits. */
const QUERY_OFFSET: i32 = ASC_FEATURE_RELAXED_SIMD ? 8192 : 0;

/**
 * A head's query in digits: in the relaxed module its high digits, then its low ones, of integer + 8192 = high x 128 +
 * low; in the plain one int16, of each four the even ones first. Returns the scale.
 */
function quantizeQuery(q: usize, dKv: i32, to: usize): f32 {
  const largest = largestOf(q, dKv);
  const by = f32x4.splat(largest > 0 ? QUERY_LEVELS / largest : 0);
  putAll(q, dKv, by, QUERY_OFFSET, to, <usize>padded(dKv));
  return largest / QUERY_LEVELS;
}

/** Of each four int16 the even ones, then the odd ones. */
@inline
function evenFirst(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
}

/** `count` numbers times `by` as digits; `n` is how far the low digits lie behind the high ones. */
function putAll(from: usize, count: i32, by: v128, offset: i32, to: usize, n: usize): void {
  let i = 0;
  for (; i + 16 <= count; i += 16, from += 64) {
    const a = i16x8.narrow_i32x4_s(
      roundLanes(f32x4.mul(v128.load(from), by), offset),
      roundLanes(f32x4.mul(v128.load(from, 16), by), offset),
    );
    const b = i16x8.narrow_i32x4_s(
      roundLanes(f32x4.mul(v128.load(from, 32), by), offset),
      roundLanes(f32x4.mul(v128.load(from, 48), by), offset),
    );
    if (ASC_FEATURE_RELAXED_SIMD) {
      const mask = i16x8.splat(127);
      v128.store(to + <usize>i, i8x16.narrow_i16x8_u(i16x8.shr_u(a, 7), i16x8.shr_u(b, 7)));
      v128.store(to + n + <usize>i, i8x16.narrow_i16x8_u(v128.and(a, mask), v128.and(b, mask)));
    } else {
      v128.store(to + (<usize>i << 1), evenFirst(a));
      v128.store(to + (<usize>i << 1), evenFirst(b), 16);
    }
  }
  for (; i < count; i += 4, from += 16) {
    const v = roundLanes(f32x4.mul(loadSome(from, count - i), by), offset);
    if (ASC_FEATURE_RELAXED_SIMD) {
      const bytes = i16x8.narrow_i32x4_s(i32x4.shr_u(v, 7), v128.and(v, i32x4.splat(127)));
      const narrow = i8x16.narrow_i16x8_u(bytes, bytes);
      v128.store32_lane(to + <usize>i, narrow, 0);
      v128.store32_lane(to + n + <usize>i, narrow, 1);
    } else {
      v128.store64_lane(to + (<usize>i << 1), evenFirst(i16x8.narrow_i32x4_s(v, v)), 0);
    }
  }
}

/** Numbers as {@link stored} in the plain module, times the even and the odd ones of four int16. */
@inline
function dotPlain(w: v128, even: v128, odd: v128, mask: v128, acc: v128): v128 {
  return dotI16(i16x8.shr_s(w, 8), odd, dotI16(v128.and(w, mask), even, acc));
}

/** [128 high + low] */
@inline
function joinDigits(high: v128, low: v128): v128 {
  return i32x4.add(i32x4.shl(high, 7), low);
}

/** Puts out the scores of four keys, whose totals are too large by `over`, or by their sums (relaxed module). */
@inline
function emitScores(
  totals: v128,
  over: v128,
  i: usize,
  scales: usize,
  sums: usize,
  by: v128,
  bias: usize,
  scores: usize,
): void {
  totals = i32x4.sub(totals, ASC_FEATURE_RELAXED_SIMD ? v128.load(sums + i) : over);
  let values = f32x4.mul(f32x4.convert_i32x4_s(totals), f32x4.mul(v128.load(scales + i), by));
  if (bias) values = f32x4.add(values, v128.load(bias + i));
  v128.store(scores + i, values);
}

/** scores[j] = q . k[j] + bias[j] for whole blocks of keys, those beyond the last one included. */
function scoreKeys(
  digits: usize,
  queryScale: f32,
  k: usize,
  scales: usize,
  sums: usize,
  bias: usize,
  scores: usize,
  keys: i32,
  dKv: i32,
): void {
  const d = <usize>padded(dKv);
  const by = f32x4.splat(queryScale);
  const mask = evenBytesMask();
  const over = ASC_FEATURE_RELAXED_SIMD ? i32x4.splat(0) : tooMuch(digits, d << 1);
  for (let j = 0; j < keys; j += BLOCK) {
    const at = <usize>j << 2;
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let e = a;
    if (ASC_FEATURE_RELAXED_SIMD) {
      let al = a;
      let bl = a;
      let cl = a;
      let el = a;
      const end = digits + d;
      for (let p = digits; p < end; p += 4, k += 64) {
        const high = v128.load32_splat(p);
        const low = v128.load32_splat(p + d);
        let v = v128.load(k);
        a = dotRelaxed(v, high, a);
        al = dotRelaxed(v, low, al);
        v = v128.load(k, 16);
        b = dotRelaxed(v, high, b);
        bl = dotRelaxed(v, low, bl);
        v = v128.load(k, 32);
        c = dotRelaxed(v, high, c);
        cl = dotRelaxed(v, low, cl);
        v = v128.load(k, 48);
        e = dotRelaxed(v, high, e);
        el = dotRelaxed(v, low, el);
      }
      a = joinDigits(a, al);
      b = joinDigits(b, bl);
      c = joinDigits(c, cl);
      e = joinDigits(e, el);
    } else {
      const end = digits + (d << 1);
      for (let p = digits; p < end; p += 8, k += 64) {
        const even = v128.load32_splat(p);
        const odd = v128.load32_splat(p, 4);
        a = dotPlain(v128.load(k), even, odd, mask, a);
        b = dotPlain(v128.load(k, 16), even, odd, mask, b);
        c = dotPlain(v128.load(k, 32), even, odd, mask, c);
        e = dotPlain(v128.load(k, 48), even, odd, mask, e);
      }
    }
    emitScores(a, over, at, scales, sums, by, bias, scores);
    emitScores(b, over, at + 16, scales, sums, by, bias, scores);
    emitScores(c, over, at + 32, scales, sums, by, bias, scores);
    emitScores(e, over, at + 48, scales, sums, by, bias, scores);
  }
}

/**
 * Softmax of `keys` scores, times the values' scales, as digits for whole blocks: zeros beyond the last key.
 *
 * @returns what a sum over digits x values is to be multiplied by
 */
function weigh(scores: usize, scales: usize, keys: i32, digits: usize): f32 {
  const whole = (keys + BLOCK - 1) & ~(BLOCK - 1);
  const end = scores + (<usize>whole << 2);
  for (let at = scores + (<usize>keys << 2); at < end; at += 4) store<f32>(at, -Infinity);
  let most = f32x4.splat(-Infinity);
  let more = most;
  for (let at = scores; at < end; at += 32) {
    most = f32x4.pmax(most, v128.load(at));
    more = f32x4.pmax(more, v128.load(at, 16));
  }
  const by = f32x4.splat(maxLanes(f32x4.pmax(most, more)));
  // Of what lies beyond the last key it is zero.
  for (let at = scores; at < end; at += BLOCK << 2) expSixteen(at, by);
  let sums = f32x4.splat(0);
  let largest = f32x4.splat(0);
  let at = scores;
  const last = scores + (<usize>(keys & ~3) << 2);
  for (; at < last; at += 16, scales += 16) {
    const e = v128.load(at);
    sums = f32x4.add(sums, e);
    const weights = f32x4.mul(e, v128.load(scales));
    largest = f32x4.pmax(largest, weights);
    v128.store(at, weights);
  }
  if (keys & 3) {
    // What lies beyond the last key has no scale yet.
    const e = v128.load(at);
    sums = f32x4.add(sums, e);
    const weights = f32x4.mul(e, loadSome(scales, keys & 3));
    largest = f32x4.pmax(largest, weights);
    v128.store(at, weights);
  }
  const top = maxLanes(largest);
  putAll(scores, whole, f32x4.splat(top > 0 ? WEIGHT_LEVELS / top : 0), 0, digits, <usize>whole);
  return top / WEIGHT_LEVELS / sumLanes(sums);
}

/** Puts out four numbers of a head's output, whose totals are too large by `over`; `n` of them are real. */
@inline
function emitValues(totals: v128, over: v128, to: usize, n: i32, by: v128, adds: bool): void {
  let values = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(totals, over)), by);
  if (adds) values = f32x4.add(values, loadSome(to, n));
  if (n >= 4) {
    v128.store(to, values);
    return;
  }
  v128.store32_lane(to, values, 0);
  if (n > 1) v128.store32_lane(to, values, 1, 4);
  if (n > 2) v128.store32_lane(to, values, 2, 8);
}

/** out = (or +=) factor x sum over tokens `from` to `end` of weight x value. */
function mixValues(
  digits: usize,
  whole: usize,
  v: usize,
  from: usize,
  end: usize,
  out: usize,
  dKv: i32,
  factor: f32,
  room: usize,
): void {
  const by = f32x4.splat(factor);
  const adds = from > 0;
  const mask = evenBytesMask();
  const over = ASC_FEATURE_RELAXED_SIMD ? i32x4.splat(0) : tooMuch(digits + (from << 1), (end - from) << 1);
  let i = 0;
  for (; i + 16 <= padded(dKv); i += 16) {
    let at = v + <usize>i * room + (from << 4);
    let a = i32x4.splat(0);
    let b = a;
    let c = a;
    let e = a;
    if (ASC_FEATURE_RELAXED_SIMD) {
      let al = a;
      let bl = a;
      let cl = a;
      let el = a;
      const stop = digits + end;
      for (let p = digits + from; p < stop; p += 4, at += 64) {
        const high = v128.load32_splat(p);
        const low = v128.load32_splat(p + whole);
        let w = v128.load(at);
        a = dotRelaxed(w, high, a);
        al = dotRelaxed(w, low, al);
        w = v128.load(at, 16);
        b = dotRelaxed(w, high, b);
        bl = dotRelaxed(w, low, bl);
        w = v128.load(at, 32);
        c = dotRelaxed(w, high, c);
        cl = dotRelaxed(w, low, cl);
        w = v128.load(at, 48);
        e = dotRelaxed(w, high, e);
        el = dotRelaxed(w, low, el);
      }
      a = joinDigits(a, al);
      b = joinDigits(b, bl);
      c = joinDigits(c, cl);
      e = joinDigits(e, el);
    } else {
      const stop = digits + (end << 1);
      for (let p = digits + (from << 1); p < stop; p += 8, at += 64) {
        const even = v128.load32_splat(p);
        const odd = v128.load32_splat(p, 4);
        a = dotPlain(v128.load(at), even, odd, mask, a);
        b = dotPlain(v128.load(at, 16), even, odd, mask, b);
        c = dotPlain(v128.load(at, 32), even, odd, mask, c);
        e = dotPlain(v128.load(at, 48), even, odd, mask, e);
      }
    }
    const to = out + (<usize>i << 2);
    emitValues(a, over, to, dKv - i, by, adds);
    emitValues(b, over, to + 16, dKv - i - 4, by, adds);
    emitValues(c, over, to + 32, dKv - i - 8, by, adds);
    emitValues(e, over, to + 48, dKv - i - 12, by, adds);
  }
  const tile = i;
  const step = <usize>tileBytes(tile, dKv);
  for (; i < dKv; i += 4) {
    let at = v + <usize>tile * room + (from >> 2) * step + (<usize>(i - tile) << 2);
    let a = i32x4.splat(0);
    if (ASC_FEATURE_RELAXED_SIMD) {
      let al = a;
      const stop = digits + end;
      for (let p = digits + from; p < stop; p += 4, at += step) {
        const w = v128.load(at);
        a = dotRelaxed(w, v128.load32_splat(p), a);
        al = dotRelaxed(w, v128.load32_splat(p + whole), al);
      }
      a = joinDigits(a, al);
    } else {
      const stop = digits + (end << 1);
      for (let p = digits + (from << 1); p < stop; p += 8, at += step) {
        a = dotPlain(v128.load(at), v128.load32_splat(p), v128.load32_splat(p, 4), mask, a);
      }
    }
    emitValues(a, over, out + (<usize>i << 2), dKv - i, by, adds);
  }
}

/** Of all heads the keys of the first `whole` tokens, with their scales and, where they are used, sums. */
function fetchKeys(keys: usize, heads: i32, room: i32, dKv: i32, whole: usize): void {
  const apart = keyBytes(room, dKv);
  const roomBytes = <usize>room << 2;
  fetchPieces(keys, heads, apart, whole << 2);
  if (ASC_FEATURE_RELAXED_SIMD) fetchPieces(keys + roomBytes, heads, apart, whole << 2);
  fetchPieces(keys + roomBytes * 2, heads, apart, whole * <usize>padded(dKv));
}

/** Of all heads the values of the first `whole` tokens, with their scales. */
function fetchValues(values: usize, heads: i32, room: i32, dKv: i32, whole: usize): void {
  const apart = valueBytes(room, dKv);
  fetchPieces(values, heads, apart, whole << 2);
  for (let tile = 0; tile < dKv; tile += 16) {
    const at = values + <usize>room * <usize>(tile + 4);
    fetchPieces(at, heads, apart, (whole >> 2) * <usize>tileBytes(tile, dKv));
  }
}

/** Keys and values of at most so many bytes are fetched together; of more, values would push out keys before those are used. */
const NEAR: usize = 512 << 10;

/** What a step finds cold, for all the weights passed through since the last one. @returns whether values are among it */
function fetchCache(cache: usize, values: usize, heads: i32, room: i32, dKv: i32, whole: usize): bool {
  const isNear = <usize>heads * whole * <usize>(padded(dKv) << 1) <= NEAR;
  if (isNear && whole == <usize>room) {
    fetch(cache, values + <usize>heads * valueBytes(room, dKv));
    return true;
  }
  fetchKeys(cache, heads, room, dKv, whole);
  if (isNear) fetchValues(values, heads, room, dKv, whole);
  return isNear;
}

/** Heads of a row, or rows of a head, that go through each stage together: the latencies of one hide behind the others. */
const TOGETHER: i32 = 8;

/** Whether unit `u` and the three after it are rows of one head, to be computed as one (plain module). */
@inline
function goTogether(u: i32, end: i32, rows: i32, dKv: i32): bool {
  return !ASC_FEATURE_RELAXED_SIMD && (dKv & 15) == 0 && u + 4 <= end && (u % rows) + 4 <= rows;
}

/**
 * T5Attention without its projections over an int8 cache: softmax(q k^T + bias) v for each head and row; scores are not
 * scaled by 1 / sqrt(dKv).
 *
 * @param q [rows, heads x dKv] f32, rows `ldq` numbers apart
 * @param cache of one layer, of which the first `keys` tokens count
 * @param bias for head h, query row i and key j: bias[h x biasHead + j - i], already at the first row's origin; 0 for
 *   none. Up to 15 numbers beyond the last key are read.
 * @param out [rows, heads x dKv] f32
 * @param scratch 8 x (ceil(keys / 16) x 96 + 2 x (dKv + 3) + 20) bytes to use, and 8 x (16 x ceil(keys / 16) + dKv) + 144 more
 */
export function attendI8(
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
  scratch: usize,
): void {
  const d = <usize>padded(dKv);
  const whole = <usize>((keys + BLOCK - 1) & ~(BLOCK - 1));
  const roomBytes = <usize>room << 2;
  const values = cache + <usize>heads * keyBytes(room, dKv);
  // Of each unit, a head of a row: its scores, weights and query in digits, and a factor.
  const weightsAt = whole << 2;
  const queryAt = weightsAt + (whole << 1);
  const factorAt = queryAt + (d << 1);
  const unitBytes = (factorAt + 19) & ~15;
  const spare = scratch + TOGETHER * unitBytes;
  const units = heads * rows;
  const hasValues = fetchCache(cache, values, heads, room, dKv, whole);
  for (let first = 0; first < units; first += TOGETHER) {
    const end = min(first + TOGETHER, units);
    let unit = scratch;
    for (let u = first; u < end; u++, unit += unitBytes) {
      const at = ((<usize>(u % rows) * <usize>ldq) << 2) + (<usize>((u / rows) * dKv) << 2);
      store<f32>(unit + factorAt, quantizeQuery(q + at, dKv, unit + queryAt));
    }
    unit = scratch;
    for (let u = first; u < end; u++, unit += unitBytes) {
      const head = cache + <usize>(u / rows) * keyBytes(room, dKv);
      const ownBias = bias ? bias + (<usize>((u / rows) * biasHead) << 2) - (<usize>(u % rows) << 2) : 0;
      if (goTogether(u, end, rows, dKv)) {
        const k = head + roomBytes * 2;
        scoreKeys4(unit, unitBytes, unit + queryAt, unit + factorAt, k, head, ownBias, keys, dKv, spare);
        u += 3;
        unit += unitBytes * 3;
        continue;
      }
      const scale = load<f32>(unit + factorAt);
      scoreKeys(unit + queryAt, scale, head + roomBytes * 2, head, head + roomBytes, ownBias, unit, keys, dKv);
    }
    unit = scratch;
    for (let u = first; u < end; u++, unit += unitBytes) {
      const scales = values + <usize>(u / rows) * valueBytes(room, dKv);
      store<f32>(unit + factorAt, weigh(unit, scales, keys, unit + weightsAt));
    }
    if (first == 0 && !hasValues) fetchValues(values, heads, room, dKv, whole);
    unit = scratch;
    for (let u = first; u < end; u++, unit += unitBytes) {
      const v = values + <usize>(u / rows) * valueBytes(room, dKv) + roomBytes;
      const to = out + ((<usize>(u % rows) * <usize>(heads * dKv)) << 2) + (<usize>((u / rows) * dKv) << 2);
      if (goTogether(u, end, rows, dKv)) {
        const rowBytes = <usize>(heads * dKv) << 2;
        for (let from: usize = 0; from < whole; from += CHUNK) {
          const stop = min(from + CHUNK, whole);
          mixValues4(unit + weightsAt, unitBytes, unit + factorAt, v, from, stop, to, rowBytes, dKv, <usize>room, spare);
        }
        u += 3;
        unit += unitBytes * 3;
        continue;
      }
      const factor = load<f32>(unit + factorAt);
      for (let from: usize = 0; from < whole; from += CHUNK) {
        mixValues(unit + weightsAt, whole, v, from, min(from + CHUNK, whole), to, dKv, factor, <usize>room);
      }
    }
  }
}
