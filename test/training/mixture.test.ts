/** Several tasks as one. */
import { expect, test } from "vitest";
import { mixture, mixtureRates, SIZE_LIMIT } from "../../src/training/data/index.ts";
import type { ExampleSource, Json } from "../../src/training/example.ts";
import { take } from "./tokenizer.ts";

/** Counts up; its position is the next number. */
function counting(task: number, end = Number.POSITIVE_INFINITY): ExampleSource {
  return {
    async *read(position: Json | null) {
      for (let number = position === null ? 0 : Number(position); number < end; number++) {
        yield { example: { input: Int32Array.of(task, number), target: Int32Array.of(1) }, position: number + 1 };
      }
    },
  };
}

test("rates are the paper's: in proportion, limited, tempered, equal", () => {
  const sizes = [100, 300, 600];
  expect(mixtureRates(sizes)).toEqual([0.1, 0.3, 0.6]);
  expect(mixtureRates(sizes, { limit: 300 })).toEqual([100 / 700, 300 / 700, 300 / 700]);
  expect(mixtureRates(sizes, { equal: true })).toEqual([1 / 3, 1 / 3, 1 / 3]);
  const roots = sizes.map(Math.sqrt);
  const sum = roots.reduce((a, b) => a + b);
  for (const [i, rate] of mixtureRates(sizes, { temperature: 2 }).entries()) {
    expect(rate).toBeCloseTo((roots[i] as number) / sum, 12);
  }
  expect(mixtureRates([SIZE_LIMIT, 2 * SIZE_LIMIT], { temperature: 2, limit: SIZE_LIMIT })).toEqual([0.5, 0.5]);
  // Hotter and hotter, they become equal.
  for (const rate of mixtureRates([1, 1e6], { temperature: 1e6 })) expect(rate).toBeCloseTo(0.5, 4);
});

test.each([
  ["a task without examples", [5, 0], {}],
  ["no task", [], {}],
  ["a temperature below 1", [5, 5], { temperature: 0.5 }],
  ["a limit of nothing", [5, 5], { limit: 0 }],
])("%s is refused", (_, sizes, rates) => {
  expect(() => mixtureRates(sizes, rates)).toThrow(expect.objectContaining({ code: "E_USAGE" }));
});

test("draws by the rates, each task in its own order, and from any position on as without a stop", async () => {
  const sources = [counting(0), counting(1), counting(2)];
  const mixed = mixture(sources, [1, 3, 6], 4);
  const whole = await take(mixed.read(null), 5000);
  for (const [task, share] of [0.1, 0.3, 0.6].entries()) {
    const own = whole.filter(({ example }) => example.input[0] === task);
    expect(own.map(({ example }) => example.input[1])).toEqual([...own.keys()]);
    // A standard deviation of 0.007 at most.
    expect(Math.abs(own.length / 5000 - share)).toBeLessThan(0.03);
  }
  for (const stop of [1, 2, 100, 3333]) {
    const position = JSON.parse(JSON.stringify(whole[stop - 1]?.position));
    expect(await take(mixed.read(position), 200)).toEqual(whole.slice(stop, stop + 200));
  }
  expect(await take(mixture(sources, [1, 3, 6], 5).read(null), 50)).not.toEqual(whole.slice(0, 50));
});

test("ends with a source that ends", async () => {
  const examples = await take(mixture([counting(0, 3), counting(1)], [1, 1], 4).read(null), 1000);
  expect(examples.filter(({ example }) => example.input[0] === 0)).toHaveLength(3);
});

test("a position in other tasks is refused", async () => {
  const [first] = await take(mixture([counting(0), counting(1)], [1, 1], 4).read(null), 1);
  const resumed = mixture([counting(0)], [1], 4).read(first?.position ?? null);
  await expect(resumed.next()).rejects.toMatchObject({ code: "E_DATA_CHANGED" });
});
