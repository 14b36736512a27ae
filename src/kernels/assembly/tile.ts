// What linear layers of many activation rows are computed of: eight weight rows times four activation rows.
import { dotI16, dotRelaxed, row0, row1, row2, row3 } from "./math";

/** Bytes of the sums of a tile. */
export const TILE_TOTALS: usize = 128;

/** acc + the products of what stands in a lane: of four int8 and digits, or of two int16. */
@inline
function dot(w: v128, x: v128, acc: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? dotRelaxed(w, x, acc) : dotI16(w, x, acc);
}

/**
 * A panel times four activation rows: eight sums. Three loads for eight dots, from pointers of their own and without offsets:
 * where loads are checked, each of them and each offset costs.
 *
 * @param panel [2][columns][4] words of 32 bits: of two times four weight rows, two columns as int16 or, in the relaxed module, four
 *   as int8
 * @param half bytes of four weight rows
 * @param x [columns][4] words of 32 bits of four activation rows: levels, or in the relaxed module one digit of them
 * @param goesOn whether it adds to the totals that are there
 * @param totals [4][2][4] int32: of each activation row the first four weight rows, then the others
 */
export function tile4x8(panel: usize, half: usize, x: usize, goesOn: bool, totals: usize): void {
  let a0 = i32x4.splat(0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  if (goesOn) {
    a0 = v128.load(totals);
    b0 = v128.load(totals, 16);
    a1 = v128.load(totals, 32);
    b1 = v128.load(totals, 48);
    a2 = v128.load(totals, 64);
    b2 = v128.load(totals, 80);
    a3 = v128.load(totals, 96);
    b3 = v128.load(totals, 112);
  }
  let other = panel + half;
  for (const end = other; panel < end; panel += 16, other += 16, x += 16) {
    const a = v128.load(panel);
    const b = v128.load(other);
    const v = v128.load(x);
    let levels = row0(v);
    a0 = dot(a, levels, a0);
    b0 = dot(b, levels, b0);
    levels = row1(v);
    a1 = dot(a, levels, a1);
    b1 = dot(b, levels, b1);
    levels = row2(v);
    a2 = dot(a, levels, a2);
    b2 = dot(b, levels, b2);
    levels = row3(v);
    a3 = dot(a, levels, a3);
    b3 = dot(b, levels, b3);
  }
  v128.store(totals, a0);
  v128.store(totals, b0, 16);
  v128.store(totals, a1, 32);
  v128.store(totals, b1, 48);
  v128.store(totals, a2, 64);
  v128.store(totals, b2, 80);
  v128.store(totals, a3, 96);
  v128.store(totals, b3, 112);
}

/** Puts out four results of one activation row. */
@inline
export function put(totals: v128, scales: v128, rowScale: v128, to: usize, adds: bool): void {
  let values = f32x4.mul(totals, f32x4.mul(scales, rowScale));
  if (adds) values = f32x4.add(values, v128.load(to));
  v128.store(to, values);
}
