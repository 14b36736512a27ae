/**
 * What decoders of every engine have in common: sequences are given room from one region, fairly among their owners, and
 * are stepped in parts of as many rows as the engine takes.
 */
import { EdgeT5Error } from "../errors.ts";
import type { T5Config } from "../t5/config.ts";
import type {
  CacheShape,
  Decoder,
  DecoderInput,
  EngineLimits,
  HeldAdapter,
  Pause,
  Room,
  Sequence,
  StepOutput,
} from "../t5/engine.ts";
import type { Arena, Block } from "./arena.ts";
import { crossBytes, fitsIn, sequenceBytes } from "./cache-size.ts";
import { Owners } from "./owners.ts";
import { OVER_SHARE, WaitingLine } from "./waiting-line.ts";

/** An input's cross-attention keys and values, until the last sequence that reads them is closed. */
export interface Cross {
  block: Block;
  inputTokens: number;
  sequences: number;
  owner: string;
  /** What the input is decoded with, if not with the base alone. */
  adapter: HeldAdapter | null;
}

export class PooledSequence implements Sequence {
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

  get isOpen(): boolean {
    return this.block !== null;
  }
}

/** Room that an input asks for. */
interface Size {
  inputTokens: number;
  maxNewTokens: number;
  copies: number;
  adapter: HeldAdapter | undefined;
}

/** Rows of one pass over the weights. */
export interface StepRows {
  sequences: readonly PooledSequence[];
  tokens: readonly number[];
  /** Tokens that each row's sequence was fed before it, earlier rows included. */
  positions: readonly number[];
  /** Whether a sequence comes more than once. */
  hasRepeats: boolean;
  /** Hidden states `[rows, dModel]` of the layers before, if any. */
  before: Float32Array | undefined;
}

export interface SteppedRows {
  /** Hidden states for the layers that follow, if any; the caller's own. */
  hidden: Float32Array | null;
  /** The most probable token after each row, where a sequence came more than once. */
  best: readonly number[] | null;
}

/** A sequence that nobody stepped for this long may be closed when another waits for its room; so may an adapter. */
export const LEASE_MS = 60_000;
/** Owners that asked for room so lately are expected back. */
const EXPECTED_MS = 60_000;

/** @throws EdgeT5Error `E_SEQUENCE_CLOSED` when no sequence reads it any more */
export function checkCross({ sequences }: Cross): void {
  if (sequences > 0) return;
  throw new EdgeT5Error("E_SEQUENCE_CLOSED", "The sequences were closed while they were being opened.");
}

export abstract class PooledDecoder implements Decoder {
  readonly config: T5Config;
  readonly maxInputTokens: number;
  readonly maxNewTokens: number;
  steps = 0;
  passes = 0;
  rows = 0;
  readonly maxRows: number;
  readonly lookahead: number;
  readonly isFirst: boolean;
  readonly rooms: readonly Room[];
  readonly #shape: CacheShape;
  readonly #arena: Arena;
  readonly #open = new Set<PooledSequence>();
  /** Bytes of the arena, by owner. */
  readonly #held = new Map<string, number>();
  readonly #line = new WaitingLine(
    "Every place for a sequence is taken. Try again in a moment, or ask for fewer tokens.",
    (owner) => this.#held.get(owner) ?? 0,
  );
  readonly #owners = new Owners();

  /** @param arena where the sequences' blocks lie */
  constructor(
    config: T5Config,
    { isFirst, shape, lookahead }: { isFirst: boolean; shape: CacheShape; lookahead: number },
    limits: EngineLimits,
    arena: Arena,
    maxRows: number,
  ) {
    this.config = config;
    this.isFirst = isFirst;
    this.lookahead = lookahead;
    this.rooms = [{ ...shape, bytes: arena.bytes }];
    this.#shape = shape;
    this.maxInputTokens = limits.maxInputTokens;
    this.maxNewTokens = limits.maxNewTokens;
    this.maxRows = maxRows;
    this.#arena = arena;
  }

  /** Computes the keys and values of an input's hidden states `[S, dModel]`. */
  protected abstract computeCross(cross: Cross, hidden: Float32Array, pause?: Pause): void | Promise<void>;

  /** One step of rows whose sequences are open and have room; their logits stay until their next step. */
  protected abstract stepRows(rows: StepRows): SteppedRows | Promise<SteppedRows>;

  protected abstract logitsOf(block: Block): Float32Array;

  protected abstract argmaxOf(block: Block): number;

  /** Gives up something of the arena that is kept but not in use. @returns whether there was any */
  protected letGo(): boolean {
    return false;
  }

  /** Room was given back: for who waits for some beside the sequences. */
  protected roomGiven(): void {}

  /** Copies keys and values of the tokens that `sequence` was fed so far. */
  protected abstract copyCache(from: Block, to: Block, sequence: PooledSequence): void;

  /** Sequences open now. */
  get openSequences(): number {
    return this.#open.size;
  }

  async open(hidden: Float32Array, maxNewTokens: number): Promise<Sequence> {
    const [sequence] = await this.openAll([{ hidden, maxNewTokens }]);
    return sequence as Sequence;
  }

  fits(inputs: readonly DecoderInput[]): boolean {
    return this.rooms.every((room) => fitsIn(room, inputs, this.config.dModel));
  }

  async openAll(inputs: readonly DecoderInput[], signal?: AbortSignal, pause?: Pause): Promise<Sequence[]> {
    const { dModel } = this.config;
    const sizes = inputs.map(({ hidden, maxNewTokens, copies = 1, adapter }) => {
      const inputTokens = hidden.length / dModel;
      if (!Number.isInteger(inputTokens) || inputTokens === 0) {
        throw new EdgeT5Error(
          "E_INPUT",
          `Hidden states have ${hidden.length} numbers, not a multiple of dModel = ${dModel}. Use this model's encoder.`,
        );
      }
      this.#checkLength("input", inputTokens, this.maxInputTokens);
      this.#checkLength("output", maxNewTokens, this.maxNewTokens);
      return { inputTokens, maxNewTokens, copies, adapter };
    });
    if (!this.fits(inputs)) {
      throw new EdgeT5Error(
        "E_CAPACITY",
        "So many sequences of this size never fit at once. Decode fewer at a time, or ask for fewer beams or tokens.",
      );
    }
    const owner = inputs[0]?.owner ?? "";
    this.#owners.see(owner);
    const opened = await this.#line.take(() => this.#reserve(sizes, owner), { owner, signal });
    const closeAll = () => {
      for (const sequence of opened.flat()) this.close(sequence);
    };
    // A request that ends while it waits to go on does not come back to close them.
    signal?.addEventListener("abort", closeAll, { once: true });
    try {
      for (const [i, [first]] of opened.entries()) {
        const hidden = inputs[i]?.hidden;
        if (first && hidden) await this.computeCross(first.cross, hidden, pause);
      }
      signal?.throwIfAborted();
    } catch (error) {
      closeAll();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", closeAll);
    }
    return opened.flat();
  }

  async step(sequences: readonly Sequence[], tokens: ArrayLike<number>, before?: Float32Array): Promise<StepOutput> {
    if (sequences.length === 0 || sequences.length !== tokens.length) {
      throw new EdgeT5Error("E_INPUT", `${sequences.length} sequences were given ${tokens.length} tokens.`);
    }
    const batch = sequences as readonly PooledSequence[];
    const fed = new Map<PooledSequence, number>();
    const positions = batch.map((sequence) => {
      if (sequence.block === null || sequence.cross.adapter?.isGone) {
        throw new EdgeT5Error(
          "E_SEQUENCE_CLOSED",
          "The sequence is closed, or was reclaimed after a minute without a step.",
        );
      }
      const earlier = fed.get(sequence) ?? 0;
      fed.set(sequence, earlier + 1);
      return sequence.position + earlier;
    });
    for (const [{ position, maxNewTokens }, count] of fed) {
      if (position + count > maxNewTokens) {
        throw new EdgeT5Error("E_INPUT", `The sequence is full: it was opened for ${maxNewTokens} tokens.`);
      }
      if (count > this.lookahead) {
        throw new EdgeT5Error("E_INPUT", `A sequence comes ${count} times; a step takes it ${this.lookahead} times.`);
      }
    }
    const hasRepeats = fed.size < batch.length;
    const now = Date.now();
    const { dModel } = this.config;
    let hidden: Float32Array | null = null;
    const best: number[] = [];
    for (let first = 0; first < batch.length; first += this.maxRows) {
      const part = batch.slice(first, first + this.maxRows);
      const end = first + part.length;
      const stepped = await this.stepRows({
        sequences: part,
        tokens: Array.prototype.slice.call(tokens, first, end),
        positions: positions.slice(first, end),
        hasRepeats,
        before: before?.subarray(first * dModel, end * dModel),
      });
      if (stepped.hidden) {
        hidden ??= new Float32Array(batch.length * dModel);
        hidden.set(stepped.hidden, first * dModel);
      }
      if (stepped.best) best.push(...stepped.best);
      this.passes++;
      this.rows += part.length;
      for (const sequence of part) {
        sequence.position++;
        sequence.lastUsed = now;
      }
    }
    this.steps++;

    const blockOf = (i: number) => {
      const block = batch[i]?.block;
      if (!block) throw new EdgeT5Error("E_SEQUENCE_CLOSED", `Sequence ${i} of this step is closed.`);
      return block;
    };
    return {
      logits: (i) => this.logitsOf(blockOf(i)),
      argmax: (i) => best[i] ?? this.argmaxOf(blockOf(i)),
      hidden,
    };
  }

  rewind(sequence: Sequence, tokens: number): void {
    const pooled = sequence as PooledSequence;
    if (!(Number.isInteger(tokens) && tokens >= 0 && tokens <= pooled.position)) {
      throw new EdgeT5Error("E_INPUT", `${tokens} of ${pooled.position} tokens cannot be taken back.`);
    }
    pooled.position -= tokens;
  }

  reorder(sequences: readonly Sequence[], parents: readonly number[]): void {
    const beams = sequences as readonly PooledSequence[];
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
      const beam = beams[i] as PooledSequence;
      const from = blocks[parent] as Block;
      if (given.has(parent)) {
        beam.block = spare.pop() as Block;
        this.copyCache(from, beam.block, beam);
      } else {
        given.add(parent);
        beam.block = from;
      }
    }
  }

  close(sequence: Sequence): void {
    this.#giveBack(sequence as PooledSequence);
    this.#line.retry();
    this.roomGiven();
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

  /**
   * Whether an owner may take so much more. While others wait it holds at most its share of the room; and where others have
   * been here lately it leaves each of them room to begin with.
   */
  #mayHold(owner: string, bytes: number): boolean {
    const held = this.#held.get(owner) ?? 0;
    if (held === 0) return true;
    const waiting = this.#line.owners;
    const owners = new Set([owner, ...waiting, ...this.#held.keys()]);
    waiting.delete(owner);
    if (waiting.size > 0 && held + bytes > this.#arena.bytes / owners.size) return false;
    const others = this.#owners.others(owner, EXPECTED_MS).map((other) => this.#held.get(other) ?? 0);
    const largest = crossBytes(this.#shape, this.maxInputTokens) + sequenceBytes(this.#shape, this.maxNewTokens);
    const spare = Math.min(largest, this.#arena.bytes / 4) - Math.min(...others);
    return this.#arena.freeBytes - bytes >= spare;
  }

  #bytesOf({ inputTokens, maxNewTokens, copies }: Size): number {
    return crossBytes(this.#shape, inputTokens) + copies * sequenceBytes(this.#shape, maxNewTokens);
  }

  /** Room for all; else nothing is taken. */
  #reserve(sizes: readonly Size[], owner: string): PooledSequence[][] | null | typeof OVER_SHARE {
    if (
      !this.#mayHold(
        owner,
        sizes.reduce((sum, size) => sum + this.#bytesOf(size), 0),
      )
    )
      return OVER_SHARE;
    const opened: PooledSequence[][] = [];
    for (const { inputTokens, maxNewTokens, copies, adapter } of sizes) {
      const block = this.#take(crossBytes(this.#shape, inputTokens));
      const cross: Cross | null = block && { block, inputTokens, sequences: 0, owner, adapter: null };
      if (block) this.#hold(owner, block.bytes);
      const sequences: PooledSequence[] = [];
      opened.push(sequences);
      for (let copy = 0; cross && copy < copies; copy++) {
        const own = this.#take(sequenceBytes(this.#shape, maxNewTokens));
        if (!own) break;
        // Counted as open at once: should its request end before it goes on, the lease gives the room back.
        const sequence = new PooledSequence(own, cross, maxNewTokens);
        this.#hold(owner, own.bytes);
        cross.sequences++;
        this.#open.add(sequence);
        sequences.push(sequence);
      }
      if (cross && adapter) cross.adapter = adapter.hold();
      if (sequences.length < copies) {
        if (cross?.sequences === 0) this.#giveBackCross(cross);
        for (const sequence of opened.flat()) this.#giveBack(sequence);
        return null;
      }
    }
    return opened;
  }

  #hold(owner: string, bytes: number): void {
    const held = (this.#held.get(owner) ?? 0) + bytes;
    if (held > 0) this.#held.set(owner, held);
    else this.#held.delete(owner);
  }

  #take(bytes: number): Block | null {
    let block = this.#arena.take(bytes) ?? this.#reclaim(bytes);
    while (!block && this.letGo()) block = this.#arena.take(bytes);
    return block;
  }

  /** Takes room from sequences that were left behind: their request ended without closing them. */
  #reclaim(bytes: number): Block | null {
    const limit = Date.now() - LEASE_MS;
    for (const sequence of this.#open) if (sequence.lastUsed < limit) this.#giveBack(sequence);
    return this.#arena.take(bytes);
  }

  #giveBack(sequence: PooledSequence): void {
    if (!sequence.block) return;
    const { block, cross } = sequence;
    this.#arena.give(block);
    this.#hold(cross.owner, -block.bytes);
    sequence.block = null;
    this.#open.delete(sequence);
    cross.sequences--;
    if (cross.sequences === 0) this.#giveBackCross(cross);
  }

  #giveBackCross({ block, adapter, owner }: Cross): void {
    this.#arena.give(block);
    this.#hold(owner, -block.bytes);
    adapter?.release();
  }
}
