/** T5's decoder stack on onnxruntime, sessions a shard: keys and values are kept here, and given to the graph of a step. */
import type { TypedTensor } from "onnxruntime-common";
import type { T5Config } from "../../t5/config.ts";
import type { CacheShape, EngineLimits } from "../../t5/engine.ts";
import { argmax } from "../../t5/generation/scores.ts";
import { port } from "../../t5/graph/shards.ts";
import type { Part } from "../../t5/manifest.ts";
import { Arena, type Block } from "../arena.ts";
import { innerDim } from "../cache-size.ts";
import { checkedHidden, checkedId } from "../input.ts";
import { type Cross, PooledDecoder, type PooledSequence, type SteppedRows, type StepRows } from "../pooled-decoder.ts";
import { refuseAdapter } from "./adapters.ts";
import type { Feeds, OnnxRuntime, Session } from "./runtime.ts";

type Floats = TypedTensor<"float32">;

/** A layer's keys and values; of an input as the cross graph gives them, of a sequence `[maxNewTokens, heads · dKv]`. */
interface Layer<T> {
  keys: T;
  values: T;
}

/** What a block of room stands for: this engine's arrays are the JavaScript heap's. */
interface Cache {
  layers: Layer<Float32Array>[];
  logits: Float32Array;
}

/** The rows of one step. */
interface Batch {
  /** A row's tokens so far; the most of all rows. */
  positions: readonly number[];
  past: number;
  caches: readonly Cache[];
  cross: Feeds;
}

/** Cross-attention of a batch, kept as long as the same inputs are stepped together. */
interface CrossBatch {
  blocks: readonly Block[];
  feeds: Feeds;
}

/** A shard's sessions and its layers `[first, end)`. */
export interface DecoderShard {
  layers: readonly [number, number];
  cross: Session;
  step: Session;
}

/** Rows of one run: more would only pad more. */
const MAX_ROWS = 64;

export class OnnxDecoder extends PooledDecoder {
  readonly #runtime: OnnxRuntime;
  readonly #part: Part;
  readonly #shards: readonly DecoderShard[];
  readonly #inner: number;
  readonly #inputs = new WeakMap<Block, Layer<Floats>[]>();
  readonly #caches = new WeakMap<Block, Cache>();
  #crossBatch: CrossBatch | null = null;
  /** Sessions run one thing at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    runtime: OnnxRuntime,
    config: T5Config,
    part: Part,
    shards: readonly DecoderShard[],
    limits: EngineLimits,
    caches: { shape: CacheShape; bytes: number },
  ) {
    super(
      config,
      { isFirst: part.isFirst, shape: caches.shape, lookahead: 1 },
      limits,
      new Arena(0, caches.bytes),
      MAX_ROWS,
    );
    this.#runtime = runtime;
    this.#part = part;
    this.#shards = shards;
    this.#inner = innerDim(config);
  }

  protected override async computeCross({ block, inputTokens, adapter }: Cross, hidden: Float32Array): Promise<void> {
    refuseAdapter(adapter);
    const tensor = this.#floats(hidden, [1, inputTokens, this.config.dModel]);
    const made: Record<string, Feeds[string]> = {};
    for (const { cross } of this.#shards) {
      Object.assign(made, await this.#run(cross, { encoder_hidden_states: tensor }));
    }
    this.#inputs.set(
      block,
      this.#perLayer((layer) => ({
        keys: made[port.crossKey(layer)] as Floats,
        values: made[port.crossValue(layer)] as Floats,
      })),
    );
  }

  protected override async stepRows({ sequences, tokens, positions, before }: StepRows): Promise<SteppedRows> {
    const hidden = checkedHidden(before, sequences.length, this.config, this.isFirst);
    const ids = tokens.map((token) => checkedId(token, this.config.vocabSize));
    const rows = sequences.length;
    const { Tensor } = this.#runtime;
    const batch: Batch = {
      positions,
      past: Math.max(...positions),
      caches: sequences.map((sequence) => this.#cacheOf(sequence)),
      cross: this.#crossFeeds(sequences),
    };
    const positionsTensor = new Tensor("int64", BigInt64Array.from(positions, BigInt), [rows]);
    let states: Feeds[string] | null = hidden && this.#floats(hidden, [rows, 1, this.config.dModel]);
    for (const { layers, step } of this.#shards) {
      const made = await this.#run(step, {
        ...(states
          ? { hidden_states: states }
          : { input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [rows, 1]) }),
        positions: positionsTensor,
        ...this.#keysAndValues(batch, layers),
      });
      this.#keep(made, batch, layers);
      states = made.next_hidden_states ?? null;
    }
    return { hidden: states && (states as Floats).data, best: null };
  }

  /** What a step of the layers `[first, end)` looks at: the inputs' keys and values, and those of the tokens before. */
  #keysAndValues({ positions, past, caches, cross }: Batch, [first, end]: readonly [number, number]): Feeds {
    const feeds: Record<string, Feeds[string]> = {};
    const take = (name: string) => {
      feeds[name] = cross[name] as Feeds[string];
    };
    take("encoder_attention_mask");
    for (let layer = first; layer < end; layer++) {
      take(port.crossKey(layer));
      take(port.crossValue(layer));
      const pastOf = (part: keyof Layer<Floats>) => {
        const arrays = caches.map(({ layers }) => layers[layer - this.#part.first]?.[part] as Float32Array);
        return this.#floats(this.#joinPast(arrays, positions, past), [caches.length, past, this.#inner]);
      };
      feeds[port.pastKey(layer)] = pastOf("keys");
      feeds[port.pastValue(layer)] = pastOf("values");
    }
    return feeds;
  }

  /** Puts a step's keys, values and logits where the next step, and who asks for them, find them. */
  #keep(made: Feeds, { positions, caches }: Batch, [first, end]: readonly [number, number]): void {
    for (const [row, cache] of caches.entries()) {
      const rowOf = (name: string, width: number) =>
        (made[name] as Floats).data.subarray(row * width, (row + 1) * width);
      const at = (positions[row] as number) * this.#inner;
      for (let layer = first; layer < end; layer++) {
        const { keys, values } = cache.layers[layer - this.#part.first] as Layer<Float32Array>;
        keys.set(rowOf(port.presentKey(layer), this.#inner), at);
        values.set(rowOf(port.presentValue(layer), this.#inner), at);
      }
      if (made.logits) cache.logits.set(rowOf("logits", this.config.vocabSize));
    }
  }

  protected override logitsOf(block: Block): Float32Array {
    return this.#caches.get(block)?.logits ?? new Float32Array(this.config.vocabSize);
  }

  protected override argmaxOf(block: Block): number {
    return argmax(this.logitsOf(block));
  }

  protected override copyCache(from: Block, to: Block, sequence: PooledSequence): void {
    const source = this.#caches.get(from);
    const target = this.#newCache(sequence.maxNewTokens);
    this.#caches.set(to, target);
    for (const [layer, { keys, values }] of (source?.layers ?? []).entries()) {
      target.layers[layer]?.keys.set(keys.subarray(0, sequence.position * this.#inner));
      target.layers[layer]?.values.set(values.subarray(0, sequence.position * this.#inner));
    }
  }

  #cacheOf({ block, maxNewTokens }: PooledSequence): Cache {
    const known = this.#caches.get(block as Block);
    if (known) return known;
    const cache = this.#newCache(maxNewTokens);
    this.#caches.set(block as Block, cache);
    return cache;
  }

  #newCache(maxNewTokens: number): Cache {
    const room = () => new Float32Array(maxNewTokens * this.#inner);
    return {
      layers: this.#perLayer(() => ({ keys: room(), values: room() })),
      logits: new Float32Array(this.#part.isLast ? this.config.vocabSize : 0),
    };
  }

  /** `[rows, past, heads · dKv]`; rows with a shorter past are followed by padding. */
  #joinPast(arrays: readonly Float32Array[], positions: readonly number[], past: number): Float32Array {
    const [only] = arrays;
    const width = past * this.#inner;
    if (arrays.length === 1 && only) return only.subarray(0, width);
    const joined = new Float32Array(arrays.length * width);
    for (const [row, array] of arrays.entries()) {
      joined.set(array.subarray(0, (positions[row] as number) * this.#inner), row * width);
    }
    return joined;
  }

  /** Keys, values and mask of the batch's inputs: one for all where it is the same, else padded to the longest. */
  #crossFeeds(sequences: readonly PooledSequence[]): Feeds {
    const crosses = sequences.map(({ cross }) => cross);
    const same = crosses.every((cross) => cross === crosses[0]);
    const inputs = same ? crosses.slice(0, 1) : crosses;
    const blocks = inputs.map(({ block }) => block);
    const known = this.#crossBatch;
    if (known?.blocks.length === blocks.length && known.blocks.every((block, i) => block === blocks[i])) {
      return known.feeds;
    }
    const feeds = this.#joinCross(inputs);
    this.#crossBatch = { blocks, feeds };
    return feeds;
  }

  #joinCross(inputs: readonly Cross[]): Feeds {
    const longest = Math.max(...inputs.map(({ inputTokens }) => inputTokens));
    const mask = new BigInt64Array(inputs.length * longest);
    for (const [row, { inputTokens }] of inputs.entries()) mask.fill(1n, row * longest, row * longest + inputTokens);
    const { Tensor } = this.#runtime;
    const feeds: Record<string, Feeds[string]> = {
      encoder_attention_mask: new Tensor("int64", mask, [inputs.length, longest]),
    };
    const { numHeads, dKv } = this.config;
    for (let layer = this.#part.first; layer < this.#part.end; layer++) {
      const of = (part: keyof Layer<Floats>) =>
        inputs.map(({ block, inputTokens }) => ({
          data: this.#inputs.get(block)?.[layer - this.#part.first]?.[part].data ?? new Float32Array(),
          tokens: inputTokens,
        }));
      const keys = joinPadded(of("keys"), numHeads * dKv, 1, longest);
      const values = joinPadded(of("values"), numHeads, dKv, longest);
      feeds[port.crossKey(layer)] = this.#floats(keys, [inputs.length, numHeads, dKv, longest]);
      feeds[port.crossValue(layer)] = this.#floats(values, [inputs.length, numHeads, longest, dKv]);
    }
    return feeds;
  }

  #run(session: Session, feeds: Feeds): Promise<Feeds> {
    const run = this.#last.then(() => session.run(feeds));
    this.#last = run.catch(() => {});
    return run;
  }

  #perLayer<T>(make: (layer: number) => T): T[] {
    const { first, end } = this.#part;
    return Array.from({ length: end - first }, (_, i) => make(first + i));
  }

  #floats(data: Float32Array, shape: readonly number[]): Floats {
    return new this.#runtime.Tensor("float32", data, shape);
  }
}

/** Arrays `[stretches, tokens, width]` of different lengths as one `[arrays, stretches, longest, width]`. */
function joinPadded(
  arrays: readonly { data: Float32Array; tokens: number }[],
  stretches: number,
  width: number,
  longest: number,
): Float32Array {
  const [only] = arrays;
  if (arrays.length === 1 && only) return only.data;
  const joined = new Float32Array(arrays.length * stretches * longest * width);
  for (const [i, { data, tokens }] of arrays.entries()) {
    for (let stretch = 0; stretch < stretches; stretch++) {
      const from = stretch * tokens * width;
      joined.set(data.subarray(from, from + tokens * width), (i * stretches + stretch) * longest * width);
    }
  }
  return joined;
}
