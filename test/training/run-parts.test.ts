/** Parts of a run: its picture, what a new model begins with, and what is planned where nobody says. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { initialWeights } from "../../src/training/initialize.ts";
import type { RunData } from "../../src/training/run/data.ts";
import { planTraining } from "../../src/training/run/plan.ts";
import { lossPlot, ticksOf } from "../../src/training/run/plot.ts";
import { toyExample } from "./toy.ts";

describe("the plot", () => {
  test("has round numbers around all that is shown, evenly apart, neither few nor many", () => {
    const range = fc.tuple(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e6, noNaN: true }),
    );
    fc.assert(
      fc.property(range, ([low, width]) => {
        const { values, decimals } = ticksOf(low, low + width);
        const step = (values[1] ?? 0) - (values[0] ?? 0);
        expect(values[0]).toBeLessThanOrEqual(low + 1e-6 * step);
        expect(values.at(-1)).toBeGreaterThanOrEqual(low + width - 1e-6 * step);
        expect(values.length).toBeGreaterThanOrEqual(3);
        expect(values.length).toBeLessThanOrEqual(9);
        for (const value of values) expect(Math.abs(Number(value.toFixed(decimals)) - value)).toBeLessThan(0.01 * step);
      }),
    );
  });

  const points = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ step: i + 1, loss: 5 - (4 * i) / count }));

  test("puts points where they belong, within its axes, however many there are", () => {
    for (const count of [1, 2, 50, 20_000]) {
      const svg = lossPlot({ training: points(count), validation: [{ step: count, loss: 2 }], steps: count });
      const line =
        /<polyline[^>]* points="([^"]*)"/
          .exec(svg)?.[1]
          ?.split(" ")
          .map((each) => each.split(",").map(Number)) ?? [];
      expect(line.length).toBeLessThanOrEqual(600);
      expect(line.length).toBeGreaterThan(Math.min(count, 500) - 1);
      for (const [x = 0, y = 0] of line) {
        expect([x >= 64, x <= 700, y >= 40, y <= 348]).toEqual([true, true, true, true]);
      }
      // Falling losses go down, that is to greater y.
      const ys = line.map(([, y = 0]) => y);
      expect(ys).toEqual([...ys].sort((a, b) => a - b));
      expect(svg).toContain('<circle cx="700.0"');
    }
  });

  test("of no step at all, and of a loss that is no number, is a picture still", () => {
    expect(lossPlot({ training: [], validation: [], steps: 10 })).not.toMatch(/NaN|Infinity/);
    const broken = [{ step: 1, loss: Number.NaN }];
    expect(lossPlot({ training: points(3), validation: broken, steps: 10 })).not.toMatch(/NaN|Infinity/);
  });
});

describe("a new model", () => {
  const CONFIG = {
    ...{ model_type: "t5", vocab_size: 500, d_model: 64, d_kv: 16, d_ff: 256, num_heads: 8, num_layers: 2 },
    feed_forward_proj: "gated-gelu",
  };
  const config = parseHuggingFaceConfig(CONFIG);
  const deviation = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);

  test("has the deviations of transformers' _init_weights, and no mean", () => {
    const tensors = initialWeights(config, false, 1, 2);
    const expected: [RegExp, number][] = [
      [/^shared|^lm_head/, 1],
      [/\.q\.weight$/, (64 * 16) ** -0.5],
      [/\.(k|v)\.weight$/, 64 ** -0.5],
      [/\.o\.weight$/, 128 ** -0.5],
      [/\.wi_[01]\.weight$/, 64 ** -0.5],
      [/\.wo\.weight$/, 256 ** -0.5],
      [/relative_attention_bias/, 64 ** -0.5],
    ];
    for (const [name, { values }] of tensors) {
      const of = expected.find(([pattern]) => pattern.test(name))?.[1];
      if (of === undefined) expect([name, values.every((x) => x === 2)]).toEqual([name, true]);
      else {
        // Some are of 256 numbers: five standard errors.
        const slack = 5 / Math.sqrt(2 * values.length);
        expect(Math.abs(deviation(values) / (2 * of) - 1), name).toBeLessThan(slack);
        expect(Math.abs(values.reduce((sum, x) => sum + x, 0) / values.length), name).toBeLessThan(
          (5 * 2 * of) / Math.sqrt(values.length),
        );
      }
    }
  });

  test("is the same by the same seed, and no tensor is like another", () => {
    const [first, again, other] = [
      initialWeights(config, true, 1),
      initialWeights(config, true, 1),
      initialWeights(config, true, 2),
    ];
    expect(first).toEqual(again);
    const q = "encoder.block.0.layer.0.SelfAttention.q.weight";
    expect(first.get(q)).not.toEqual(other.get(q));
    expect(first.get(q)).not.toEqual(first.get(q.replace("block.0", "block.1")));
  });
});

describe("the plan", () => {
  /** So many rows, each time in the same order. */
  function dataOf(rows: number): RunData {
    return {
      source: {
        async *read() {
          for (let i = 0; ; i++) yield { example: toyExample(i % rows), position: i + 1 };
        },
      },
      rows,
      tokens: rows * 12,
      validation: [],
      epochsAt: (position) => Number(position) / rows,
      close() {},
    };
  }

  test("of little data has small batches and steps enough; of much it is three epochs", async () => {
    const little = await planTraining("fit", {}, dataOf(40));
    expect(little.training).toMatchObject({ steps: 200, batchTokens: 512, poolExamples: 40 });
    const much = await planTraining("fit", {}, dataOf(60_000));
    expect(much.training.batchTokens).toBe(4096);
    expect(much.training.poolExamples).toBe(Math.ceil((16 * 4096) / 12));
    // Padding is some of it.
    const least = (3 * 60_000 * 12) / 4096;
    expect(much.training.steps).toBeGreaterThan(0.9 * least);
    expect(much.training.steps).toBeLessThan(1.3 * least);
    expect(much.checkpointEvery).toBeLessThanOrEqual(500);
  });

  test("counts epochs by the batches that they make, and what an update gathers", async () => {
    const options = { epochs: 2, batchTokens: 64, optimizer: "adafactor" } as const;
    const [one, four] = await Promise.all(
      [1, 4].map((accumulate) => planTraining("fit", { ...options, accumulate }, dataOf(500))),
    );
    expect(one?.training.steps).toBeGreaterThan(150);
    expect(four?.training.steps).toBe(Math.ceil((one?.training.steps ?? 0) / 4));
  });

  test.each([
    [{ steps: 3, epochs: 1 }, /Steps and epochs contradict/],
    [{ optimizer: "adafactor", betas: [0.9, 0.98] }, /Adafactor has no betas/],
    [{ patience: 3 }, /Nothing is held out/],
  ] as const)("refuses %j", async (request, message) => {
    await expect(planTraining("fit", request, dataOf(40))).rejects.toMatchObject({
      code: "E_INPUT",
      message: expect.stringMatching(message),
    });
  });
});
