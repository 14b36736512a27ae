import { highHalves, lowHalves, sumLanes } from "./math";

/** Bytes of a row that come by eight numbers. */
@inline
function wholeOf(bytes: usize): usize {
  return bytes & ~31;
}

function dot1(x: usize, w: usize, bytes: usize): f32 {
  let a = f32x4.splat(0);
  let b = a;
  let i: usize = 0;
  for (const whole = wholeOf(bytes); i < whole; i += 32) {
    a = f32x4.add(a, f32x4.mul(v128.load(x + i), v128.load(w + i)));
    b = f32x4.add(b, f32x4.mul(v128.load(x + i, 16), v128.load(w + i, 16)));
  }
  let total = sumLanes(f32x4.add(a, b));
  for (; i < bytes; i += 4) total += load<f32>(x + i) * load<f32>(w + i);
  return total;
}

/** {@link dot1} with four weight rows: the same bits, and four sums under way. */
function dots4(x: usize, w0: usize, bytes: usize): v128 {
  const w1 = w0 + bytes;
  const w2 = w1 + bytes;
  const w3 = w2 + bytes;
  let a0 = f32x4.splat(0);
  let b0 = a0;
  let a1 = a0;
  let b1 = a0;
  let a2 = a0;
  let b2 = a0;
  let a3 = a0;
  let b3 = a0;
  let i: usize = 0;
  for (const whole = wholeOf(bytes); i < whole; i += 32) {
    const first = v128.load(x + i);
    const second = v128.load(x + i, 16);
    a0 = f32x4.add(a0, f32x4.mul(first, v128.load(w0 + i)));
    b0 = f32x4.add(b0, f32x4.mul(second, v128.load(w0 + i, 16)));
    a1 = f32x4.add(a1, f32x4.mul(first, v128.load(w1 + i)));
    b1 = f32x4.add(b1, f32x4.mul(second, v128.load(w1 + i, 16)));
    a2 = f32x4.add(a2, f32x4.mul(first, v128.load(w2 + i)));
    b2 = f32x4.add(b2, f32x4.mul(second, v128.load(w2 + i, 16)));
    a3 = f32x4.add(a3, f32x4.mul(first, v128.load(w3 + i)));
    b3 = f32x4.add(b3, f32x4.mul(second, v128.load(w3 + i, 16)));
  }
  a0 = f32x4.add(a0, b0);
  a1 = f32x4.add(a1, b1);
  a2 = f32x4.add(a2, b2);
  a3 = f32x4.add(a3, b3);
  // As sumLanes does: the halves of a vector first.
  const ab = f32x4.add(lowHalves(a0, a1), highHalves(a0, a1));
  const cd = f32x4.add(lowHalves(a2, a3), highHalves(a2, a3));
  let totals = f32x4.add(
    i8x16.shuffle(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27),
    i8x16.shuffle(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31),
  );
  for (; i < bytes; i += 4) {
    let w = v128.load32_zero(w0 + i);
    w = v128.load32_lane(w1 + i, w, 1);
    w = v128.load32_lane(w2 + i, w, 2);
    w = v128.load32_lane(w3 + i, w, 3);
    totals = f32x4.add(totals, f32x4.mul(v128.load32_splat(x + i), w));
  }
  return totals;
}

/**
 * out[r, n] = (or +=) dot(x row r, weight row n), float32: the checking mode.
 *
 * @param x [rows, k] f32
 * @param w [n, k] f32
 * @param out [rows, n] f32, rows `ldo` elements apart
 * @param accumulate 1 to add to out, 0 to set it
 */
export function linearF32(
  x: usize,
  rows: i32,
  k: i32,
  w: usize,
  n: i32,
  out: usize,
  ldo: i32,
  accumulate: i32,
): void {
  const bytes = <usize>k << 2;
  const adds = accumulate != 0;
  const four = n & ~3;
  for (let column = 0; column < four; column += 4, w += bytes << 2) {
    let row = x;
    let at = out + (<usize>column << 2);
    for (let r = 0; r < rows; r++, row += bytes, at += <usize>ldo << 2) {
      const totals = dots4(row, w, bytes);
      v128.store(at, adds ? f32x4.add(v128.load(at), totals) : totals);
    }
  }
  for (let column = four; column < n; column++, w += bytes) {
    let row = x;
    let at = out + (<usize>column << 2);
    for (let r = 0; r < rows; r++, row += bytes, at += <usize>ldo << 2) {
      const total = dot1(row, w, bytes);
      store<f32>(at, adds ? load<f32>(at) + total : total);
    }
  }
}
