import { exp1, exp4, expSixteen } from "./math";

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

/** Sixteen numbers whose e^x is taken together. */
const SIXTEEN = memory.data(64, 16);

/** What e is raised to: -2u of gelu by tanh, x (1 + tanh u) / 2 = x / (1 + e^-2u), or -x of silu, x / (1 + e^-x). */
@inline
function exponent(x: v128, isGelu: bool): v128 {
  if (!isGelu) return f32x4.neg(x);
  const cube = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), f32x4.splat(CUBIC));
  return f32x4.mul(f32x4.mul(f32x4.add(x, cube), f32x4.splat(ROOT)), f32x4.splat(-2));
}

/** gate = gate / (1 + e) x value. */
@inline
function put(gate: usize, value: usize, e: v128): void {
  const activated = f32x4.div(v128.load(gate), f32x4.add(f32x4.splat(1), e));
  v128.store(gate, f32x4.mul(activated, v128.load(value)));
}

@inline
function gated(gate: usize, value: usize, n: i32, isGelu: bool): void {
  const end = gate + (<usize>n << 2);
  for (; gate + 64 <= end; gate += 64, value += 64) {
    for (let i: usize = 0; i < 64; i += 16) v128.store(SIXTEEN + i, exponent(v128.load(gate + i), isGelu));
    expSixteen(SIXTEEN, f32x4.splat(0));
    for (let i: usize = 0; i < 64; i += 16) put(gate + i, value + i, v128.load(SIXTEEN + i));
  }
  for (; gate + 16 <= end; gate += 16, value += 16) put(gate, value, exp4(exponent(v128.load(gate), isGelu)));
  for (; gate < end; gate += 4, value += 4) {
    const x = load<f32>(gate);
    const e = exp1(f32x4.extract_lane(exponent(f32x4.splat(x), isGelu), 0));
    store<f32>(gate, (x / (1 + e)) * load<f32>(value));
  }
}

/** gate = gelu(gate) x value over n f32, gelu by tanh. */
export function gatedGelu(gate: usize, value: usize, n: i32): void {
  gated(gate, value, n, true);
}

/** gate = silu(gate) x value over n f32. */
export function gatedSilu(gate: usize, value: usize, n: i32): void {
  gated(gate, value, n, false);
}
