/** A store in an R2 bucket, below a prefix such as `models/default/`. */
import type { Store } from "./store.ts";

/** The part of Cloudflare's R2Bucket that is used here: reading needs no Cloudflare types. */
export interface R2Reader {
  get(key: string): Promise<{ body: ReadableStream<Uint8Array> } | null>;
}

export class R2Store implements Store {
  readonly description: string;
  readonly #bucket: R2Reader;
  readonly #prefix: string;

  constructor(bucket: R2Reader, prefix: string) {
    this.description = `r2:${prefix}`;
    this.#bucket = bucket;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const object = await this.#bucket.get(this.#prefix + key);
    return object?.body ?? null;
  }
}
