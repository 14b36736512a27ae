/** The interval of a difference, held to what is known of it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RandomNumbers } from "../../src/training/data/random.ts";
import { differenceOf, isBeyond } from "./interval.ts";

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

describe("a difference", () => {
  test("of the same answers is none, and of answers that are all better by as much is that", () => {
    const values = fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 9 }), (theirs, more) => {
        const inputs = theirs.map(String);
        const ours = theirs.map((value) => value + more);
        const { value, low, high } = differenceOf(inputs, ours, theirs, mean);
        for (const each of [value, low, high]) expect(each).toBeCloseTo(more, 9);
      }),
      { numRuns: 20 },
    );
  });

  test("has the interval of a mean's standard error", () => {
    const random = new RandomNumbers(3, 9, 0);
    const ours = Array.from({ length: 900 }, () => random.unit());
    const inputs = ours.map((_, i) => String(i));
    const { value, low, high } = differenceOf(
      inputs,
      ours,
      ours.map(() => 0),
      mean,
    );
    const error = Math.sqrt(mean(ours.map((each) => (each - value) ** 2)) / ours.length);
    expect((value - low) / error).toBeCloseTo(1.96, 0);
    expect((high - value) / error).toBeCloseTo(1.96, 0);
  });

  test("draws the rows of one input together: each twice leaves the interval as wide", () => {
    const random = new RandomNumbers(4, 9, 0);
    const ours = Array.from({ length: 100 }, () => random.unit());
    const inputs = ours.map((_, i) => String(i));
    const zeros = ours.map(() => 0);
    const once = differenceOf(inputs, ours, zeros, mean);
    const twice = differenceOf([...inputs, ...inputs], [...ours, ...ours], [...zeros, ...zeros], mean);
    expect(twice.low).toBeCloseTo(once.low, 9);
    expect(twice.high).toBeCloseTo(once.high, 9);
  });

  test("is beyond a tolerance when its whole interval is", () => {
    expect(isBeyond({ value: -0.3, low: -0.5, high: -0.11 }, 0.1)).toBe(true);
    expect(isBeyond({ value: -0.3, low: -0.5, high: -0.09 }, 0.1)).toBe(false);
    expect(isBeyond({ value: 0.3, low: 0.11, high: 0.5 }, 0.1)).toBe(true);
    expect(isBeyond({ value: 0, low: -0.5, high: 0.5 }, 0.1)).toBe(false);
  });
});
