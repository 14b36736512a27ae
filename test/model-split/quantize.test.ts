import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { firstNonFinite, quantizeGroups, quantizeRows } from "../../model-split/quantize.ts";
import { float16ToFloat32 } from "../../src/t5/floats.ts";

const finite = fc.float({ noNaN: true, noDefaultInfinity: true });

/** Rows of any finite weights, down to subnormal ones. */
const matrix = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 40 })).chain(([rows, columns]) =>
  fc.record({
    columns: fc.constant(columns),
    weights: fc
      .array(finite, { minLength: rows * columns, maxLength: rows * columns })
      .map((w) => Float32Array.from(w)),
  }),
);

function quantize(weights: Float32Array, columns: number) {
  const ints = new Int8Array(weights.length);
  const scales = new Float32Array(weights.length / columns);
  quantizeRows(weights, columns, ints, scales);
  return { ints, scales };
}

describe("quantizeRows", () => {
  it("is off by at most half a scale, for any finite weights", () => {
    fc.assert(
      fc.property(matrix, ({ weights, columns }) => {
        const { ints, scales } = quantize(weights, columns);
        weights.forEach((weight, i) => {
          const scale = scales[Math.floor(i / columns)]!;
          // Both sides as doubles: the product of an int8 and a float32 is exact.
          expect(Math.abs(weight - ints[i]! * scale)).toBeLessThanOrEqual((scale / 2) * (1 + 2 ** -40));
        });
      }),
    );
  });

  it("never uses −128, and at least 121 of 127 in every row whose scale is not at its floor", () => {
    fc.assert(
      fc.property(matrix, ({ weights, columns }) => {
        const { ints, scales } = quantize(weights, columns);
        expect(ints.includes(-128)).toBe(false);
        scales.forEach((scale, row) => {
          const largest = Math.max(...ints.subarray(row * columns, (row + 1) * columns).map(Math.abs));
          // A scale may be 4 % wider than the narrowest, and the floor as much above itself.
          if (scale > 1.05 * 2 ** -126) expect(largest).toBeGreaterThanOrEqual(121);
          if (scale === 0) expect(largest).toBe(0);
        });
      }),
    );
  });

  it("has no more squared error than the narrowest scale that holds the row", () => {
    const normal = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(normal, (row) => {
        const weights = Float32Array.from(row);
        const { ints, scales } = quantize(weights, weights.length);
        const narrowest = Math.fround(Math.max(...weights.map(Math.abs)) / 127);
        fc.pre(narrowest > 2 ** -120);
        const sum = (scale: number, toInt: (weight: number, i: number) => number) =>
          weights.reduce((error, weight, i) => error + (weight - toInt(weight, i) * scale) ** 2, 0);
        const atNarrowest = sum(narrowest, (weight) => Math.round(weight / narrowest));
        expect(sum(scales[0]!, (_, i) => ints[i]!)).toBeLessThanOrEqual(atNarrowest * (1 + 1e-6) + 1e-12);
      }),
    );
  });

  it("leaves a row that its narrowest scale holds exactly as it is", () => {
    const { ints, scales } = quantize(Float32Array.of(254, -252, 0, 126, -2), 5);
    expect([...ints]).toEqual([127, -126, 0, 63, -1]);
    expect([...scales]).toEqual([2]);
  });

  it("gives a row of zeros scale 0", () => {
    const { ints, scales } = quantize(Float32Array.of(0, -0, 254, -254), 2);
    expect([...ints]).toEqual([0, 0, 127, -127]);
    expect([...scales]).toEqual([0, 2]);
  });
});

describe("firstNonFinite", () => {
  it("finds the first NaN or infinity", () => {
    expect(firstNonFinite(Float32Array.of(1, -3.4e38, 1e-45))).toBe(-1);
    expect(firstNonFinite(Float32Array.of(1, Number.NEGATIVE_INFINITY, Number.NaN))).toBe(1);
    expect(firstNonFinite(Float32Array.of(1, 2, Number.NaN))).toBe(2);
  });
});

describe("quantizeGroups", () => {
  const weights = fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 1, maxLength: 100 });

  function quantizeToNibbles(row: Float32Array) {
    const groups = Math.ceil(row.length / 32);
    const nibbles = new Uint8Array(groups * 16);
    const scales = new Uint16Array(groups);
    quantizeGroups(row, row.length, nibbles, scales);
    const levels = Array.from({ length: groups * 32 }, (_, i) => {
      const byte = nibbles[i >> 1]!;
      return (i & 1 ? byte >> 4 : byte & 15) - 8;
    });
    return { levels, scales: [...scales].map(float16ToFloat32) };
  }

  it("has no more squared error than sixteen even levels from the largest weight down", () => {
    fc.assert(
      fc.property(weights, (values) => {
        const row = Float32Array.from(values);
        const { levels, scales } = quantizeToNibbles(row);
        for (const [g, scale] of scales.entries()) {
          const group = [...row.subarray(g * 32, (g + 1) * 32)];
          const extreme = group.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
          fc.pre(Math.abs(extreme) > 0.01);
          const plain = Math.fround(extreme / -8);
          const errorOf = (step: number, level: (w: number, i: number) => number) =>
            group.reduce((sum, w, i) => sum + (w - level(w, i) * step) ** 2, 0);
          const naive = errorOf(plain, (w) => Math.min(7, Math.max(-8, Math.round(w / plain))));
          // float16 rounds a scale by up to 2^-11 of it.
          const slack = group.length * (8 * Math.abs(plain) * 2 ** -11) ** 2 + 2e-3 * naive;
          expect(errorOf(scale, (_, i) => levels[g * 32 + i]!)).toBeLessThanOrEqual(
            naive * 1.01 + 4 * slack + 1e-3 * plain ** 2 * group.length,
          );
        }
      }),
    );
  });

  it("is off by at most half a scale where no weight is cut off", () => {
    const row = Float32Array.from({ length: 70 }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 5)));
    const { levels, scales } = quantizeToNibbles(row);
    for (const [i, weight] of row.entries()) {
      const scale = Math.abs(scales[i >> 5]!);
      if (levels[i]! > -8 && levels[i]! < 7) {
        expect(Math.abs(weight - levels[i]! * scales[i >> 5]!)).toBeLessThanOrEqual(scale * 0.501);
      }
    }
  });

  it("fills a short last group with zeros, and gives a group of zeros the scale 0", () => {
    const { levels, scales } = quantizeToNibbles(new Float32Array(40).fill(2, 32));
    expect(scales[0]).toBe(0);
    expect(levels.slice(0, 32)).toEqual(new Array(32).fill(0));
    expect(levels.slice(40)).toEqual(new Array(24).fill(0));
    for (const level of levels.slice(32, 40)) expect(level * scales[1]!).toBeCloseTo(2, 2);
  });
});
