/** T5's decoder stack on the kernels: sequences with their caches, stepped together over one pass of the weights. */
import { EdgeT5Error } from "../../errors.ts";
import { attentionNames, LM_HEAD, layerPrefix } from "../../t5/architecture.ts";
import type { T5Config } from "../../t5/config.ts";
import type { Decoder, DecoderInput, Sequence, StepOutput } from "../../t5/engine.ts";
import { Arena, type Block } from "./arena.ts";
import type { FeedForward, Linear, Machine } from "./machine.ts";
import { BLOCK_ROWS, crossBytes, type EngineLimits, sequenceBytes } from "./plan.ts";
import { WaitingLine } from "./waiting-line.ts";

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

/** An input's cross-attention keys and values, until the last sequence that reads them is closed. */
interface Cross {
  block: Block;
  inputTokens: number;
  sequences: number;
}

class SimdSequence implements Sequence {
  position = 0;
  /** Its own keys, values and logits; null once closed. */
  block: Block | null;
  readonly cross: Cross;
  readonly maxNewTokens: number;
  lastUsed = Date.now();

  constructor(block: Block, cross: Cross, maxNewTokens: number) {
    this.block = block;
    this.cross = cross;
    this.maxNewTokens = maxNewTokens;
  }
}

/** Room that an input asks for. */
interface Size {
  inputTokens: number;
  maxNewTokens: number;
  copies: number;
}

/** A sequence that nobody stepped for this long may be closed when another waits for its room. */
const LEASE_MS = 60_000;

export class SimdDecoder implements Decoder {
  readonly config: T5Config;
  readonly maxInputTokens: number;
  readonly maxNewTokens: number;
  steps = 0;
  readonly #machine: Machine;
  readonly #embedding: Linear;
  readonly #head: Linear;
  readonly #layers: Layer[];
  readonly #finalNorm: number;
  readonly #arena: Arena;
  readonly #open = new Set<SimdSequence>();
  readonly #line = new WaitingLine();

  constructor(machine: Machine, embedding: Linear, tiedHead: boolean, limits: EngineLimits) {
    this.config = machine.config;
    this.maxInputTokens = limits.maxInputTokens;
    this.maxNewTokens = limits.maxNewTokens;
    this.#machine = machine;
    this.#embedding = embedding;
    this.#head = tiedHead ? embedding : machine.bindLinear(LM_HEAD);
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
    this.#layers = Array.from({ length: this.config.numDecoderLayers }, (_, layer) => ({
      self: attention(layerPrefix.selfAttention("decoder", layer), layerPrefix.layerNorm("decoder", layer, 0)),
      cross: attention(layerPrefix.encDecAttention(layer), layerPrefix.layerNorm("decoder", layer, 1)),
      feedForward: machine.bindFeedForward("decoder", layer),
    }));
    this.#finalNorm = machine.bindVector(layerPrefix.finalLayerNorm("decoder"));
    machine.fillBias("decoder", machine.plan.decoderBias, limits.maxNewTokens - 1, 0);
    this.#arena = new Arena(machine.plan.arena.at, machine.plan.arena.bytes);
  }

  /** Sequences open now. */
  get openSequences(): number {
    return this.#open.size;
  }

  async open(hidden: Float32Array, maxNewTokens: number): Promise<Sequence> {
    const [sequence] = await this.openAll([{ hidden, maxNewTokens }]);
    return sequence as Sequence;
  }

  fits(inputs: readonly DecoderInput[]): boolean {
    const { dModel } = this.config;
    const bytes = inputs.map(
      ({ hidden, maxNewTokens, copies = 1 }) =>
        crossBytes(this.config, hidden.length / dModel) + copies * sequenceBytes(this.config, maxNewTokens),
    );
    return bytes.reduce((sum, each) => sum + each, 0) <= this.#machine.plan.arena.bytes;
  }

  async openAll(inputs: readonly DecoderInput[], signal?: AbortSignal): Promise<Sequence[]> {
    const { dModel } = this.config;
    const sizes = inputs.map(({ hidden, maxNewTokens, copies = 1 }) => {
      const inputTokens = hidden.length / dModel;
      if (!Number.isInteger(inputTokens) || inputTokens === 0) {
        throw new EdgeT5Error(
          "E_INPUT",
          `Hidden states have ${hidden.length} numbers, not a multiple of dModel = ${dModel}. Use this model's encoder.`,
        );
      }
      this.#checkLength("input", inputTokens, this.maxInputTokens);
      this.#checkLength("output", maxNewTokens, this.maxNewTokens);
      return { inputTokens, maxNewTokens, copies };
    });
    if (!this.fits(inputs)) {
      throw new EdgeT5Error(
        "E_CAPACITY",
        "So many sequences of this size never fit at once. Decode fewer at a time, or ask for fewer beams or tokens.",
      );
    }
    const opened = await this.#line.take(() => this.#reserve(sizes), signal);
    for (const [i, [first]] of opened.entries()) {
      const hidden = inputs[i]?.hidden;
      if (first && hidden) this.#computeCross(first.cross, hidden);
    }
    return opened.flat();
  }

  async step(sequences: readonly Sequence[], tokens: ArrayLike<number>): Promise<StepOutput> {
    if (sequences.length === 0 || sequences.length !== tokens.length) {
      throw new EdgeT5Error("E_INPUT", `${sequences.length} sequences were given ${tokens.length} tokens.`);
    }
    const batch = sequences as readonly SimdSequence[];
    for (const sequence of batch) {
      if (sequence.block === null) {
        throw new EdgeT5Error(
          "E_SEQUENCE_CLOSED",
          "The sequence is closed, or was reclaimed after a minute without a step.",
        );
      }
      if (sequence.position >= sequence.maxNewTokens) {
        throw new EdgeT5Error("E_INPUT", `The sequence is full: it was opened for ${sequence.maxNewTokens} tokens.`);
      }
    }
    const now = Date.now();
    const most = this.#machine.plan.decoder.rows;
    for (let first = 0; first < batch.length; first += most) {
      const part = batch.slice(first, first + most);
      this.#stepRows(part, Array.prototype.slice.call(tokens, first, first + part.length));
      for (const sequence of part) {
        sequence.position++;
        sequence.lastUsed = now;
      }
    }
    this.steps++;

    const { vocabSize } = this.config;
    const { kernels, floats } = this.#machine;
    const at = (i: number) => {
      const sequence = batch[i];
      if (!sequence?.block) throw new EdgeT5Error("E_SEQUENCE_CLOSED", `Sequence ${i} of this step is closed.`);
      return this.#logitsAt(sequence.block);
    };
    return {
      logits: (i) => floats.subarray(at(i) / 4, at(i) / 4 + vocabSize),
      argmax: (i) => kernels.argmax(at(i), vocabSize),
    };
  }

  reorder(sequences: readonly Sequence[], parents: readonly number[]): void {
    const beams = sequences as readonly SimdSequence[];
    const [first] = beams;
    const isWhole = parents.length === beams.length && parents.every((parent) => beams[parent]?.block);
    if (!first || !isWhole || beams.some((beam) => beam.cross !== first.cross || beam.position !== first.position)) {
      throw new EdgeT5Error(
        "E_INPUT",
        "Only open sequences of one input, at one position, can take each other's place.",
      );
    }
    // A parent's block goes to its first child; blocks that no child reads take the copies for the others.
    const blocks = beams.map(({ block }) => block as Block);
    const spare = blocks.filter((_, i) => !parents.includes(i));
    const given = new Set<number>();
    for (const [i, parent] of parents.entries()) {
      const beam = beams[i] as SimdSequence;
      const from = blocks[parent] as Block;
      if (given.has(parent)) {
        beam.block = spare.pop() as Block;
        this.#copyCache(from, beam.block, beam);
      } else {
        given.add(parent);
        beam.block = from;
      }
    }
  }

  /** Keys and values of the tokens fed so far. */
  #copyCache(from: Block, to: Block, { maxNewTokens, position }: SimdSequence): void {
    const { numHeads, dKv } = this.config;
    const room = maxNewTokens * dKv * 4;
    for (let stretch = 0; stretch < this.#layers.length * 2 * numHeads; stretch++) {
      this.#machine.kernels.copyBytes(to.at + stretch * room, from.at + stretch * room, position * dKv * 4);
    }
  }

  close(sequence: Sequence): void {
    this.#giveBack(sequence as SimdSequence);
    this.#line.retry();
  }

  #checkLength(what: "input" | "output", tokens: number, limit: number): void {
    if (!Number.isInteger(tokens) || tokens < 1) {
      throw new EdgeT5Error("E_INPUT", `The ${what} length is ${tokens}; give a whole number of at least 1.`);
    }
    if (tokens > limit) {
      throw new EdgeT5Error(
        "E_CONTEXT_LENGTH",
        `The ${what} has ${tokens} tokens; this placement takes up to ${limit}.`,
      );
    }
  }

  /** Room for all, or null and nothing taken. */
  #reserve(sizes: readonly Size[]): SimdSequence[][] | null {
    const opened: SimdSequence[][] = [];
    for (const { inputTokens, maxNewTokens, copies } of sizes) {
      const block = this.#take(crossBytes(this.config, inputTokens));
      const cross: Cross | null = block && { block, inputTokens, sequences: 0 };
      const sequences: SimdSequence[] = [];
      opened.push(sequences);
      for (let copy = 0; cross && copy < copies; copy++) {
        const own = this.#take(sequenceBytes(this.config, maxNewTokens));
        if (!own) break;
        // Counted as open at once: should its request end before it goes on, the lease gives the room back.
        const sequence = new SimdSequence(own, cross, maxNewTokens);
        cross.sequences++;
        this.#open.add(sequence);
        sequences.push(sequence);
      }
      if (sequences.length < copies) {
        if (cross?.sequences === 0) this.#arena.give(cross.block);
        for (const sequence of opened.flat()) this.#giveBack(sequence);
        return null;
      }
    }
    return opened;
  }

  #take(bytes: number): Block | null {
    return this.#arena.take(bytes) ?? this.#reclaim(bytes);
  }

  /** Takes room from sequences that were left behind: their request ended without closing them. */
  #reclaim(bytes: number): Block | null {
    const limit = Date.now() - LEASE_MS;
    for (const sequence of this.#open) if (sequence.lastUsed < limit) this.#giveBack(sequence);
    return this.#arena.take(bytes);
  }

  #giveBack(sequence: SimdSequence): void {
    if (!sequence.block) return;
    this.#arena.give(sequence.block);
    sequence.block = null;
    this.#open.delete(sequence);
    const { cross } = sequence;
    cross.sequences--;
    if (cross.sequences === 0) this.#arena.give(cross.block);
  }

  // A cross block: keys and values [2, heads, inputTokens, dKv] a layer. A sequence's block: own keys and values
  // [2, heads, maxNewTokens, dKv] a layer, logits [vocabSize]. All f32.

  #crossAt({ block, inputTokens }: Cross, layer: number, value: 0 | 1): number {
    return block.at + (layer * 2 + value) * inputTokens * this.#machine.inner * 4;
  }

  #selfAt({ block, maxNewTokens }: SimdSequence, layer: number, value: 0 | 1): number {
    return (block?.at ?? 0) + (layer * 2 + value) * maxNewTokens * this.#machine.inner * 4;
  }

  #logitsAt(block: Block): number {
    return block.at + block.bytes - sequenceBytes(this.config, 0);
  }

  #computeCross(cross: Cross, hidden: Float32Array): void {
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

  #stepRows(sequences: readonly SimdSequence[], tokens: readonly number[]): void {
    const machine = this.#machine;
    const { plan, kernels } = machine;
    const { x } = plan.decoder;
    const rows = sequences.length;
    machine.writeIds(tokens);
    machine.embed(this.#embedding, x, rows);
    for (const [index, layer] of this.#layers.entries()) {
      this.#selfAttention(index, layer.self, sequences);
      this.#crossAttention(index, layer.cross, sequences);
      machine.feedForward(layer.feedForward, x, rows);
    }
    const factor = this.config.scaleDecoderOutputs ? this.config.dModel ** -0.5 : 1;
    machine.normInput(x, this.#finalNorm, rows, factor);
    // One row goes straight to its sequence; several are computed side by side and handed out.
    const [only] = sequences;
    if (rows === 1 && only?.block) {
      machine.linear(this.#head, this.#logitsAt(only.block));
      return;
    }
    machine.linear(this.#head, plan.decoder.logits);
    const bytes = this.config.vocabSize * 4;
    for (const [i, { block }] of sequences.entries()) {
      if (block) kernels.copyBytes(this.#logitsAt(block), plan.decoder.logits + i * bytes, bytes);
    }
  }

  #selfAttention(index: number, { norm, q, k, v, o }: Attention, sequences: readonly SimdSequence[]): void {
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

  #crossAttention(index: number, { norm, q, o }: Attention, sequences: readonly SimdSequence[]): void {
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
