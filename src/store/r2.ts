/** Packages in an R2 bucket, each below its model's name: `models/NAME/manifest.json`, `models/NAME/blobs/…`. */
import type { Store } from "./store.ts";

/** The part of Cloudflare's R2Bucket that is used here: reading needs no Cloudflare types. */
export interface R2Reader {
  get(key: string): Promise<{ body: ReadableStream<Uint8Array> } | null>;
}

/** Below this lie the packages of a bucket. */
export const MODELS_PREFIX = "models/";

/** What a model may be called: one segment of a key. */
export const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function modelKey(name: string, key: string): string {
  return `${MODELS_PREFIX}${name}/${key}`;
}

/** The package of a model. */
export function modelStore(bucket: R2Reader, name: string): Store {
  return {
    description: `r2:${MODELS_PREFIX}${name}`,
    async get(key) {
      const object = await bucket.get(modelKey(name, key));
      return object?.body ?? null;
    },
  };
}
