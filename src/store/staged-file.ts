/** A file being written under a temporary name: hashed on the way, on disk before it is renamed to its own. */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createSha256, type Sha256 } from "./sha256.ts";

const TEMPORARY = /^\.edge-t5-(\d+)-[0-9a-f-]{36}\.tmp$/;

/** Temporary files of this process: another run's clean-up in the same process leaves them alone. */
const inProgress = new Set<string>();

export class StagedFile {
  /** Bytes written so far. */
  bytes = 0;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #hash: Sha256 = createSha256();
  #open = true;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(folder: string): Promise<StagedFile> {
    const path = join(folder, `.edge-t5-${process.pid}-${randomUUID()}.tmp`);
    inProgress.add(path);
    try {
      return new StagedFile(path, await open(path, "wx"));
    } catch (error) {
      inProgress.delete(path);
      throw error;
    }
  }

  static isTemporary(name: string): boolean {
    return TEMPORARY.test(name);
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#file.write(bytes, done, bytes.length - done)).bytesWritten;
    }
    this.bytes += bytes.length;
  }

  /** Zero bytes up to `offset`. */
  async padTo(offset: number): Promise<void> {
    if (offset > this.bytes) await this.write(new Uint8Array(offset - this.bytes));
  }

  /** Brings the bytes to the disk and closes the file. @returns its SHA-256 */
  async finish(): Promise<string> {
    await this.#file.sync();
    await this.#close();
    return this.#hash.digest();
  }

  /** Renames the finished file; a reader of `path` sees what was there before or all of this. */
  async commit(path: string): Promise<void> {
    await rename(this.#path, path);
    inProgress.delete(this.#path);
    await syncFolder(dirname(path));
  }

  /** Removes the file unless it was committed. Safe to call at any time, and twice. */
  async discard(): Promise<void> {
    await this.#close();
    if (inProgress.delete(this.#path)) await rm(this.#path, { force: true });
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#file.close();
  }
}

/** Removes the temporary files in `folder` whose process is gone. */
export async function removeStaleFiles(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  for (const name of names) {
    const pid = TEMPORARY.exec(name)?.[1];
    if (pid === undefined) continue;
    const path = join(folder, name);
    // Our own number on a file that we did not begin: an earlier process had it (in containers it is always the same).
    const stale = Number(pid) === process.pid ? !inProgress.has(path) : !isRunning(Number(pid));
    if (stale) await rm(path, { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A rename survives a power cut only when its folder is on disk too. Windows cannot sync a folder, and need not. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
