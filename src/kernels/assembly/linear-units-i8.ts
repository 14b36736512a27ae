// The linear layer behind relu, whose input is mostly zeros: int8 weights that lie by the unit, [in, out], so that the rows of
// units that are zero are not read at all. Sums are exact integers, as in linear-i8.ts: the same bits as there.
//
// Eight units are read at once, one from each eighth of those that are not zero: each eighth is a stream that hardware
// prefetchers follow, as they do not follow the neighbours of one page. Their bytes are interleaved to quads, four units of
// an output side by side (in the plain module, for a single row, to pairs of units), for the dot product's lanes to be outputs.
// A unit's bytes are too few for prefetchers, so a single row fetches those of several passes at once before it adds them up;
// where most units count, all are read in their order instead. Measured cold, 2048 x 512 on a Zen 4, plain module: 61 us at half,
// 45 us at three tenths, 22 us at a tenth of the units; without that 83, 68 and 27 us.
import { keep, LINE } from "./fetch";
import { dotI16, dotRelaxed, evenBytesMask, highHalves, highWords, lowHalves, lowWords, roundLanes, sumLanesI32 } from "./math";
import { LEVELS, largestPositive } from "./quantize";

/** Units of a pass. */
const PASS: i32 = 8;
/** Passes whose totals fit an int32: 256 x 8 x 127 x 8191 < 2^31. */
const PIECE: i32 = 256;
/** Bytes of weights that are fetched at once. */
const AT_ONCE: i32 = 32768;
/** Passes that several rows share: as much as the first cache holds. */
const PANEL: i32 = 4;
/** Bytes of four units of four outputs in a panel: as they are, or widened to int16. */
const QUAD: usize = ASC_FEATURE_RELAXED_SIMD ? 16 : 32;

/** Interleaves bytes, or pairs of bytes. */
@inline
function lowBytes(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

@inline
function highBytes(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

@inline
function lowPairs(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
}

@inline
function highPairs(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
}

/** The even bytes of a vector of quads, and the odd ones, as int16. */
@inline
function even(v: v128): v128 {
  return i16x8.shr_s(i16x8.shl(v, 8), 8);
}

@inline
function odd(v: v128): v128 {
  return i16x8.shr_s(v, 8);
}

/** Weights of sixteen outputs, from as they lie or to that: in the plain module 128 is added to those of even outputs. */
@inline
function turned(v: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? v : v128.xor(v, i16x8.splat(0x80));
}

/** Adds two quads' products of four outputs: high and low digits. */
@inline
function addQuads(v: v128, w: v128, v0: v128, v1: v128, w0: v128, w1: v128, acc: v128): v128 {
  const high = dotRelaxed(w, w0, dotRelaxed(v, v0, i32x4.splat(0)));
  return i32x4.add(i32x4.shl(high, 7), dotRelaxed(w, w1, dotRelaxed(v, v1, acc)));
}

/** Where the weights of the unit that stands at `at` lie. */
@inline
function rowOf(at: usize, n: i32): usize {
  return <usize>load<u32>(at) * <usize>n;
}

/** Totals of one row over `passes` passes (relaxed module). @param units those not zero, `apart` bytes from stream to stream */
function addQuadsOf(units: usize, apart: usize, levels: usize, passes: i32, w: usize, n: i32, totals: usize): void {
  for (const end = units + (<usize>passes << 2); units < end; units += 4, levels += 16) {
    const first = rowOf(units, n);
    let at = w + first;
    // One register moves on; the others are distances.
    const b = rowOf(units + apart, n) - first;
    const c = rowOf(units + apart * 2, n) - first;
    const d = rowOf(units + apart * 3, n) - first;
    const e = rowOf(units + apart * 4, n) - first;
    const f = rowOf(units + apart * 5, n) - first;
    const g = rowOf(units + apart * 6, n) - first;
    const h = rowOf(units + apart * 7, n) - first;
    let to = totals;
    for (const stop = at + <usize>n; at < stop; at += 16, to += 64) {
      let one = v128.load(at);
      let two = v128.load(at + b);
      let three = v128.load(at + c);
      let four = v128.load(at + d);
      let low = lowBytes(one, two);
      let high = highBytes(one, two);
      let low2 = lowBytes(three, four);
      let high2 = highBytes(three, four);
      const v0 = lowPairs(low, low2);
      const v1 = highPairs(low, low2);
      const v2 = lowPairs(high, high2);
      const v3 = highPairs(high, high2);
      one = v128.load(at + e);
      two = v128.load(at + f);
      three = v128.load(at + g);
      four = v128.load(at + h);
      low = lowBytes(one, two);
      high = highBytes(one, two);
      low2 = lowBytes(three, four);
      high2 = highBytes(three, four);
      const x0 = v128.load32_splat(levels);
      const x1 = v128.load32_splat(levels, 4);
      const y0 = v128.load32_splat(levels, 8);
      const y1 = v128.load32_splat(levels, 12);
      v128.store(to, addQuads(v0, lowPairs(low, low2), x0, x1, y0, y1, v128.load(to)));
      v128.store(to, addQuads(v1, highPairs(low, low2), x0, x1, y0, y1, v128.load(to, 16)), 16);
      v128.store(to, addQuads(v2, lowPairs(high, high2), x0, x1, y0, y1, v128.load(to, 32)), 32);
      v128.store(to, addQuads(v3, highPairs(high, high2), x0, x1, y0, y1, v128.load(to, 48)), 48);
    }
  }
}

/** Reads a number of each cache line of the units of `passes` passes, those of a pass side by side. */
function fetchUnits(units: usize, apart: usize, passes: i32, w: usize, n: i32): void {
  let read = 0;
  for (const end = units + (<usize>passes << 2); units < end; units += 4) {
    let at = w + rowOf(units, n);
    const b = w + rowOf(units + apart, n) - at;
    const c = w + rowOf(units + apart * 2, n) - at;
    const d = w + rowOf(units + apart * 3, n) - at;
    const e = w + rowOf(units + apart * 4, n) - at;
    const f = w + rowOf(units + apart * 5, n) - at;
    const g = w + rowOf(units + apart * 6, n) - at;
    const h = w + rowOf(units + apart * 7, n) - at;
    for (const stop = at + <usize>n; at < stop; at += LINE) {
      read ^= load<i32>(at) ^ load<i32>(at + b) ^ load<i32>(at + c) ^ load<i32>(at + d);
      read ^= load<i32>(at + e) ^ load<i32>(at + f) ^ load<i32>(at + g) ^ load<i32>(at + h);
    }
  }
  keep(read);
}

/**
 * Totals of one row over `passes` passes (plain module), of each eight outputs the even ones first.
 *
 * Two bytes of a unit, of neighbouring outputs, are one int16: 256 x odd + even. It is multiplied as it is, and its even byte by
 * itself; the difference of the sums is 256 x the sum of the odd output, which over the eight units of a pass fits 24 bits:
 * 8 x 127 x 8191. So bytes are interleaved but once, and none is shifted.
 *
 * @param units those not zero, `apart` bytes from stream to stream
 */
function addPairsOf(units: usize, apart: usize, levels: usize, passes: i32, w: usize, n: i32, totals: usize): void {
  const mask = evenBytesMask();
  for (const end = units + (<usize>passes << 2); units < end; units += 4, levels += 16) {
    const first = rowOf(units, n);
    let at = w + first;
    // One register moves on; the others are distances.
    const b = rowOf(units + apart, n) - first;
    const c = rowOf(units + apart * 2, n) - first;
    const d = rowOf(units + apart * 3, n) - first;
    const e = rowOf(units + apart * 4, n) - first;
    const f = rowOf(units + apart * 5, n) - first;
    const g = rowOf(units + apart * 6, n) - first;
    const h = rowOf(units + apart * 7, n) - first;
    let to = totals;
    const x0 = v128.load32_splat(levels);
    const x1 = v128.load32_splat(levels, 4);
    const y0 = v128.load32_splat(levels, 8);
    const y1 = v128.load32_splat(levels, 12);
    for (const stop = at + <usize>n; at < stop; at += 16, to += 64) {
      let one = v128.load(at);
      let two = v128.load(at + b);
      let three = v128.load(at + c);
      let four = v128.load(at + d);
      let pairs = lowPairs(one, two);
      let both = i32x4.dot_i16x8_s(pairs, x0);
      let evens = i32x4.dot_i16x8_s(v128.and(pairs, mask), x0);
      pairs = highPairs(one, two);
      let both2 = i32x4.dot_i16x8_s(pairs, x0);
      let evens2 = i32x4.dot_i16x8_s(v128.and(pairs, mask), x0);
      pairs = lowPairs(three, four);
      both = dotI16(pairs, x1, both);
      evens = dotI16(v128.and(pairs, mask), x1, evens);
      pairs = highPairs(three, four);
      both2 = dotI16(pairs, x1, both2);
      evens2 = dotI16(v128.and(pairs, mask), x1, evens2);
      one = v128.load(at + e);
      two = v128.load(at + f);
      three = v128.load(at + g);
      four = v128.load(at + h);
      pairs = lowPairs(one, two);
      both = dotI16(pairs, y0, both);
      evens = dotI16(v128.and(pairs, mask), y0, evens);
      pairs = highPairs(one, two);
      both2 = dotI16(pairs, y0, both2);
      evens2 = dotI16(v128.and(pairs, mask), y0, evens2);
      pairs = lowPairs(three, four);
      both = dotI16(pairs, y1, both);
      evens = dotI16(v128.and(pairs, mask), y1, evens);
      pairs = highPairs(three, four);
      both2 = dotI16(pairs, y1, both2);
      evens2 = dotI16(v128.and(pairs, mask), y1, evens2);
      v128.store(to, i32x4.add(v128.load(to), evens));
      v128.store(to, i32x4.add(v128.load(to, 16), i32x4.shr_s(i32x4.sub(both, evens), 8)), 16);
      v128.store(to, i32x4.add(v128.load(to, 32), evens2), 32);
      v128.store(to, i32x4.add(v128.load(to, 48), i32x4.shr_s(i32x4.sub(both2, evens2), 8)), 48);
    }
  }
}

/**
 * What a row's totals begin with: zeros; in the plain module, for 128 is added to the weights of even outputs, what those become
 * too large by, taken off.
 */
function clearTotals(totals: usize, levels: usize, passes: i32, n: i32): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    memory.fill(totals, 0, <usize>n << 2);
    return;
  }
  let sums = i32x4.splat(0);
  for (const end = levels + (<usize>passes << 4); levels < end; levels += 16) {
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(v128.load(levels)));
  }
  const sum = sumLanesI32(sums);
  for (const end = totals + (<usize>n << 2); totals < end; totals += 32) {
    v128.store(totals, i32x4.splat(sum * -128));
    v128.store(totals, i32x4.splat(0), 16);
  }
}

/** Brings the totals of {@link addPairsOf} into order. */
function orderTotals(totals: usize, n: i32): void {
  for (const end = totals + (<usize>n << 2); totals < end; totals += 32) {
    const a = v128.load(totals);
    const b = v128.load(totals, 16);
    v128.store(totals, lowWords(a, b));
    v128.store(totals, highWords(a, b), 16);
  }
}

@inline
function putQuad(v: v128, to: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD) {
    v128.store(to, v);
  } else {
    v128.store(to, even(v));
    v128.store(to, odd(v), 16);
  }
}

/** Quads of `passes` passes for several rows: [n / 4][2 x passes] quads. */
function pack(units: usize, apart: usize, passes: i32, w: usize, n: i32, panel: usize): void {
  const quads = <usize>passes * 2 * QUAD;
  for (let pass = 0; pass < passes; pass++, units += 4) {
    for (let half: usize = 0; half < 2; half++, panel += QUAD) {
      const from = units + half * 4 * apart;
      const a = w + rowOf(from, n);
      // The plain module takes the even bytes of quads together, and the odd ones: of units 0 and 1, and of 2 and 3.
      const b = w + rowOf(from + apart * (ASC_FEATURE_RELAXED_SIMD ? 1 : 2), n);
      const c = w + rowOf(from + apart * (ASC_FEATURE_RELAXED_SIMD ? 2 : 1), n);
      const d = w + rowOf(from + apart * 3, n);
      let to = panel;
      for (let i: usize = 0; i < <usize>n; i += 16, to += quads * 4) {
        const one = turned(v128.load(a + i));
        const two = turned(v128.load(b + i));
        const three = turned(v128.load(c + i));
        const four = turned(v128.load(d + i));
        const low = lowBytes(one, two);
        const high = highBytes(one, two);
        const low2 = lowBytes(three, four);
        const high2 = highBytes(three, four);
        putQuad(lowPairs(low, low2), to);
        putQuad(highPairs(low, low2), to + quads);
        putQuad(lowPairs(high, high2), to + quads * 2);
        putQuad(highPairs(high, high2), to + quads * 3);
      }
    }
  }
}

/** Totals of two rows over a panel: eight sums, of eight outputs in digits (relaxed) or of sixteen (plain). */
function addPanel(panel: usize, quads: usize, x: usize, y: usize, n: i32, totals: usize, others: usize): void {
  const bytes = quads * QUAD;
  const end = totals + (<usize>n << 2);
  if (ASC_FEATURE_RELAXED_SIMD) {
    for (; totals < end; totals += 32, others += 32, panel += bytes) {
      let a = v128.load(totals);
      let b = v128.load(totals, 16);
      let c = v128.load(others);
      let d = v128.load(others, 16);
      let ah = i32x4.splat(0);
      let bh = ah;
      let ch = ah;
      let dh = ah;
      let p = x;
      let q = y;
      for (const stop = panel + bytes; panel < stop; panel += QUAD, p += 8, q += 8) {
        const v = v128.load(panel);
        const w = v128.load(panel + bytes);
        let digits = v128.load32_splat(p);
        ah = dotRelaxed(v, digits, ah);
        bh = dotRelaxed(w, digits, bh);
        digits = v128.load32_splat(p, 4);
        a = dotRelaxed(v, digits, a);
        b = dotRelaxed(w, digits, b);
        digits = v128.load32_splat(q);
        ch = dotRelaxed(v, digits, ch);
        dh = dotRelaxed(w, digits, dh);
        digits = v128.load32_splat(q, 4);
        c = dotRelaxed(v, digits, c);
        d = dotRelaxed(w, digits, d);
      }
      v128.store(totals, i32x4.add(a, i32x4.shl(ah, 7)));
      v128.store(totals, i32x4.add(b, i32x4.shl(bh, 7)), 16);
      v128.store(others, i32x4.add(c, i32x4.shl(ch, 7)));
      v128.store(others, i32x4.add(d, i32x4.shl(dh, 7)), 16);
    }
  } else {
    for (; totals < end; totals += 64, others += 64, panel += bytes * 3) {
      let a = v128.load(totals);
      let b = v128.load(totals, 16);
      let c = v128.load(totals, 32);
      let d = v128.load(totals, 48);
      let e = v128.load(others);
      let f = v128.load(others, 16);
      let g = v128.load(others, 32);
      let h = v128.load(others, 48);
      let p = x;
      let q = y;
      for (const stop = panel + bytes; panel < stop; panel += QUAD, p += 8, q += 8) {
        for (let half: usize = 0; half < 2; half++) {
          const from = panel + (half << 4);
          const v = v128.load32_splat(p + (half << 2));
          const w = v128.load32_splat(q + (half << 2));
          let weights = v128.load(from);
          a = dotI16(weights, v, a);
          e = dotI16(weights, w, e);
          weights = v128.load(from + bytes);
          b = dotI16(weights, v, b);
          f = dotI16(weights, w, f);
          weights = v128.load(from + bytes * 2);
          c = dotI16(weights, v, c);
          g = dotI16(weights, w, g);
          weights = v128.load(from + bytes * 3);
          d = dotI16(weights, v, d);
          h = dotI16(weights, w, h);
        }
      }
      v128.store(totals, a);
      v128.store(totals, b, 16);
      v128.store(totals, c, 32);
      v128.store(totals, d, 48);
      v128.store(others, e);
      v128.store(others, f, 16);
      v128.store(others, g, 32);
      v128.store(others, h, 48);
    }
  }
}

/** Levels 0..8191 of max(x, 0), int16. Returns their scale. */
function quantize(x: usize, k: i32, to: usize): f32 {
  const largest = largestPositive(x, k);
  const scale = largest / LEVELS;
  const by = f32x4.splat(scale > 0 ? LEVELS / largest : 0);
  const zero = f32x4.splat(0);
  for (const end = x + (<usize>k << 2); x < end; x += 32, to += 16) {
    const a = roundLanes(f32x4.mul(f32x4.pmax(zero, v128.load(x)), by), 0);
    const b = roundLanes(f32x4.mul(f32x4.pmax(zero, v128.load(x, 16)), by), 0);
    v128.store(to, i16x8.narrow_i32x4_s(a, b));
  }
  return scale;
}

/**
 * Gathers a row's levels of the units that count, and puts them down as the dot products of each pass read them.
 *
 * @param levels [k] int16; destroyed
 */
function putLevels(levels: usize, units: usize, count: i32, passes: i32, to: usize): void {
  // In place: a unit never comes before its number in the list.
  let at = levels;
  for (const end = units + (<usize>count << 2); units < end; units += 4, at += 2) {
    store<i16>(at, load<i16>(levels + (<usize>load<u32>(units) << 1)));
  }
  const apart = <usize>passes << 1;
  for (const end = levels + apart * 8; at < end; at += 2) store<i16>(at, 0);
  for (const end = levels + apart; levels < end; levels += 2, to += 16) {
    let v = v128.load16_splat(levels);
    v = v128.load16_lane(levels + apart, v, 1);
    v = v128.load16_lane(levels + apart * 2, v, 2);
    v = v128.load16_lane(levels + apart * 3, v, 3);
    v = v128.load16_lane(levels + apart * 4, v, 4);
    v = v128.load16_lane(levels + apart * 5, v, 5);
    v = v128.load16_lane(levels + apart * 6, v, 6);
    v = v128.load16_lane(levels + apart * 7, v, 7);
    if (ASC_FEATURE_RELAXED_SIMD) {
      // Of each four units the high digits, then the low ones.
      const digits = i8x16.narrow_i16x8_u(i16x8.shr_u(v, 7), v128.and(v, i16x8.splat(127)));
      v128.store(to, i8x16.shuffle(digits, digits, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15));
    } else {
      v128.store(to, v);
    }
  }
}

/** Scales the totals of one row and adds them to `out`: exact, rounded to float32 once. */
function putTotals(totals: usize, pieces: i32, next: usize, n: i32, scales: usize, scale: f32, out: usize): void {
  const rowScale = f32x4.splat(scale);
  const bytes = <usize>n << 2;
  for (let i: usize = 0; i < bytes; i += 16) {
    let values = f32x4.convert_i32x4_s(v128.load(totals + i));
    if (pieces > 1) {
      let low = f64x2.splat(0);
      let high = low;
      for (let piece = 0, at = totals + i; piece < pieces; piece++, at += next) {
        low = f64x2.add(low, f64x2.convert_low_i32x4_s(v128.load64_zero(at)));
        high = f64x2.add(high, f64x2.convert_low_i32x4_s(v128.load64_zero(at, 8)));
      }
      const first = f32x4.demote_f64x2_zero(low);
      values = lowHalves(first, f32x4.demote_f64x2_zero(high));
    }
    values = f32x4.mul(values, f32x4.mul(v128.load(scales + i), rowScale));
    v128.store(out + i, f32x4.add(v128.load(out + i), values));
  }
}

/**
 * out[r, n] += scale of weight row n x dot(max(x[r], 0) quantized, weights of n): what reluQuantizeRows and linearI8 give.
 *
 * @param x [rows, k] f32; `k` and `n` are multiples of 16
 * @param w [k, n] from transposeI8, `scales` [n] f32
 * @param out [rows, n] f32
 * @param scratch rows x (4k + 20) + 6k + 44 + ceil(k / 2048) x rows x 4n + 64n bytes to use
 */
export function reluLinearI8(
  x: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  n: i32,
  out: usize,
  scratch: usize,
): void {
  const levelBytes = <usize>k << 1;
  const rowBytes = levelBytes + 16;
  const levels = scratch;
  const any = rows > 1 ? levels + levelBytes * <usize>rows : levels;
  const units = levels + levelBytes * <usize>(rows + 1);
  const digits = units + (<usize>k << 2) + 32;
  const rowScales = digits + rowBytes * <usize>rows;
  const totals = rowScales + (<usize>((rows + 3) & ~3) << 2);

  for (let row = 0; row < rows; row++) {
    const scale = quantize(x + ((<usize>row * <usize>k) << 2), k, levels + <usize>row * levelBytes);
    store<f32>(rowScales + (<usize>row << 2), scale);
  }
  if (rows > 1) {
    for (let i: usize = 0; i < levelBytes; i += 16) {
      let v = v128.load(levels + i);
      for (let at = levels + levelBytes + i; at < any; at += levelBytes) v = v128.or(v, v128.load(at));
      v128.store(any + i, v);
    }
  }
  let count = 0;
  for (let unit = 0; unit < k; unit++) {
    store<u32>(units + (<usize>count << 2), unit);
    // No branch: half of them would be guessed wrong. Levels are not negative.
    count += -(<i32>load<i16>(any + (<usize>unit << 1))) >>> 31;
  }
  // Zeros among them change no sum.
  const isMost = rows == 1 && count << 1 > k;
  if (isMost) {
    for (let unit = 0; unit < k; unit++) store<u32>(units + (<usize>unit << 2), unit);
    count = k;
  }
  // An odd number, lest streams of whole pages come to the ends of pages together.
  const passes = ((count + PASS - 1) / PASS) | <i32>isMost;
  // The last pass is filled up with a unit whose levels are put down as zeros.
  for (let i = count; i < passes * PASS; i++) store<u32>(units + (<usize>i << 2), load<u32>(units));
  for (let row = 0; row < rows; row++) {
    putLevels(levels + <usize>row * levelBytes, units, count, passes, digits + <usize>row * rowBytes);
  }

  // What fits at PIECE passes of units fits with a pass of zeros more.
  const most = k <= PIECE * PASS ? PIECE + 1 : PIECE;
  const pieces = max(1, (passes + most - 1) / most);
  const next = (<usize>rows * <usize>n) << 2;
  const panel = totals + next * <usize>pieces;
  const apart = <usize>passes << 2;
  const rowTotals = <usize>n << 2;
  if (rows == 1) {
    const some = isMost ? passes : max(1, AT_ONCE / (PASS * n));
    for (let piece = 0, begin = 0; begin < passes; piece++, begin += most) {
      const end = min(begin + most, passes);
      const to = totals + next * <usize>piece;
      clearTotals(to, digits + (<usize>begin << 4), end - begin, n);
      for (let first = begin; first < end; first += some) {
        const count = min(some, end - first);
        const at = units + (<usize>first << 2);
        const from = digits + (<usize>first << 4);
        if (!isMost) fetchUnits(at, apart, count, w, n);
        if (ASC_FEATURE_RELAXED_SIMD) addQuadsOf(at, apart, from, count, w, n, to);
        else addPairsOf(at, apart, from, count, w, n, to);
      }
      if (!ASC_FEATURE_RELAXED_SIMD) orderTotals(to, n);
    }
    if (passes == 0) memory.fill(totals, 0, next);
  } else {
    memory.fill(totals, 0, next * <usize>pieces);
    for (let first = 0; first < passes; first += PANEL) {
      const some = min(PANEL, passes - first);
      fetchUnits(units + (<usize>first << 2), apart, some, w, n);
      pack(units + (<usize>first << 2), apart, some, w, n, panel);
      const to = totals + next * <usize>(first / PIECE);
      const from = digits + (<usize>first << 4);
      for (let row = 0; row < rows; row += 2) {
        // An odd last row is its own partner: both put down the same.
        const a = <usize>row;
        const b = <usize>min(row + 1, rows - 1);
        addPanel(panel, <usize>some * 2, from + a * rowBytes, from + b * rowBytes, n, to + a * rowTotals, to + b * rowTotals);
      }
    }
  }
  for (let row = 0; row < rows; row++) {
    const at = <usize>row * rowTotals;
    putTotals(totals + at, pieces, next, n, scales, load<f32>(rowScales + (<usize>row << 2)), out + at);
  }
}

/** Four bytes of four rows, as four columns of four bytes. */
@inline
function columns(at: usize, k: usize): v128 {
  let v = v128.load32_zero(at);
  v = v128.load32_lane(at + k, v, 1);
  v = v128.load32_lane(at + k * 2, v, 2);
  v = v128.load32_lane(at + k * 3, v, 3);
  return i8x16.shuffle(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

/** to[k, n] = from[n, k], {@link turned}; both are multiples of 16. Sixteen rows at once: what is written comes in as large pieces. */
export function transposeI8(from: usize, n: i32, k: i32, to: usize): void {
  const rows4 = <usize>k << 2;
  for (let row = 0; row < n; row += 16) {
    const end = from + <usize>k;
    let at = to + <usize>row;
    for (; from < end; from += 4) {
      const a = columns(from, <usize>k);
      const b = columns(from + rows4, <usize>k);
      const c = columns(from + rows4 * 2, <usize>k);
      const d = columns(from + rows4 * 3, <usize>k);
      const ab = lowWords(a, b);
      const cd = lowWords(c, d);
      const ab2 = highWords(a, b);
      const cd2 = highWords(c, d);
      v128.store(at, turned(lowHalves(ab, cd)));
      at += <usize>n;
      v128.store(at, turned(highHalves(ab, cd)));
      at += <usize>n;
      v128.store(at, turned(lowHalves(ab2, cd2)));
      at += <usize>n;
      v128.store(at, turned(highHalves(ab2, cd2)));
      at += <usize>n;
    }
    from += rows4 * 4 - <usize>k;
  }
}
