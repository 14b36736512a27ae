import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { dollarsOf, microDollarsOf, priceSchema } from "../../src/api/money.ts";

const perToken = priceSchema("per 1,000 tokens", 6, 1000);
const perRequest = priceSchema("a request", 9, 1000);

describe("prices as text", () => {
  it("are read exactly, and written as they were read", () => {
    fc.assert(
      fc.property(fc.nat({ max: 1_000_000_000 }), (micro) => {
        expect(perToken.parse(microDollarsOf(micro))).toBe(micro);
      }),
    );
    fc.assert(
      fc.property(
        fc.maxSafeNat().map((nano) => nano % 1_000_000_000_001),
        (nano) => {
          expect(perRequest.parse(dollarsOf(nano))).toBe(nano);
        },
      ),
    );
  });

  it.each([
    ["0", 0],
    ["1000", 1_000_000_000],
    ["1000.000000", 1_000_000_000],
    ["0.000001", 1],
    ["00.10", 100_000],
  ])("%s is %i micro-dollars", (text, micro) => {
    expect(perToken.parse(text)).toBe(micro);
  });

  it.each(["", ".5", "5.", "-1", "+1", "1e3", "1,5", " 1", "0x1", "0.0000001", "1000.000001", "NaN", "1.2.3"])(
    "%j is refused, not rounded",
    (text) => {
      expect(perToken.safeParse(text).success).toBe(false);
    },
  );

  it("never come from floats", () => {
    expect(perToken.safeParse(0.1).success).toBe(false);
  });
});

describe("dollars", () => {
  it.each([
    [0, "0"],
    [1, "0.000000001"],
    [1_000_000_000, "1"],
    [12_345_678_900n, "12.3456789"],
    [2n ** 62n, "4611686018.427387904"],
  ])("%s nano-dollars are %s", (nano, text) => {
    expect(dollarsOf(nano)).toBe(text);
  });
});
