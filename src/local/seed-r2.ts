/** Puts a package into wrangler's local R2, blobs first, manifest last. */
import { createHash } from "node:crypto";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import { MODEL_NAME, modelKey } from "../store/r2.ts";
import { blobKey, MANIFEST_KEY, readManifest } from "../t5/manifest.ts";
import { openLocalStorage } from "./storage.ts";

/**
 * @param dir the package's folder
 * @param root the kit's folder
 * @param state wrangler's folder for local state (`--persist-to`)
 * @returns the model's name
 * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_INPUT` for a name that cannot be a key
 */
export async function seedR2(
  dir: string,
  root: string,
  state: string,
  onProgress?: (bytesDone: number, bytesTotal: number, key: string) => void,
): Promise<string> {
  const store = new FolderStore(dir);
  const manifest = await readManifest(store);
  const { name } = manifest;
  if (!MODEL_NAME.test(name)) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${dir}: the model's name ${JSON.stringify(name)} cannot be a part of a key. Split again with --name, of letters, digits, ".", "_", "-".`,
    );
  }
  const { bucket, dispose } = await openLocalStorage(root, state);
  try {
    const total = Object.values(manifest.blobs).reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    for (const [sha256, { bytes }] of Object.entries(manifest.blobs)) {
      const key = modelKey(name, blobKey(sha256));
      const present = await bucket.head(key);
      // R2 checks a hash given with the bytes, and keeps it: what is there under it is whole.
      if (present?.checksums.toJSON().sha256 !== sha256)
        await bucket.put(key, await readBlob(store, sha256), { sha256 });
      done += bytes;
      onProgress?.(done, total, key);
    }
    await bucket.put(modelKey(name, MANIFEST_KEY), await read(store, MANIFEST_KEY));
  } finally {
    await dispose();
  }
  return name;
}

async function readBlob(store: FolderStore, sha256: string): Promise<Uint8Array> {
  const bytes = await read(store, blobKey(sha256));
  if (createHash("sha256").update(bytes).digest("hex") === sha256) return bytes;
  throw new EdgeT5Error(
    "E_BLOB_CORRUPT",
    `${store.description}: blob ${sha256} is damaged. Re-run edge-t5 split into this folder, or copy it again.`,
  );
}

async function read(store: FolderStore, key: string): Promise<Uint8Array> {
  const stream = await store.get(key);
  if (stream === null) {
    throw new EdgeT5Error("E_BLOB_MISSING", `${store.description} has no ${key}. Re-run edge-t5 split.`);
  }
  return new Uint8Array(await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
}
