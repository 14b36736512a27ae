/** A float32 package whose weights are exactly those of an int8 package: what rounding activations costs, alone. */

import { MemoryStore } from "../../src/store/memory.ts";
import { createSha256 } from "../../src/store/sha256.ts";
import type { Store } from "../../src/store/store.ts";
import { ALIGNMENT, blobKey, MANIFEST_KEY, type Manifest, type PackagedTensor } from "../../src/t5/manifest.ts";

export async function dequantize(
  manifest: Manifest,
  store: Store,
): Promise<{ manifest: Manifest; store: MemoryStore }> {
  const target = new MemoryStore("dequantized");
  const tensors: Manifest["tensors"] = {};
  const blobs: Manifest["blobs"] = {};
  const renamed = new Map<string, string>();
  for (const [hash, { role }] of Object.entries(manifest.blobs)) {
    const source = await readBytes(store, blobKey(hash));
    const mine = Object.entries(manifest.tensors).filter(([, tensor]) => tensor.blob === hash);
    const isRaw = role === "tokenizer" || role === "graph";
    const parts = isRaw ? [] : mine.map(([, tensor]) => toFloat32(source, tensor));
    const offsets: number[] = [];
    let end = 0;
    for (const values of parts) {
      offsets.push(end);
      end += Math.ceil(values.byteLength / ALIGNMENT) * ALIGNMENT;
    }
    const bytes = isRaw ? source : new Uint8Array(end);
    for (const [i, values] of parts.entries()) bytes.set(new Uint8Array(values.buffer), offsets[i]);
    const sha256 = createSha256();
    sha256.update(bytes);
    const blob = sha256.digest();
    renamed.set(hash, blob);
    blobs[blob] = { bytes: bytes.length, role };
    for (const [i, [name, { shape, layout }]] of mine.entries()) {
      tensors[name] = { blob, offset: offsets[i]!, bytes: parts[i]!.byteLength, dtype: "float32", shape, layout };
    }
    await target.put(blobKey(blob), bytes);
  }
  const newName = (hash: string) => renamed.get(hash)!;
  const { tokenizer } = manifest;
  const result: Manifest = {
    ...manifest,
    quantization: { bits: 32 },
    blobs,
    tensors,
    shards: manifest.shards.map((shard) => ({ ...shard, blobs: shard.blobs.map(newName) })),
    tokenizer:
      tokenizer && "json" in tokenizer
        ? { json: newName(tokenizer.json), config: tokenizer.config && newName(tokenizer.config) }
        : tokenizer,
  };
  await target.put(MANIFEST_KEY, new TextEncoder().encode(JSON.stringify(result)));
  return { manifest: result, store: target };
}

async function readBytes(store: Store, key: string): Promise<Uint8Array> {
  const stream = await store.get(key);
  if (!stream) throw new Error(`no ${key}`);
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}

function toFloat32(source: Uint8Array, { offset, bytes, dtype, shape, scales }: PackagedTensor): Float32Array {
  const own = source.slice(offset, offset + bytes).buffer;
  if (dtype === "float32") return new Float32Array(own);
  const ints = new Int8Array(own);
  const scale = new Float32Array(source.slice(scales!.offset, scales!.offset + scales!.bytes).buffer);
  const columns = ints.length / shape[0]!;
  return Float32Array.from(ints, (value, i) => value * scale[Math.floor(i / columns)]!);
}
