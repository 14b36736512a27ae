// Attention of four query rows of one head over an int8 cache (attention-i8.ts), in the plain module: what is widened of keys
// and values serves all four. The same sums as of each row by itself, exact integers: the same bits.
import { dotI16, evenBytesMask, groupFour, row0, row1, row2, row3 } from "./math";

/** What is too much in sums over numbers as the plain module stores them: 128 x the sum of the even ones of `bytes` of digits. */
export function tooMuch(digits: usize, bytes: usize): v128 {
  let sums = i32x4.splat(0);
  for (const end = digits + bytes; digits < end; digits += 8) {
    sums = i32x4.add(sums, i32x4.extadd_pairwise_i16x8_s(v128.load64_zero(digits)));
  }
  return i32x4.shl(i32x4.splat(i32x4.extract_lane(sums, 0)), 7);
}

/**
 * Digits of four rows (groupFour) times eight lanes of `turns` quads of numbers, 64 bytes apart.
 *
 * @param totals [4][8] int32, of each row
 */
function dots4x8(digits: usize, at: usize, turns: usize, totals: usize): void {
  let a0 = i32x4.splat(0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  for (const end = digits + (turns << 5); digits < end; digits += 32, at += 64) {
    const v = v128.load(at);
    const w = v128.load(at, 16);
    // The even bytes have no sign.
    let a = v128.and(v, evenBytesMask());
    let b = v128.and(w, evenBytesMask());
    let rows = v128.load(digits);
    let x = row0(rows);
    a0 = dotI16(a, x, a0);
    b0 = dotI16(b, x, b0);
    x = row1(rows);
    a1 = dotI16(a, x, a1);
    b1 = dotI16(b, x, b1);
    x = row2(rows);
    a2 = dotI16(a, x, a2);
    b2 = dotI16(b, x, b2);
    x = row3(rows);
    a3 = dotI16(a, x, a3);
    b3 = dotI16(b, x, b3);
    a = i16x8.shr_s(v, 8);
    b = i16x8.shr_s(w, 8);
    rows = v128.load(digits, 16);
    x = row0(rows);
    a0 = dotI16(a, x, a0);
    b0 = dotI16(b, x, b0);
    x = row1(rows);
    a1 = dotI16(a, x, a1);
    b1 = dotI16(b, x, b1);
    x = row2(rows);
    a2 = dotI16(a, x, a2);
    b2 = dotI16(b, x, b2);
    x = row3(rows);
    a3 = dotI16(a, x, a3);
    b3 = dotI16(b, x, b3);
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

/** Puts what is too much in the sums of four rows of digits, `apart` bytes apart, to four int32. */
function putTooMuch(digits: usize, apart: usize, bytes: usize, to: usize): void {
  for (const end = to + 16; to < end; to += 4, digits += apart) v128.store32_lane(to, tooMuch(digits, bytes), 0);
}

/**
 * scoreKeys of four rows of a head, whose units lie `unitBytes` bytes apart.
 *
 * @param query digits of the first row; `factors`: its scale
 * @param scales of the head's keys; `bias` of the first row
 * @param spare 8 x dKv + 144 bytes to use
 */
export function scoreKeys4(
  unit: usize,
  unitBytes: usize,
  query: usize,
  factors: usize,
  k: usize,
  scales: usize,
  bias: usize,
  keys: i32,
  dKv: i32,
  spare: usize,
): void {
  const bytes = <usize>dKv << 1;
  const totals = spare + (bytes << 2);
  const overs = totals + 128;
  putTooMuch(query, unitBytes, bytes, overs);
  groupFour(query, query + unitBytes, query + unitBytes * 2, query + unitBytes * 3, bytes, spare);
  for (let j: usize = 0; j < <usize>keys; j += 8) {
    const at = j << 2;
    dots4x8(spare, k + (j >> 4) * (<usize>dKv << 4) + ((j & 8) << 2), <usize>dKv >> 2, totals);
    const scalesA = v128.load(scales + at);
    const scalesB = v128.load(scales + at, 16);
    for (let row: usize = 0; row < 4; row++) {
      const from = totals + (row << 5);
      const over = v128.load32_splat(overs + (row << 2));
      const by = v128.load32_splat(factors + row * unitBytes);
      let a = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(v128.load(from), over)), f32x4.mul(scalesA, by));
      let b = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(v128.load(from, 16), over)), f32x4.mul(scalesB, by));
      if (bias) {
        const own = bias + at - (row << 2);
        a = f32x4.add(a, v128.load(own));
        b = f32x4.add(b, v128.load(own, 16));
      }
      const to = unit + row * unitBytes + at;
      v128.store(to, a);
      v128.store(to, b, 16);
    }
  }
}

/**
 * mixValues of four rows of a head, whose units lie `unitBytes` bytes apart, and whose results `outBytes`.
 *
 * @param digits weights of the first row; `factors`: what its sums are to be multiplied by
 * @param dKv a multiple of 16
 * @param spare 8 x (end - from) + 144 bytes to use
 */
export function mixValues4(
  digits: usize,
  unitBytes: usize,
  factors: usize,
  v: usize,
  from: usize,
  end: usize,
  out: usize,
  outBytes: usize,
  dKv: i32,
  room: usize,
  spare: usize,
): void {
  const bytes = (end - from) << 1;
  const totals = spare + (bytes << 2);
  const overs = totals + 128;
  digits += from << 1;
  putTooMuch(digits, unitBytes, bytes, overs);
  groupFour(digits, digits + unitBytes, digits + unitBytes * 2, digits + unitBytes * 3, bytes, spare);
  for (let i: usize = 0; i < <usize>dKv; i += 8, out += 32) {
    dots4x8(spare, v + (i & ~15) * room + (from << 4) + ((i & 8) << 2), (end - from) >> 2, totals);
    for (let row: usize = 0; row < 4; row++) {
      const at = totals + (row << 5);
      const over = v128.load32_splat(overs + (row << 2));
      const by = v128.load32_splat(factors + row * unitBytes);
      let a = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(v128.load(at), over)), by);
      let b = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(v128.load(at, 16), over)), by);
      const to = out + row * outBytes;
      if (from > 0) {
        a = f32x4.add(a, v128.load(to));
        b = f32x4.add(b, v128.load(to, 16));
      }
      v128.store(to, a);
      v128.store(to, b, 16);
    }
  }
}
