// Linear layers of many activation rows, as of a prompt, in the relaxed module: int8 weights as they lie, activations in digits.
//
// Four weight rows are put together column by four columns, so that the lanes of a dot product are weight rows; eight of them are a
// panel, for all activation rows, which lie four rows side by side, digit by digit. As in linear-panels-i8.ts nothing is added up
// across lanes, and three loads serve eight dots: where every load is checked against the memory's end, as in workerd, a prompt's
// products take four fifths of the time that two weight rows by two activation rows take, without checks nine tenths (a Zen 4 whose
// int8 dots a patched V8 used; on a processor that V8 uses by itself it was not measured).
import { fetch, LINE } from "./fetch";
import { groupFour, joinLong } from "./math";
import { INT32_COLUMNS } from "./quantize";
import { put, tile4x8, TILE_TOTALS } from "./tile";

/** From how many rows on panels are laid: at 16 they take as long as two rows by two, at 8 longer. */
export const PANEL_ROWS: i32 = 24;
/** Columns of a panel: eight weight rows of them are what the first cache holds beside the activations. */
const STRIP: i32 = 1024;

/**
 * Puts activations together four rows by four: [ceil(rows / 4)][2][k / 4][4][4], high digits, then low ones. Where the last rows are
 * not there, the group's first stands for them: nobody asks for what comes of it.
 */
function groupRows(q: usize, rows: i32, k: i32, to: usize): void {
  const stride = <usize>k << 1;
  for (let row = 0; row < rows; row += 4, q += stride << 2) {
    const second = q + (row + 1 < rows ? stride : 0);
    const third = q + (row + 2 < rows ? stride << 1 : 0);
    const fourth = q + (row + 3 < rows ? stride * 3 : 0);
    for (let digit: usize = 0; digit < 32; digit += 16, to += stride << 1) {
      groupFour(q + digit, second + digit, third + digit, fourth + digit, <usize>k, to, 32);
    }
  }
}

/** Totals of four weight rows from those of both digits, exact, rounded to float32 once. */
@inline
function joined(high: v128, low: v128, sums: v128, isLong: bool): v128 {
  if (isLong) return joinLong(high, low, sums);
  // Sums may wrap on the way; the total fits.
  return f32x4.convert_i32x4_s(i32x4.sub(i32x4.add(i32x4.shl(high, 7), low), i32x4.shl(sums, 13)));
}

/**
 * out[r, n] = (or +=) scale of row r x scale of weight row n x dot(activation row r, weight row n) for as many weight rows as
 * come by eight.
 *
 * @param q activations from quantizeRows [rows, k / 16][2][16], `rowScales` [rows] f32
 * @param k a multiple of 16
 * @param w [n, k] int8, `scales` [n] f32, `sums` [n] int32 from rowSums
 * @param out [rows, n] f32, rows `pitch` bytes apart
 * @param scratch 8192 bytes and, for every four rows, 8 x k + 256 bytes
 * @returns the number of weight rows done: n, but for the last n % 8
 */
export function linearPanelsRelaxed(
  q: usize,
  rowScales: usize,
  rows: i32,
  k: i32,
  w: usize,
  scales: usize,
  sums: usize,
  n: i32,
  out: usize,
  pitch: usize,
  adds: bool,
  scratch: usize,
): i32 {
  const stride = <usize>k;
  const groupBytes = stride << 3;
  const groups = <usize>((rows + 3) >> 2);
  const grouped = scratch;
  const panel = grouped + groups * groupBytes;
  const totals = panel + (<usize>STRIP << 3);
  const end = totals + groups * TILE_TOTALS * 2;
  groupRows(q, rows, k, grouped);
  const share = ((<usize>min(STRIP, k) << 3) / groups + LINE - 1) & ~(LINE - 1);
  const isLong = k > INT32_COLUMNS;
  const done = n & ~7;
  for (let row = 0; row < done; row += 8, w += groupBytes, scales += 32, sums += 32, out += 32) {
    for (let from = 0; from < k; from += STRIP) {
      const columns = <usize>min(STRIP, k - from);
      const half = columns << 2;
      let rowsAt = w + <usize>from;
      groupFour(rowsAt, rowsAt + stride, rowsAt + stride * 2, rowsAt + stride * 3, columns, panel);
      rowsAt += stride << 2;
      groupFour(rowsAt, rowsAt + stride, rowsAt + stride * 2, rowsAt + stride * 3, columns, panel + half);
      let x = grouped + (<usize>from << 2);
      let next = w + groupBytes + (<usize>from << 3);
      const nextEnd = row + 8 < done ? next + (columns << 3) : next;
      for (let at = totals; at < end; at += TILE_TOTALS * 2, x += groupBytes) {
        // The next panel's weights, while there is enough to compute.
        fetch(next, min(next + share, nextEnd));
        next += share;
        tile4x8(panel, half, x, from > 0, at);
        tile4x8(panel, half, x + (stride << 2), from > 0, at + TILE_TOTALS);
      }
    }
    const scalesA = v128.load(scales);
    const scalesB = v128.load(scales, 16);
    const sumsA = v128.load(sums);
    const sumsB = v128.load(sums, 16);
    let to = out;
    for (let r: usize = 0; r < <usize>rows; r++, to += pitch) {
      const by = v128.load32_splat(rowScales + (r << 2));
      const at = totals + (r >> 2) * TILE_TOTALS * 2 + ((r & 3) << 5);
      put(joined(v128.load(at), v128.load(at, 128), sumsA, isLong), scalesA, by, to, adds);
      put(joined(v128.load(at, 16), v128.load(at, 144), sumsB, isLong), scalesB, by, to + 16, adds);
    }
  }
  return done;
}
