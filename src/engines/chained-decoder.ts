/**
 * A decoder whose first layers run elsewhere: each step goes through them first, and every sequence is known there by its
 * number. One is made for a request, over the decoder that all requests share.
 */
import type { Decoder, DecoderInput, Room, Sequence, StepOutput } from "../t5/engine.ts";
import { fitsIn } from "./cache-size.ts";

/** The layers before, for the sequences of one request. */
export interface LayersBefore {
  readonly rooms: readonly Room[];
  /** Opens sequences, numbered on from the last one; `copies` of an input follow each other. */
  open(inputs: readonly DecoderInput[]): Promise<void>;
  /** @returns hidden states `[sequences, dModel]` after those layers */
  step(sequences: readonly number[], tokens: ArrayLike<number>): Promise<Float32Array>;
  rewind(sequence: number, tokens: number): void;
  reorder(sequences: readonly number[], parents: readonly number[]): void;
  close(sequence: number): void;
}

export class ChainedDecoder implements Decoder {
  /** With the layers before it is a whole one. */
  readonly isFirst = true;
  readonly rooms: readonly Room[];
  readonly #own: Decoder;
  readonly #before: LayersBefore;
  readonly #numbers = new Map<Sequence, number>();
  #opened = 0;

  constructor(own: Decoder, before: LayersBefore) {
    this.#own = own;
    this.#before = before;
    this.rooms = [...before.rooms, ...own.rooms];
  }

  get config() {
    return this.#own.config;
  }
  get maxInputTokens() {
    return this.#own.maxInputTokens;
  }
  get maxNewTokens() {
    return this.#own.maxNewTokens;
  }
  get maxRows() {
    return this.#own.maxRows;
  }
  get lookahead() {
    return this.#own.lookahead;
  }
  get openSequences() {
    return this.#own.openSequences;
  }
  get steps() {
    return this.#own.steps;
  }
  get passes() {
    return this.#own.passes;
  }
  get rows() {
    return this.#own.rows;
  }

  fits(inputs: readonly DecoderInput[]): boolean {
    return this.rooms.every((room) => fitsIn(room, inputs, this.config.dModel));
  }

  async open(hidden: Float32Array, maxNewTokens: number): Promise<Sequence> {
    const [sequence] = await this.openAll([{ hidden, maxNewTokens }]);
    return sequence as Sequence;
  }

  /** Room is taken here first, then in the layers before: in one order for all requests, so that none waits in a circle. */
  async openAll(inputs: readonly DecoderInput[], signal?: AbortSignal): Promise<Sequence[]> {
    const opened = await this.#own.openAll(inputs, signal);
    try {
      await this.#before.open(inputs);
    } catch (error) {
      for (const sequence of opened) this.#own.close(sequence);
      throw error;
    }
    for (const sequence of opened) this.#numbers.set(sequence, this.#opened++);
    return opened;
  }

  async step(sequences: readonly Sequence[], tokens: ArrayLike<number>): Promise<StepOutput> {
    const before = await this.#before.step(this.#numbersOf(sequences), tokens);
    return this.#own.step(sequences, tokens, before);
  }

  rewind(sequence: Sequence, tokens: number): void {
    this.#own.rewind(sequence, tokens);
    const [number = -1] = this.#numbersOf([sequence]);
    this.#before.rewind(number, tokens);
  }

  reorder(sequences: readonly Sequence[], parents: readonly number[]): void {
    this.#own.reorder(sequences, parents);
    this.#before.reorder(this.#numbersOf(sequences), parents);
  }

  close(sequence: Sequence): void {
    this.#own.close(sequence);
    const number = this.#numbers.get(sequence);
    if (number === undefined) return;
    this.#numbers.delete(sequence);
    this.#before.close(number);
  }

  /** A sequence that is closed has none: its step is refused by the decoder itself. */
  #numbersOf(sequences: readonly Sequence[]): number[] {
    return sequences.map((sequence) => this.#numbers.get(sequence) ?? -1);
  }
}
