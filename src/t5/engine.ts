/** What runs a T5: one interface for every engine, so that generation is written once above it. */
import type { Store } from "../store/store.ts";
import type { AdapterFiles } from "./adapter.ts";
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
  /**
   * Bytes of adapters that the simd engine keeps beside the weights, float32; nothing is taken before one is used. Default:
   * {@link DEFAULT_ADAPTER_BYTES}.
   */
  adapterBytes?: number | undefined;
}

/** Six adapters of rank 16 on T5-small's queries and values, or one of rank 16 on all of its linear layers. */
export const DEFAULT_ADAPTER_BYTES = 16e6;

/** What a load of a package's halves is given. */
export interface LoadRequest<R extends Role = Role> {
  manifest: Manifest;
  store: Store;
  roles: readonly R[];
  limits: EngineLimits;
  onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
  /** Gives the load up. */
  signal?: AbortSignal | undefined;
  /** Whether the engine may take so many bytes more than it was loaded with, for adapters. Default: within its limits. */
  mayGrow?: ((bytes: number) => boolean) | undefined;
}

/** The halves that were asked for. */
export interface Engine<R extends Role = Role> {
  encoder: "encoder" extends R ? Encoder : undefined;
  decoder: "decoder" extends R ? Decoder : undefined;
  /** LoRA adapters for these halves. */
  adapters: AdapterSet;
}

/** An adapter that an engine keeps for as long as it is held: an answer ends on the adapter that it began with. */
export interface HeldAdapter {
  /** As it was acquired by. */
  readonly id: string;
  /** Bytes that it takes of the decoder's room for sequences. */
  readonly roomBytes: number;
  /** Whether it was given up, as nobody had used it for long while others waited for its room. */
  readonly isGone: boolean;
  /** Another hold on the same adapter, released on its own. */
  hold(): HeldAdapter;
  /** Lets it go; again is nothing. An adapter that nobody holds makes room when room is needed. */
  release(): void;
}

/** The adapters that an engine keeps beside its weights, bounded; those not used for longest make room for others. */
export interface AdapterSet {
  /** How many there are now. */
  readonly size: number;
  /**
   * Holds an adapter, loaded by who first asks for it; waits while others in use leave no room for it.
   *
   * @param id names what `load` gives, for ever: the same id is not loaded twice
   * @param signal ends the waiting for room; its reason is thrown
   * @throws EdgeT5Error `E_ADAPTER` when it does not fit the base or this placement, or the engine takes none;
   * `E_CAPACITY` (waited too long); what `load` throws
   */
  acquire(id: string, load: () => Promise<AdapterFiles>, signal?: AbortSignal): Promise<HeldAdapter>;
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
   * @param adapter of this engine, for the whole input
   * @param control whom it is for, and how it gives way to others
   * @returns the last layer's hidden states `[S, dModel]`, float32, owned by the caller
   * @throws EdgeT5Error `E_INPUT` (no token, an id outside the vocabulary, no hidden states where they are needed),
   * `E_CONTEXT_LENGTH`
   */
  encode(
    ids: ArrayLike<number>,
    before?: Float32Array,
    adapter?: HeldAdapter,
    control?: EncodeControl,
  ): Promise<Float32Array>;
}

/**
 * Called between parts of long work, where others may compute: who can stop there waits for what it gives.
 *
 * @param multiplyAdds done since the last call
 * @returns null to go on at once
 */
export type Pause = (multiplyAdds: number) => Promise<void> | null;

export interface EncodeControl {
  /** As {@link DecoderInput.owner}. */
  owner?: string | undefined;
  /** Gives the encoding up while it waits for others; its reason is thrown. */
  signal?: AbortSignal | undefined;
  pause?: Pause | undefined;
}

/** One sequence being decoded: its cross-attention keys and values and its cache. */
export interface Sequence {
  /** Tokens fed so far. */
  readonly position: number;
  /** Until it is closed, or reclaimed as nobody had stepped it for long. */
  readonly isOpen: boolean;
}

/** What a sequence is decoded from. */
export interface DecoderInput {
  /** `[S, dModel]` float32, from {@link Encoder.encode}. */
  hidden: Float32Array;
  maxNewTokens: number;
  /** How many sequences of this input, sharing its cross-attention keys and values. Default: 1. */
  copies?: number | undefined;
  /** Of the decoder's engine; held until the input's last sequence is closed. Default: the base alone. */
  adapter?: HeldAdapter | undefined;
  /** Whom it is for: of different owners none takes more than its share while others wait. Default: one owner for all. */
  owner?: string | undefined;
}

/** The outcome of one step for every row of its batch, in order. Valid until the sequence's next step. */
export interface StepOutput {
  /**
   * Scores over the vocabulary `[vocabSize]` after row `i`; a view into the engine, copy it to keep it over an await. Of a sequence that
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
  openAll(inputs: readonly DecoderInput[], signal?: AbortSignal, pause?: Pause): Promise<Sequence[]>;
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
