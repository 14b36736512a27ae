/** Puts a package into wrangler's local R2 and publishes it: blobs first, the manifest, the name that it goes by last. */
import { createHash } from "node:crypto";
import { EdgeT5Error } from "../errors.ts";
import { FolderStore } from "../store/folder.ts";
import { MODEL_NAME, modelKey } from "../store/r2.ts";
import { blobKey, MANIFEST_KEY, readManifest } from "../t5/manifest.ts";
import { BlobsMissing, ModelVersions } from "../tenancy/model-versions.ts";
import { type PushTarget, pushPackage } from "../tenancy/push-package.ts";
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
    const target: PushTarget = {
      // R2 checks a hash given with the bytes, and keeps it: what is there under it is whole.
      hasBlob: async (sha256) =>
        (await bucket.head(modelKey(name, blobKey(sha256))))?.checksums.toJSON().sha256 === sha256,
      putBlob: async (sha256) => {
        await bucket.put(modelKey(name, blobKey(sha256)), await readBlob(store, sha256), { sha256 });
      },
      putVersion: async (version, manifest) => {
        try {
          await versions.put(version, manifest);
          return [];
        } catch (error) {
          if (error instanceof BlobsMissing) return error.missing;
          throw error;
        }
      },
    };
    const versions = new ModelVersions(bucket, name);
    const text = new TextDecoder().decode(await read(store, MANIFEST_KEY));
    const { version } = await pushPackage(text, target, { parallel: 1, onProgress });
    await versions.publish(version);
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
