import { describe, expect, it } from "vitest";
import { float16ToFloat32, toFloat32 } from "../../src/t5/floats.ts";

describe("half precision", () => {
  it.each([
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x3555, 0.333251953125],
    [0x8000, -0],
    [0x7c00, Number.POSITIVE_INFINITY],
    [0xfc00, Number.NEGATIVE_INFINITY],
    [0x7e00, Number.NaN],
  ])("%i is %d", (bits, value) => {
    expect(float16ToFloat32(bits)).toBe(value);
  });

  it("converts all 65,536 patterns, each to another value of the same order", () => {
    const patterns = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
    const values = new Float32Array(patterns.length);
    toFloat32("F16", new Uint8Array(patterns.buffer), values);
    // Positive halves are ordered like their bit patterns, up to infinity; negative ones mirror them.
    for (let bits = 1; bits <= 0x7c00; bits++) {
      expect(values[bits]! > values[bits - 1]!).toBe(true);
      expect(values[bits | 0x8000]).toBe(-values[bits]!);
    }
    expect(values.subarray(0x7c01, 0x8000).every(Number.isNaN)).toBe(true);
  });
});

describe("bfloat16", () => {
  it("is the upper half of a float32", () => {
    const patterns = Uint16Array.of(0x3f80, 0xc000, 0x4049, 0x7f7f, 0x0001, 0x8000, 0x7f80);
    const values = new Float32Array(patterns.length);
    toFloat32("BF16", new Uint8Array(patterns.buffer), values);
    expect([...values]).toEqual([1, -2, 3.140625, 3.3895313892515355e38, 2 ** -133, -0, Number.POSITIVE_INFINITY]);
  });
});
