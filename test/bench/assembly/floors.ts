// What this machine can do at best, by the fastest loops we know: reading memory, and int8 dot products in registers.
// Built into two modules like the kernels, so that each peak is that of the kernel's own instruction.

function fold(v: v128): i32 {
  return (
    i32x4.extract_lane(v, 0) ^ i32x4.extract_lane(v, 1) ^ i32x4.extract_lane(v, 2) ^ i32x4.extract_lane(v, 3)
  );
}

/** Reads n bytes (a multiple of 256) in one stream: 128-bit loads, four accumulators. */
export function readOneStream(p: usize, n: usize): i32 {
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  const end = p + n;
  for (; p < end; p += 64) {
    a = v128.xor(a, v128.load(p));
    b = v128.xor(b, v128.load(p, 16));
    c = v128.xor(c, v128.load(p, 32));
    d = v128.xor(d, v128.load(p, 48));
  }
  return fold(v128.xor(v128.xor(a, b), v128.xor(c, d)));
}

/** Reads n bytes (a multiple of 256) in four streams, each through its own quarter. */
export function readFourStreams(p: usize, n: usize): i32 {
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  const quarter = n >> 2;
  const end = p + quarter;
  let p1 = p + quarter;
  let p2 = p1 + quarter;
  let p3 = p2 + quarter;
  for (; p < end; p += 32, p1 += 32, p2 += 32, p3 += 32) {
    a = v128.xor(a, v128.xor(v128.load(p), v128.load(p, 16)));
    b = v128.xor(b, v128.xor(v128.load(p1), v128.load(p1, 16)));
    c = v128.xor(c, v128.xor(v128.load(p2), v128.load(p2, 16)));
    d = v128.xor(d, v128.xor(v128.load(p3), v128.load(p3, 16)));
  }
  return fold(v128.xor(v128.xor(a, b), v128.xor(c, d)));
}

/** Multiply-adds of one call of {@link dots} with n = 1: eight dots of 16 (relaxed) or 8 (plain) products. */
export function dotsPerTurn(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 8 * 16 : 8 * 8;
}

function dot(w: v128, x: v128, acc: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
}

/**
 * n turns of eight dots from registers: four accumulators, each waiting for no more than an addition. The operand
 * changes each turn, so that no dot is hoisted out of the loop, and none is a constant: V8 makes vector constants anew
 * at each use.
 */
export function dots(n: i32): i32 {
  const step = i8x16.splat(<i8>(n & 1));
  const w0 = i8x16.splat(<i8>(n & 3));
  const w1 = i8x16.splat(<i8>(n & 5));
  const w2 = i8x16.splat(<i8>(n & 7));
  const w3 = i8x16.splat(<i8>(n & 11));
  let x = i8x16.splat(<i8>(n & 15));
  let a = step;
  let b = step;
  let c = step;
  let d = step;
  for (let i = 0; i < n; i++) {
    a = dot(w0, x, a);
    b = dot(w1, x, b);
    c = dot(w2, x, c);
    d = dot(w3, x, d);
    x = v128.xor(x, step);
    a = dot(w1, x, a);
    b = dot(w2, x, b);
    c = dot(w3, x, c);
    d = dot(w0, x, d);
    x = v128.xor(x, w2);
  }
  return fold(v128.xor(v128.xor(a, b), v128.xor(c, d)));
}
