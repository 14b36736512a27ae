/** Small checkpoints for tests, made on the spot: random weights in any float format, whole or in parts. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";
import { type TensorSpec, tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { float32, type Header, type RawTensor, type RawTensors, safetensors } from "./raw-tensors.ts";

export { float32, type Header, headerOf, type RawTensor, type RawTensors, safetensors } from "./raw-tensors.ts";

/** One encoder and one decoder layer; no size is a multiple of 64, so that alignment shows. */
export const TINY_CONFIG = {
  model_type: "t5",
  vocab_size: 37,
  d_model: 12,
  d_kv: 5,
  d_ff: 20,
  num_heads: 3,
  num_layers: 1,
  num_decoder_layers: 1,
  relative_attention_num_buckets: 8,
};

/** The least that is a tokenizer; with an é, so that its bytes are more than its characters. */
export const TINY_TOKENIZER = JSON.stringify({
  model: {
    type: "Unigram",
    unk_id: 0,
    vocab: [
      ["<unk>", 0],
      ["é", -1],
    ],
  },
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
});

const lasting: string[] = [];
afterAll(() => Promise.all(lasting.map((dir) => rm(dir, { recursive: true, force: true }))));

/** A folder that lasts until the file's tests have ended, for a `beforeAll`. */
export async function lastingFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-test-"));
  lasting.push(dir);
  return dir;
}

/** A folder that is removed when the test ends. */
export async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "edge-t5-test-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** Random float32 tensors of a whole model. */
export function randomTensors(config: object = TINY_CONFIG, tiedHead = true, seed = 1): RawTensors {
  const random = uniform(seed);
  return new Map(
    tensorsOf(parseHuggingFaceConfig(config), tiedHead).map((spec) => [spec.name, float32Tensor(spec, random)]),
  );
}

function float32Tensor({ shape }: TensorSpec, random: () => number): RawTensor {
  return float32(
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random()),
  );
}

/** A copy of the tensors in which each value keeps only the digits that `dtype` can hold. */
export function cutTo(dtype: "BF16" | "F16", tensors: RawTensors): { short: RawTensors; float32: RawTensors } {
  const short: RawTensors = new Map();
  const wide: RawTensors = new Map();
  for (const [name, { shape, bytes }] of tensors) {
    const values = new Float32Array(bytes.slice().buffer);
    const shorts = Uint16Array.from(values, dtype === "BF16" ? toBfloat16 : toFloat16);
    const back = Float32Array.from(shorts, dtype === "BF16" ? fromBfloat16 : fromFloat16);
    short.set(name, { dtype, shape, bytes: new Uint8Array(shorts.buffer) });
    wide.set(name, float32(shape, back));
  }
  return { short, float32: wide };
}

const view = new DataView(new ArrayBuffer(4));

function toBfloat16(value: number): number {
  view.setFloat32(0, value);
  return view.getUint16(0);
}

function fromBfloat16(bits: number): number {
  view.setUint32(0, bits << 16);
  return view.getFloat32(0);
}

// For magnitudes in [2^-14, 1): a half has ten digits of fraction.
function toFloat16(value: number): number {
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(magnitude));
  const fraction = Math.floor((magnitude / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

function fromFloat16(bits: number): number {
  if ((bits & 0x7fff) === 0) return 0;
  const magnitude = (1 + (bits & 0x3ff) / 1024) * 2 ** (((bits >> 10) & 0x1f) - 15);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/** Uniform numbers in (−1, 1), the same for the same seed. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
}

/** A checkpoint directory with one `model.safetensors`. */
export async function writeCheckpoint(
  tensors: RawTensors = randomTensors(),
  config: object = TINY_CONFIG,
): Promise<string> {
  const dir = await temporaryFolder();
  await writeFile(join(dir, "config.json"), JSON.stringify(config));
  await writeFile(join(dir, "model.safetensors"), safetensors(tensors));
  return dir;
}

/** The same in two parts with an index: every other tensor in the second. */
export async function writeParts(tensors: RawTensors, config: object = TINY_CONFIG): Promise<string> {
  const dir = await temporaryFolder();
  const names = [...tensors.keys()];
  const weightMap: Record<string, string> = {};
  for (const part of [0, 1]) {
    const file = `model-0000${part + 1}-of-00002.safetensors`;
    const mine = names.filter((_, i) => i % 2 === part);
    for (const name of mine) weightMap[name] = file;
    await writeFile(join(dir, file), safetensors(new Map(mine.map((name) => [name, tensors.get(name)!]))));
  }
  await writeFile(join(dir, "config.json"), JSON.stringify(config));
  await writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: weightMap }));
  return dir;
}

/** The float32 values of a tensor of a safetensors file. */
export async function readFloat32(path: string, name: string): Promise<Float32Array> {
  const file = await readFile(path);
  const headerBytes = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString("utf8", 8, 8 + headerBytes)) as Header;
  const [begin, end] = header[name]!.data_offsets.map((offset) => offset + 8 + headerBytes);
  return new Float32Array(Uint8Array.from(file.subarray(begin, end)).buffer);
}
