/**
 * Checkpoints of a run: folders in Hugging Face's layout (an adapter's in PEFT's) with what is needed to go on beside it.
 * One is made under a temporary name and renamed when all of it is on disk: a run can be killed at any time.
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { Checkpoint } from "../../model-split/checkpoint.ts";
import { SafetensorsFile } from "../../model-split/safetensors.ts";
import { type FloatTensors, writeSafetensors } from "../../model-split/safetensors-writer.ts";
import { EdgeT5Error } from "../errors.ts";
import { syncFolder } from "../store/staged-file.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../t5/adapter.ts";
import { EMBEDDING, LM_HEAD } from "../t5/architecture.ts";
import type { T5Config } from "../t5/config.ts";
import type { Json } from "./example.ts";
import { type LoraOptions, loraModules, loraSettings } from "./lora.ts";
import { randomBits } from "./random.ts";
import { loraPort } from "./trained-weights.ts";

/** A model's weights in memory, float32. */
export interface LoadedModel {
  dir: string;
  config: T5Config;
  tiedHead: boolean;
  weights: Map<string, Float32Array>;
}

const WEIGHTS = "model.safetensors";
const OPTIMIZER = "optimizer.safetensors";
const STATE = "trainer_state.json";
/** What belongs to a model beside its weights, taken along as it is. */
const SIDE_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "spiece.model",
  "added_tokens.json",
];

const FORMAT = 1;
const stateSchema = z.object({
  format: z.literal(FORMAT),
  step: z.int().nonnegative(),
  /** Where the data goes on. */
  position: z.unknown(),
  /** What the run was begun with; a run that goes on must have the same. */
  settings: z.record(z.string(), z.unknown()),
});

export interface TrainerState {
  step: number;
  position: Json;
  settings: Readonly<Record<string, unknown>>;
}

/**
 * Reads a checkpoint's weights, whatever their float format.
 *
 * @throws EdgeT5Error as Checkpoint.open and Checkpoint.plan of model-split
 */
export async function loadModel(dir: string): Promise<LoadedModel> {
  const checkpoint = await Checkpoint.open(dir);
  try {
    const { specs, tiedHead } = await checkpoint.plan();
    const weights = new Map<string, Float32Array>();
    for (const { name, shape } of specs) weights.set(name, await gather(checkpoint.rows(name), shape));
    return { dir, config: checkpoint.config, tiedHead, weights };
  } finally {
    await checkpoint.close();
  }
}

async function gather(chunks: AsyncIterable<Float32Array>, shape: readonly number[]): Promise<Float32Array> {
  const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
  let done = 0;
  for await (const chunk of chunks) {
    values.set(chunk, done);
    done += chunk.length;
  }
  return values;
}

const dropoutSchema = z.looseObject({ dropout_rate: z.number().min(0).lt(1).default(0.1) });

/** A model's `dropout_rate`; what is left out is 0.1, as in transformers. @throws EdgeT5Error `E_CONFIG` */
export async function dropoutRate(dir: string): Promise<number> {
  const path = join(dir, "config.json");
  const parsed = dropoutSchema.safeParse(JSON.parse(await readFile(path, "utf8")));
  if (parsed.success) return parsed.data.dropout_rate;
  throw new EdgeT5Error(
    "E_CONFIG",
    `${path}: dropout_rate is no part from 0 to below 1. Correct it, or give a number.`,
  );
}

/** A new adapter, as PEFT begins one: A uniform by Kaiming with a = √5, that is within ±1 ÷ √in; B zero. */
export function newAdapter(config: T5Config, lora: LoraOptions, seed: number): Map<string, Float32Array> {
  const weights = new Map<string, Float32Array>();
  for (const [i, module] of loraModules(config, lora).entries()) {
    const bits = randomBits(seed, i, 3);
    const limit = 1 / Math.sqrt(module.in);
    const a = Float32Array.from({ length: module.rank * module.in }, () => (bits() / 2 ** 31 - 1) * limit);
    weights.set(loraPort.a(module.name), a);
    weights.set(loraPort.b(module.name), new Float32Array(module.out * module.rank));
  }
  return weights;
}

export interface CheckpointContents {
  /** The model that was begun from. */
  base: string;
  trained: FloatTensors;
  optimizer: ReadonlyMap<string, Float32Array>;
  lora?: LoraOptions | undefined;
  state: TrainerState;
}

const NAME = /^step-(\d{8})$/;
const TEMPORARY = /^\.step-\d{8}\.tmp$/;

/**
 * Writes a checkpoint into a run's folder, and then removes all but the newest ones.
 *
 * @param keep how many stay
 * @returns its folder
 */
export async function writeCheckpoint(run: string, contents: CheckpointContents, keep: number): Promise<string> {
  const name = `step-${String(contents.state.step).padStart(8, "0")}`;
  const [temporary, path] = [join(run, `.${name}.tmp`), join(run, name)];
  try {
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary, { recursive: true });
    if (contents.lora) await writeAdapter(temporary, contents.base, contents.trained, contents.lora);
    else await writeModel(temporary, contents.base, contents.trained);
    const memory = [...contents.optimizer].map(([key, values]) => [key, { shape: [values.length], values }] as const);
    await writeSafetensors(join(temporary, OPTIMIZER), new Map(memory));
    await writeJson(join(temporary, STATE), { format: FORMAT, ...contents.state });
    await syncFolder(temporary);
    await rm(path, { recursive: true, force: true });
    await rename(temporary, path);
    await syncFolder(run);
    await prune(run, keep);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw cannotWrite(path, cause);
  }
  return path;
}

/** The newest whole checkpoint of a run, null where there is none; leftovers of a run that was killed are removed. */
export async function latestCheckpoint(run: string): Promise<{ path: string; state: TrainerState } | null> {
  const names = await readdir(run).catch((): string[] => []);
  for (const name of names) if (TEMPORARY.test(name)) await rm(join(run, name), { recursive: true, force: true });
  const newest = names
    .filter((name) => NAME.test(name))
    .sort()
    .at(-1);
  if (newest === undefined) return null;
  const path = join(run, newest);
  return { path, state: await readState(join(path, STATE)) };
}

/** What was trained, and the optimizer's memory, of a checkpoint. @throws EdgeT5Error `E_SAFETENSORS` */
export async function readCheckpoint(
  path: string,
  lora: boolean,
): Promise<{ trained: Map<string, Float32Array>; optimizer: Map<string, Float32Array> }> {
  const trained = await readFloats(join(path, lora ? ADAPTER_TENSORS : WEIGHTS));
  const named = [...trained].map(([name, values]) => [lora ? name.slice(PEFT_PREFIX.length) : name, values] as const);
  return { trained: new Map(named), optimizer: await readFloats(join(path, OPTIMIZER)) };
}

async function readFloats(path: string): Promise<Map<string, Float32Array>> {
  const file = await SafetensorsFile.open(path);
  try {
    const tensors = new Map<string, Float32Array>();
    for (const [name, { shape }] of file.tensors) tensors.set(name, await gather(file.rows(name), shape));
    return tensors;
  } finally {
    await file.close();
  }
}

async function readState(path: string): Promise<TrainerState> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw damaged(path, "it cannot be read", cause);
  }
  const parsed = stateSchema.safeParse(json);
  if (!parsed.success)
    throw damaged(path, `${parsed.error.issues[0]?.path.join(".")}: ${parsed.error.issues[0]?.message}`);
  return { ...parsed.data, position: parsed.data.position as Json };
}

async function writeModel(dir: string, base: string, trained: FloatTensors): Promise<void> {
  for (const name of SIDE_FILES) {
    const bytes = await readFile(join(base, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (bytes !== null) await writeDurably(join(dir, name), bytes);
  }
  const config = z.looseObject({ tie_word_embeddings: z.boolean().optional() });
  const { tie_word_embeddings } = config.parse(JSON.parse(await readFile(join(base, "config.json"), "utf8")));
  const tensors = new Map(trained);
  // A configuration that unties the head makes readers look for one, though it equals the embedding.
  if (tie_word_embeddings === false && !tensors.has(LM_HEAD)) tensors.set(LM_HEAD, tensors.get(EMBEDDING)!);
  await writeSafetensors(join(dir, WEIGHTS), tensors);
}

const PEFT_PREFIX = "base_model.model.";

async function writeAdapter(dir: string, base: string, trained: FloatTensors, options: LoraOptions): Promise<void> {
  const { rank, alpha, targetModules, dropout, rslora } = loraSettings(options);
  // What peft 0.21 reads; the rest has defaults there.
  await writeJson(join(dir, ADAPTER_CONFIG), {
    peft_type: "LORA",
    task_type: "SEQ_2_SEQ_LM",
    base_model_name_or_path: base,
    r: rank,
    lora_alpha: alpha,
    lora_dropout: dropout,
    target_modules: targetModules,
    use_rslora: rslora,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
  });
  const named = [...trained].map(([name, tensor]) => [`${PEFT_PREFIX}${name}`, tensor] as const);
  await writeSafetensors(join(dir, ADAPTER_TENSORS), new Map(named));
}

async function prune(run: string, keep: number): Promise<void> {
  const names = (await readdir(run)).filter((name) => NAME.test(name)).sort();
  for (const name of names.slice(0, Math.max(0, names.length - keep))) {
    await rm(join(run, name), { recursive: true, force: true });
  }
}

function writeJson(path: string, value: unknown): Promise<void> {
  return writeDurably(path, `${JSON.stringify(value, null, 2)}\n`);
}

async function writeDurably(path: string, content: string | Uint8Array): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

function cannotWrite(path: string, cause: unknown): EdgeT5Error {
  const { code, message } = cause as NodeJS.ErrnoException;
  const why = code === "ENOSPC" ? "the disk is full" : message;
  return new EdgeT5Error(
    "E_IO",
    `The checkpoint ${path} could not be written: ${why}. Earlier checkpoints are untouched: make room and resume.`,
    { cause },
  );
}

function damaged(path: string, why: string, cause?: unknown): EdgeT5Error {
  return new EdgeT5Error(
    "E_CHECKPOINT_NOT_FOUND",
    `${path}: ${why}. Remove that checkpoint and resume from an earlier one.`,
    {
      cause,
    },
  );
}
