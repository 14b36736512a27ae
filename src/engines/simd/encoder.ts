/** T5's encoder stack on the kernels. */
import { attentionNames, EMBEDDING, layerPrefix } from "../../t5/architecture.ts";
import type { T5Config } from "../../t5/config.ts";
import type { EncodeControl, Encoder, HeldAdapter, Pause } from "../../t5/engine.ts";
import type { Part } from "../../t5/manifest.ts";
import { layerBytes, roomFor } from "../cache-size.ts";
import { checkedHidden, checkedIds } from "../input.ts";
import { type AdaptedRows, type Placed, placedOf } from "./adapters.ts";
import type { BufferHolder, FeedForward, Linear, Machine } from "./machine.ts";
import { PROMPT_ROWS } from "./plan.ts";

interface Layer {
  names: ReturnType<typeof attentionNames>;
  norm: number;
  q: Linear;
  kv: Linear[];
  o: Linear;
  feedForward: FeedForward;
}

export class SimdEncoder implements Encoder {
  readonly config: T5Config;
  readonly isFirst: boolean;
  readonly maxInputTokens: number;
  readonly #machine: Machine;
  /** Null where the stack does not begin here. */
  readonly #embedding: Linear | null;
  readonly #layers: Layer[];
  /** Null where the stack goes on elsewhere. */
  readonly #finalNorm: number | null;

  constructor(machine: Machine, { first, end, isFirst, isLast }: Part, maxInputTokens: number) {
    this.config = machine.config;
    this.isFirst = isFirst;
    this.maxInputTokens = maxInputTokens;
    this.#machine = machine;
    this.#embedding = isFirst ? machine.bindLinear(EMBEDDING) : null;
    this.#layers = Array.from({ length: end - first }, (_, i) => {
      const layer = first + i;
      const names = attentionNames(layerPrefix.selfAttention("encoder", layer));
      return {
        names,
        norm: machine.bindVector(layerPrefix.layerNorm("encoder", layer, 0)),
        q: machine.bindLinear(names.q),
        kv: machine.bindJoined([names.k, names.v]),
        o: machine.bindLinear(names.o),
        feedForward: machine.bindFeedForward("encoder", layer),
      };
    });
    this.#finalNorm = isLast ? machine.bindVector(layerPrefix.finalLayerNorm("encoder")) : null;
    machine.fillBias("encoder", machine.plan.encoderBias, maxInputTokens - 1, maxInputTokens - 1);
  }

  async encode(
    ids: ArrayLike<number>,
    before?: Float32Array,
    adapter?: HeldAdapter,
    { pause }: EncodeControl = {},
  ): Promise<Float32Array> {
    const checked = checkedIds(ids, this.config, this.maxInputTokens);
    const tokens = checked.length;
    const machine = this.#machine;
    const { x } = machine.plan.encoder;
    const hidden = checkedHidden(before, tokens, this.config, this.isFirst);
    const work = new Work(machine, tokens, pause);
    try {
      if (hidden) machine.floats.set(hidden, x / 4);
      if (this.#embedding) {
        machine.writeIds(checked);
        machine.embed(this.#embedding, x, tokens);
      }
      const placed = adapter ? placedOf(adapter) : null;
      for (const layer of this.#layers) {
        for (const multiplyAdds of this.#runLayer(layer, tokens, placed)) {
          const wait = work.pause(multiplyAdds);
          if (!wait) continue;
          await wait;
          work.resume();
          if (adapter) placedOf(adapter);
        }
      }
      const { dModel, layerNormEpsilon } = this.config;
      if (this.#finalNorm !== null) {
        machine.kernels.rmsNorm(x, this.#finalNorm, x, tokens, dModel, layerNormEpsilon, 1);
      }
      return machine.floats.slice(x / 4, x / 4 + tokens * dModel);
    } finally {
      machine.releaseBuffers(work);
    }
  }

  /**
   * Queries, keys and values of all rows first; then, block by block, attention and the feed-forward. Between two blocks
   * nothing but the buffers is in use.
   *
   * @returns multiply-adds of each block
   */
  *#runLayer(
    { names, norm, q, kv, o, feedForward }: Layer,
    tokens: number,
    adapter: Placed | null,
  ): Generator<number, void, undefined> {
    const machine = this.#machine;
    const { scratch, plan, inner, attention } = machine;
    const { dModel, numHeads, dKv } = this.config;
    const { x, q: queries, cache } = plan.encoder;
    const room = roomFor(plan.shape, tokens);
    const blocks = Array.from({ length: Math.ceil(tokens / PROMPT_ROWS) }, (_, i) => i * PROMPT_ROWS);
    const adaptedRows = (rows: number): AdaptedRows[] | null => adapter && [{ adapter, first: 0, rows }];
    for (const first of blocks) {
      const rows = Math.min(PROMPT_ROWS, tokens - first);
      machine.normInput(x + first * dModel * 4, norm, rows);
      machine.linear(q, queries + first * inner * 4);
      machine.joined(kv, scratch.qkv);
      const adapted = adaptedRows(rows);
      if (adapted) {
        const at = x + first * dModel * 4;
        machine.adaptNormed(adapted, at, norm, [[names.q, queries + first * inner * 4]], inner);
        const targets = [[names.k, scratch.qkv] as const, [names.v, scratch.qkv + inner * 4] as const];
        machine.adaptNormed(adapted, at, norm, targets, 2 * inner);
      }
      attention.storeKeys(scratch.qkv, 2 * inner, rows, numHeads, dKv, cache, room, first);
      attention.storeValues(scratch.qkv + inner * 4, 2 * inner, rows, numHeads, dKv, cache, room, first);
      yield rows * 3 * inner * dModel;
    }
    const biasWidth = 2 * this.maxInputTokens - 1;
    for (const first of blocks) {
      const rows = Math.min(PROMPT_ROWS, tokens - first);
      attention.attend(
        queries + first * inner * 4,
        inner,
        cache,
        room,
        plan.encoderBias + (this.maxInputTokens - 1 - first) * 4,
        biasWidth,
        scratch.attention,
        rows,
        tokens,
        numHeads,
        dKv,
        scratch.scores,
      );
      machine.input(scratch.attention, rows, inner);
      machine.linear(o, x + first * dModel * 4, true);
      const adapted = adaptedRows(rows);
      if (adapted) machine.adapt(adapted, scratch.attention, inner, names.o, x + first * dModel * 4, dModel);
      machine.feedForward(feedForward, x + first * dModel * 4, rows, adapted);
      yield rows * (2 * inner * tokens + inner * dModel + (feedForward.gate ? 3 : 2) * dModel * this.config.dFf);
    }
  }
}

/** An encode's hold on the buffers: what it has there is kept while others work in them, and put back. */
class Work implements BufferHolder {
  readonly #machine: Machine;
  readonly #pause: Pause | undefined;
  /** In float32 numbers. */
  readonly #stretches: readonly { at: number; length: number }[];
  #kept: Float32Array[] | null = null;

  constructor(machine: Machine, tokens: number, pause: Pause | undefined) {
    const { plan, config, inner } = machine;
    const { x, q, cache } = plan.encoder;
    this.#machine = machine;
    this.#pause = pause;
    this.#stretches = [
      { at: x / 4, length: tokens * config.dModel },
      { at: q / 4, length: tokens * inner },
      { at: cache / 4, length: Math.ceil(layerBytes(plan.shape, tokens) / 4) },
    ];
    machine.claimBuffers(this);
  }

  pause(multiplyAdds: number): Promise<void> | null {
    return this.#pause?.(multiplyAdds) ?? null;
  }

  keep(): void {
    this.#kept = this.#stretches.map(({ at, length }) => this.#machine.floats.slice(at, at + length));
  }

  resume(): void {
    this.#machine.claimBuffers(this);
    for (const [i, { at }] of this.#stretches.entries()) {
      const kept = this.#kept?.[i];
      if (kept) this.#machine.floats.set(kept, at);
    }
    this.#kept = null;
  }
}
