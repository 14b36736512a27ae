/**
 * A package's weights as a Hugging Face checkpoint in float32, exactly as they are: what is trained on it is trained on what
 * is served.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../src/errors.ts";
import type { Store } from "../src/store/store.ts";
import { toHuggingFaceConfig } from "../src/t5/config.ts";
import { blobKey, type Manifest, type PackagedTensor } from "../src/t5/manifest.ts";
import { missingBlob, tokenizerFiles } from "./export-tokenizer.ts";
import { writeSafetensors } from "./safetensors-writer.ts";

/**
 * @param dir the checkpoint's directory, made if need be; it must have no weights yet
 * @throws EdgeT5Error `E_INPUT` for weights of int4, `E_BLOB_MISSING`, `E_TOKENIZER`
 */
export async function dequantize(manifest: Manifest, store: Store, dir: string): Promise<void> {
  const { model, tiedHead, generation, quantization, name } = manifest;
  if (quantization.bits === 4) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${name} has weights of 4 bits, which adapters are not trained on here. Push a package of 8 or 32 bits beside it.`,
    );
  }
  await mkdir(dir, { recursive: true });
  const blobs = new Map<string, Uint8Array>();
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const blob = blobs.get(tensor.blob) ?? (await readBlob(manifest, store, tensor.blob));
    blobs.set(tensor.blob, blob);
    tensors.set(name, { shape: tensor.shape, values: float32Of(blob, tensor) });
  }
  await writeSafetensors(join(dir, "model.safetensors"), tensors);
  const put = (name: string, content: string) => writeFile(join(dir, name), content);
  await put("config.json", JSON.stringify(toHuggingFaceConfig(model, tiedHead)));
  if (generation) await put("generation_config.json", JSON.stringify(generation));
  for (const [name, text] of Object.entries((await tokenizerFiles(manifest, store)) ?? {})) await put(name, text);
}

async function readBlob(manifest: Manifest, store: Store, hash: string): Promise<Uint8Array> {
  const stream = await store.get(blobKey(hash));
  if (!stream) throw missingBlob(hash, manifest.name, store);
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}

function float32Of(blob: Uint8Array, { offset, bytes, dtype, shape, scales }: PackagedTensor): Float32Array {
  // A copy: numbers begin where their size asks for it.
  const own = blob.slice(offset, offset + bytes).buffer;
  if (dtype !== "int8" || !scales) return new Float32Array(own);
  const ints = new Int8Array(own);
  const factors = new Float32Array(blob.slice(scales.offset, scales.offset + scales.bytes).buffer);
  const columns = ints.length / (shape[0] ?? 1);
  return Float32Array.from(ints, (value, i) => value * (factors[Math.floor(i / columns)] ?? 0));
}
