/**
 * Packages in an R2 bucket, each below its model's name. Blobs belong to all versions of a model, a version's manifest
 * never changes, and one small object says which version is asked for now:
 * `models/NAME/blobs/SHA256`, `models/NAME/versions/VERSION/manifest.json`, `models/NAME/current.json`.
 */
import { EdgeT5Error } from "../errors.ts";
import { parsePointer } from "./model-pointer.ts";
import { arrivalsOf, type Filling, type Store } from "./store.ts";

/** The part of Cloudflare's R2Bucket that is used here: reading needs no Cloudflare types. */
export interface R2Reader {
  get(key: string): Promise<R2ObjectRead | null>;
}

interface R2ObjectRead {
  body: ReadableStream<Uint8Array>;
  /** With what the object was put, if with any: R2 refuses bytes that have another. */
  checksums?: { toJSON(): { sha256?: string } };
}

/** Below this lie the packages of a bucket. */
export const MODELS_PREFIX = "models/";

/** What a model may be called: one segment of a key. */
export const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The first 16 hex digits of the SHA-256 of a version's manifest. */
export const MODEL_VERSION = /^[0-9a-f]{16}$/;

/** In a model's folder: which of its versions is asked for now. */
export const POINTER_KEY = "current.json";

export function modelKey(name: string, key: string): string {
  return `${MODELS_PREFIX}${name}/${key}`;
}

/** Of a version's folder, below its model's. */
export function versionKey(version: string, key: string): string {
  return `versions/${version}/${key}`;
}

/** One version of a model in one word, as the private Workers are asked for it: `NAME@VERSION`. */
export function modelId(name: string, version: string): string {
  return `${name}@${version}`;
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

  async fill(key: string, target: Uint8Array): Promise<Filling | null> {
    const object = await this.#bucket.get(this.#prefix + key);
    return object && { arrivals: arrivalsOf(object.body, target), sha256: object.checksums?.toJSON().sha256 };
  }
}

/** One version's package: the manifest is its own, the blobs are its model's. */
class VersionStore implements Store {
  readonly description: string;
  readonly #store: R2Store;
  readonly #version: () => Promise<string | null>;
  #found: string | undefined;

  constructor(bucket: R2Reader, name: string, version: string | undefined) {
    this.description = `r2:${MODELS_PREFIX}${version === undefined ? name : modelId(name, version)}`;
    this.#store = new R2Store(bucket, modelKey(name, ""));
    this.#found = version;
    this.#version = async () => {
      const stream = await this.#store.get(POINTER_KEY);
      if (stream === null) return null;
      const text = await new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).text();
      return parsePointer(text, `${this.#store.description}/${POINTER_KEY}`).version;
    };
  }

  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const place = await this.#placeOf(key);
    return place === null ? null : this.#store.get(place);
  }

  async fill(key: string, target: Uint8Array): Promise<Filling | null> {
    const place = await this.#placeOf(key);
    return place === null ? null : this.#store.fill(place, target);
  }

  async #placeOf(key: string): Promise<string | null> {
    if (key.startsWith("blobs/")) return key;
    // Found out once: what is read from one store is all of one version.
    this.#found ??= (await this.#version()) ?? undefined;
    return this.#found === undefined ? null : versionKey(this.#found, key);
  }
}

/**
 * The package of a model, where `edge-t5 start`, `push` and deployments keep it.
 *
 * @param id `NAME@VERSION`, or `NAME` for the version that is current when it is first read
 * @throws EdgeT5Error `E_INPUT` for what is neither
 */
export function modelStore(bucket: R2Reader, id: string): Store {
  const [name = "", version, ...rest] = id.split("@");
  if (!MODEL_NAME.test(name) || rest.length > 0 || (version !== undefined && !MODEL_VERSION.test(version))) {
    throw new EdgeT5Error("E_INPUT", `${JSON.stringify(id)} names no model: it must be NAME or NAME@VERSION.`);
  }
  return new VersionStore(bucket, name, version);
}
