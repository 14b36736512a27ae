import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { drawn, philox, RandomNumbers, shuffledIndex } from "../../src/training/data/random.ts";

const hex = (words: number[]) => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");

describe("numbers by counter", () => {
  // kat_vectors of Random123, github.com/DEShawResearch/random123.
  test.each<[number[], number[], string]>([
    [[0, 0, 0, 0], [0, 0], "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    [[-1, -1, -1, -1], [-1, -1], "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ])("are Philox4x32-10's: %j under %j", (counter, key, expected) => {
    expect(hex(philox(counter as [number, number, number, number], key as [number, number]))).toBe(expected);
  });

  test("fill 0 to 1 evenly, and differ by seed, purpose and place", () => {
    const random = new RandomNumbers(7, 1, 2 ** 40 + 5);
    const units = Array.from({ length: 20_000 }, () => random.unit());
    const tenths = Array.from({ length: 10 }, (_, i) => units.filter((unit) => Math.floor(unit * 10) === i).length);
    // 2,000 expected, a standard deviation of 42.
    for (const count of tenths) expect(Math.abs(count - 2000)).toBeLessThan(210);
    const first = (seed: number, purpose: number, index: number) => new RandomNumbers(seed, purpose, index).unit();
    const places = [first(7, 1, 5), first(8, 1, 5), first(7, 2, 5), first(7, 1, 6), first(7, 1, 2 ** 40 + 5)];
    expect(new Set(places).size).toBe(5);
    expect(first(7, 1, 2 ** 40 + 5)).toBe(units[0]);
  });

  test("draw each index as often as its weight asks for", () => {
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 10_000; i++) {
      const index = drawn([1, 0, 3, 4], (i + 0.5) / 10_000);
      counts[index] = (counts[index] as number) + 1;
    }
    expect(counts).toEqual([1250, 0, 3750, 5000]);
  });
});

describe("an order without its list", () => {
  test("has every index once, whatever the size", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(), fc.nat(1000), (size, seed, epoch) => {
        const order = Array.from({ length: size }, (_, i) => shuffledIndex(i, size, seed, epoch));
        expect([...order].sort((a, b) => a - b)).toEqual([...order.keys()]);
      }),
      { numRuns: 60 },
    );
  });

  test("is another one for another seed and epoch, and looks like none", () => {
    const size = 10_000;
    const order = (seed: number, epoch: number) =>
      Array.from({ length: size }, (_, i) => shuffledIndex(i, size, seed, epoch));
    const [a, b, c] = [order(1, 0), order(1, 1), order(2, 0)];
    const same = (x: number[], y: number[]) => x.filter((value, i) => value === y[i]).length;
    for (const other of [b, c, [...a.keys()]]) expect(same(a, other)).toBeLessThan(10);
    // Rank correlation with the places: ±0.01 is a standard deviation.
    const mean = (size - 1) / 2;
    const covariance = a.reduce((sum, value, i) => sum + (value - mean) * (i - mean), 0);
    expect(Math.abs(covariance / (size * ((size ** 2 - 1) / 12)))).toBeLessThan(0.05);
    // Neighbours do not stay together.
    expect(a.filter((value, i) => i > 0 && Math.abs(value - (a[i - 1] as number)) === 1).length).toBeLessThan(15);
  });
});
