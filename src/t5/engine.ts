/** What runs a T5: one interface for every engine, so that generation is written once above it. */
import type { Store } from "../store/store.ts";
import type { T5Config } from "./config.ts";
import type { Manifest } from "./manifest.ts";

export type Role = "encoder" | "decoder";

/** What one placement takes; a larger request belongs elsewhere. */
export interface EngineLimits {
  /** Longest input, in tokens. */
  maxInputTokens: number;
  /** Longest output of one sequence, in tokens. */
  maxNewTokens: number;
  /** Room for so many sequences of that size at once, as far as memory goes; smaller ones fit in greater number. */
  maxSequences: number;
  /** Bytes of memory that the engine may take; the room for sequences is cut to fit. */
  memoryBytes?: number | undefined;
  /**
   * Precision of the keys and values that the simd engine keeps: int8 with a scale a head and token, or float32. Default:
   * 8 for quantized weights, 32 for float32 ones.
   */
  cacheBits?: 8 | 32 | undefined;
}

/** What a load of a package's halves is given. */
export interface LoadRequest<R extends Role = Role> {
  manifest: Manifest;
  store: Store;
  roles: readonly R[];
  limits: EngineLimits;
  onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
  /** Gives the load up. */
  signal?: AbortSignal | undefined;
}

/** The halves that were asked for. */
export interface Engine<R extends Role = Role> {
  encoder: "encoder" extends R ? Encoder : undefined;
  decoder: "decoder" extends R ? Decoder : undefined;
}

/**
 * Loads halves of a package.
 *
 * @throws EdgeT5Error `E_CAPACITY` (does not fit the limits), `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_MANIFEST`
 */
export type EngineLoader = <R extends Role>(request: LoadRequest<R>) => Promise<Engine<R>>;

export interface Encoder {
  readonly config: T5Config;
  /** Whether it begins with the stack's first layer; one that does not is given the hidden states of those before. */
  readonly isFirst: boolean;
  /** Longest input in tokens that this placement takes. */
  readonly maxInputTokens: number;
  /**
   * @param ids token ids `[S]`, the end of sequence included
   * @param before hidden states `[S, dModel]` of the layers before, for an encoder that holds but a part of them
   * @returns the last layer's hidden states `[S, dModel]`, float32, owned by the caller
   * @throws EdgeT5Error `E_INPUT` (no token, an id outside the vocabulary, no hidden states where they are needed),
   * `E_CONTEXT_LENGTH`
   */
  encode(ids: ArrayLike<number>, before?: Float32Array): Promise<Float32Array>;
}

/** One sequence being decoded: its cross-attention keys and values and its cache. */
export interface Sequence {
  /** Tokens fed so far. */
  readonly position: number;
}

/** What a sequence is decoded from. */
export interface DecoderInput {
  /** `[S, dModel]` float32, from {@link Encoder.encode}. */
  hidden: Float32Array;
  maxNewTokens: number;
  /** How many sequences of this input, sharing its cross-attention keys and values. Default: 1. */
  copies?: number | undefined;
}

/** The outcome of one step for every row of its batch, in order. Valid until the sequence's next step. */
export interface StepOutput {
  /**
   * Scores over the vocabulary `[vocabSize]` after row `i`; a view into the engine, copy it to keep it. Of a sequence that
   * was fed several tokens, those after the last one.
   */
  logits(i: number): Float32Array;
  /** The most probable token after row `i`; the lowest id of equals. */
  argmax(i: number): number;
  /** Of a decoder whose stack goes on elsewhere, which has no logits: hidden states `[sequences, dModel]`. */
  hidden: Float32Array | null;
}

/** What decides how much a sequence takes of a decoder's memory. */
export interface CacheShape {
  /** Layers at hand: all of the stack's, or a shard's. */
  layers: number;
  heads: number;
  dKv: number;
  /** Precision of keys and values. */
  bits: 8 | 32;
  /** Logits of a sequence; none where the stack goes on elsewhere. */
  logits: number;
}

/** Where a decoder keeps its sequences. */
export interface Room extends CacheShape {
  bytes: number;
}

export interface Decoder {
  readonly config: T5Config;
  /** As {@link Encoder.isFirst}. */
  readonly isFirst: boolean;
  readonly maxInputTokens: number;
  /** Longest output in tokens that this placement takes. */
  readonly maxNewTokens: number;
  /** Of a chain of decoders one each: a sequence takes room in all. */
  readonly rooms: readonly Room[];
  /** Sequences open now. */
  readonly openSequences: number;
  /** Decoder steps made since loading (a step of a batch counts once). */
  readonly steps: number;
  /** Passes over the weights since loading, and the rows of all of them. */
  readonly passes: number;
  readonly rows: number;
  /** Most rows of one pass; a step of more takes several. */
  readonly maxRows: number;
  /** Whether so many sequences could be open at once if no other were. */
  fits(inputs: readonly DecoderInput[]): boolean;
  /**
   * Opens a sequence: computes the cross-attention keys and values of `hidden`, reserves room for `maxNewTokens`. Waits
   * while there is no room and other sequences are open.
   *
   * @param hidden `[S, dModel]` float32, from {@link Encoder.encode}
   * @throws EdgeT5Error `E_INPUT`, `E_CONTEXT_LENGTH` (more than could ever fit), `E_CAPACITY` (waited too long)
   */
  open(hidden: Float32Array, maxNewTokens: number): Promise<Sequence>;
  /**
   * Opens several sequences, all or none: two callers never wait for each other's half. An input with `copies` gives so
   * many in a row.
   *
   * @param signal ends the waiting for room; its reason is thrown
   * @throws EdgeT5Error as {@link open}; `E_CAPACITY` also when so many could never fit together
   */
  openAll(inputs: readonly DecoderInput[], signal?: AbortSignal): Promise<Sequence[]>;
  /** Most tokens of one sequence that a step takes: with more than one, a draft of what comes is checked in one pass. */
  readonly lookahead: number;
  /**
   * Feeds `tokens[i]` to `sequences[i]`, all in one pass over the weights. A sequence may come up to {@link lookahead}
   * times: it is fed those tokens one after the other, and each row gives what it would give alone.
   *
   * @param before hidden states `[sequences, dModel]` of the layers before, for a decoder that holds but a part of them
   */
  step(sequences: readonly Sequence[], tokens: ArrayLike<number>, before?: Float32Array): Promise<StepOutput>;
  /** Takes back the last `tokens` that a sequence was fed. */
  rewind(sequence: Sequence, tokens: number): void;
  /**
   * Makes sequence `i` what sequence `parents[i]` is: the tokens that it was fed. For the beams of one input, all at one
   * position.
   *
   * @throws EdgeT5Error `E_INPUT` for a parent that is not among them, or sequences of different inputs or positions
   */
  reorder(sequences: readonly Sequence[], parents: readonly number[]): void;
  /** Gives a sequence's room back; closing twice is nothing. */
  close(sequence: Sequence): void;
}
