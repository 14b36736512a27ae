/** A package in a bucket that speaks S3: R2 from outside Cloudflare, AWS, MinIO. Requests are signed (SigV4). */
import { AwsClient } from "aws4fetch";
import { EdgeT5Error } from "../errors.ts";
import { bodyOf } from "./http.ts";
import type { WritableStore } from "./store.ts";

export interface S3Options {
  /** `https://ACCOUNT.r2.cloudflarestorage.com`, `https://s3.eu-central-1.amazonaws.com`, … */
  endpoint: string;
  bucket: string;
  /** Before every key, without a slash at its end; default: none. */
  prefix?: string | undefined;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** Default: `auto`, as R2 has it. */
  region?: string | undefined;
}

export class S3Store implements WritableStore {
  readonly description: string;
  readonly #base: string;
  readonly #client: AwsClient;

  constructor({ endpoint, bucket, prefix, accessKeyId, secretAccessKey, sessionToken, region = "auto" }: S3Options) {
    this.#base = [endpoint.replace(/\/+$/, ""), bucket, ...(prefix ? [prefix] : [])].join("/");
    this.description = `s3:${bucket}${prefix ? `/${prefix}` : ""}`;
    this.#client = new AwsClient({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken && { sessionToken }),
      region,
      service: "s3",
    });
  }

  /** @throws EdgeT5Error `E_IO` when the bucket refuses, or cannot be reached */
  async get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const address = `${this.#base}/${key}`;
    return bodyOf(await this.#send(address, { method: "GET" }), address);
  }

  /** @throws EdgeT5Error `E_IO` when the bucket refuses, or cannot be reached */
  async put(key: string, body: Uint8Array | ReadableStream<Uint8Array>): Promise<void> {
    const address = `${this.#base}/${key}`;
    // Signed with its hash, and sent with its length: S3 takes no body of unknown size.
    const bytes = new Uint8Array(await new Response(body as BodyInit).arrayBuffer());
    const response = await this.#send(address, { method: "PUT", body: bytes });
    if (!response.ok) await bodyOf(response, address);
    if (response.status === 404) throw new EdgeT5Error("E_IO", `${address} answers 404: there is no such bucket.`);
    await response.body?.cancel();
  }

  #send(address: string, init: RequestInit): Promise<Response> {
    return this.#client.fetch(address, init).catch((cause: Error) => {
      throw new EdgeT5Error("E_IO", `${address} cannot be reached: ${cause.message}. Check endpoint and network.`, {
        cause,
      });
    });
  }
}
