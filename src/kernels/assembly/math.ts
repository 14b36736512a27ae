// Small arithmetic shared by kernels. Sums run in a fixed order, so that both modules give the same bits.

/** Sum of the four lanes. */
@inline
export function sumLanes(v: v128): f32 {
  const pairs = f32x4.add(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Largest of the four lanes. */
@inline
export function maxLanes(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/** Exact sum of four int32 lanes, as a float64 (an int32 sum could overflow). */
export function sumIntLanes(v: v128): f64 {
  const high = i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  const pairs = f64x2.add(f64x2.convert_low_i32x4_s(v), f64x2.convert_low_i32x4_s(high));
  return f64x2.extract_lane(pairs, 0) + f64x2.extract_lane(pairs, 1);
}

/** The low and high halves of two vectors, their words of 32 bits or halves of 64 in turn. */
@inline
export function lowWords(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
}

@inline
export function highWords(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
}

@inline
export function lowHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

@inline
export function highHalves(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

/**
 * Exact sums of two vectors of int32 lanes, as [sum of a, sum of b] in float64. Any two lanes of one vector must fit
 * an int32 together.
 */
export function sumIntLanes2(a: v128, b: v128): v128 {
  const low = lowWords(a, b);
  const high = highWords(a, b);
  const pairs = i32x4.add(low, high);
  const upper = i8x16.shuffle(pairs, pairs, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  return f64x2.add(f64x2.convert_low_i32x4_s(pairs), f64x2.convert_low_i32x4_s(upper));
}

/** Sum of the four lanes, int32. */
@inline
export function sumLanesI32(v: v128): i32 {
  return i32x4.extract_lane(v, 0) + i32x4.extract_lane(v, 1) + i32x4.extract_lane(v, 2) + i32x4.extract_lane(v, 3);
}

/** [two lanes that sum to a, two that sum to b] of two vectors of int32, by turns: for {@link sumPairs}. */
@inline
export function foldRows(a: v128, b: v128): v128 {
  return i32x4.add(lowWords(a, b), highWords(a, b));
}

/** [sum of a, sum of b, sum of c, sum of d], int32, of what {@link foldRows} made of a and b and of c and d. */
@inline
export function sumPairs(ab: v128, cd: v128): v128 {
  return i32x4.add(lowHalves(ab, cd), highHalves(ab, cd));
}

/** [sum of a, sum of b, sum of c, sum of d], int32. */
@inline
export function sumRows(a: v128, b: v128, c: v128, d: v128): v128 {
  return sumPairs(foldRows(a, b), foldRows(c, d));
}

/** The high two of four int32, as float64. */
@inline
export function highTwo(v: v128): v128 {
  return f64x2.convert_low_i32x4_s(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
}

/**
 * Puts four stretches of memory together word by word, for one load to read a word of each: [bytes / 4][4] words of 32 bits.
 *
 * @param bytes a multiple of 16
 * @param step from 16 bytes that are read to the next 16
 */
export function groupFour(a: usize, b: usize, c: usize, d: usize, bytes: usize, to: usize, step: usize = 16): void {
  for (const end = to + (bytes << 2); to < end; a += step, b += step, c += step, d += step, to += 64) {
    const va = v128.load(a);
    const vb = v128.load(b);
    const vc = v128.load(c);
    const vd = v128.load(d);
    const ab = lowWords(va, vb);
    const cd = lowWords(vc, vd);
    const ab2 = highWords(va, vb);
    const cd2 = highWords(vc, vd);
    v128.store(to, lowHalves(ab, cd));
    v128.store(to, highHalves(ab, cd), 16);
    v128.store(to, lowHalves(ab2, cd2), 32);
    v128.store(to, highHalves(ab2, cd2), 48);
  }
}

/** A word of {@link groupFour}, over all lanes. */
@inline
export function row0(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
}

@inline
export function row1(v: v128): v128 {
  return i8x16.shuffle(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
}

@inline
export function row2(v: v128): v128 {
  return i8x16.shuffle(v, v, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11, 8, 9, 10, 11);
}

@inline
export function row3(v: v128): v128 {
  return i8x16.shuffle(v, v, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15);
}

/** acc + the products of eight int16, in pairs. */
@inline
export function dotI16(w: v128, x: v128, acc: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
}

/** acc + the products of sixteen int8 and sixteen numbers of 7 bits, in fours (relaxed module). */
@inline
export function dotRelaxed(w: v128, x: v128, acc: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
}

/** Rounds 128 x high + low, exact in float64, to the low two of four float32. */
@inline
function roundTwo(high: v128, low: v128): v128 {
  return f32x4.demote_f64x2_zero(f64x2.add(f64x2.mul(high, f64x2.splat(128)), low));
}

/**
 * 128 x (high - 64 x sum) + low of four weight rows whose totals no int32 holds, rounded to float32 once: of activations in digits
 * with their offset of 8192, 128 x 64.
 */
@inline
export function joinLong(high: v128, low: v128, sums: v128): v128 {
  const whole = i32x4.sub(high, i32x4.shl(sums, 6));
  const first = roundTwo(f64x2.convert_low_i32x4_s(whole), f64x2.convert_low_i32x4_s(low));
  return lowHalves(first, roundTwo(highTwo(whole), highTwo(low)));
}

/**
 * Constants of loops, in memory: V8 builds a vector constant anew at each use, of two or three instructions; a load that
 * spreads a number over four lanes is one.
 *
 * 0: 1.5 x 2^23, which added to a number of up to 22 bits leaves the nearest whole number (ties to even) in the last bits.
 * 1, 2: -87.3 and 88, between which e^x is neither zero nor infinite. 3: 1 / ln 2. 4, 5: ln 2 in two parts, the first with
 * so few bits that whole multiples of it are exact. 6 to 13: 1 / 7!, 1 / 6!, 1 / 5!, 1 / 4!, 1 / 3!, 1 / 2!, 1, 1.
 */
const CONSTANTS = memory.data<f32>([
  12582912.0, -87.3, 88.0, 1.44269504088896341, 0.693359375, -2.12194440e-4, 1.984126984126984e-4,
  1.3888888888888889e-3, 8.333333333333333e-3, 4.1666666666666664e-2, 0.16666666666666666, 0.5, 1.0, 1.0,
]);
/** Those of e^x's polynomial after the first one. */
const NEXT_COEFFICIENTS: usize = CONSTANTS + (7 << 2);
const COEFFICIENTS_END: usize = CONSTANTS + (14 << 2);
/** What is taken off a rounded number's bits, offset 0 and 8192: see {@link roundLanes}. */
const OFFSETS = memory.data<i32>([0x4b400000, 0x4b400000 - 8192, 0x4b400000 - 127]);

/** Leaves the even bytes of a vector, as int16. */
const EVEN_BYTES = memory.data<i16>([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

@inline
export function evenBytesMask(): v128 {
  return v128.load(EVEN_BYTES);
}

/** Leave the lowest and the second four bits of each int16; the lower four bits of each byte. */
const NIBBLES = memory.data<i16>([
  0xf, 0xf, 0xf, 0xf, 0xf, 0xf, 0xf, 0xf, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0, 0xf0f, 0xf0f, 0xf0f, 0xf0f, 0xf0f,
  0xf0f, 0xf0f, 0xf0f,
]);

@inline
export function firstNibbleMask(): v128 {
  return v128.load(NIBBLES);
}

@inline
export function secondNibbleMask(): v128 {
  return v128.load(NIBBLES, 16);
}

@inline
export function lowNibblesMask(): v128 {
  return v128.load(NIBBLES, 32);
}

@inline
function constant(i: usize): v128 {
  return v128.load32_splat(CONSTANTS + (i << 2));
}

/**
 * Nearest whole numbers of four that are below 2^22, with `offset` (0 or 8192) added: half as many instructions as by
 * truncation.
 */
@inline
export function roundLanes(v: v128, offset: i32): v128 {
  return i32x4.sub(f32x4.add(v, constant(0)), v128.load32_splat(OFFSETS + (offset ? 4 : 0)));
}

/** Up to four numbers at `at`, zeros for what is beyond `n`. */
@inline
export function loadSome(at: usize, n: i32): v128 {
  if (n >= 4) return v128.load(at);
  let v = v128.load32_zero(at);
  if (n > 1) v = v128.load32_lane(at + 4, v, 1);
  if (n > 2) v = v128.load32_lane(at + 8, v, 2);
  return v;
}

/** Where e^x is zero. */
@inline
function isTiny(x: v128): v128 {
  return f32x4.lt(x, constant(1));
}

/** x as what {@link exp4} takes: pseudo-minimum and -maximum are one instruction each; what is no number stays none. */
@inline
function bounded(x: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, constant(1)), constant(2));
}

/** x / ln 2, rounded: in the last bits of 1.5 x 2^23 + n. */
@inline
function shiftedOf(x: v128): v128 {
  return f32x4.add(f32x4.mul(x, constant(3)), constant(0));
}

/** x - n ln 2. */
@inline
function restOf(x: v128, shifted: v128): v128 {
  const n = f32x4.sub(shifted, constant(0));
  return f32x4.sub(f32x4.sub(x, f32x4.mul(n, constant(4))), f32x4.mul(n, constant(5)));
}

/** p x 2^n, zero where x is too small. */
@inline
function scaled(p: v128, shifted: v128, tiny: v128): v128 {
  // 2^n: the last bits of `shifted`, moved into the exponent.
  const power = i32x4.shl(i32x4.sub(shifted, v128.load32_splat(OFFSETS + 8)), 23);
  return v128.andnot(f32x4.mul(p, power), tiny);
}

/**
 * e^x for each lane, within 2 ulp for x in -87.3 to 88; smaller x give 0.
 * Range reduction to |r| <= ln2 / 2, then the Taylor polynomial to r^7.
 */
@inline
export function exp4(x: v128): v128 {
  const tiny = isTiny(x);
  x = bounded(x);
  const shifted = shiftedOf(x);
  const r = restOf(x, shifted);
  let p = constant(6);
  for (let c = NEXT_COEFFICIENTS; c < COEFFICIENTS_END; c += 4) p = f32x4.add(f32x4.mul(p, r), v128.load32_splat(c));
  return scaled(p, shifted, tiny);
}

/**
 * Sixteen numbers x as e^(x - by), in their place: {@link exp4} of four vectors by turns. Alone each of its instructions waits for the
 * one before, and processors look ahead no further than a few vectors. The loop is there to keep the turns: a polynomial written out
 * comes out of compilers vector after vector.
 */
export function expSixteen(at: usize, by: v128): void {
  let x = bounded(f32x4.sub(v128.load(at), by));
  let y = bounded(f32x4.sub(v128.load(at, 16), by));
  let z = bounded(f32x4.sub(v128.load(at, 32), by));
  let u = bounded(f32x4.sub(v128.load(at, 48), by));
  const shiftedX = shiftedOf(x);
  const shiftedY = shiftedOf(y);
  const shiftedZ = shiftedOf(z);
  const shiftedU = shiftedOf(u);
  x = restOf(x, shiftedX);
  y = restOf(y, shiftedY);
  z = restOf(z, shiftedZ);
  u = restOf(u, shiftedU);
  let p = constant(6);
  let q = p;
  let r = p;
  let s = p;
  for (let c = NEXT_COEFFICIENTS; c < COEFFICIENTS_END; c += 4) {
    const next = v128.load32_splat(c);
    p = f32x4.add(f32x4.mul(p, x), next);
    q = f32x4.add(f32x4.mul(q, y), next);
    r = f32x4.add(f32x4.mul(r, z), next);
    s = f32x4.add(f32x4.mul(s, u), next);
  }
  v128.store(at, scaled(p, shiftedX, isTiny(f32x4.sub(v128.load(at), by))));
  v128.store(at, scaled(q, shiftedY, isTiny(f32x4.sub(v128.load(at, 16), by))), 16);
  v128.store(at, scaled(r, shiftedZ, isTiny(f32x4.sub(v128.load(at, 32), by))), 32);
  v128.store(at, scaled(s, shiftedU, isTiny(f32x4.sub(v128.load(at, 48), by))), 48);
}

/** e^x of one number, by {@link exp4}: a tail gives the same bits as a full vector. */
export function exp1(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
}
