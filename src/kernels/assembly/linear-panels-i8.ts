// Linear layers of many activation rows, as of a prompt, over int8 weights whose rows lie in pairs (linear-pairs-i8.ts).
//
// Four pairs of weight rows are widened once for all activation rows, to a panel whose lanes are weight rows; activations lie
// four rows side by side. So nothing is added up across lanes, and three loads serve eight dots: where every load is checked
// against the memory's end, as in workerd, a prompt takes a fifth less time than over weights as they lie.
import { streamRows } from "./linear-i8";
import { dotI16, evenBytesMask, highHalves, highTwo, highWords, lowHalves, lowWords } from "./math";
import { INT32_COLUMNS, piecesOf } from "./quantize";

/** From how many rows on four pairs of weight rows are widened for all of them first. */
export const PANEL_ROWS: i32 = 12;
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
    even0 = dotI16(e, levels, even0);
    odd0 = dotI16(o, levels, odd0);
    levels = row1(v);
    even1 = dotI16(e, levels, even1);
    odd1 = dotI16(o, levels, odd1);
    levels = row2(v);
    even2 = dotI16(e, levels, even2);
    odd2 = dotI16(o, levels, odd2);
    levels = row3(v);
    even3 = dotI16(e, levels, even3);
    odd3 = dotI16(o, levels, odd3);
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
function fourStreams(
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
      const inPiece = from & (INT32_COLUMNS - 1);
      let x = q + (<usize>from << 3);
      let at = totals;
      const end = at + groups * GROUP_TOTALS;
      // Two calls, lest Binaryen makes one function of all this, too large for V8's registers.
      if (inPiece == 0) for (; at < end; at += GROUP_TOTALS, x += groupBytes) tile4x8(panel, columns, x, false, at);
      else for (; at < end; at += GROUP_TOTALS, x += groupBytes) tile4x8(panel, columns, x, true, at);
      if (pieces == 1 || (inPiece + columns < INT32_COLUMNS && from + columns < k)) continue;
      const piece = from / INT32_COLUMNS;
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
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n) for as many weight rows as
 * come by eight.
 *
 * @param q activations from quantizeRows [rows, k] int16, `rowScales` [rows] f32
 * @param offsets [rows, ceil(k / 2048)] int32: what the totals of even weight rows are too large by
 * @param w [n / 2][k][2] from pairRows, `scales` [n] f32
 * @param out [rows, n] f32, rows `pitch` bytes apart
 * @param scratch 8192 bytes and, for every four rows, 8 x k + 128 bytes, 256 more where k is above 2048
 * @returns the number of weight rows done: n, but for the last n % 8
 */
export function linearPanels(
  q: usize,
  rowScales: usize,
  offsets: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  n: i32,
  out: usize,
  pitch: usize,
  adds: bool,
  scratch: usize,
): i32 {
  const rest = scratch + (<usize>k << 1) * <usize>((rows + 3) & ~3);
  groupRows(q, rows, k, scratch);
  const pairs = streamRows(n >> 1, k << 1);
  fourStreams(scratch, rowScales, offsets, rows, k, w, scales, pairs, out, pitch, adds, rest);
  let done = pairs << 3;
  for (; done + 8 <= n; done += 8) {
    const at = <usize>done << 2;
    fourStreams(scratch, rowScales, offsets, rows, k, w + <usize>done * <usize>k, scales + at, 1, out + at, pitch, adds, rest);
  }
  return done;
}
