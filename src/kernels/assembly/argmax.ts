import { maxLanes } from "./math";

/** Index of the largest of n f32; the lowest of equals. */
export function argmax(x: usize, n: i32): i32 {
  let best = f32x4.splat(-Infinity);
  let i = 0;
  for (; i + 4 <= n; i += 4) best = f32x4.pmax(best, v128.load(x + (<usize>i << 2)));
  let largest = maxLanes(best);
  for (; i < n; i++) largest = max(largest, load<f32>(x + (<usize>i << 2)));
  const by = f32x4.splat(largest);
  for (i = 0; i + 4 <= n && !v128.any_true(f32x4.eq(v128.load(x + (<usize>i << 2)), by)); ) i += 4;
  for (; i < n; i++) if (load<f32>(x + (<usize>i << 2)) == largest) return i;
  return 0;
}
