/**
 * Brings blobs from storage straight into the memory that an engine reads: never two copies. They are hashed as they arrive,
 * unless the storage itself holds them to the hash that names them (R2, of an object that was put with it).
 */
import { EdgeT5Error } from "../errors.ts";
import { createSha256, hashesAsBytesArrive, sha256Of } from "../store/sha256.ts";
import { fill, type Store } from "../store/store.ts";
import type { Role } from "../t5/engine.ts";
import { blobKey, type Manifest } from "../t5/manifest.ts";

/** Blobs that the roles read, in the order of the shards, each once. */
export function blobsOf(manifest: Manifest, roles: readonly Role[]): string[] {
  const hashes = manifest.shards.filter((shard) => roles.includes(shard.role)).flatMap((shard) => shard.blobs);
  return [...new Set(hashes)];
}

/** One blob and where it goes. */
export interface BlobTarget {
  hash: string;
  bytes: number;
  memory: Uint8Array;
  /** Offset in `memory`. */
  at: number;
}

/**
 * Loads all blobs, side by side.
 *
 * @param onBytes called with the length of every chunk that arrived
 * @param signal once aborted, its reason is thrown, and from then on nothing is written
 * @throws EdgeT5Error `E_BLOB_MISSING`, `E_BLOB_CORRUPT` (too short, too long, or another hash)
 */
export async function loadBlobs(
  store: Store,
  blobs: readonly BlobTarget[],
  onBytes: (bytes: number) => void = () => {},
  signal?: AbortSignal,
): Promise<void> {
  // All are awaited even when one fails, so that none still writes while a retry fills the same memory.
  const outcomes = await Promise.allSettled(blobs.map((blob) => loadBlob(store, blob, onBytes, signal)));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}

async function loadBlob(
  store: Store,
  { hash, bytes, memory, at }: BlobTarget,
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const target = memory.subarray(at, at + bytes);
  const filling = await fill(store, blobKey(hash), target);
  if (filling === null) {
    throw new EdgeT5Error("E_BLOB_MISSING", `Blob ${hash} is not in ${store.description}. Push the package again.`);
  }
  const corrupt = (what: string) =>
    new EdgeT5Error("E_BLOB_CORRUPT", `Blob ${hash} in ${store.description} ${what}. Push the package again.`);

  const isHeld = filling.sha256 === hash;
  const sha256 = !isHeld && hashesAsBytesArrive ? createSha256() : null;
  let length = 0;
  for await (const arrived of filling.arrivals) {
    signal?.throwIfAborted();
    if (length + arrived > bytes) throw corrupt(`is longer than the ${bytes} bytes of the manifest`);
    sha256?.update(target.subarray(length, length + arrived));
    length += arrived;
    onBytes(arrived);
  }
  if (length < bytes) throw corrupt(`ends after ${length} of ${bytes} bytes`);
  if (isHeld) return;
  const found = sha256 ? sha256.digest() : await sha256Of(target);
  if (found !== hash) throw corrupt("does not have the SHA-256 that names it");
}
