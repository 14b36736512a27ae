/** LoRA adapters with random weights, as PEFT writes them, and what they make of a checkpoint when they are merged into it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type AdapterFiles, parseAdapter } from "../../src/t5/adapter.ts";
import { tensorsOf } from "../../src/t5/architecture.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { readTensors } from "../../src/t5/safetensors.ts";
import { float32, type RawTensors, safetensors } from "../model-split/raw-tensors.ts";

export interface LoraOptions {
  seed?: number;
  rank?: number;
  /** Modules that take part, by the end of their name; default: all linear ones. */
  modules?: RegExp;
  /** More fields of `adapter_config.json`. */
  fields?: object;
}

/** Uniform numbers in (−1, 1), the same for the same seed. */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  };
}

/** @param config of the base, as Hugging Face writes it */
export function loraTensors(config: object, { seed = 1, rank = 3, modules = /./ }: LoraOptions = {}): RawTensors {
  const random = uniform(seed);
  const values = (n: number, scale: number) => Float32Array.from({ length: n }, () => scale * random());
  const tensors: RawTensors = new Map();
  for (const { name, kind, shape } of tensorsOf(parseHuggingFaceConfig(config), true)) {
    const module = name.replace(/\.weight$/, "");
    if (kind !== "linear" || !modules.test(module)) continue;
    const [out = 0, inputs = 0] = shape;
    const key = `base_model.model.${module}`;
    tensors.set(`${key}.lora_A.weight`, float32([rank, inputs], values(rank * inputs, 1 / Math.sqrt(inputs))));
    tensors.set(`${key}.lora_B.weight`, float32([out, rank], values(out * rank, 1)));
  }
  return tensors;
}

export function loraConfig({ rank = 3, fields = {} }: LoraOptions = {}): object {
  return { peft_type: "LORA", r: rank, lora_alpha: rank, bias: "none", target_modules: ["q", "v"], ...fields };
}

export function loraFiles(config: object, options: LoraOptions = {}): AdapterFiles {
  return { config: loraConfig(options), tensors: safetensors(loraTensors(config, options)) };
}

/** Adds an adapter to a float32 checkpoint's own weights. */
export async function mergeInto(dir: string, adapter: AdapterFiles): Promise<void> {
  const config = parseHuggingFaceConfig(JSON.parse(await readFile(join(dir, "config.json"), "utf8")));
  const path = join(dir, "model.safetensors");
  const file = Uint8Array.from(await readFile(path));
  const tensors = readTensors(file, path);
  for (const { name, a, b, rank, in: inputs, out, scale } of parseAdapter(adapter, config).modules.values()) {
    const { offset = 0, bytes = 0 } = tensors.get(name) ?? {};
    const weights = new Float32Array(file.slice(offset, offset + bytes).buffer);
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inputs; i++) {
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b[o * rank + r]! * a[r * inputs + i]!;
        weights[o * inputs + i]! += scale * sum;
      }
    }
    file.set(new Uint8Array(weights.buffer), offset);
  }
  await writeFile(path, file);
}
