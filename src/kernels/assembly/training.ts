// The optimizer's passes over a model's numbers; a module of its own, on memory that threads share.

/**
 * AdamW over `count` numbers, a multiple of four:
 * m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², x ← (x · before − size · m ÷ (√v · inverse + ε)) · after, with g the
 * gradient times `scale`.
 */
export function adamw(
  values: usize,
  gradient: usize,
  mean: usize,
  square: usize,
  count: i32,
  scale: f32,
  beta1: f32,
  rest1: f32,
  beta2: f32,
  rest2: f32,
  size: f32,
  inverse: f32,
  epsilon: f32,
  before: f32,
  after: f32,
): void {
  for (let at: usize = 0, end = (<usize>count) << 2; at < end; at += 16) {
    const g = f32x4.mul(v128.load(gradient + at), f32x4.splat(scale));
    const m = f32x4.add(
      f32x4.mul(v128.load(mean + at), f32x4.splat(beta1)),
      f32x4.mul(g, f32x4.splat(rest1)),
    );
    const v = f32x4.add(
      f32x4.mul(v128.load(square + at), f32x4.splat(beta2)),
      f32x4.mul(f32x4.mul(g, g), f32x4.splat(rest2)),
    );
    v128.store(mean + at, m);
    v128.store(square + at, v);
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(v), f32x4.splat(inverse)), f32x4.splat(epsilon));
    const step = f32x4.div(f32x4.mul(m, f32x4.splat(size)), root);
    const kept = f32x4.mul(v128.load(values + at), f32x4.splat(before));
    v128.store(values + at, f32x4.mul(f32x4.sub(kept, step), f32x4.splat(after)));
  }
}

/** The sum of the squares of `count` numbers, a multiple of four; added up in float64. */
export function sumOfSquares(values: usize, count: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  for (let at: usize = 0, end = (<usize>count) << 2; at < end; at += 16) {
    const x = v128.load(values + at);
    const a = f64x2.promote_low_f32x4(x);
    const b = f64x2.promote_low_f32x4(i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const sum = f64x2.add(low, high);
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}
