/**
 * What a job reads and writes: through the gateway's signed routes, or, where the origin has credentials of its own,
 * straight from and to the bucket.
 */
import { createHash } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
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

  constructor(client: GatewayClient, job: ClaimedJob, signal: AbortSignal) {
    this.#client = client;
    this.#job = job;
    this.#signal = signal;
  }

  async input(path: string): Promise<ReadableStream<Uint8Array> | null> {
    return (await this.#get(`inputs/${path}`)) ?? null;
  }

  async artifact(artifact: string): Promise<ReadableStream<Uint8Array>> {
    return (await this.#get(`artifacts/${artifact}`)) ?? missing(artifact);
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

/** The bucket by its S3 interface: nothing large goes through a Worker. */
export class BucketStorage implements JobStorage {
  readonly #bucket: S3Store;
  readonly #job: ClaimedJob;

  constructor(bucket: S3Store, job: ClaimedJob) {
    this.#bucket = bucket;
    this.#job = job;
  }

  async input(path: string): Promise<ReadableStream<Uint8Array> | null> {
    const key = inputKey(this.#job, path);
    return key === null ? null : this.#bucket.get(key);
  }

  async artifact(artifact: string): Promise<ReadableStream<Uint8Array>> {
    return (await this.#bucket.get(artifactKey(this.#job, artifact))) ?? missing(artifact);
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
