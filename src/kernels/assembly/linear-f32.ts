import { sumLanes } from "./math";

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
  const whole = <usize>(k & ~7) << 2;
  for (let column = 0; column < n; column++, w += bytes) {
    let row = x;
    for (let r = 0; r < rows; r++, row += bytes) {
      let a = f32x4.splat(0);
      let b = a;
      let i: usize = 0;
      for (; i < whole; i += 32) {
        a = f32x4.add(a, f32x4.mul(v128.load(row + i), v128.load(w + i)));
        b = f32x4.add(b, f32x4.mul(v128.load(row + i, 16), v128.load(w + i, 16)));
      }
      let total = sumLanes(f32x4.add(a, b));
      for (; i < bytes; i += 4) total += load<f32>(row + i) * load<f32>(w + i);
      const at = out + ((<usize>r * <usize>ldo + <usize>column) << 2);
      store<f32>(at, accumulate ? load<f32>(at) + total : total);
    }
  }
}
