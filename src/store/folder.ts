/** A store in a folder of the file system. Writing is atomic: a temporary file beside the target, fsync, rename. */
import { type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { EdgeT5Error } from "../errors.ts";
import { removeStaleFiles, StagedFile } from "./staged-file.ts";
import type { Filling, WritableStore } from "./store.ts";

/** One read for a reader without a buffer of its own. */
const READ_BYTES = 1 << 18;
/** One read into memory: long enough that its bytes are its cost, short enough that what is hashed is still in the cache. */
const FILL_BYTES = 1 << 20;

export class FolderStore implements WritableStore {
  readonly description: string;
  readonly #root: string;

  constructor(dir: string) {
    this.#root = dir;
    this.description = dir;
  }

  /** @throws EdgeT5Error `E_INPUT` for a key that would leave the folder. */
  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const file = await this.#open(key);
    if (file === null) return null;
    // A byte stream: a reader that brings its own buffer (chunks.ts) gets the file's bytes in it, and nothing else is
    // allocated.
    return new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: READ_BYTES,
      async pull(controller) {
        const request = controller.byobRequest;
        const view = request?.view as Uint8Array;
        try {
          const { bytesRead } = await file.read(view, 0, view.byteLength, null);
          if (bytesRead > 0) return request?.respond(bytesRead);
        } catch (error) {
          await file.close();
          throw error;
        }
        await file.close();
        controller.close();
        request?.respond(0);
      },
      cancel: () => file.close(),
    }) as ReadableStream<Uint8Array>;
  }

  /**
   * Read by other threads, straight into the memory: its pages are touched there too, while this thread hashes what came before.
   *
   * @throws EdgeT5Error `E_INPUT` for a key that would leave the folder.
   */
  async fill(key: string, target: Uint8Array): Promise<Filling | null> {
    const file = await this.#open(key);
    return file && { arrivals: readInto(file, target) };
  }

  /** Null for what is no file. */
  async #open(key: string): Promise<FileHandle | null> {
    const file = await open(this.#pathOf(key), "r").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
      throw error;
    });
    if (file === null || (await file.stat()).isFile()) return file;
    await file.close();
    return null;
  }

  /** @throws EdgeT5Error `E_INPUT` for a key that would leave the folder. */
  async put(key: string, body: Uint8Array | ReadableStream<Uint8Array>): Promise<void> {
    const path = this.#pathOf(key);
    await mkdir(dirname(path), { recursive: true });
    const staged = await StagedFile.create(dirname(path));
    try {
      if (body instanceof Uint8Array) await staged.write(body);
      else for await (const chunk of body) await staged.write(chunk);
      await staged.finish();
      await staged.commit(path);
    } catch (error) {
      await staged.discard();
      throw error;
    }
  }

  /** Begins an object whose key is known only at its end (a blob is named by its hash); see {@link commit}. */
  async stage(folder: string): Promise<StagedFile> {
    const path = this.#pathOf(folder);
    await mkdir(path, { recursive: true });
    return StagedFile.create(path);
  }

  /** Gives a finished staged file its key, atomically, whatever lay there before. */
  async commit(staged: StagedFile, key: string): Promise<void> {
    await staged.commit(this.#pathOf(key));
  }

  /** Keys and sizes of the objects directly in a folder of the store; temporary files are not objects. */
  async list(folder: string): Promise<{ key: string; bytes: number }[]> {
    const path = this.#pathOf(folder);
    const entries = await readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    });
    const files = entries.filter((entry) => entry.isFile() && !StagedFile.isTemporary(entry.name));
    const sized = files.map(async ({ name }) => ({
      key: `${folder}/${name}`,
      bytes: (await stat(join(path, name))).size,
    }));
    return (await Promise.all(sized)).sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Removes what killed processes left half-written in the store's root and in `folders`. */
  async removeStale(folders: readonly string[]): Promise<void> {
    await removeStaleFiles(this.#root);
    for (const folder of folders) await removeStaleFiles(this.#pathOf(folder));
  }

  async delete(key: string): Promise<void> {
    await rm(this.#pathOf(key), { force: true });
  }

  #pathOf(key: string): string {
    const segments = key.split("/");
    if (segments.some((s) => s === "" || s === "." || s === ".." || /[\\\0]|^[A-Za-z]:/.test(s))) {
      throw new EdgeT5Error(
        "E_INPUT",
        `Store key ${JSON.stringify(key)} is not a path inside the store. Use names joined by "/", without "." or "..".`,
      );
    }
    return join(this.#root, ...segments);
  }
}

/** Always one read ahead of whoever asks. @returns see {@link Filling} */
async function* readInto(file: FileHandle, target: Uint8Array): AsyncGenerator<number, void> {
  const end = new Uint8Array(1);
  let at = 0;
  // At the target's end one byte more is asked for: the object may be longer.
  const read = () => {
    const bytes = Math.min(FILL_BYTES, target.length - at);
    return bytes > 0 ? file.read(target, at, bytes, at) : file.read(end, 0, 1, at);
  };
  let next = read();
  try {
    for (;;) {
      const { bytesRead } = await next;
      if (bytesRead === 0) return;
      at += bytesRead;
      next = read();
      yield bytesRead;
    }
  } finally {
    await next.catch(() => {});
    await file.close();
  }
}
