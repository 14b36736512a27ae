// Linear layers of many activation rows, as of a prompt, over int8 weights whose rows lie in pairs (linear-pairs-i8.ts).
//
// Four pairs of weight rows are widened once for all activation rows, to a panel whose lanes are weight rows; activations lie
// four rows side by side. So nothing is added up across lanes, and three loads serve eight dots: where every load is checked
// against the memory's end, as in workerd, a prompt takes a fifth less time than over weights as they lie.
import { fetch } from "./fetch";
import { evenBytesMask, groupFour, highHalves, highTwo, highWords, lowHalves, lowWords } from "./math";
import { INT32_COLUMNS, piecesOf } from "./quantize";
import { put, tile4x8, TILE_TOTALS } from "./tile";

/** From how many rows on four pairs of weight rows are widened for all of them first. */
export const PANEL_ROWS: i32 = 12;
/** Columns of a panel: eight weight rows of them are what the first cache holds beside the activations. */
const STRIP: i32 = 512;

/**
 * Puts activations together four rows by four, for a tile to read them with one load: [ceil(rows / 4)][k / 2][4][2]. Where the last
 * rows are not there, the group's first stands for them: nobody asks for what comes of it.
 */
function groupRows(q: usize, rows: i32, k: i32, to: usize): void {
  const stride = <usize>k << 1;
  for (let row = 0; row < rows; row += 4, q += stride << 2, to += stride << 2) {
    const second = row + 1 < rows ? stride : 0;
    const third = row + 2 < rows ? stride << 1 : 0;
    const fourth = row + 3 < rows ? stride * 3 : 0;
    groupFour(q, q + second, q + third, q + fourth, stride, to);
  }
}

/** Widens one column pair of four pairs of weight rows: the even rows to `to`, the odd ones `half` bytes on. */
@inline
function putColumns(v: v128, mask: v128, to: usize, half: usize): void {
  v128.store(to, v128.and(v, mask));
  v128.store(to + half, i16x8.shr_s(v, 8));
}

/**
 * Widens `columns` columns of four pairs of weight rows, `stride` bytes apart, to int16: [2][columns / 2][4][2], the even rows
 * of all four pairs, then the odd ones.
 */
function packPanel(w0: usize, stride: usize, columns: i32, to: usize): void {
  const mask = evenBytesMask();
  const half = <usize>columns << 3;
  let w1 = w0 + stride;
  let w2 = w1 + stride;
  let w3 = w2 + stride;
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

/**
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n) for as many weight rows as
 * come by eight. What a panel gives lies side by side: of a row of results, that no cache holds, one line is written, not four.
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
  const stride = <usize>k << 1;
  const groupBytes = stride << 2;
  const groups = <usize>((rows + 3) >> 2);
  const pieces = piecesOf(k);
  const rowOffsets = pieces << 2;
  const grouped = scratch;
  const panel = grouped + groups * groupBytes;
  const totals = panel + (<usize>STRIP << 4);
  const exact = totals + groups * TILE_TOTALS;
  groupRows(q, rows, k, grouped);
  const share = (((<usize>min(STRIP, k) << 3) / groups) + 63) & ~63;
  const done = n & ~7;
  for (let row = 0; row < done; row += 8, w += groupBytes, scales += 32, out += 32) {
    for (let from = 0; from < k; from += STRIP) {
      const columns = min(STRIP, k - from);
      const half = <usize>columns << 3;
      packPanel(w + (<usize>from << 1), stride, columns, panel);
      const inPiece = from & (INT32_COLUMNS - 1);
      let x = grouped + (<usize>from << 3);
      let at = totals;
      const end = at + groups * TILE_TOTALS;
      let next = w + groupBytes + (<usize>from << 3);
      const nextEnd = row + 8 < done ? next + (<usize>columns << 3) : next;
      for (; at < end; at += TILE_TOTALS, x += groupBytes) {
        // The next panel's weights, while there is enough to compute.
        fetch(next, min(next + share, nextEnd));
        next += share;
        // Two calls, lest Binaryen makes one function of all this, too large for V8's registers.
        if (inPiece == 0) tile4x8(panel, half, x, false, at);
        else tile4x8(panel, half, x, true, at);
      }
      if (pieces == 1 || (inPiece + columns < INT32_COLUMNS && from + columns < k)) continue;
      const piece = from / INT32_COLUMNS;
      for (let r: usize = 0; r < <usize>rows; r++) {
        const offset = offsets + r * rowOffsets + (<usize>piece << 2);
        addExact(totals + (r << 5), offset, piece > 0, exact + (r << 6));
      }
    }
    const scalesA = v128.load(scales);
    const scalesB = v128.load(scales, 16);
    let to = out;
    for (let r: usize = 0; r < <usize>rows; r++, to += pitch) {
      const by = v128.load32_splat(rowScales + (r << 2));
      let even: v128;
      let odd: v128;
      if (pieces == 1) {
        const at = totals + (r << 5);
        even = f32x4.convert_i32x4_s(i32x4.sub(v128.load(at), v128.load32_splat(offsets + (r << 2))));
        odd = f32x4.convert_i32x4_s(v128.load(at, 16));
      } else {
        even = rounded(exact + (r << 6));
        odd = rounded(exact + (r << 6) + 32);
      }
      put(lowWords(even, odd), scalesA, by, to, adds);
      put(highWords(even, odd), scalesB, by, to + 16, adds);
    }
  }
  return done;
}
