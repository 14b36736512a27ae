/** What a run begins from: a checkpoint as it is, the weights of a package, or random ones. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { readParts } from "../../../model-split/checkpoint-parts.ts";
import { dequantize } from "../../../model-split/dequantize.ts";
import { writeSafetensors } from "../../../model-split/safetensors-writer.ts";
import { EdgeT5Error } from "../../errors.ts";
import { FolderStore } from "../../store/folder.ts";
import { HttpStore } from "../../store/http.ts";
import type { Store } from "../../store/store.ts";
import { byteTokenizer } from "../../t5/byte-tokenizer.ts";
import { parseHuggingFaceConfig, type T5Config } from "../../t5/config.ts";
import { MANIFEST_KEY, readManifest } from "../../t5/manifest.ts";
import { type Tokenizer, tokenizerFrom } from "../../t5/tokenizer.ts";
import { initialWeights } from "../initialize.ts";
import { isThere } from "./files.ts";
import { parseJson, type RunSettings } from "./settings.ts";

export type BaseRequest =
  /** The folder of a checkpoint or a package, the address of a package, or a store that holds one. */
  | { from: string | Store }
  /** A model that begins at random: its `config.json`, and the folder of its `tokenizer.json`. */
  | { config: string; tokenizer: string };

/** The run's own checkpoint, in its folder. */
const OWN = "base";

/**
 * Brings what a run begins from to where it stays.
 *
 * @throws EdgeT5Error `E_CHECKPOINT_NOT_FOUND`, `E_PACKAGE_NOT_FOUND`, `E_INPUT` for weights of int4 or a vocabulary that
 * does not fit the configuration; as reading a package or a configuration
 */
export async function prepareBase(run: string, request: BaseRequest, seed: number): Promise<RunSettings["base"]> {
  if ("config" in request) {
    await makeOwn(run, (dir) => writeRandom(dir, request, seed));
    return { source: resolve(request.config), dir: OWN, sha256: await fingerprint(join(run, OWN)) };
  }
  const { from } = request;
  const source = typeof from === "string" ? (isAddress(from) ? from : resolve(from)) : from.description;
  if (typeof from === "string" && !isAddress(from) && !(await isThere(join(from, MANIFEST_KEY)))) {
    await readParts(from);
    return { source, dir: source, sha256: await fingerprint(source) };
  }
  const store = typeof from === "string" ? storeOf(from) : from;
  const manifest = await readManifest(store);
  await makeOwn(run, (dir) => dequantize(manifest, store, dir));
  return { source, dir: OWN, sha256: await fingerprint(join(run, OWN)) };
}

/** @throws EdgeT5Error `E_INPUT` where the base is not what the run began from */
export async function checkBase(dir: string, { base }: RunSettings, named = dir): Promise<void> {
  if ((await fingerprint(dir)) === base.sha256) return;
  throw new EdgeT5Error(
    "E_INPUT",
    `${named} is not the model that the run began from (${base.source}): its weights or its configuration differ. Resume with that one, or begin a new run.`,
  );
}

/** As {@link checkBase}, of what a user gives; packages are compared by their weights. */
export async function checkGivenBase(run: string, from: string, settings: RunSettings): Promise<void> {
  if (!isAddress(from) && !(await isThere(join(from, MANIFEST_KEY)))) {
    await readParts(from);
    return checkBase(resolve(from), settings);
  }
  const store = storeOf(from);
  const dir = join(run, ".given-base.tmp");
  try {
    await rm(dir, { recursive: true, force: true });
    await dequantize(await readManifest(store), store, dir);
    await checkBase(dir, settings, from);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** @throws EdgeT5Error `E_TOKENIZER` for a checkpoint without one */
export async function loadBase(dir: string): Promise<{ config: T5Config; tokenizer: Tokenizer }> {
  const { config, tokenizer } = await readParts(dir);
  if (!tokenizer) {
    throw new EdgeT5Error("E_TOKENIZER", `${dir} has no tokenizer.json. Put the model's tokenizer beside its weights.`);
  }
  if ("sentinels" in tokenizer) return { config, tokenizer: byteTokenizer(tokenizer.sentinels) };
  const text = (bytes: Uint8Array | null) => (bytes ? new TextDecoder().decode(bytes) : "{}");
  return {
    config,
    tokenizer: tokenizerFrom(text(tokenizer.json), text(tokenizer.config), `The tokenizer of ${dir} cannot be read.`),
  };
}

function isAddress(from: string): boolean {
  return /^https?:\/\//.test(from);
}

function storeOf(from: string): Store {
  return isAddress(from) ? new HttpStore(from) : new FolderStore(from);
}

/** Makes the run's own base whole, or not at all. */
async function makeOwn(run: string, write: (dir: string) => Promise<void>): Promise<void> {
  const temporary = join(run, ".base.tmp");
  await rm(temporary, { recursive: true, force: true });
  try {
    await write(temporary);
    await rm(join(run, OWN), { recursive: true, force: true });
    await rename(temporary, join(run, OWN));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"];

async function writeRandom(
  dir: string,
  { config: path, tokenizer }: { config: string; tokenizer: string },
  seed: number,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  let hasTokenizer = false;
  for (const name of TOKENIZER_FILES) {
    const bytes = await readFile(join(tokenizer, name)).catch(() => null);
    if (bytes === null) continue;
    await writeFile(join(dir, name), bytes);
    hasTokenizer ||= name === "tokenizer.json" || name === "spiece.model";
  }
  if (!hasTokenizer) {
    throw new EdgeT5Error(
      "E_TOKENIZER",
      `${tokenizer} has no tokenizer.json. Make one: edge-t5 tokenizer train --help.`,
    );
  }
  const settings = parseJson(await readFile(path, "utf8"), path) as Record<string, unknown>;
  const pieces = await vocabularyOf(dir);
  const complete = { ...(pieces !== null && { vocab_size: pieces }), ...settings };
  const config = parseHuggingFaceConfig(complete, path);
  if (pieces !== null && pieces > config.vocabSize) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${path} has a vocab_size of ${config.vocabSize}, but the tokenizer has ${pieces} tokens. Set vocab_size to ${pieces}, or leave it out.`,
    );
  }
  await writeFile(join(dir, "config.json"), `${JSON.stringify(complete, null, 2)}\n`);
  const isTied = settings.tie_word_embeddings !== false;
  const factor = typeof settings.initializer_factor === "number" ? settings.initializer_factor : 1;
  await writeSafetensors(join(dir, "model.safetensors"), initialWeights(config, isTied, seed, factor));
}

/** Tokens of a `tokenizer.json`; null where its kind does not say. */
async function vocabularyOf(dir: string): Promise<number | null> {
  const text = await readFile(join(dir, "tokenizer.json"), "utf8").catch(() => null);
  if (text === null) return null;
  const { model, added_tokens: added = [] } = parseJson(text, join(dir, "tokenizer.json")) as {
    model?: { vocab?: unknown };
    added_tokens?: { id: number }[];
  };
  if (!Array.isArray(model?.vocab)) return null;
  return added.reduce((most, { id }) => Math.max(most, id + 1), model.vocab.length);
}

/** Of a checkpoint's configuration and weights. */
async function fingerprint(dir: string): Promise<string> {
  const hash = createHash("sha256");
  const names = (await readdir(dir)).filter((name) => name === "config.json" || name.endsWith(".safetensors")).sort();
  for (const name of names) {
    hash.update(`${name}\n`);
    await pipeline(createReadStream(join(dir, name)), hash, { end: false });
  }
  return hash.digest("hex");
}
