/** A small model with random weights as a package in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { MemoryStore } from "../../src/store/memory.ts";
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

export async function tinyPackage(bits: Bits): Promise<{ manifest: Manifest; store: MemoryStore }> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-tiny-"));
  try {
    await writeRandomCheckpoint(join(dir, "checkpoint"), TINY);
    const { manifest } = await splitCheckpoint(join(dir, "checkpoint"), join(dir, "package"), { bits });
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

export const LIMITS = { maxInputTokens: 40, maxNewTokens: 12, maxSequences: 3 };

export async function tinyEngine(bits: Bits, limits: Partial<typeof LIMITS> = {}) {
  const { manifest, store } = await tinyPackage(bits);
  return loadSimdEngine({
    manifest,
    store,
    kernels: await loadKernels(),
    roles: ["encoder", "decoder"],
    limits: { ...LIMITS, ...limits },
  });
}

/** Ids of a made-up text, the end of sequence included. */
export function someIds(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => (i === length - 1 ? 1 : 2 + ((seed * 31 + i * 17 + i * i) % 60)));
}
