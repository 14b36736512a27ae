import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { firstNonFinite, quantizeRows } from "../../model-split/quantize.ts";

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
