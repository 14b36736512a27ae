/** T5's decoder stack on the kernels: sequences with their caches, stepped together over one pass of the weights. */
import { attentionNames, EMBEDDING, LM_HEAD, layerPrefix } from "../../t5/architecture.ts";
import type { EngineLimits, Pause } from "../../t5/engine.ts";
import type { Part } from "../../t5/manifest.ts";
import type { Block } from "../arena.ts";
import { align, layerBytes, roomFor, usedBytes } from "../cache-size.ts";
import { checkedHidden } from "../input.ts";
import {
  type Cross,
  checkCross,
  PooledDecoder,
  type PooledSequence,
  type SteppedRows,
  type StepRows,
} from "../pooled-decoder.ts";
import { type AdaptedRows, placedOf, type SimdAdapters } from "./adapters.ts";
import type { Adapted, FeedForward, Linear, Machine } from "./machine.ts";
import { PROMPT_ROWS } from "./plan.ts";

/** A draft of more tokens would seldom be right to its end. */
const LOOKAHEAD = 16;

type Names = ReturnType<typeof attentionNames>;

interface Layer {
  self: { names: Names; norm: number; qkv: Linear[]; o: Linear };
  cross: { names: Names; norm: number; q: Linear; kv: Linear[]; o: Linear };
  feedForward: FeedForward;
}

export class SimdDecoder extends PooledDecoder {
  readonly #machine: Machine;
  readonly #adapters: SimdAdapters;
  /** Null where the stack does not begin here. */
  readonly #embedding: Linear | null;
  readonly #layers: Layer[];
  /** What makes logits of hidden states; null where the stack goes on elsewhere. */
  readonly #output: { norm: number; head: Linear } | null;

  constructor(
    machine: Machine,
    adapters: SimdAdapters,
    { first, end, isFirst, isLast }: Part,
    tiedHead: boolean,
    limits: EngineLimits,
  ) {
    super(
      machine.config,
      { isFirst, shape: machine.plan.shape, lookahead: LOOKAHEAD },
      limits,
      machine.arena,
      machine.plan.decoder.rows,
    );
    this.#machine = machine;
    this.#adapters = adapters;
    this.#embedding = isFirst ? machine.bindLinear(EMBEDDING) : null;
    this.#layers = Array.from({ length: end - first }, (_, i) => {
      const layer = first + i;
      const own = attentionNames(layerPrefix.selfAttention("decoder", layer));
      const cross = attentionNames(layerPrefix.encDecAttention(layer));
      return {
        self: {
          names: own,
          norm: machine.bindVector(layerPrefix.layerNorm("decoder", layer, 0)),
          qkv: machine.bindJoined([own.q, own.k, own.v]),
          o: machine.bindLinear(own.o),
        },
        cross: {
          names: cross,
          norm: machine.bindVector(layerPrefix.layerNorm("decoder", layer, 1)),
          q: machine.bindLinear(cross.q),
          kv: machine.bindJoined([cross.k, cross.v]),
          o: machine.bindLinear(cross.o),
        },
        feedForward: machine.bindFeedForward("decoder", layer),
      };
    });
    this.#output = isLast
      ? {
          norm: machine.bindVector(layerPrefix.finalLayerNorm("decoder")),
          head: machine.bindLinear(tiedHead ? EMBEDDING : LM_HEAD),
        }
      : null;
    machine.fillBias("decoder", machine.plan.decoderBias, limits.maxNewTokens - 1, 0);
  }

  protected override logitsOf(block: Block): Float32Array {
    const at = this.#logitsAt(block) / 4;
    return this.#machine.floats.subarray(at, at + this.config.vocabSize);
  }

  protected override argmaxOf(block: Block): number {
    return this.#machine.kernels.argmax(this.#logitsAt(block), this.config.vocabSize);
  }

  protected override copyCache(from: Block, to: Block, { maxNewTokens, position }: PooledSequence): void {
    const { shape } = this.#machine.plan;
    const step = layerBytes(shape, maxNewTokens);
    const stretches = usedBytes(shape, maxNewTokens, position);
    for (let layer = 0; layer < shape.layers; layer++) {
      for (const { at, bytes } of stretches) {
        this.#machine.kernels.copyBytes(to.at + layer * step + at, from.at + layer * step + at, bytes);
      }
    }
  }

  protected override letGo(): boolean {
    return this.#adapters.letGoOfArena();
  }

  protected override roomGiven(): void {
    this.#adapters.retry();
  }

  // A cross block: keys and values of every layer. A sequence's block: its own keys and values of every layer, and its
  // logits [vocabSize] f32.

  #crossAt({ block, inputTokens }: Cross, layer: number): number {
    return block.at + layer * layerBytes(this.#machine.plan.shape, inputTokens);
  }

  #selfAt({ block, maxNewTokens }: PooledSequence, layer: number): number {
    return (block?.at ?? 0) + layer * layerBytes(this.#machine.plan.shape, maxNewTokens);
  }

  #logitsAt(block: Block): number {
    return block.at + block.bytes - align(this.config.vocabSize * 4);
  }

  protected override async computeCross(cross: Cross, hidden: Float32Array, pause?: Pause): Promise<void> {
    const machine = this.#machine;
    const { dModel, numHeads, dKv } = this.config;
    const { scratch, inner, plan, attention } = machine;
    const { x } = plan.decoder;
    const room = roomFor(plan.shape, cross.inputTokens);
    const adapter = cross.adapter && placedOf(cross.adapter);
    for (let first = 0; first < cross.inputTokens; first += PROMPT_ROWS) {
      const rows = Math.min(PROMPT_ROWS, cross.inputTokens - first);
      const wait = first > 0 ? pause?.(PROMPT_ROWS * dModel * 2 * inner * this.#layers.length) : null;
      if (wait) {
        await wait;
        checkCross(cross);
      }
      machine.claimBuffers(null);
      machine.floats.set(hidden.subarray(first * dModel, (first + rows) * dModel), x / 4);
      machine.input(x, rows, dModel);
      for (const [index, layer] of this.#layers.entries()) {
        machine.joined(layer.cross.kv, scratch.qkv);
        if (adapter) {
          const { k, v } = layer.cross.names;
          const adapted = [{ adapter, first: 0, rows }];
          machine.adapt(adapted, x, dModel, k, scratch.qkv, 2 * inner);
          machine.adapt(adapted, x, dModel, v, scratch.qkv + inner * 4, 2 * inner);
        }
        const cache = this.#crossAt(cross, index);
        attention.storeKeys(scratch.qkv, 2 * inner, rows, numHeads, dKv, cache, room, first);
        attention.storeValues(scratch.qkv + inner * 4, 2 * inner, rows, numHeads, dKv, cache, room, first);
      }
    }
  }

  protected override stepRows(step: StepRows): SteppedRows {
    const { sequences, tokens, before, hasRepeats } = step;
    const machine = this.#machine;
    const { plan, kernels } = machine;
    const { x } = plan.decoder;
    const rows = sequences.length;
    const hidden = checkedHidden(before, rows, this.config, this.isFirst);
    const adapted = adaptedRows(sequences);
    machine.claimBuffers(null);
    if (hidden) machine.floats.set(hidden, x / 4);
    if (this.#embedding) {
      machine.writeIds(tokens);
      machine.embed(this.#embedding, x, rows);
    }
    for (const [index, layer] of this.#layers.entries()) {
      this.#selfAttention(index, layer.self, step, adapted);
      this.#crossAttention(index, layer.cross, sequences, adapted);
      machine.feedForward(layer.feedForward, x, rows, adapted);
    }
    const { dModel, scaleDecoderOutputs } = this.config;
    // A copy: who steps next, before this one's caller goes on, writes there too.
    if (!this.#output) return { hidden: machine.floats.slice(x / 4, x / 4 + rows * dModel), best: null };
    const { norm, head } = this.#output;
    machine.normInput(x, norm, rows, scaleDecoderOutputs ? dModel ** -0.5 : 1);
    // One row goes straight to its sequence; several are computed side by side and handed out.
    const [only] = sequences;
    if (rows === 1 && only?.block) {
      machine.linear(head, this.#logitsAt(only.block));
      return { hidden: null, best: null };
    }
    const { logits } = plan.decoder;
    machine.linear(head, logits);
    const { vocabSize } = this.config;
    const bytes = vocabSize * 4;
    for (const [i, { block }] of sequences.entries()) {
      // Of a sequence that comes again the last row stays.
      if (block && sequences[i + 1] !== sequences[i]) {
        kernels.copyBytes(this.#logitsAt(block), logits + i * bytes, bytes);
      }
    }
    return {
      hidden: null,
      best: hasRepeats ? sequences.map((_, i) => kernels.argmax(logits + i * bytes, vocabSize)) : null,
    };
  }

  #selfAttention(
    index: number,
    { names, norm, qkv, o }: Layer["self"],
    { sequences, positions }: StepRows,
    adapted: Adapted,
  ): void {
    const machine = this.#machine;
    const { plan, scratch, attention, inner } = machine;
    const { numHeads, dKv } = this.config;
    const rows = sequences.length;
    const width = 3 * inner;
    machine.normInput(plan.decoder.x, norm, rows);
    machine.joined(qkv, scratch.qkv);
    if (adapted) {
      const outs = [names.q, names.k, names.v].map((name, i) => [name, scratch.qkv + i * inner * 4] as const);
      machine.adaptNormed(adapted, plan.decoder.x, norm, outs, width);
    }
    // Row after row: a sequence that comes again attends to what its earlier rows have just stored.
    for (const [i, sequence] of sequences.entries()) {
      const position = positions[i] as number;
      const cache = this.#selfAt(sequence, index);
      const room = roomFor(plan.shape, sequence.maxNewTokens);
      const row = scratch.qkv + i * width * 4;
      attention.storeKeys(row + inner * 4, width, 1, numHeads, dKv, cache, room, position);
      attention.storeValues(row + 2 * inner * 4, width, 1, numHeads, dKv, cache, room, position);
      attention.attend(
        row,
        width,
        cache,
        room,
        plan.decoderBias + (this.maxNewTokens - 1 - position) * 4,
        this.maxNewTokens,
        scratch.attention + i * inner * 4,
        1,
        position + 1,
        numHeads,
        dKv,
        scratch.scores,
      );
    }
    machine.input(scratch.attention, rows, inner);
    machine.linear(o, plan.decoder.x, true);
    if (adapted) machine.adapt(adapted, scratch.attention, inner, names.o, plan.decoder.x, this.config.dModel);
  }

  #crossAttention(
    index: number,
    { names, norm, q, o }: Layer["cross"],
    sequences: readonly PooledSequence[],
    adapted: Adapted,
  ): void {
    const machine = this.#machine;
    const { plan, scratch, attention, inner } = machine;
    const { numHeads, dKv } = this.config;
    const rows = sequences.length;
    machine.normInput(plan.decoder.x, norm, rows);
    machine.linear(q, scratch.qkv);
    if (adapted) machine.adaptNormed(adapted, plan.decoder.x, norm, [[names.q, scratch.qkv]], inner);
    for (const [i, { cross }] of sequences.entries()) {
      attention.attend(
        scratch.qkv + i * inner * 4,
        inner,
        this.#crossAt(cross, index),
        roomFor(plan.shape, cross.inputTokens),
        0,
        0,
        scratch.attention + i * inner * 4,
        1,
        cross.inputTokens,
        numHeads,
        dKv,
        scratch.scores,
      );
    }
    machine.input(scratch.attention, rows, inner);
    machine.linear(o, plan.decoder.x, true);
    if (adapted) machine.adapt(adapted, scratch.attention, inner, names.o, plan.decoder.x, this.config.dModel);
  }
}

/** Null where every row is the base's alone. @throws EdgeT5Error `E_SEQUENCE_CLOSED` as {@link placedOf} */
function adaptedRows(sequences: readonly PooledSequence[]): Adapted {
  let adapted: AdaptedRows[] | null = null;
  for (let i = 0; i < sequences.length; i++) {
    const held = sequences[i]?.cross.adapter;
    if (!held) continue;
    adapted ??= [];
    const adapter = placedOf(held);
    const last = adapted.at(-1);
    if (last?.adapter === adapter && last.first + last.rows === i) last.rows++;
    else adapted.push({ adapter, first: i, rows: 1 });
  }
  return adapted;
}
