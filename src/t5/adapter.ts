/**
 * LoRA adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`, checked against the base that they
 * are for. Names and meanings are those of peft 0.21 (`tuners/lora/config.py`, `tuners/lora/model.py`); the method is Hu et
 * al. 2021 (https://arxiv.org/abs/2106.09685), its rank-stabilized scale Kalajdzievski 2023 (arXiv 2312.03732).
 */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";
import { chunksOf } from "../store/chunks.ts";
import type { Store } from "../store/store.ts";
import { layersIn, type TensorSpec, tensorsOf } from "./architecture.ts";
import type { T5Config } from "./config.ts";
import { isFloatDtype, toFloat32 } from "./floats.ts";
import { readTensors, type TensorEntry } from "./safetensors.ts";

/** The two files of an adapter, as PEFT's `save_pretrained` writes them. */
export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_TENSORS = "adapter_model.safetensors";

/** Largest `adapter_model.safetensors`: an adapter of rank 64 on every linear layer of T5-base at 32 bits takes 51 MB. */
export const MAX_ADAPTER_BYTES = 64 << 20;

export interface AdapterFiles {
  /** What `adapter_config.json` says, parsed as JSON. */
  config: unknown;
  /** The bytes of `adapter_model.safetensors`. */
  tensors: Uint8Array;
}

/** What is added to one linear layer: y += scale · B (A x). */
export interface LoraModule {
  /** The base's weight, such as `encoder.block.0.layer.0.SelfAttention.q.weight`. */
  name: string;
  rank: number;
  in: number;
  out: number;
  /** `[rank, in]` f32. */
  a: Float32Array;
  /** `[out, rank]` f32. */
  b: Float32Array;
  scale: number;
}

export interface LoraAdapter {
  /** By the name of the base's weight, in the order of the architecture. */
  modules: ReadonlyMap<string, LoraModule>;
}

const empty = z.union([z.null(), z.literal(false), z.tuple([])]).optional();

/** Fields of PEFT that change what is computed, and that are not supported unless they are empty; and what to do. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  use_dora: "DoRA scales each output by a learned magnitude. Train with use_dora false",
  modules_to_save: "whole modules beside the low-rank ones would replace the base's. Train without modules_to_save",
  trainable_token_indices: "trained token embeddings would replace the base's. Train without trainable_token_indices",
  fan_in_fan_out: "T5's weights are [out, in]. Train with fan_in_fan_out false",
  lora_bias: "T5's layers have no bias. Train with lora_bias false",
  target_parameters: "only linear layers take an adapter. Use target_modules",
  layer_replication: "layers are the base's own. Train without layer_replication",
  use_qalora: "quantized adapters are not known here. Train with use_qalora false",
  use_bdlora: "block-diagonal adapters are not known here. Train with use_bdlora false",
  alora_invocation_tokens: "the adapter acts on every token. Train without alora_invocation_tokens",
  arrow_config: "routing between adapters is not known here. Train without arrow_config",
  kasa_config: "KaSA is not known here. Train without kasa_config",
  monteclora_config: "MonteCLoRA is not known here. Train without monteclora_config",
  velora_config: "VeLoRA is not known here. Train without velora_config",
};

const configSchema = z.looseObject({
  r: z.int().positive(),
  lora_alpha: z.number(),
  use_rslora: z.boolean().nullish(),
  bias: z.string().nullish(),
  /** Ranks and alphas of modules whose name ends with a pattern, where they differ from `r` and `lora_alpha`. */
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
});
type PeftConfig = z.infer<typeof configSchema>;

/**
 * Reads and checks an adapter.
 *
 * Which layers it changes is what the file holds; `target_modules` and its kin said so to the trainer.
 *
 * @param base of the model that it is for
 * @param source for messages: where it lies
 * @throws EdgeT5Error `E_ADAPTER`, naming the field or the tensor: not LoRA or a kind of it that is not supported, a module
 * or layer that the base does not have, a shape or rank that does not fit, half of a pair, numbers that are none, too
 * large, damaged
 */
export function parseAdapter({ config, tensors }: AdapterFiles, base: T5Config, source = "The adapter"): LoraAdapter {
  const peft = parseConfig(config, `${source}: ${ADAPTER_CONFIG}`);
  const where = `${source}: ${ADAPTER_TENSORS}`;
  if (tensors.length > MAX_ADAPTER_BYTES) throw tooLarge(where);
  const halves = halvesOf(tensorsIn(tensors, where), where);
  const linears = new Map(
    tensorsOf(base, true)
      .filter(({ kind }) => kind === "linear")
      .map((spec) => [spec.name, spec]),
  );
  for (const module of halves.keys()) checkModule(module, linears, base, where);
  const rankOf = patternLookup(peft.rank_pattern, peft.r, `${source}: ${ADAPTER_CONFIG}: rank_pattern`);
  const alphaOf = patternLookup(peft.alpha_pattern, peft.lora_alpha, `${source}: ${ADAPTER_CONFIG}: alpha_pattern`);
  const modules = new Map<string, LoraModule>();
  for (const [name, { shape }] of linears) {
    const module = name.slice(0, -WEIGHT.length);
    const half = halves.get(module);
    if (!half) continue;
    const [out = 0, inputs = 0] = shape;
    const rank = rankOf(module);
    const { a, b } = half;
    if (!a || !b) {
      throw refuse(
        `${where}: ${module} has lora_${a ? "A" : "B"} without lora_${a ? "B" : "A"}`,
        "Save the adapter again",
      );
    }
    checkShape(a, [rank, inputs], where);
    checkShape(b, [out, rank], where);
    const scale = alphaOf(module) / (peft.use_rslora ? Math.sqrt(rank) : rank);
    const [ofA, ofB] = [valuesOf(tensors, a, where), valuesOf(tensors, b, where)];
    modules.set(name, { name, rank, in: inputs, out, a: ofA, b: ofB, scale });
  }
  if (modules.size === 0) throw refuse(`${where} holds no LoRA tensor`, "Save the adapter with PEFT's save_pretrained");
  return { modules };
}

/**
 * Reads an adapter's two files.
 *
 * @param store its folder
 * @throws EdgeT5Error `E_ADAPTER_NOT_FOUND` when one of them is not there, `E_ADAPTER` for one that is too large or no JSON
 */
export async function readAdapter(store: Store): Promise<AdapterFiles> {
  const read = async (key: string) => {
    const stream = await store.get(key);
    if (!stream) {
      throw new EdgeT5Error(
        "E_ADAPTER_NOT_FOUND",
        `${store.description} has no ${key}. Upload what PEFT's save_pretrained wrote: ${ADAPTER_CONFIG} and ${ADAPTER_TENSORS}.`,
      );
    }
    return readBounded(stream, `${store.description}/${key}`);
  };
  const [text, tensors] = await Promise.all([read(ADAPTER_CONFIG), read(ADAPTER_TENSORS)]);
  try {
    return { config: JSON.parse(new TextDecoder().decode(text)), tensors };
  } catch (cause) {
    throw refuse(`${store.description}/${ADAPTER_CONFIG} is not JSON`, "Save the adapter again", cause);
  }
}

/** A stream's bytes, up to {@link MAX_ADAPTER_BYTES}: who uploads must not fill the isolate. */
async function readBounded(stream: ReadableStream<Uint8Array>, where: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunksOf(stream)) {
    length += chunk.length;
    if (length > MAX_ADAPTER_BYTES) throw tooLarge(where);
    chunks.push(chunk.slice());
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

function parseConfig(json: unknown, where: string): PeftConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw refuse(`${where} is not a JSON object`, "Save the adapter with PEFT's save_pretrained");
  }
  const fields: { [name: string]: unknown } = { ...json };
  if (fields.peft_type !== "LORA") {
    throw refuse(`${where}: peft_type is ${JSON.stringify(fields.peft_type)}`, 'Only "LORA" is supported; train one');
  }
  for (const [name, why] of Object.entries(UNSUPPORTED)) {
    if (!empty.safeParse(fields[name]).success) {
      throw refuse(`${where}: ${name} is ${JSON.stringify(fields[name])}, but ${why}`);
    }
  }
  const parsed = configSchema.safeParse(fields);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw refuse(`${where}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}`, "Save the adapter again");
  }
  const { bias } = parsed.data;
  if (bias != null && bias !== "none") {
    throw refuse(`${where}: bias is ${JSON.stringify(bias)}, but T5's layers have none`, 'Train with bias "none"');
  }
  return parsed.data;
}

function tensorsIn(file: Uint8Array, where: string): ReadonlyMap<string, TensorEntry> {
  try {
    return readTensors(file, where);
  } catch (cause) {
    // An adapter is its uploader's to mend; a checkpoint is its operator's.
    if (cause instanceof EdgeT5Error) throw new EdgeT5Error("E_ADAPTER", cause.message, { cause });
    throw cause;
  }
}

interface NamedEntry extends TensorEntry {
  name: string;
}

interface Halves {
  a?: NamedEntry;
  b?: NamedEntry;
}

/** PEFT's wrapping of the base; left out where an adapter's state was taken without it. */
const WRAPPED = "base_model.model.";
const WEIGHT = ".weight";
/** With the adapter's own name where the state was saved with it. */
const LORA_TENSOR = /^(.+)\.lora_([AB])(?:\.default)?\.weight$/;

/** The tensors by the module that they belong to. */
function halvesOf(tensors: ReadonlyMap<string, TensorEntry>, where: string): Map<string, Halves> {
  const modules = new Map<string, Halves>();
  for (const [name, entry] of tensors) {
    const [, wrapped = "", which] = LORA_TENSOR.exec(name) ?? [];
    if (!wrapped) throw refuse(`${where}: tensor ${name} ${foreign(name)}`);
    const module = wrapped.startsWith(WRAPPED) ? wrapped.slice(WRAPPED.length) : wrapped;
    const halves = modules.get(module) ?? {};
    const half = which === "A" ? "a" : "b";
    if (halves[half]) throw refuse(`${where}: ${module} has lora_${which} twice`, "Save one adapter a file");
    halves[half] = { ...entry, name };
    modules.set(module, halves);
  }
  return modules;
}

/** What a tensor is that is not one of LoRA's pair. */
function foreign(name: string): string {
  if (name.includes("lora_magnitude_vector"))
    return "belongs to DoRA, which is not supported. Train with use_dora false";
  if (name.includes("lora_embedding_")) return `changes an embedding, which is not supported. ${TARGETS}`;
  if (name.endsWith(".bias")) return 'is a bias, which T5 does not have. Train with bias "none"';
  return `is no lora_A or lora_B weight. Save the adapter alone, without modules of the base. ${TARGETS}`;
}

const TARGETS = "Adapters may change q, k, v, o, wi, wi_0, wi_1 and wo";

/** @throws EdgeT5Error `E_ADAPTER` for a module that the base does not have, saying what it has */
function checkModule(module: string, linears: ReadonlyMap<string, TensorSpec>, base: T5Config, where: string): void {
  if (linears.has(module + WEIGHT)) return;
  const [, stack, block = ""] = /^(encoder|decoder)\.block\.(\d+)\./.exec(module) ?? [];
  if (stack === "encoder" || stack === "decoder") {
    const layers = layersIn(base, stack);
    if (Number(block) >= layers) {
      throw refuse(
        `${where}: ${module} is of layer ${block}, but the base's ${stack} has ${layers}`,
        "Use the model that the adapter was trained on",
      );
    }
  }
  const named = module.split(".").at(-1) ?? "";
  if (named === "lm_head" || named === "shared" || named === "embed_tokens") {
    throw refuse(`${where}: ${module} takes no adapter here`, TARGETS);
  }
  throw refuse(
    `${where}: the base has no linear layer ${module} (its feed-forward is ${base.feedForward})`,
    "Use the model that the adapter was trained on",
  );
}

function checkShape({ name, shape, dtype }: NamedEntry, expected: readonly number[], where: string): void {
  if (!isFloatDtype(dtype)) {
    throw refuse(`${where}: ${name} has dtype ${dtype}`, "Save the adapter in F32, F16 or BF16");
  }
  if (shape.length === 2 && shape.every((size, i) => size === expected[i])) return;
  throw refuse(
    `${where}: ${name} is [${shape.join(", ")}]; the base and the configured rank make it [${expected.join(", ")}]`,
    `Use the model and the ${ADAPTER_CONFIG} that the adapter was trained with`,
  );
}

/** @throws EdgeT5Error `E_ADAPTER` for a number that is none */
function valuesOf(file: Uint8Array, { name, dtype, offset, bytes, shape }: NamedEntry, where: string): Float32Array {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  // A copy, of Node's buffers too: the file's numbers need not begin at a multiple of their size.
  if (isFloatDtype(dtype)) toFloat32(dtype, new Uint8Array(file.subarray(offset, offset + bytes)), values);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) {
    throw refuse(`${where}: ${name} holds ${values[wrong]} at ${wrong}`, "The training diverged; train again");
  }
  return values;
}

/** Longest pattern, and most repetitions in one: a pattern is an uploader's, and must not take long to match. */
const MAX_PATTERN = 200;
const MAX_REPEATS = 4;

/**
 * What a pattern says of a module, the first that matches; the default where none does. As peft's `get_pattern_key`: a
 * pattern is a regular expression for a name's end, from a dot or from its beginning.
 */
function patternLookup(
  patterns: Readonly<Record<string, number>> | null | undefined,
  otherwise: number,
  where: string,
): (module: string) => number {
  const rules = Object.entries(patterns ?? {}).map(([pattern, value]) => {
    const repeats = pattern.match(/[*+{]/g)?.length ?? 0;
    if (pattern.length > MAX_PATTERN || repeats > MAX_REPEATS || /\)[*+{]/.test(pattern)) {
      throw refuse(`${where}: ${JSON.stringify(pattern)} is too involved`, "Name the modules, such as SelfAttention.q");
    }
    try {
      return { matches: new RegExp(`^(?:.*\\.)?(?:${pattern})$`), value };
    } catch (cause) {
      throw refuse(`${where}: ${JSON.stringify(pattern)} is no regular expression`, "Name the modules", cause);
    }
  });
  return (module) => rules.find(({ matches }) => matches.test(module))?.value ?? otherwise;
}

function tooLarge(where: string): EdgeT5Error {
  return refuse(`${where} has more than ${MAX_ADAPTER_BYTES} bytes`, "Lower the rank, or adapt fewer modules");
}

function refuse(what: string, fix?: string, cause?: unknown): EdgeT5Error {
  return new EdgeT5Error("E_ADAPTER", `${what}.${fix ? ` ${fix}.` : ""}`, { cause });
}
