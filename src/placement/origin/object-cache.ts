/**
 * Models of a bucket, kept in a folder: a version's manifest and blobs never change, and are named by their hashes, which
 * are looked at when they are fetched. What the folder holds is not trusted for that: who loads it looks again. It has a
 * size: what was used longest ago makes room, also among processes that share it, since files' times tell when they were.
 */
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import { FolderStore } from "../../store/folder.ts";
import type { R2Reader } from "../../store/r2.ts";
import { removeStaleFiles, StagedFile } from "../../store/staged-file.ts";
import type { Store } from "../../store/store.ts";

export class ObjectCache implements R2Reader {
  readonly #source: Store;
  readonly #dir: string;
  readonly #folder: FolderStore;
  readonly #mostBytes: number;
  /** By key: who asks at the same time waits for the same fetch. */
  readonly #fetches = new Map<string, Promise<boolean>>();

  /** @param mostBytes what the folder may hold; a model that is larger is fetched for each load */
  constructor(source: Store, folder: string, mostBytes: number) {
    this.#source = source;
    this.#dir = folder;
    this.#folder = new FolderStore(folder);
    this.#mostBytes = mostBytes;
  }

  /** @throws EdgeT5Error `E_BLOB_CORRUPT`; `E_IO` when the source cannot be reached, or the folder not be written */
  async get(key: string): Promise<{ body: ReadableStream<Uint8Array> } | null> {
    // An adapter is its tenant's: it is kept in memory only.
    if (!key.startsWith("models/")) return bodyOf(await this.#source.get(key));
    for (;;) {
      const kept = await this.#folder.get(key);
      if (kept) {
        await this.#touch(key);
        return { body: kept };
      }
      const fetched = this.#fetches.get(key) ?? this.#fetch(key);
      this.#fetches.set(key, fetched);
      try {
        if (!(await fetched)) return null;
        // Others' fetches may make room of it before it is read: then it is fetched again.
      } finally {
        this.#fetches.delete(key);
      }
    }
  }

  async forget(key: string): Promise<void> {
    await this.#folder.delete(key);
  }

  async #touch(key: string): Promise<void> {
    const now = new Date();
    await utimes(join(this.#dir, key), now, now).catch(ifThere);
  }

  /** Deletes what was used longest ago until the rest is within the bound. @param fetched stays */
  async #makeRoom(fetched: string): Promise<void> {
    const entries = await readdir(this.#dir, { recursive: true, withFileTypes: true });
    const [unfinished, files] = [true, false].map((isTemporary) =>
      entries.filter((entry) => entry.isFile() && StagedFile.isTemporary(entry.name) === isTemporary),
    ) as [typeof entries, typeof entries];
    for (const folder of new Set(unfinished.map(({ parentPath }) => parentPath))) await removeStaleFiles(folder);
    const found = await Promise.all(
      files.map(async ({ parentPath, name }) => {
        const path = join(parentPath, name);
        const there = await stat(path).catch(ifThere);
        return there ? [{ path, bytes: there.size, usedAt: there.mtimeMs }] : [];
      }),
    );
    const oldest = found.flat().sort((a, b) => a.usedAt - b.usedAt);
    let bytes = oldest.reduce((sum, file) => sum + file.bytes, 0);
    for (const file of oldest) {
      if (bytes <= this.#mostBytes) return;
      if (file.path === join(this.#dir, fetched)) continue;
      // Who reads it has it open, and reads on.
      await rm(file.path, { force: true });
      bytes -= file.bytes;
    }
  }

  /** @returns whether there is such an object */
  async #fetch(key: string): Promise<boolean> {
    const source = await this.#source.get(key);
    if (!source) return false;
    const [name = "", folder = ""] = key.split("/").reverse();
    // `blobs/SHA256`, or `VERSION/manifest.json`, whose version is the beginning of its hash.
    const hash = name === "manifest.json" ? folder : name;
    const staged = await this.#folder.stage(key.slice(0, key.lastIndexOf("/")));
    try {
      for await (const chunk of source) await staged.write(chunk);
      const found = await staged.finish();
      if (!found.startsWith(hash)) {
        throw new EdgeT5Error(
          "E_BLOB_CORRUPT",
          `${key} in ${this.#source.description} does not have the SHA-256 that names it. Push the package again.`,
        );
      }
      await this.#folder.commit(staged, key);
      await this.#makeRoom(key);
      return true;
    } catch (cause) {
      await staged.discard();
      if (cause instanceof EdgeT5Error) throw cause;
      throw new EdgeT5Error("E_IO", `${key} could not be fetched and kept: ${(cause as Error).message}`, { cause });
    }
  }
}

/** A file that is gone is used no more. */
const ifThere = (error: NodeJS.ErrnoException): void => {
  if (error.code !== "ENOENT") throw error;
};

function bodyOf(body: ReadableStream<Uint8Array> | null): { body: ReadableStream<Uint8Array> } | null {
  return body && { body };
}
