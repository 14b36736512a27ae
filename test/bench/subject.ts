/** What is measured, the same in Node and in workerd: an engine and the floors beside it, in one process. */
import { loadSimdEngine, type SimdEngine } from "../../src/engines/simd/index.ts";
import type { KernelModule } from "../../src/kernels/index.ts";
import type { Store } from "../../src/store/store.ts";
import type { Sequence } from "../../src/t5/engine.ts";
import { type Manifest, readManifest } from "../../src/t5/manifest.ts";
import { type Floors, instantiateFloors, READ_SET_BYTES } from "./floors.ts";

export const PROMPT_TOKENS = 128;
/** Steps are timed from this position on, so that the middle one is at position 32. */
export const FIRST_POSITION = 24;
export const STEPS = 16;
/** Streams that go so many steps in one timing, one after the other: seen over HTTP, a request's own time is milliseconds. */
const STREAMS = 4;
/** Steps of one stream in a timing of them, and reads as long as a step. */
export const SINGLE_STEPS = STREAMS * STEPS;

/** Turns of the dot loop in one timing: about forty milliseconds. */
export const DOT_TURNS = 16_000_000;

const BEAMS = 4;
const LIMITS = { maxInputTokens: 512, maxNewTokens: 128, maxSequences: Math.max(STREAMS, BEAMS) };

export type Operation =
  | "nothing"
  | "prepare"
  | "steps"
  | "prepare-beams"
  | "beam-steps"
  | "encode"
  | "read-one"
  | "read-four"
  | "dots";

export class Subject {
  readonly manifest: Manifest;
  readonly engine: SimdEngine;
  readonly #floorsModule: WebAssembly.Module;
  #floors: Floors | null = null;
  readonly #stepBytes: number;
  #hidden: Float32Array | null = null;
  /** Those that step together. */
  #groups: Sequence[][] = [];
  #readAt = 0;

  private constructor(manifest: Manifest, engine: SimdEngine, floors: WebAssembly.Module) {
    this.manifest = manifest;
    this.engine = engine;
    this.#floorsModule = floors;
    this.#stepBytes = stepBytes(manifest);
  }

  static async load(
    store: Store,
    kernels: KernelModule,
    floors: WebAssembly.Module,
    onProgress?: () => void,
  ): Promise<Subject> {
    const manifest = await readManifest(store);
    const engine = await loadSimdEngine({
      manifest,
      store,
      kernels,
      roles: ["encoder", "decoder"],
      limits: LIMITS,
      onProgress,
    });
    return new Subject(manifest, engine, floors);
  }

  /** Runs one operation; what it gives is returned so that nothing is optimized away. */
  async run(operation: Operation): Promise<number> {
    const { encoder, decoder } = this.engine;
    switch (operation) {
      case "nothing":
        return 0;
      case "prepare":
      case "prepare-beams": {
        const hidden = this.#hidden ?? (await encoder.encode(prompt()));
        this.#hidden = hidden;
        for (const sequence of this.#groups.flat()) decoder.close(sequence);
        this.#groups = [];
        const [streams, copies] = operation === "prepare" ? [STREAMS, 1] : [1, BEAMS];
        for (let i = 0; i < streams; i++) {
          this.#groups.push(await decoder.openAll([{ hidden, maxNewTokens: LIMITS.maxNewTokens, copies }]));
        }
        return this.#steps(FIRST_POSITION);
      }
      case "steps":
      case "beam-steps":
        return this.#steps(STEPS);
      case "encode":
        return (await encoder.encode(prompt()))[0] ?? 0;
      case "read-one":
      case "read-four":
        return this.#read(operation);
      case "dots":
        return this.#floorsOf().dots(DOT_TURNS);
    }
  }

  async #steps(n: number): Promise<number> {
    const { decoder } = this.engine;
    let last = 0;
    for (const sequences of this.#groups) {
      let tokens = sequences.map(() => this.manifest.model.decoderStartTokenId);
      for (let i = 0; i < n; i++) {
        const output = await decoder.step(sequences, tokens);
        tokens = sequences.map((_, row) => output.argmax(row));
      }
      last = tokens[0] ?? 0;
    }
    return last;
  }

  /** Made when first asked for: its memory is no part of what the engine holds. */
  #floorsOf(): Floors {
    this.#floors ??= instantiateFloors(this.#floorsModule, readSet());
    return this.#floors;
  }

  /** Reads as many bytes as {@link SINGLE_STEPS} steps do, on through the whole read set. */
  #read(operation: "read-one" | "read-four"): number {
    const { readOneStream, readFourStreams } = this.#floorsOf();
    const loop = operation === "read-one" ? readOneStream : readFourStreams;
    const bytes = Math.floor(this.#stepBytes / 256) * 256;
    let result = 0;
    for (let i = 0; i < SINGLE_STEPS; i++) {
      if (this.#readAt + bytes > READ_SET_BYTES) this.#readAt = 0;
      result ^= loop(this.#readAt, bytes);
      this.#readAt += bytes;
    }
    return result;
  }
}

/** Weight bytes that one decoder step reads: all of the decoder but the cross-attention's k and v, and the head. */
export function stepBytes(manifest: Manifest): number {
  let bytes = 0;
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const head = manifest.tiedHead ? name === "shared.weight" : name === "lm_head.weight";
    const own = name.startsWith("decoder.") && !/EncDecAttention\.[kv]\./.test(name);
    if (head || own) bytes += tensor.bytes + (tensor.scales?.bytes ?? 0);
  }
  return bytes;
}

/** Multiply-adds of encode over `tokens` tokens: linear layers, scores and mixing of attention. */
export function encodeMultiplyAdds(manifest: Manifest, tokens: number): number {
  const { numLayers, numHeads, dKv } = manifest.model;
  let weights = 0;
  for (const [name, { shape, scales }] of Object.entries(manifest.tensors)) {
    if (name.startsWith("encoder.") && scales) weights += (shape[0] ?? 0) * (shape[1] ?? 0);
  }
  return weights * tokens + numLayers * numHeads * dKv * tokens * tokens * 2;
}

export function prompt(): Int32Array {
  return Int32Array.from({ length: PROMPT_TOKENS }, (_, i) =>
    i === PROMPT_TOKENS - 1 ? 1 : 100 + ((i * 7919) % 30000),
  );
}

function readSet(): WebAssembly.Memory {
  const pages = READ_SET_BYTES / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  // Untouched pages would all be the same zero page.
  new Uint8Array(memory.buffer).fill(1);
  return memory;
}
