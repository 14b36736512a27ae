import { sumLanes } from "./math";

/**
 * T5LayerNorm: out = x / sqrt(mean(x^2) + epsilon) x weight x factor. No mean is taken off, no bias added.
 *
 * @param x [rows, d] f32
 * @param weight [d] f32
 * @param out [rows, d] f32
 * @param factor 1, or the scale of the decoder's output (T5 v1.0: d^-0.5)
 */
export function rmsNorm(x: usize, weight: usize, out: usize, rows: i32, d: i32, epsilon: f32, factor: f32): void {
  const bytes = <usize>d << 2;
  const whole = <usize>(d & ~3) << 2;
  for (let r = 0; r < rows; r++) {
    let squares = f32x4.splat(0);
    let i: usize = 0;
    for (; i < whole; i += 16) {
      const v = v128.load(x + i);
      squares = f32x4.add(squares, f32x4.mul(v, v));
    }
    let total = sumLanes(squares);
    for (; i < bytes; i += 4) {
      const v = load<f32>(x + i);
      total += v * v;
    }
    const inverse: f32 = factor / sqrt(total / <f32>d + epsilon);
    const by = f32x4.splat(inverse);
    for (i = 0; i < whole; i += 16) {
      v128.store(out + i, f32x4.mul(f32x4.mul(v128.load(x + i), by), v128.load(weight + i)));
    }
    for (; i < bytes; i += 4) store<f32>(out + i, load<f32>(x + i) * inverse * load<f32>(weight + i));
    x += bytes;
    out += bytes;
  }
}
