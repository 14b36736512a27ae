/** What a checkpoint's small files say: configuration, defaults of generation, tokenizer. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { EdgeT5Error, type ErrorCode } from "../src/errors.ts";
import { parseHuggingFaceConfig, type T5Config } from "../src/t5/config.ts";
import { parseTokenizer } from "../src/t5/tokenizer.ts";
import { tokenizerFromSentencePiece } from "./sentencepiece.ts";

/** 3 special tokens, 256 bytes, 125 sentinels. */
const BYT5_VOCABULARY = 384;

const objectSchema = z.record(z.string(), z.unknown());

export type CheckpointTokenizer = { json: Uint8Array; config: Uint8Array | null } | { sentinels: number };

export interface Parts {
  config: T5Config;
  generation: Record<string, unknown> | null;
  tokenizer: CheckpointTokenizer | null;
}

/**
 * @throws EdgeT5Error `E_CHECKPOINT_NOT_FOUND` without a config.json; `E_CONFIG`, `E_ARCHITECTURE`, `E_TOKENIZER` for a
 * file that says what cannot be
 */
export async function readParts(dir: string): Promise<Parts> {
  const path = join(dir, "config.json");
  const text = await readIfThere(path);
  if (text === null) {
    throw notFound(`No config.json in ${dir}. Download the whole checkpoint: config.json belongs to the weights.`);
  }
  const config = parseHuggingFaceConfig(parseJson(text, path, "E_CONFIG"), path);
  return {
    config,
    generation: await readGeneration(join(dir, "generation_config.json")),
    tokenizer: await readTokenizer(dir, config),
  };
}

async function readGeneration(path: string): Promise<Record<string, unknown> | null> {
  const text = await readIfThere(path);
  if (text === null) return null;
  const parsed = objectSchema.safeParse(parseJson(text, path, "E_CONFIG"));
  if (parsed.success) return parsed.data;
  throw new EdgeT5Error("E_CONFIG", `${path} is not a JSON object. Download it again, or remove it.`);
}

const tokenizerSettings = z.looseObject({
  tokenizer_class: z.string().optional(),
  extra_ids: z.int().nonnegative().optional(),
});

async function readTokenizer(dir: string, { vocabSize }: T5Config): Promise<CheckpointTokenizer | null> {
  const read = async (name: string) => {
    const path = join(dir, name);
    const text = await readIfThere(path);
    if (text === null) return null;
    return { text, json: parseJson(text, path, "E_TOKENIZER"), bytes: new TextEncoder().encode(text) };
  };
  const [definition, settings] = await Promise.all([read("tokenizer.json"), read("tokenizer_config.json")]);
  if (definition) {
    const path = join(dir, "tokenizer.json");
    const message = `${path} is no tokenizer that can be read. Download it again, or export it with transformers.`;
    parseTokenizer(definition.text, settings?.text ?? "{}", message);
    return { json: definition.bytes, config: settings?.bytes ?? null };
  }
  const known = tokenizerSettings.safeParse(settings?.json).data;
  const spiece = join(dir, "spiece.model");
  const pieces = await readFile(spiece).catch(() => null);
  if (pieces) {
    const json = tokenizerFromSentencePiece(pieces, known?.extra_ids ?? 100, spiece);
    return { json: new TextEncoder().encode(JSON.stringify(json)), config: settings?.bytes ?? null };
  }
  // ByT5 needs no file: its vocabulary is 3 special tokens, 256 bytes and the sentinels.
  if (known?.tokenizer_class === "ByT5Tokenizer") return { sentinels: known.extra_ids ?? 125 };
  return vocabSize === BYT5_VOCABULARY ? { sentinels: 125 } : null;
}

function parseJson(text: string, path: string, code: ErrorCode): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error(code, `${path} is not JSON. Download it again, or export the checkpoint again.`, { cause });
  }
}

export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

export function notFound(message: string): EdgeT5Error {
  return new EdgeT5Error("E_CHECKPOINT_NOT_FOUND", message);
}
