/** Length buckets: examples of like length share a batch, so that little of it is padding. */
import type { Example, ExampleSource, Json } from "./example.ts";
import { randomBits, shuffle } from "./random.ts";

export interface BucketOptions {
  /** Most tokens of a batch, padding included: rows × (longest input + longest target). */
  batchTokens: number;
  /** Most rows of a batch. Default: as many as fit. */
  batchRows?: number | undefined;
  /** Examples that are sorted by length together. Default 2048. */
  poolExamples?: number | undefined;
  seed: number;
}

/** Where a stream of batches stands: its pool is read again from its start, and what was given out is passed over. */
export interface BatchPosition {
  /** The source's position at the start of the pool. */
  source: Json;
  pool: number;
  /** Batches of the pool that were given out. */
  given: number;
}

/**
 * Batches from `position` on, each with the position right after it. The same position gives the same batches again.
 * Ends where the source does.
 */
export async function* bucketed(
  source: ExampleSource,
  options: BucketOptions,
  position: BatchPosition | null,
): AsyncGenerator<{ examples: Example[]; position: BatchPosition }, void, undefined> {
  const { poolExamples = 2048, seed } = options;
  let start: Json = position?.source ?? null;
  let pool = position?.pool ?? 0;
  let given = position?.given ?? 0;
  const reader = source.read(start);
  try {
    for (let isOver = false; !isOver; pool++, given = 0) {
      const examples: Example[] = [];
      let end = start;
      while (examples.length < poolExamples) {
        const next = await reader.next();
        isOver = next.done === true;
        if (next.done) break;
        examples.push(next.value.example);
        end = next.value.position;
      }
      const batches = shuffle(cut(examples, options), randomBits(seed, pool, 1));
      for (; given < batches.length; given++) {
        yield { examples: batches[given]!, position: { source: start, pool, given: given + 1 } };
      }
      start = end;
    }
  } finally {
    await reader.return?.();
  }
}

/**
 * Neighbours by length, as many as fit into a batch: by their inputs' lengths, within a twelfth of each other, and then
 * by their targets'.
 */
function cut(examples: Example[], { batchTokens, batchRows = Number.POSITIVE_INFINITY }: BucketOptions): Example[][] {
  const sorted = examples
    .map((example, i) => ({ example, i }))
    .sort(
      (a, b) => bucketOf(a.example) - bucketOf(b.example) || targetOf(a.example) - targetOf(b.example) || a.i - b.i,
    );
  const batches: Example[][] = [];
  let batch: Example[] = [];
  let [input, target] = [0, 0];
  for (const { example } of sorted) {
    const [longestInput, longestTarget] = [
      Math.max(input, example.input.length),
      Math.max(target, example.target.length),
    ];
    const isFull = batch.length >= batchRows || (batch.length + 1) * (longestInput + longestTarget) > batchTokens;
    if (batch.length > 0 && isFull) {
      batches.push(batch);
      batch = [];
      [input, target] = [example.input.length, example.target.length];
    } else {
      [input, target] = [longestInput, longestTarget];
    }
    batch.push(example);
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

function bucketOf({ input }: Example): number {
  return Math.floor(Math.log(Math.max(1, input.length)) / Math.log(13 / 12));
}

function targetOf({ target }: Example): number {
  return target.length;
}
