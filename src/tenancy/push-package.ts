/** Brings a package to where models are kept: what is there already is not sent again, the manifest goes last. */
import { parseManifest } from "../t5/manifest.ts";
import { versionOf } from "./model-versions.ts";

/** Where a model's packages are kept: a bucket on this machine, or a gateway's admin routes. */
export interface PushTarget {
  hasBlob(sha256: string, bytes: number): Promise<boolean>;
  putBlob(sha256: string, bytes: number): Promise<void>;
  /** @returns blobs that must be put first, or once more; none when the version is there */
  putVersion(version: string, manifest: string): Promise<readonly string[]>;
}

export interface PushOptions {
  /** Blobs sent side by side. */
  parallel: number;
  onProgress?: ((bytesDone: number, bytesTotal: number, what: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface PushResult {
  version: string;
  /** Blobs sent, and those that were there. */
  uploaded: number;
  skipped: number;
  bytesUploaded: number;
}

/** Blobs may be deleted between the look and the manifest, once. */
const ROUNDS = 3;

/** @throws EdgeT5Error `E_MANIFEST`, and what the target throws */
export async function pushPackage(text: string, target: PushTarget, options: PushOptions): Promise<PushResult> {
  const { parallel, onProgress, signal } = options;
  const { blobs } = parseManifest(text);
  const version = await versionOf(text);
  const total = Object.values(blobs).reduce((sum, { bytes }) => sum + bytes, 0);
  const result: PushResult = { version, uploaded: 0, skipped: 0, bytesUploaded: 0 };
  let done = 0;
  const sizeOf = (sha256: string) => blobs[sha256]?.bytes ?? 0;
  const send = async (sha256: string) => {
    await target.putBlob(sha256, sizeOf(sha256));
    result.uploaded++;
    result.bytesUploaded += sizeOf(sha256);
  };
  await inParallel(Object.keys(blobs), parallel, async (sha256) => {
    signal?.throwIfAborted();
    if (await target.hasBlob(sha256, sizeOf(sha256))) result.skipped++;
    else await send(sha256);
    done += sizeOf(sha256);
    onProgress?.(done, total, sha256.slice(0, 16));
  });
  for (let round = 0; ; round++) {
    signal?.throwIfAborted();
    const missing = await target.putVersion(version, text);
    if (missing.length === 0) return result;
    if (round === ROUNDS) throw new Error(`Blobs keep disappearing: ${missing.join(", ")}`);
    await inParallel(missing, parallel, send);
  }
}

async function inParallel<T>(items: readonly T[], workers: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const run = async () => {
    try {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
    } catch (error) {
      queue.length = 0;
      throw error;
    }
  };
  // All have ended when one that failed is told of.
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(workers, items.length) }, run));
  for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
}
