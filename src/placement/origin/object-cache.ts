/**
 * Models of a bucket, kept in a folder: a version's manifest and blobs never change, and are named by their hashes, which
 * are looked at when they are fetched. What the folder holds is not trusted for that: who loads it looks again.
 */
import { EdgeT5Error } from "../../errors.ts";
import { FolderStore } from "../../store/folder.ts";
import type { R2Reader } from "../../store/r2.ts";
import type { Store } from "../../store/store.ts";

export class ObjectCache implements R2Reader {
  readonly #source: Store;
  readonly #folder: FolderStore;
  /** By key: who asks at the same time waits for the same fetch. */
  readonly #fetches = new Map<string, Promise<boolean>>();

  constructor(source: Store, folder: string) {
    this.#source = source;
    this.#folder = new FolderStore(folder);
  }

  /** @throws EdgeT5Error `E_BLOB_CORRUPT`; `E_IO` when the source cannot be reached, or the folder not be written */
  async get(key: string): Promise<{ body: ReadableStream<Uint8Array> } | null> {
    // An adapter is its tenant's: it is kept in memory only.
    if (!key.startsWith("models/")) return bodyOf(await this.#source.get(key));
    const kept = await this.#folder.get(key);
    if (kept) return { body: kept };
    const fetched = this.#fetches.get(key) ?? this.#fetch(key);
    this.#fetches.set(key, fetched);
    try {
      return (await fetched) ? bodyOf(await this.#folder.get(key)) : null;
    } finally {
      this.#fetches.delete(key);
    }
  }

  async forget(key: string): Promise<void> {
    await this.#folder.delete(key);
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
      return true;
    } catch (cause) {
      await staged.discard();
      if (cause instanceof EdgeT5Error) throw cause;
      throw new EdgeT5Error("E_IO", `${key} could not be fetched and kept: ${(cause as Error).message}`, { cause });
    }
  }
}

function bodyOf(body: ReadableStream<Uint8Array> | null): { body: ReadableStream<Uint8Array> } | null {
  return body && { body };
}
