/** A small model with random weights as a package in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { onnxEngine } from "../../src/engines/onnx/index.ts";
import { nativeRuntime, webRuntime } from "../../src/engines/onnx/node.ts";
import { simdEngine } from "../../src/engines/simd/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { Decoder, Engine, EngineLimits, EngineLoader, Room } from "../../src/t5/engine.ts";
import { generate } from "../../src/t5/generate.ts";
import { blobKey, type Manifest } from "../../src/t5/manifest.ts";
import { writeRandomCheckpoint } from "../bench/checkpoint.ts";

export const TINY = {
  model_type: "t5",
  vocab_size: 67,
  d_model: 48,
  d_kv: 8,
  d_ff: 80,
  num_heads: 5,
  num_layers: 2,
  num_decoder_layers: 3,
  tie_word_embeddings: true,
};

/** @param change made to the checkpoint before it is split */
export async function tinyPackage(
  bits: Bits,
  config: object = TINY,
  shardBytes?: number,
  change: (checkpoint: string) => Promise<void> = async () => {},
): Promise<{ manifest: Manifest; store: MemoryStore }> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-tiny-"));
  try {
    await writeRandomCheckpoint(join(dir, "checkpoint"), config);
    await change(join(dir, "checkpoint"));
    const { manifest } = await splitCheckpoint(join(dir, "checkpoint"), join(dir, "package"), {
      bits,
      ...(shardBytes !== undefined && { shardBytes }),
    });
    const folder = new FolderStore(join(dir, "package"));
    const store = new MemoryStore();
    for (const hash of Object.keys(manifest.blobs)) {
      const stream = await folder.get(blobKey(hash));
      if (stream) await store.put(blobKey(hash), stream);
    }
    return { manifest, store };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export const LIMITS: EngineLimits = { maxInputTokens: 40, maxNewTokens: 12, maxSequences: 3 };

export const ENGINES: Record<"simd" | "onnx" | "onnx-web", () => Promise<EngineLoader>> = {
  simd: async () => simdEngine(await loadKernels()),
  onnx: async () => onnxEngine(await nativeRuntime()),
  "onnx-web": async () => onnxEngine(await webRuntime()),
};

export async function tinyEngine(
  bits: Bits,
  limits: Partial<EngineLimits> = {},
  engine: keyof typeof ENGINES = "simd",
  config: object = TINY,
) {
  const { manifest, store } = await tinyPackage(bits, config);
  const load = await ENGINES[engine]();
  return load({ manifest, store, roles: ["encoder", "decoder"], limits: { ...LIMITS, ...limits } });
}

/** A decoder with some of its members replaced. */
export function changed(decoder: Decoder, changes: Partial<Decoder>): Decoder {
  return new Proxy(decoder, {
    get(target, name) {
      if (name in changes) return Reflect.get(changes, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Rooms of a decoder that is so much deeper: what it takes its size from. */
export function roomsOf({ rooms }: Decoder, layers: number): Room[] {
  return rooms.map((room) => ({ ...room, layers }));
}

/** Ids of a made-up text, the end of sequence included. */
export function someIds(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i === length - 1 ? 1 : 2 + ((seed * 31 + i * 17 + i * i) % 60)));
}

/** Ids of each input's answer. */
export async function greedy(engine: Engine, inputs: number[][], maxNewTokens: number): Promise<number[][]> {
  const answers: number[][] = inputs.map(() => []);
  const encoded = [];
  for (const ids of inputs) encoded.push({ hidden: await engine.encoder.encode(ids), maxNewTokens });
  for await (const { index, token } of generate(engine.decoder, encoded)) answers[index]!.push(token);
  return answers;
}
