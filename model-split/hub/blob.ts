/** Downloads one blob: resumed where an earlier run stopped, checked as it lies on disk, and only then given its name. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { EdgeT5Error } from "../../src/errors.ts";
import { sizeOf } from "./cache.ts";
import type { HubFile } from "./client.ts";

export interface BlobSource {
  file: HubFile;
  /** The file's bytes from a place on. */
  read: (start: number) => AsyncIterable<Uint8Array>;
  onProgress: (bytesDone: number) => void;
  signal?: AbortSignal | undefined;
}

/** What another tool left under its own name may have holes; ours never has. */
const PARTIAL = ".edge-t5.incomplete";

/** The first may find an earlier run's bytes damaged, the second another run's, begun meanwhile. */
const ATTEMPTS = 3;

/**
 * Several runs may download one blob at once: all write the same bytes to the same places of one file, none shortens
 * it, and the first to end gives it its name.
 *
 * @throws EdgeT5Error `E_BLOB_CORRUPT` when the bytes are not those that the hub promised; they are removed
 */
export async function downloadBlob(path: string, source: BlobSource): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  for (let attempt = 1; (await sizeOf(path)) !== source.file.bytes; attempt++) {
    const outcome = await downloadOnce(path, source);
    if (outcome === "done") return;
    if (outcome === "damaged" || attempt === ATTEMPTS) throw damaged(source.file);
  }
}

/** "again": the bytes of an earlier run were damaged, or another run came between. */
async function downloadOnce(path: string, source: BlobSource): Promise<"done" | "again" | "damaged"> {
  const partial = `${path}${PARTIAL}`;
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
  try {
    const start = (await handle.stat()).size;
    await fill(handle, start, source);
    await handle.sync();
    if ((await hashOf(handle, source)) === source.file.hash)
      return (await giveName(handle, partial, path)) ? "done" : "again";
    if (await isSameFile(handle, partial)) await rm(partial, { force: true });
    return start > 0 ? "again" : "damaged";
  } finally {
    await handle.close();
  }
}

/** @returns false when another run has renamed the file, or has removed it and begun anew */
async function giveName(handle: FileHandle, partial: string, path: string): Promise<boolean> {
  if (!(await isSameFile(handle, partial))) return false;
  try {
    await rename(partial, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function fill(handle: FileHandle, start: number, { read, onProgress }: BlobSource): Promise<void> {
  let at = start;
  onProgress(at);
  for await (const chunk of read(start)) {
    for (let done = 0; done < chunk.length; ) {
      done += (await handle.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
    }
    at += chunk.length;
    onProgress(at);
  }
}

/** Of what lies on disk now, not of what was received. */
async function hashOf(handle: FileHandle, { file, signal }: BlobSource): Promise<string> {
  const { size } = await handle.stat();
  const isSha256 = file.hash.length === 64;
  const hash = createHash(isSha256 ? "sha256" : "sha1");
  // Git hashes a file behind a header with its size.
  if (!isSha256) hash.update(`blob ${size}\0`);
  for await (const chunk of handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    hash.update(chunk);
  }
  return hash.digest("hex");
}

async function isSameFile(handle: FileHandle, path: string): Promise<boolean> {
  const [ours, named] = await Promise.all([
    handle.stat({ bigint: true }),
    stat(path, { bigint: true }).catch(() => null),
  ]);
  return named !== null && ours.ino === named.ino && ours.dev === named.dev;
}

function damaged({ path, hash }: HubFile): EdgeT5Error {
  return new EdgeT5Error(
    "E_BLOB_CORRUPT",
    `${path} arrived damaged: its bytes do not hash to ${hash}, and were removed. Run the command again; if it stays so, look for a proxy that changes what passes, or at HF_ENDPOINT.`,
  );
}
