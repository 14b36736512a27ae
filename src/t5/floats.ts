/** The float formats of checkpoints and adapters, turned into float32. Files are little-endian, as every host is. */

/** What weights and adapters are read from; bytes an element. */
export const FLOAT_BYTES = { F32: 4, F16: 2, BF16: 2 } as const;

export type FloatDtype = keyof typeof FLOAT_BYTES;

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return Object.hasOwn(FLOAT_BYTES, dtype);
}

/** IEEE 754 half precision. Every half is exactly a float32. */
export function float16ToFloat32(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

let halves: Float32Array | undefined;

/** All 65,536 halves: a lookup is faster than taking each apart. */
function float16Table(): Float32Array {
  halves ??= Float32Array.from({ length: 1 << 16 }, (_, half) => float16ToFloat32(half));
  return halves;
}

/**
 * Converts raw little-endian elements to float32.
 *
 * @param source aligned to its element size
 * @param target at least as many elements as `source` holds
 */
export function toFloat32(dtype: FloatDtype, source: Uint8Array, target: Float32Array): void {
  const count = source.byteLength / FLOAT_BYTES[dtype];
  if (dtype === "F32") {
    target.set(new Float32Array(source.buffer, source.byteOffset, count));
    return;
  }
  const shorts = new Uint16Array(source.buffer, source.byteOffset, count);
  if (dtype === "F16") {
    const table = float16Table();
    for (let i = 0; i < count; i++) target[i] = table[shorts[i]!]!;
    return;
  }
  // A bfloat16 is the upper half of a float32.
  const bits = new Uint32Array(target.buffer, target.byteOffset, count);
  for (let i = 0; i < count; i++) bits[i] = shorts[i]! << 16;
}
