/** Checkpoints with seeded random weights, T5-small's shape first, for measuring speed and memory. */
import { mkdir, open, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";

/** google-t5/t5-small's shape. */
export const T5_SMALL = {
  architectures: ["T5ForConditionalGeneration"],
  model_type: "t5",
  vocab_size: 32128,
  d_model: 512,
  d_kv: 64,
  d_ff: 2048,
  num_heads: 8,
  num_layers: 6,
  num_decoder_layers: 6,
  feed_forward_proj: "relu",
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
  tie_word_embeddings: true,
  pad_token_id: 0,
  eos_token_id: 1,
  decoder_start_token_id: 0,
  n_positions: 512,
};

/** Uniform numbers in [-1, 1), the same for the same seed (xorshift32). */
function uniform(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state | 0) / 2 ** 31;
  };
}

/**
 * About one of seven of relu's units is not zero with it, 11 to 16 of 100 from layer to layer: 8 and 13 of 100 are in the decoder's
 * layers of the seed checkpoint, 6 to 19 in those of the packaged model.
 */
export const TRAINED_RELU_SHIFT = 1.2;
/** What all embeddings have in common for that, beside random numbers up to 1: a direction that norms keep through all layers. */
const COMMON = 6;

/**
 * Writes `config.json` and `model.safetensors` (float32) of a tied T5 to `dir`.
 *
 * @param reluShift how far below zero relu's inputs lie in the mean, in their standard deviations: 0 leaves half of its units,
 *   {@link TRAINED_RELU_SHIFT} as few as a trained model has
 */
export async function writeRandomCheckpoint(
  dir: string,
  config: object = T5_SMALL,
  seed = 1,
  reluShift = 0,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  const specs = tensorsOf(parseHuggingFaceConfig(config), true);
  const header: Record<string, { dtype: "F32"; shape: number[]; data_offsets: [number, number] }> = {};
  let end = 0;
  for (const { name, shape } of specs) {
    const bytes = shape.reduce((product, n) => product * n, 4);
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));

  const next = uniform(seed);
  const path = join(dir, "model.safetensors");
  const file = await open(`${path}.part`, "w");
  await file.write(length);
  await file.write(json);
  for (const { name, shape, kind } of specs) {
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    // Around one for norms; elsewhere small enough that activations stay of order one.
    const scale = kind === "norm" ? 0.1 : kind === "embedding" ? 1 : Math.sqrt(3 / (shape[1] ?? 1));
    const columns = shape[1] ?? 1;
    // Signs by turns, so that the direction has no mean.
    const common = kind === "embedding" && reluShift ? COMMON : name.includes(".wi") ? -reluShift / columns : 0;
    for (let i = 0; i < values.length; i++) {
      values[i] = next() * scale + (kind === "norm" ? 1 : (i % columns) % 2 ? -common : common);
    }
    await file.write(new Uint8Array(values.buffer));
  }
  await file.close();
  await rename(`${path}.part`, path);
  await writeFile(join(dir, "config.json"), JSON.stringify(config, null, 2));
}
