/**
 * What a job reads and writes: through the gateway's signed routes, or, where the origin has credentials of its own,
 * straight from and to the bucket.
 */
import { createHash } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import type { S3Store } from "../../store/s3.ts";
import { sha256Of } from "../../store/sha256.ts";
import type { Store } from "../../store/store.ts";
import { artifactKey, inputKey } from "../inputs.ts";
import type { ClaimedJob } from "../protocol.ts";
import { artifactAnswerSchema } from "../protocol.ts";
import { type Body, type GatewayClient, Refused } from "./gateway-client.ts";

export interface JobStorage {
  /** Null where there is none. @param path as `inputKey` has it */
  input(path: string): Promise<ReadableStream<Uint8Array> | null>;
  /** What was put. @param artifact `LEASE/NAME` */
  artifact(artifact: string): Promise<ReadableStream<Uint8Array>>;
  /** @returns the artifact's name: `LEASE/NAME` */
  put(name: string, content: Uint8Array<ArrayBuffer> | { file: string }): Promise<string>;
}

export class GatewayStorage implements JobStorage {
  readonly #client: GatewayClient;
  readonly #job: ClaimedJob;
  readonly #signal: AbortSignal;
  readonly #downloads: Downloads;

  /** @param scratch a folder for what is fetched */
  constructor(client: GatewayClient, job: ClaimedJob, scratch: string, signal: AbortSignal) {
    this.#client = client;
    this.#job = job;
    this.#signal = signal;
    this.#downloads = new Downloads(scratch, signal);
  }

  input(path: string): Promise<ReadableStream<Uint8Array> | null> {
    return this.#downloads.fetch(path, () => this.#get(`inputs/${path}`));
  }

  async artifact(artifact: string): Promise<ReadableStream<Uint8Array>> {
    const open = () => this.#get(`artifacts/${artifact}`);
    return (await this.#downloads.fetch(artifact, open)) ?? missing(artifact);
  }

  async put(name: string, content: Uint8Array<ArrayBuffer> | { file: string }): Promise<string> {
    const path = this.#path(`artifacts/${name}`);
    const answer = await this.#client.send("PUT", path, await bodyOf(content), { signal: this.#signal });
    return artifactAnswerSchema.parse(await answer.json()).artifact;
  }

  async #get(path: string): Promise<ReadableStream<Uint8Array> | null> {
    try {
      const answer = await this.#client.send("GET", this.#path(path), null, { signal: this.#signal });
      return answer.body;
    } catch (error) {
      if (error instanceof Refused && error.reason === "not_found") return null;
      throw error;
    }
  }

  #path(path: string): string {
    return `/internal/jobs/${this.#job.id}/${path}?fence=${this.#job.fence}`;
  }
}

/** So often what was cut off is fetched again. */
const TRIES = 5;

/**
 * Fetches all of an object before any of it is read: a connection that waits for its reader is closed by who stands
 * between. What is cut off is fetched again.
 */
class Downloads {
  readonly #folder: string;
  readonly #signal: AbortSignal;
  #count = 0;

  constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder;
    this.#signal = signal;
  }

  /** @throws EdgeT5Error `E_IO` when it is cut off again and again; what `open` throws */
  async fetch(
    what: string,
    open: () => Promise<ReadableStream<Uint8Array> | null>,
  ): Promise<ReadableStream<Uint8Array> | null> {
    const file = join(this.#folder, `download-${this.#count++}`);
    for (let tries = 1; ; tries++) {
      const stream = await open();
      if (!stream) return null;
      try {
        await writeFile(file, stream, { signal: this.#signal });
        return (await openAsBlob(file)).stream();
      } catch (cause) {
        this.#signal.throwIfAborted();
        const { code, message } = cause as NodeJS.ErrnoException;
        if (tries < TRIES && code !== "ENOSPC") continue;
        throw new EdgeT5Error("E_IO", `${what} could not be fetched: ${message}.`, { cause });
      }
    }
  }
}

/** The bucket by its S3 interface: nothing large goes through a Worker. */
export class BucketStorage implements JobStorage {
  readonly #bucket: S3Store;
  readonly #job: ClaimedJob;
  readonly #downloads: Downloads;

  /** @param scratch a folder for what is fetched */
  constructor(bucket: S3Store, job: ClaimedJob, scratch: string, signal: AbortSignal) {
    this.#bucket = bucket;
    this.#job = job;
    this.#downloads = new Downloads(scratch, signal);
  }

  async input(path: string): Promise<ReadableStream<Uint8Array> | null> {
    const key = inputKey(this.#job, path);
    return key === null ? null : this.#downloads.fetch(path, () => this.#bucket.get(key));
  }

  async artifact(artifact: string): Promise<ReadableStream<Uint8Array>> {
    const open = () => this.#bucket.get(artifactKey(this.#job, artifact));
    return (await this.#downloads.fetch(artifact, open)) ?? missing(artifact);
  }

  async put(name: string, content: Uint8Array<ArrayBuffer> | { file: string }): Promise<string> {
    const artifact = `${this.#job.fence}/${name}`;
    const body = content instanceof Uint8Array ? content : (await openAsBlob(content.file)).stream();
    await this.#bucket.put(artifactKey(this.#job, artifact), body);
    return artifact;
  }
}

async function bodyOf(content: Uint8Array<ArrayBuffer> | { file: string }): Promise<Body> {
  if (content instanceof Uint8Array) return { bytes: content, sha256: await sha256Of(content) };
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(content.file)) hash.update(chunk as Buffer);
  return { bytes: await openAsBlob(content.file), sha256: hash.digest("hex") };
}

function missing(artifact: string): never {
  throw new EdgeT5Error("E_IO", `The job's artifact ${artifact} is not there.`);
}

/** A folder of a job's inputs as a store: a model's package, an adapter. */
export function inputStore(storage: JobStorage, folder: string): Store {
  return { description: folder, get: (key) => storage.input(`${folder}/${key}`) };
}
