/** The trainer's parts by themselves: batches, buckets, schedules, dropout, adapters' settings, optimizers. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { collate } from "../../src/training/batch.ts";
import { type BatchPosition, bucketed } from "../../src/training/buckets.ts";
import type { Example, ExampleSource } from "../../src/training/example.ts";
import { loraModules } from "../../src/training/lora.ts";
import { Crew } from "../../src/training/optimizers/crew.ts";
import type { OptimizerOptions, Parameter } from "../../src/training/optimizers/index.ts";
import { createOptimizer } from "../../src/training/optimizers/index.ts";
import { dropoutMask, randomBits } from "../../src/training/random.ts";
import { learningRate, type Schedule } from "../../src/training/schedule.ts";
import { ToySource, toyExample } from "./toy.ts";

describe("a batch", () => {
  test("pads, masks, shifts the target, and knows where labels stand", () => {
    const batch = collate(
      [
        { input: Int32Array.of(7, 8, 1), target: Int32Array.of(5, 1) },
        { input: Int32Array.of(9, 1), target: Int32Array.of(-100, 6, 1) },
      ],
      { padTokenId: 0, decoderStartTokenId: 3 },
    );
    expect(batch).toEqual({
      rows: 2,
      inputLength: 3,
      targetLength: 3,
      inputIds: Int32Array.of(7, 8, 1, 9, 1, 0),
      attentionMask: Int32Array.of(1, 1, 1, 1, 1, 0),
      decoderInputIds: Int32Array.of(3, 5, 0, 3, 0, 6),
      labelPlaces: Int32Array.of(0, 1, 4, 5),
      labels: Int32Array.of(5, 1, 6, 1),
      tokens: 10,
    });
  });
});

describe("length buckets", () => {
  const options = { batchTokens: 64, poolExamples: 40, seed: 3 };
  const take = async (count: number, position: BatchPosition | null, source = new ToySource()) => {
    const batches: { examples: Example[]; position: BatchPosition }[] = [];
    for await (const batch of bucketed(source, options, position)) if (batches.push(batch) === count) break;
    return batches;
  };

  test("give every example of a source once, in batches within the limit", async () => {
    const batches = await take(Number.POSITIVE_INFINITY, null, new ToySource(100));
    const given = batches.flatMap(({ examples }) => examples.map(({ input }) => input.join()));
    expect(given.sort()).toEqual(Array.from({ length: 100 }, (_, i) => toyExample(i).input.join()).sort());
    for (const { examples } of batches) {
      const [input, target] = [collate(examples, { padTokenId: 0, decoderStartTokenId: 0 })].flatMap((batch) => [
        batch.inputLength,
        batch.targetLength,
      ]) as [number, number];
      expect(examples.length === 1 || examples.length * (input + target) <= options.batchTokens).toBe(true);
    }
  });

  test("leave little padding", async () => {
    const batches = (await take(30, null)).map(({ examples }) =>
      collate(examples, { padTokenId: 0, decoderStartTokenId: 0 }),
    );
    const room = batches.reduce((sum, batch) => sum + batch.rows * (batch.inputLength + batch.targetLength), 0);
    expect(batches.reduce((sum, { tokens }) => sum + tokens, 0)).toBeGreaterThan(0.9 * room);
  });

  test("leave little padding where inputs and targets differ in length apart from each other", async () => {
    const lengths = randomBits(5);
    const uneven: ExampleSource = {
      async *read() {
        for (;;) {
          const [input, target] = [10 + (lengths() % 10), 4 + (lengths() % 16)];
          yield { example: { input: new Int32Array(input), target: new Int32Array(target) }, position: null };
        }
      },
    };
    let [room, tokens] = [0, 0];
    let count = 0;
    for await (const { examples } of bucketed(uneven, { batchTokens: 256, poolExamples: 2000, seed: 3 }, null)) {
      const batch = collate(examples, { padTokenId: 0, decoderStartTokenId: 0 });
      room += batch.rows * (batch.inputLength + batch.targetLength);
      tokens += batch.tokens;
      if (++count === 100) break;
    }
    expect(tokens).toBeGreaterThan(0.95 * room);
  });

  test("go on at any position with what would have come", async () => {
    const whole = await take(25, null);
    for (const at of [1, 6, 7, 8, 13]) {
      // As a checkpoint keeps it.
      const position = JSON.parse(JSON.stringify(whole[at - 1]!.position)) as BatchPosition;
      expect((await take(5, position)).map(({ examples }) => examples)).toEqual(
        whole.slice(at, at + 5).map(({ examples }) => examples),
      );
    }
  });
});

describe("schedules", () => {
  const rates = (schedule: Omit<Schedule, "peak">, steps: number) =>
    Array.from({ length: steps }, (_, i) => learningRate({ peak: 1, ...schedule }, i + 1, steps));

  test.each<[string, Omit<Schedule, "peak">, number[]]>([
    ["constant", {}, [1, 1, 1, 1]],
    ["constant after a warm-up", { warmup: 2 }, [0.5, 1, 1, 1]],
    ["linear", { kind: "linear" }, [1, 0.75, 0.5, 0.25]],
    ["linear to a floor", { kind: "linear", floor: 0.5 }, [1, 0.875, 0.75, 0.625]],
    ["cosine", { kind: "cosine" }, [1, 0.5 + Math.SQRT1_2 / 2, 0.5, 0.5 - Math.SQRT1_2 / 2]],
    ["inverse square root", { kind: "inverse-square-root", warmup: 1 }, [1, Math.SQRT1_2, 1 / Math.sqrt(3), 0.5]],
  ])("%s", (_, schedule, expected) => {
    for (const [i, rate] of rates(schedule, 4).entries()) expect(rate).toBeCloseTo(expected[i]!, 12);
  });

  test("never rise after the warm-up, and never fall in it", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("constant", "linear", "cosine", "inverse-square-root"),
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 60 }),
        (kind, warmup, steps) => {
          const all = rates({ kind, warmup }, steps);
          for (let i = 1; i < all.length; i++) {
            expect(i < warmup ? all[i]! > all[i - 1]! : all[i]! <= all[i - 1]!).toBe(true);
          }
        },
      ),
    );
  });
});

test("dropout leaves out as many as it says, and the same ones for the same keys", () => {
  const mask = dropoutMask(100_001, 0.3, randomBits(1, 2, 3));
  expect(mask.reduce((sum, kept) => sum + kept, 0) / mask.length).toBeCloseTo(0.7, 2);
  // Each by itself: what is left out says nothing of what comes next, or a little later.
  for (const apart of [1, 2, 7]) {
    const both = mask.filter((kept, i) => kept === 0 && mask[i + apart] === 0).length;
    expect(both / mask.length).toBeCloseTo(0.3 ** 2, 2);
  }
  expect(dropoutMask(1000, 0.3, randomBits(1, 2, 3))).toEqual(mask.subarray(0, 1000));
  expect(dropoutMask(1000, 0.3, randomBits(1, 2, 4))).not.toEqual(mask.subarray(0, 1000));
});

test("an adapter's targets are ends of the modules' names, as PEFT takes them", () => {
  const config = parseHuggingFaceConfig({
    model_type: "t5",
    vocab_size: 9,
    d_model: 8,
    d_kv: 2,
    d_ff: 12,
    num_heads: 4,
    num_layers: 1,
  });
  const names = (targetModules: string[]) => loraModules(config, { targetModules }).map(({ name }) => name);
  expect(names(["EncDecAttention.q"])).toEqual(["decoder.block.0.layer.1.EncDecAttention.q"]);
  expect(names(["o"])).toHaveLength(3);
  // Not those that merely end in the letters.
  expect(names(["wo"])).toHaveLength(2);
  expect(() => names(["w"])).toThrow(/no linear layer is called w/);
});

describe("optimizers", () => {
  /** A tensor with numbers and gradients, on a crew of so many threads. */
  async function steps(optimizer: OptimizerOptions, shape: number[], threads = 1, rates = [1e-2, 5e-3, 1e-3]) {
    const crew = await Crew.open(
      [
        { name: "x", shape, behind: 3 },
        { name: "y", shape: [7], behind: 0 },
      ],
      optimizer,
      threads,
    );
    try {
      for (const [i, { values }] of crew.parameters.entries()) fill(values, i);
      for (const [i, learningRate] of rates.entries()) {
        for (const [j, { gradient }] of crew.parameters.entries()) fill(gradient, 10 * i + j + 5);
        await crew.update({ learningRate, scale: 0.5, step: i + 1 });
      }
      return crew.parameters.map(({ values }) => values.slice());
    } finally {
      await crew.close();
    }
  }

  function fill(values: Float32Array, key: number): void {
    const bits = randomBits(key);
    for (let i = 0; i < values.length; i++) values[i] = bits() / 2 ** 31 - 1;
  }

  /** The same steps on arrays that no kernel reaches. */
  function plainSteps(optimizer: OptimizerOptions, shape: number[]): Float32Array {
    const length = shape.reduce((product, n) => product * n, 1);
    const made = createOptimizer(optimizer);
    const state = made.stateOf(shape).map((each) => new Float32Array(each.length));
    const parameter: Parameter = {
      name: "x",
      shape,
      values: new Float32Array(length),
      gradient: new Float32Array(length),
      state,
      slab: null,
    };
    fill(parameter.values, 0);
    for (const [i, rate] of [1e-2, 5e-3, 1e-3].entries()) {
      fill(parameter.gradient, 10 * i + 5);
      made.update(parameter, rate, 0.5, i + 1);
    }
    return parameter.values;
  }

  const largest = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

  test.each<OptimizerOptions>([
    { name: "adamw", weightDecay: 0.1 },
    { name: "adamw", scaleByRms: true, weightDecay: 0.1 },
  ])("%o: kernels and plain loops agree, whatever the length", async (optimizer) => {
    for (const shape of [[1], [3], [4], [5, 7], [64, 3]]) {
      const [x] = await steps(optimizer, shape);
      expect(largest(x!, plainSteps(optimizer, shape))).toBeLessThan(1e-6);
    }
  });

  test("AdamW with steps scaled by RMS is nanoT5's", async () => {
    const options = { name: "adamw", scaleByRms: true, weightDecay: 0.1 } as const;
    const [x] = await steps(options, [3, 5]);
    // nanoT5 utils/copied_utils.py, AdamWScale.step, number by number.
    const expected = new Float32Array(15);
    fill(expected, 0);
    const values = Float64Array.from(expected);
    const [m, v] = [new Float64Array(15), new Float64Array(15)];
    for (const [i, rate] of [1e-2, 5e-3, 1e-3].entries()) {
      const gradient = new Float32Array(15);
      fill(gradient, 10 * i + 5);
      const size = Math.max(1e-3, Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / 15));
      const step = ((rate * Math.sqrt(1 - 0.999 ** (i + 1))) / (1 - 0.9 ** (i + 1))) * size;
      for (let j = 0; j < 15; j++) {
        const g = gradient[j]! * 0.5;
        m[j] = 0.9 * m[j]! + 0.1 * g;
        v[j] = 0.999 * v[j]! + 0.001 * g * g;
        values[j] = values[j]! - (step * m[j]!) / (Math.sqrt(v[j]!) + 1e-6);
        values[j] = values[j]! * (1 - rate * 0.1);
      }
    }
    expect(largest(x!, Float32Array.from(values))).toBeLessThan(1e-6);
  });

  test.each<OptimizerOptions>([{ name: "adamw" }, { name: "adafactor", scaleParameter: true }])(
    "%o: how the work is divided changes no bit",
    async (optimizer) => {
      // Large enough for a second thread.
      const shape = [1100, 1000];
      const [one, two] = await Promise.all([steps(optimizer, shape, 1, [1e-2]), steps(optimizer, shape, 2, [1e-2])]);
      expect(two).toEqual(one);
    },
  );
});
