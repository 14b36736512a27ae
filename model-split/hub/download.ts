/** Brings a checkpoint from the hub: of all that a repository holds, what splitting reads, each file at one commit. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../../src/errors.ts";
import { parseIndex, WEIGHTS, WEIGHTS_INDEX } from "../safetensors-index.ts";
import { downloadBlob } from "./blob.ts";
import { RepositoryCache } from "./cache.ts";
import { HubClient, type HubFile } from "./client.ts";
import { OPTIONAL_FILES, offlineCheckpoint } from "./offline.ts";
import type { HubRepository } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

export interface DownloadProgress {
  /** The file being downloaded. */
  file: string;
  /** Bytes of the checkpoint that lie on this machine, those of earlier runs included, and in all. */
  bytesDone: number;
  bytesTotal: number;
}

export interface DownloadOptions {
  /** Not called when everything was there already. */
  onProgress?: (progress: DownloadProgress) => void;
  /** Ends the download; what has arrived stays, for the next one. */
  signal?: AbortSignal;
}

/** One repository's one commit, on its way into the cache. */
interface Transfer {
  repository: HubRepository;
  commit: string;
  listing: ReadonlyMap<string, HubFile>;
  cache: RepositoryCache;
  /** Brings a file, unless it is there. */
  fetch(file: HubFile, onProgress?: (bytesDone: number) => void): Promise<void>;
}

/**
 * Downloads a checkpoint into the cache, going on where an earlier download stopped. The revision becomes a commit first,
 * so that files of two commits never meet; a file gets its name once its size and hash are those that the hub promised.
 *
 * @returns its directory, for `splitCheckpoint`
 * @throws EdgeT5Error `E_CHECKPOINT_NOT_FOUND` (no such repository or revision, or one without safetensors),
 * `E_CHECKPOINT_ACCESS` (gated or private), `E_IO` (no connection), `E_BLOB_CORRUPT`, `E_SAFETENSORS` (a bad index); the
 * signal's reason when it aborts
 */
export async function downloadCheckpoint(
  repository: HubRepository,
  settings: HubSettings,
  { onProgress, signal }: DownloadOptions = {},
): Promise<string> {
  const cache = new RepositoryCache(settings.cacheDir, repository.id);
  if (settings.offline) return offlineCheckpoint(repository, cache);
  const client = new HubClient(repository, settings, signal);
  const commit = await client.commit();
  const transfer: Transfer = {
    repository,
    commit,
    listing: await client.files(commit),
    cache,
    async fetch(file, onProgress = () => {}) {
      signal?.throwIfAborted();
      if (await cache.has(commit, file)) return;
      const read = (start: number) => client.bytes(commit, file, start);
      await downloadBlob(cache.blob(file.hash), { file, read, onProgress, signal });
      await cache.add(commit, file);
    },
  };
  await fetchAll(transfer, await choose(transfer), onProgress);
  await cache.writeRevision(repository.revision, commit);
  return cache.snapshot(commit);
}

/** Everything but the weights first: where these are whole, nothing else is missing. */
async function choose(transfer: Transfer): Promise<HubFile[]> {
  const { listing, cache, commit, repository } = transfer;
  const config = listing.get("config.json");
  if (!config) {
    throw notFound(
      `${repository.id} has no config.json: it is no checkpoint of transformers. Choose another repository.`,
    );
  }
  const weights = await chooseWeights(transfer);
  const chosen = [config];
  for (const name of OPTIONAL_FILES) {
    const file = listing.get(name);
    // The converted tokenizer is preferred to the one that it was made from.
    if (file && !(name === "spiece.model" && listing.has("tokenizer.json"))) chosen.push(file);
    if (!file) await cache.markMissing(commit, name);
  }
  return [...chosen, ...weights];
}

async function chooseWeights(transfer: Transfer): Promise<HubFile[]> {
  const { listing, cache, commit, repository, fetch } = transfer;
  const whole = listing.get(WEIGHTS);
  if (whole) return [whole];
  const index = listing.get(WEIGHTS_INDEX);
  if (!index) throw withoutSafetensors(repository, listing);
  // Only the index tells which parts there are.
  await fetch(index);
  const path = join(cache.snapshot(commit), WEIGHTS_INDEX);
  const names = new Set(Object.values(parseIndex(await readFile(path, "utf8"), path)));
  return [...names].sort().map((name) => {
    const part = listing.get(name);
    if (part) return part;
    throw notFound(`${repository.id} lacks ${name}, which its ${WEIGHTS_INDEX} names. Choose another revision.`);
  });
}

async function fetchAll(
  { cache, commit, fetch }: Transfer,
  files: readonly HubFile[],
  onProgress: DownloadOptions["onProgress"],
): Promise<void> {
  const bytesTotal = files.reduce((sum, file) => sum + file.bytes, 0);
  const there = await Promise.all(files.map((file) => cache.has(commit, file)));
  const needed = files.filter((_, i) => !there[i]);
  let before = bytesTotal - needed.reduce((sum, file) => sum + file.bytes, 0);
  for (const file of needed) {
    await fetch(file, (bytes) => onProgress?.({ file: file.path, bytesDone: before + bytes, bytesTotal }));
    before += file.bytes;
  }
}

function withoutSafetensors({ id, name }: HubRepository, listing: ReadonlyMap<string, HubFile>): EdgeT5Error {
  const isPyTorch = listing.has("pytorch_model.bin") || listing.has("pytorch_model.bin.index.json");
  if (!isPyTorch)
    return notFound(`${id} has no ${WEIGHTS}, nor ${WEIGHTS_INDEX}. Choose another repository or revision.`);
  return notFound(
    `${id} has its weights only as pytorch_model.bin, which runs code when it is read. Convert it, with Python's transformers: ` +
      `python -c "from transformers import AutoTokenizer as T, T5ForConditionalGeneration as M; [c.from_pretrained('${id}').save_pretrained('${name}') for c in (M, T)]", then split ./${name}.`,
  );
}

function notFound(message: string): EdgeT5Error {
  return new EdgeT5Error("E_CHECKPOINT_NOT_FOUND", message);
}
