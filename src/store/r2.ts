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

/** A package in an R2 bucket. */
export class R2Store implements Store {
  readonly description: string;
  readonly #bucket: R2Reader;
  readonly #prefix: string;

  /** @param prefix before every key, with the slash at its end; default: none */
  constructor(bucket: R2Reader, prefix = "") {
    this.description = `r2:${prefix.replace(/\/$/, "")}`;
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const object = await this.#bucket.get(this.#prefix + key);
    return object?.body ?? null;
  }
}

/** The package of a model, where `edge-t5 start` and deployments keep it. */
export function modelStore(bucket: R2Reader, name: string): Store {
  return new R2Store(bucket, modelKey(name, ""));
}
