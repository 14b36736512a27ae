// Linear layers of several activation rows over int4 weights, of the plain module: as linear-panels-i8.ts, a group of 32 columns at a
// time. Eight weight rows of a group are widened once for all activation rows, to a panel whose lanes are weight rows; nothing is
// added up across lanes. Groups are scaled and added in the order of linear-i4.ts: the same bits as there.
import { fetch } from "./fetch";
import { dotI16, firstNibbleMask, groupFour, highHalves, highWords, lowHalves, lowWords, row0, row1, row2, row3 } from "./math";

/** From how many rows on eight weight rows are widened for all of them first. */
export const PANEL_ROWS_I4: i32 = 8;
/** Bytes of a group's nibbles, of its activations as linear-i4.ts prepares them, and of four rows' side by side. */
export const GROUP_BYTES: usize = 16;
export const PREPARED_BYTES: usize = 64;
const GROUPED_BYTES: usize = 4 * PREPARED_BYTES;
/** Bytes of one half of a panel, four weight rows: [16][4][2] int16. */
const HALF: usize = 256;
/** Bytes of the totals of four activation rows, each with eight weight rows. */
const QUAD_TOTALS: usize = 128;

/** Two int16 of four rows each, their four nibbles 64 bytes apart. */
@inline
function putNibbles(v: v128, mask: v128, to: usize): void {
  v128.store(to, v128.and(v, mask));
  v128.store(to, v128.and(i16x8.shr_u(v, 4), mask), 64);
  v128.store(to, v128.and(i16x8.shr_u(v, 8), mask), 128);
  v128.store(to, i16x8.shr_u(v, 12), 192);
}

/** Widens a group of four weight rows, `step` bytes apart: [16][4][2] int16, in the order of prepared activations. */
@inline
function packHalf(w: usize, step: usize, to: usize): void {
  const mask = firstNibbleMask();
  const a = v128.load(w);
  const b = v128.load(w + step);
  const c = v128.load(w + step * 2);
  const d = v128.load(w + step * 3);
  const ab = lowWords(a, b);
  const cd = lowWords(c, d);
  const ab2 = highWords(a, b);
  const cd2 = highWords(c, d);
  putNibbles(lowHalves(ab, cd), mask, to);
  putNibbles(highHalves(ab, cd), mask, to + 16);
  putNibbles(lowHalves(ab2, cd2), mask, to + 32);
  putNibbles(highHalves(ab2, cd2), mask, to + 48);
}

/** Takes off what the nibbles' offset makes the sums of one activation row too large by, scales them, and adds them to its totals. */
@inline
function addScaled(a: v128, b: v128, offset: usize, scales: usize, to: usize): void {
  const by = v128.load32_splat(offset);
  const first = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(a, by)), v128.load(scales));
  const second = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(b, by)), v128.load(scales, 16));
  v128.store(to, f32x4.add(v128.load(to), first));
  v128.store(to, f32x4.add(v128.load(to, 16), second), 16);
}

/**
 * A group's panel times four activation rows, as tile4x8 of tile.ts.
 *
 * @param sums of the first row's group; the other rows' are `sumBytes` bytes apart
 * @param scales [8] f32
 * @param totals [4][8] f32, which it adds to
 */
function tile4x8(panel: usize, x: usize, sums: usize, sumBytes: usize, scales: usize, totals: usize): void {
  let a0 = i32x4.splat(0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  let second = panel + HALF;
  for (const end = second; panel < end; panel += 16, second += 16, x += 16) {
    const a = v128.load(panel);
    const b = v128.load(second);
    const v = v128.load(x);
    let levels = row0(v);
    a0 = dotI16(a, levels, a0);
    b0 = dotI16(b, levels, b0);
    levels = row1(v);
    a1 = dotI16(a, levels, a1);
    b1 = dotI16(b, levels, b1);
    levels = row2(v);
    a2 = dotI16(a, levels, a2);
    b2 = dotI16(b, levels, b2);
    levels = row3(v);
    a3 = dotI16(a, levels, a3);
    b3 = dotI16(b, levels, b3);
  }
  addScaled(a0, b0, sums, scales, totals);
  sums += sumBytes;
  addScaled(a1, b1, sums, scales, totals + 32);
  sums += sumBytes;
  addScaled(a2, b2, sums, scales, totals + 64);
  sums += sumBytes;
  addScaled(a3, b3, sums, scales, totals + 96);
}

/** Puts out the results of one activation row with four weight rows. */
@inline
function put(totals: usize, rowScale: v128, to: usize, adds: bool): void {
  let values = f32x4.mul(v128.load(totals), rowScale);
  if (adds) values = f32x4.add(values, v128.load(to));
  v128.store(to, values);
}

/** Puts prepared rows together four by four: [groups][16][4][2] int16. Where the last are not there, their first stands for them. */
export function groupPrepared(p: usize, rows: usize, groups: usize, to: usize): void {
  const bytes = groups * PREPARED_BYTES;
  groupFour(p, rows > 1 ? p + bytes : p, rows > 2 ? p + bytes * 2 : p, rows > 3 ? p + bytes * 3 : p, bytes, to);
}

/**
 * What linearI4 computes, for as many weight rows as come by eight.
 *
 * @param x activations from {@link groupPrepared} [ceil(rows / 4)]
 * @param sums [rows by fours, groups] int32: 8 x the sum of each group; those of rows that are not there may be anything
 * @param scales [groups][8] f32
 * @param next where the next eight weight rows are; 0 for none
 * @param scratch 512 bytes and, for every four rows, 128
 */
export function linearPanelI4(
  x: usize,
  sums: usize,
  rowScales: usize,
  rows: usize,
  groups: usize,
  w: usize,
  scales: usize,
  out: usize,
  pitch: usize,
  adds: bool,
  next: usize,
  scratch: usize,
): void {
  const rowBytes = groups * GROUP_BYTES;
  const quadBytes = groups * GROUPED_BYTES;
  const sumBytes = groups << 2;
  const panel = scratch;
  const totals = scratch + 2 * HALF;
  const end = totals + ((rows + 3) >> 2) * QUAD_TOTALS;
  memory.fill(totals, 0, end - totals);
  for (let g: usize = 0; g < groups; g++, w += GROUP_BYTES, scales += 32, x += GROUPED_BYTES, sums += 4) {
    // The next panel's weights, while there is enough to compute.
    if (next) fetch(next + g * 8 * GROUP_BYTES, next + (g + 1) * 8 * GROUP_BYTES);
    packHalf(w, rowBytes, panel);
    packHalf(w + rowBytes * 4, rowBytes, panel + HALF);
    let at = x;
    let sum = sums;
    for (let to = totals; to < end; to += QUAD_TOTALS, at += quadBytes, sum += sumBytes << 2) {
      // Two calls, lest Binaryen makes one function of all this, too large for V8's registers.
      if (to == totals) tile4x8(panel, at, sum, sumBytes, scales, to);
      else tile4x8(panel, at, sum, sumBytes, scales, to);
    }
  }
  for (let r: usize = 0; r < rows; r++, out += pitch) {
    const rowScale = v128.load32_splat(rowScales + (r << 2));
    put(totals + (r << 5), rowScale, out, adds);
    put(totals + (r << 5) + 16, rowScale, out + 16, adds);
  }
}
