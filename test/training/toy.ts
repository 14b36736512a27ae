/** A toy task for the reference models of test/golden: repeat the input, backwards. */
import { fileURLToPath } from "node:url";
import type { Example, ExampleSource, Json } from "../../src/training/example.ts";
import { randomBits } from "../../src/training/random.ts";
import type { TrainEvent, TrainOptions } from "../../src/training/trainer.ts";
import { train } from "../../src/training/trainer.ts";

export const BASE = fileURLToPath(new URL("../golden/relu-tied", import.meta.url));

/** Endless unless `count` says otherwise; example i is always the same. */
export class ToySource implements ExampleSource {
  readonly #count: number;

  constructor(count = Number.POSITIVE_INFINITY) {
    this.#count = count;
  }

  async *read(position: Json | null): AsyncIterableIterator<{ example: Example; position: Json }> {
    for (let i = Number(position ?? 0); i < this.#count; i++) yield { example: toyExample(i), position: i + 1 };
  }
}

export function toyExample(i: number): Example {
  const bits = randomBits(i, 99);
  const words = Array.from({ length: 1 + (bits() % 9) }, () => 20 + (bits() % 30));
  return { input: Int32Array.of(...words, 1), target: Int32Array.of(...words.reverse(), 1) };
}

export function toyOptions(run: string, more: Partial<TrainOptions> = {}): TrainOptions {
  return {
    base: BASE,
    data: new ToySource(),
    run,
    steps: 12,
    schedule: { kind: "cosine", peak: 3e-3, warmup: 3 },
    optimizer: { name: "adamw" },
    batch: { batchTokens: 160, poolExamples: 50 },
    accumulate: 2,
    seed: 5,
    threads: 2,
    ...more,
  };
}

export async function eventsOf(options: TrainOptions): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  for await (const event of train(options)) events.push(event);
  return events;
}
