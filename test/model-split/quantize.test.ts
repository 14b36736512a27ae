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

  it("never uses −128, and reaches 127 in every row whose scale is not at its floor", () => {
    fc.assert(
      fc.property(matrix, ({ weights, columns }) => {
        const { ints, scales } = quantize(weights, columns);
        expect(ints.includes(-128)).toBe(false);
        scales.forEach((scale, row) => {
          const largest = Math.max(...ints.subarray(row * columns, (row + 1) * columns).map(Math.abs));
          if (scale > 2 ** -126) expect(largest).toBe(127);
          if (scale === 0) expect(largest).toBe(0);
        });
      }),
    );
  });

  it("rounds halves to even", () => {
    const { ints, scales } = quantize(Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5), 7);
    expect(scales).toEqual(Float32Array.of(1));
    expect([...ints]).toEqual([127, 0, 2, 2, 0, -2, 126]);
  });

  it("gives a row of zeros scale 0", () => {
    const { ints, scales } = quantize(Float32Array.of(0, -0, 254, -127), 2);
    expect([...ints]).toEqual([0, 0, 127, -64]);
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
