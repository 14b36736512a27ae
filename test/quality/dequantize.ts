/**
 * A package's weights as a Hugging Face checkpoint in float32, exactly as they are: what is split from it at 32 bits shows
 * what rounding activations costs, alone; what is split at 4 bits, what fewer bits cost.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readText, type Store } from "../../src/store/store.ts";
import { blobKey, type Manifest, type PackagedTensor } from "../../src/t5/manifest.ts";
import { float32, type RawTensors, safetensors } from "../model-split/raw-tensors.ts";

/** @param manifest of int8 or float32 weights @param dir the checkpoint's directory, made if need be */
export async function writeDequantized(manifest: Manifest, store: Store, dir: string): Promise<void> {
  const { model, tokenizer, generation } = manifest;
  await mkdir(dir, { recursive: true });
  const put = (name: string, content: string | Uint8Array) => writeFile(join(dir, name), content);
  const tensors: RawTensors = new Map();
  const blobs = new Map<string, Uint8Array>();
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const blob = blobs.get(tensor.blob) ?? (await readBytes(store, tensor.blob));
    blobs.set(tensor.blob, blob);
    tensors.set(name, float32(tensor.shape, toFloat32(blob, tensor)));
  }
  await put("model.safetensors", safetensors(tensors));
  await put(
    "config.json",
    JSON.stringify({
      model_type: model.modelType,
      vocab_size: model.vocabSize,
      d_model: model.dModel,
      d_kv: model.dKv,
      num_heads: model.numHeads,
      d_ff: model.dFf,
      num_layers: model.numLayers,
      num_decoder_layers: model.numDecoderLayers,
      feed_forward_proj: model.feedForward,
      relative_attention_num_buckets: model.relativeAttentionNumBuckets,
      relative_attention_max_distance: model.relativeAttentionMaxDistance,
      layer_norm_epsilon: model.layerNormEpsilon,
      scale_decoder_outputs: model.scaleDecoderOutputs,
      pad_token_id: model.padTokenId,
      eos_token_id: model.eosTokenId,
      decoder_start_token_id: model.decoderStartTokenId,
      n_positions: model.nPositions,
    }),
  );
  if (generation) await put("generation_config.json", JSON.stringify(generation));
  if (tokenizer && "json" in tokenizer) {
    await put("tokenizer.json", (await readText(store, blobKey(tokenizer.json))) ?? "");
    if (tokenizer.config) await put("tokenizer_config.json", (await readText(store, blobKey(tokenizer.config))) ?? "");
  }
}

async function readBytes(store: Store, hash: string): Promise<Uint8Array> {
  const stream = await store.get(blobKey(hash));
  if (!stream) throw new Error(`no blob ${hash}`);
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}

function toFloat32(blob: Uint8Array, { offset, bytes, dtype, shape, scales }: PackagedTensor): Float32Array {
  const own = blob.slice(offset, offset + bytes).buffer;
  if (dtype === "float32") return new Float32Array(own);
  if (dtype !== "int8" || !scales) throw new Error(`${dtype} weights are not dequantized here.`);
  const ints = new Int8Array(own);
  const factors = new Float32Array(blob.slice(scales.offset, scales.offset + scales.bytes).buffer);
  const columns = ints.length / (shape[0] ?? 1);
  return Float32Array.from(ints, (value, i) => value * (factors[Math.floor(i / columns)] ?? 0));
}
