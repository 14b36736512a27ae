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

/**
 * Reads n bytes (a multiple of 256, 64 kB at least) in four streams, each through its own quarter but for what is left: a
 * quarter of a page lies between their places in their pages, so that they do not come to the ends of pages together.
 */
export function readFourStreams(p: usize, n: usize): i32 {
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  const quarter = ((n >> 2) & ~4095) - 3072;
  const rest = readOneStream(p + quarter * 4, n - quarter * 4);
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
  return rest ^ fold(v128.xor(v128.xor(a, b), v128.xor(c, d)));
}

/** Multiply-adds of one call of {@link dots} with n = 1: twelve dots of 16 (relaxed) or 8 (plain) products. */
export function dotsPerTurn(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 12 * 16 : 12 * 8;
}

function relaxed(w: v128, x: v128, acc: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, acc);
}

function plain(w: v128, x: v128, acc: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(w, x));
}

/**
 * n turns of twelve dots from registers. An operand changes every turn, so that no dot is hoisted out of the loop, and none
 * is a constant: V8 makes vector constants anew at each use.
 */
export function dots(n: i32): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? relaxedDots(n) : plainDots(n);
}

/** Each into an accumulator of its own: enough to hide a dot's latency of four or five cycles where two begin in each. */
function relaxedDots(n: i32): i32 {
  const step = i8x16.splat(<i8>(n & 1));
  const w = i8x16.splat(<i8>(n & 3));
  let x = i8x16.splat(<i8>(n & 15));
  let a = step;
  let b = step;
  let c = step;
  let d = step;
  let e = step;
  let f = step;
  let g = step;
  let h = step;
  let i = step;
  let j = step;
  let k = step;
  let l = step;
  for (let turn = 0; turn < n; turn++) {
    a = relaxed(w, x, a);
    b = relaxed(w, x, b);
    c = relaxed(w, x, c);
    d = relaxed(w, x, d);
    e = relaxed(w, x, e);
    f = relaxed(w, x, f);
    g = relaxed(w, x, g);
    h = relaxed(w, x, h);
    i = relaxed(w, x, i);
    j = relaxed(w, x, j);
    k = relaxed(w, x, k);
    l = relaxed(w, x, l);
    x = v128.xor(x, step);
  }
  const low = v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(e, f));
  return fold(v128.xor(low, v128.xor(v128.xor(v128.xor(g, h), v128.xor(i, j)), v128.xor(k, l))));
}

/**
 * Only an addition waits for the one before. The operand changes with every six products and never comes back: V8 unrolls the
 * loop and computes but once what two turns have in common. All that lives at once has a register: what V8 puts on the stack
 * may lie across two cache lines, and then a turn takes twice as long.
 */
function plainDots(n: i32): i32 {
  const w0 = i8x16.splat(<i8>(n & 3));
  const w1 = i8x16.splat(<i8>(n & 5));
  const w2 = i8x16.splat(<i8>(n & 7));
  const w3 = i8x16.splat(<i8>(n & 9));
  const w4 = i8x16.splat(<i8>(n & 17));
  const w5 = i8x16.splat(<i8>(n & 33));
  let x = i8x16.splat(<i8>(n & 15));
  let a = w0;
  let b = w0;
  let c = w0;
  let d = w0;
  let e = w0;
  let f = w0;
  for (let turn = 0; turn < n; turn++) {
    a = plain(w0, x, a);
    b = plain(w1, x, b);
    c = plain(w2, x, c);
    d = plain(w3, x, d);
    e = plain(w4, x, e);
    f = plain(w5, x, f);
    x = i16x8.add(x, w0);
    a = plain(w0, x, a);
    b = plain(w1, x, b);
    c = plain(w2, x, c);
    d = plain(w3, x, d);
    e = plain(w4, x, e);
    f = plain(w5, x, f);
    x = i16x8.add(x, w0);
  }
  return fold(v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(e, f)));
}
