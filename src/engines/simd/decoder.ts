/** T5's decoder stack on the kernels: sequences with their caches, stepped together over one pass of the weights. */
import { attentionNames, EMBEDDING, LM_HEAD, layerPrefix } from "../../t5/architecture.ts";
import type { CacheShape, EngineLimits } from "../../t5/engine.ts";
import type { Part } from "../../t5/manifest.ts";
import type { Block } from "../arena.ts";
import { align } from "../cache-size.ts";
import { checkedHidden } from "../input.ts";
import { type Cross, PooledDecoder, type PooledSequence } from "../pooled-decoder.ts";
import type { FeedForward, Linear, Machine } from "./machine.ts";
import { BLOCK_ROWS } from "./plan.ts";

interface Attention {
  norm: number;
  q: Linear;
  k: Linear;
  v: Linear;
  o: Linear;
}

interface Layer {
  self: Attention;
  cross: Attention;
  feedForward: FeedForward;
}

export class SimdDecoder extends PooledDecoder {
  readonly #machine: Machine;
  /** Null where the stack does not begin here. */
  readonly #embedding: Linear | null;
  readonly #layers: Layer[];
  /** What makes logits of hidden states; null where the stack goes on elsewhere. */
  readonly #output: { norm: number; head: Linear } | null;

  constructor(
    machine: Machine,
    { first, end, isFirst, isLast }: Part,
    tiedHead: boolean,
    shape: CacheShape,
    limits: EngineLimits,
  ) {
    super(machine.config, { isFirst, shape }, limits, machine.plan.arena, machine.plan.decoder.rows);
    this.#machine = machine;
    this.#embedding = isFirst ? machine.bindLinear(EMBEDDING) : null;
    const attention = (prefix: string, norm: string): Attention => {
      const names = attentionNames(prefix);
      return {
        norm: machine.bindVector(norm),
        q: machine.bindLinear(names.q),
        k: machine.bindLinear(names.k),
        v: machine.bindLinear(names.v),
        o: machine.bindLinear(names.o),
      };
    };
    this.#layers = Array.from({ length: end - first }, (_, i) => {
      const layer = first + i;
      return {
        self: attention(layerPrefix.selfAttention("decoder", layer), layerPrefix.layerNorm("decoder", layer, 0)),
        cross: attention(layerPrefix.encDecAttention(layer), layerPrefix.layerNorm("decoder", layer, 1)),
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
    const { numHeads, dKv } = this.config;
    const room = maxNewTokens * dKv * 4;
    for (let stretch = 0; stretch < this.#layers.length * 2 * numHeads; stretch++) {
      this.#machine.kernels.copyBytes(to.at + stretch * room, from.at + stretch * room, position * dKv * 4);
    }
  }

  // A cross block: keys and values [2, heads, inputTokens, dKv] a layer. A sequence's block: own keys and values
  // [2, heads, maxNewTokens, dKv] a layer, logits [vocabSize]. All f32.

  #crossAt({ block, inputTokens }: Cross, layer: number, value: 0 | 1): number {
    return block.at + (layer * 2 + value) * inputTokens * this.#machine.inner * 4;
  }

  #selfAt({ block, maxNewTokens }: PooledSequence, layer: number, value: 0 | 1): number {
    return (block?.at ?? 0) + (layer * 2 + value) * maxNewTokens * this.#machine.inner * 4;
  }

  #logitsAt(block: Block): number {
    return block.at + block.bytes - align(this.config.vocabSize * 4);
  }

  protected override computeCross(cross: Cross, hidden: Float32Array): void {
    const machine = this.#machine;
    const { dModel, numHeads, dKv } = this.config;
    const { scratch } = machine;
    const { x } = machine.plan.decoder;
    for (let first = 0; first < cross.inputTokens; first += BLOCK_ROWS) {
      const rows = Math.min(BLOCK_ROWS, cross.inputTokens - first);
      machine.floats.set(hidden.subarray(first * dModel, (first + rows) * dModel), x / 4);
      machine.input(x, rows, dModel);
      for (const [index, layer] of this.#layers.entries()) {
        for (const [value, linear] of [layer.cross.k, layer.cross.v].entries()) {
          machine.linear(linear, scratch.q);
          const to = this.#crossAt(cross, index, value as 0 | 1);
          machine.kernels.storeHeads(scratch.q, rows, numHeads, dKv, to, cross.inputTokens, first);
        }
      }
    }
  }

  protected override stepRows(
    sequences: readonly PooledSequence[],
    tokens: readonly number[],
    before: Float32Array | undefined,
  ): Float32Array | null {
    const machine = this.#machine;
    const { plan, kernels } = machine;
    const { x } = plan.decoder;
    const rows = sequences.length;
    const hidden = checkedHidden(before, rows, this.config, this.isFirst);
    if (hidden) machine.floats.set(hidden, x / 4);
    if (this.#embedding) {
      machine.writeIds(tokens);
      machine.embed(this.#embedding, x, rows);
    }
    for (const [index, layer] of this.#layers.entries()) {
      this.#selfAttention(index, layer.self, sequences);
      this.#crossAttention(index, layer.cross, sequences);
      machine.feedForward(layer.feedForward, x, rows);
    }
    const { dModel, scaleDecoderOutputs } = this.config;
    if (!this.#output) return machine.floats.subarray(x / 4, x / 4 + rows * dModel);
    const { norm, head } = this.#output;
    machine.normInput(x, norm, rows, scaleDecoderOutputs ? dModel ** -0.5 : 1);
    // One row goes straight to its sequence; several are computed side by side and handed out.
    const [only] = sequences;
    if (rows === 1 && only?.block) {
      machine.linear(head, this.#logitsAt(only.block));
      return null;
    }
    machine.linear(head, plan.decoder.logits);
    const bytes = this.config.vocabSize * 4;
    for (const [i, { block }] of sequences.entries()) {
      if (block) kernels.copyBytes(this.#logitsAt(block), plan.decoder.logits + i * bytes, bytes);
    }
    return null;
  }

  #selfAttention(index: number, { norm, q, k, v, o }: Attention, sequences: readonly PooledSequence[]): void {
    const machine = this.#machine;
    const { plan, scratch, kernels, inner } = machine;
    const { numHeads, dKv } = this.config;
    const rows = sequences.length;
    const rowBytes = inner * 4;
    machine.normInput(plan.decoder.x, norm, rows);
    machine.linear(q, scratch.q);
    machine.linear(k, plan.decoder.k);
    machine.linear(v, plan.decoder.v);
    for (const [i, sequence] of sequences.entries()) {
      const keys = this.#selfAt(sequence, index, 0);
      const values = this.#selfAt(sequence, index, 1);
      const room = sequence.maxNewTokens;
      kernels.storeHeads(plan.decoder.k + i * rowBytes, 1, numHeads, dKv, keys, room, sequence.position);
      kernels.storeHeads(plan.decoder.v + i * rowBytes, 1, numHeads, dKv, values, room, sequence.position);
      kernels.attend(
        scratch.q + i * rowBytes,
        keys,
        values,
        room,
        plan.decoderBias + (this.maxNewTokens - 1 - sequence.position) * 4,
        this.maxNewTokens,
        scratch.attention + i * rowBytes,
        1,
        sequence.position + 1,
        numHeads,
        dKv,
        scratch.scores,
      );
    }
    machine.input(scratch.attention, rows, inner);
    machine.linear(o, plan.decoder.x, true);
  }

  #crossAttention(index: number, { norm, q, o }: Attention, sequences: readonly PooledSequence[]): void {
    const machine = this.#machine;
    const { plan, scratch, kernels, inner } = machine;
    const { numHeads, dKv } = this.config;
    const rows = sequences.length;
    const rowBytes = inner * 4;
    machine.normInput(plan.decoder.x, norm, rows);
    machine.linear(q, scratch.q);
    for (const [i, sequence] of sequences.entries()) {
      kernels.attend(
        scratch.q + i * rowBytes,
        this.#crossAt(sequence.cross, index, 0),
        this.#crossAt(sequence.cross, index, 1),
        sequence.cross.inputTokens,
        0,
        0,
        scratch.attention + i * rowBytes,
        1,
        sequence.cross.inputTokens,
        numHeads,
        dKv,
        scratch.scores,
      );
    }
    machine.input(scratch.attention, rows, inner);
    machine.linear(o, plan.decoder.x, true);
  }
}
