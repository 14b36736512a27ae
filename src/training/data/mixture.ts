/** Several tasks as one source of examples (Raffel et al. 2020, section 3.5.2). */
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import type { Example, ExampleSource, Json } from "../example.ts";
import { drawn, PURPOSE, RandomNumbers } from "./random.ts";
import { wholeNumber } from "./source.ts";

/** T5's limit to how large a task counts, for temperatures. */
export const SIZE_LIMIT = 2 ** 21;

export interface Rates {
  /** Each task as often as another, whatever its size. */
  equal?: boolean | undefined;
  /** Largest size that counts. Default: none; T5's examples are {@link SIZE_LIMIT} and less. */
  limit?: number | undefined;
  /** 1: in proportion to sizes (the default); higher: nearer to equal. */
  temperature?: number | undefined;
}

/**
 * Share of each task in the mixture: in proportion to min(size, limit)^(1 / temperature).
 *
 * @param sizes examples of each task
 * @returns shares that add up to 1
 * @throws EdgeT5Error `E_USAGE` for a temperature below 1, a limit below 1, a task without examples
 */
export function mixtureRates(
  sizes: readonly number[],
  { equal = false, limit = Number.POSITIVE_INFINITY, temperature = 1 }: Rates = {},
): number[] {
  if (!(temperature >= 1))
    throw new EdgeT5Error("E_USAGE", `The temperature is ${temperature}. It must be 1 at least.`);
  if (!(limit >= 1)) throw new EdgeT5Error("E_USAGE", `The limit is ${limit}. It must be 1 at least.`);
  if (sizes.length === 0 || sizes.some((size) => !(size >= 1))) {
    throw new EdgeT5Error("E_USAGE", "A task of the mixture has no examples. Leave it out.");
  }
  const weights = sizes.map((size) => (equal ? 1 : Math.min(size, limit) ** (1 / temperature)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

const positionSchema = z.strictObject({
  /** Examples before. */
  example: wholeNumber,
  /** Place in each task; null: its start. */
  tasks: z.array(z.json()),
});

/**
 * Draws each example from one of the sources, by their rates. A source that ends ends the mixture.
 *
 * @param rates of each source; they need not add up to 1
 */
export function mixture(sources: readonly ExampleSource[], rates: readonly number[], seed: number): ExampleSource {
  return { read: (position) => readMixture(sources, rates, seed, position) };
}

async function* readMixture(
  sources: readonly ExampleSource[],
  rates: readonly number[],
  seed: number,
  from: Json | null,
): AsyncGenerator<{ example: Example; position: Json }, void, undefined> {
  let number = 0;
  let tasks: Json[] = sources.map(() => null);
  if (from !== null) {
    const parsed = positionSchema.safeParse(from);
    if (!parsed.success || parsed.data.tasks.length !== sources.length) {
      throw new EdgeT5Error(
        "E_DATA_CHANGED",
        "The run's place in its mixture is one in other tasks: it cannot be resumed. Put them back, or begin a new run.",
      );
    }
    number = parsed.data.example;
    tasks = parsed.data.tasks as Json[];
  }
  const readers = sources.map((source, i) => source.read(tasks[i] ?? null));
  try {
    for (; ; number++) {
      const task = drawn(rates, new RandomNumbers(seed, PURPOSE.mixture, number).unit());
      const next = await (readers[task] as (typeof readers)[number]).next();
      if (next.done) return;
      tasks = tasks.with(task, next.value.position);
      yield { example: next.value.example, position: { example: number + 1, tasks } };
    }
  } finally {
    for (const reader of readers) await reader.return?.();
  }
}
