/** A checkpoint as the cache has it, when the hub is not to be asked. Other tools may have left only some of its files. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../../src/errors.ts";
import { parseIndex, WEIGHTS, WEIGHTS_INDEX } from "../safetensors-index.ts";
import { type RepositoryCache, sizeOf } from "./cache.ts";
import type { HubRepository } from "./repository.ts";

const TOKENIZER_FILES = ["tokenizer.json", "spiece.model", "tokenizer_config.json"];

/** What splitting reads where there is one. */
export const OPTIONAL_FILES: readonly string[] = [...TOKENIZER_FILES, "generation_config.json"];

/**
 * @returns the checkpoint's directory
 * @throws EdgeT5Error `E_CHECKPOINT_NOT_FOUND`, naming what is missing
 */
export async function offlineCheckpoint(repository: HubRepository, cache: RepositoryCache): Promise<string> {
  const commit = await cache.readRevision(repository.revision);
  if (commit === null) throw notCached(repository, cache);
  const missing = await missingFile(commit, cache);
  if (missing !== null) throw notCached(repository, cache, missing);
  return cache.snapshot(commit);
}

async function missingFile(commit: string, cache: RepositoryCache): Promise<string | null> {
  const dir = cache.snapshot(commit);
  const isThere = async (name: string) => (await sizeOf(join(dir, name))) !== null;
  if (!(await isThere("config.json"))) return "config.json";
  const tokenizer = await Promise.all(TOKENIZER_FILES.map(isThere));
  if (!tokenizer.includes(true) && !(await cache.isMissing(commit, "tokenizer.json"))) return "tokenizer.json";
  if (await isThere(WEIGHTS)) return null;
  if (!(await isThere(WEIGHTS_INDEX))) return WEIGHTS;
  const index = join(dir, WEIGHTS_INDEX);
  for (const part of new Set(Object.values(parseIndex(await readFile(index, "utf8"), index)))) {
    if (!(await isThere(part))) return part;
  }
  return null;
}

function notCached({ id, revision }: HubRepository, { dir }: RepositoryCache, missing?: string): EdgeT5Error {
  const what = missing === undefined ? `${id} at ${revision}` : `${missing} of ${id} at ${revision}`;
  return new EdgeT5Error(
    "E_CHECKPOINT_NOT_FOUND",
    `${what} is not in the cache (${dir}), and HF_HUB_OFFLINE keeps it from being downloaded. Unset HF_HUB_OFFLINE, or give a local directory.`,
  );
}
