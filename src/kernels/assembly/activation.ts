import { exp1, exp4 } from "./math";

/** x = max(x, 0) over n f32, in place. */
export function relu(x: usize, n: i32): void {
  const end = x + (<usize>n << 2);
  const whole = x + (<usize>(n & ~3) << 2);
  for (; x < whole; x += 16) v128.store(x, f32x4.max(v128.load(x), f32x4.splat(0)));
  for (; x < end; x += 4) store<f32>(x, max(load<f32>(x), <f32>0));
}

/** sqrt(2 / pi), and the cubic term of the tanh approximation (gelu_new). */
const ROOT: f32 = 0.7978845608028654;
const CUBIC: f32 = 0.044715;

/** gate = gelu(gate) x value over n f32, gelu by tanh: x (1 + tanh u) / 2 = x / (1 + e^-2u). */
export function gatedGelu(gate: usize, value: usize, n: i32): void {
  const whole = <usize>(n & ~3) << 2;
  const bytes = <usize>n << 2;
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const x = v128.load(gate + i);
    const cube = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(CUBIC));
    const u = f32x4.mul(f32x4.add(x, cube), f32x4.splat(ROOT));
    const gelu = f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.mul(u, f32x4.splat(-2)))));
    v128.store(gate + i, f32x4.mul(gelu, v128.load(value + i)));
  }
  for (; i < bytes; i += 4) {
    const x = load<f32>(gate + i);
    const u = (x + x * x * x * CUBIC) * ROOT;
    store<f32>(gate + i, (x / (1 + exp1(-2 * u))) * load<f32>(value + i));
  }
}

/** gate = silu(gate) x value over n f32: x / (1 + e^-x). */
export function gatedSilu(gate: usize, value: usize, n: i32): void {
  const whole = <usize>(n & ~3) << 2;
  const bytes = <usize>n << 2;
  let i: usize = 0;
  for (; i < whole; i += 16) {
    const x = v128.load(gate + i);
    const silu = f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
    v128.store(gate + i, f32x4.mul(silu, v128.load(value + i)));
  }
  for (; i < bytes; i += 4) {
    const x = load<f32>(gate + i);
    store<f32>(gate + i, (x / (1 + exp1(-x))) * load<f32>(value + i));
  }
}
