/** A gateway's admin routes as the place where a package is pushed to: uploads stream, and what fails is tried again. */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { EdgeT5Error } from "../errors.ts";
import { blobKey } from "../t5/manifest.ts";
import type { PushTarget } from "../tenancy/push-package.ts";
import { type ControlPlaneArgs, gatewayOf, refusal, unreachable } from "./control-plane.ts";

/** Pauses before each further try, milliseconds. */
const PAUSES_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** The longest that a gateway's own wish for a pause is followed. */
const MOST_PAUSE_MS = 30_000;

export interface GatewayPushOptions {
  /** The package's folder. */
  dir: string;
  /** The model's name there. */
  name: string;
  signal: AbortSignal;
  /** Called with the length of what is sent; with a negative one when it has to be sent again. */
  onSent?: (bytes: number) => void;
}

export class GatewayPush implements PushTarget {
  readonly url: string;
  readonly #token: string;
  readonly #options: GatewayPushOptions;

  private constructor(url: string, token: string, options: GatewayPushOptions) {
    this.url = url;
    this.#token = token;
    this.#options = options;
  }

  /** @throws EdgeT5Error `E_USAGE` when no token is known */
  static async connect(args: ControlPlaneArgs, options: GatewayPushOptions): Promise<GatewayPush> {
    const { url, token } = await gatewayOf(args);
    return new GatewayPush(url, token, options);
  }

  async hasBlob(sha256: string): Promise<boolean> {
    const response = await this.#send("HEAD", this.#pathOf(blobKey(sha256)));
    if (response.ok) return true;
    if (response.status === 404) return false;
    // HEAD has no words: the same with GET does.
    throw refusal(response.status, await (await this.#send("GET", this.#pathOf(blobKey(sha256)))).text());
  }

  async putBlob(sha256: string, bytes: number): Promise<void> {
    const { dir, onSent } = this.#options;
    let sent = 0;
    const body = () => {
      onSent?.(-sent);
      sent = 0;
      const file = createReadStream(join(dir, blobKey(sha256)));
      file.on("data", (chunk) => {
        sent += chunk.length;
        onSent?.(chunk.length);
      });
      return Readable.toWeb(file) as ReadableStream<Uint8Array<ArrayBuffer>>;
    };
    const response = await this.#send("PUT", this.#pathOf(blobKey(sha256)), body, { "content-length": String(bytes) });
    const text = await response.text();
    if (response.ok) return;
    if (response.status === 413) {
      throw new EdgeT5Error(
        "E_IO",
        `Blob ${sha256} has ${bytes} bytes, more than the gateway's plan takes in one request (Free and Pro: 100 MB). Split again with a smaller --shard-mb.`,
      );
    }
    throw refusal(response.status, text);
  }

  async putVersion(version: string, manifest: string): Promise<readonly string[]> {
    const response = await this.#send("PUT", this.#pathOf(`versions/${version}`), () => manifest, {
      "content-type": "application/json",
    });
    const text = await response.text();
    if (response.ok) return [];
    const { error } = asError(text);
    if (error?.code === "blobs_missing" && error.missing) return error.missing;
    throw refusal(response.status, text);
  }

  async publish(version: string, check: boolean): Promise<void> {
    const body = JSON.stringify({ version, check });
    const response = await this.#send("POST", this.#pathOf("publish"), () => body, {
      "content-type": "application/json",
    });
    const text = await response.text();
    if (!response.ok) throw refusal(response.status, text);
  }

  /** The version that requests get; null where none was published. */
  async current(): Promise<string | null> {
    const response = await this.#send("GET", this.#pathOf());
    const text = await response.text();
    if (response.status === 404) return null;
    if (!response.ok) throw refusal(response.status, text);
    return (JSON.parse(text) as { version: string | null }).version;
  }

  #pathOf(key?: string): string {
    const path = `/admin/models/${encodeURIComponent(this.#options.name)}`;
    return key === undefined ? path : `${path}/${key}`;
  }

  /** @returns the answer, whatever its status, unless it is one that another try may change and there are none left */
  async #send(
    method: string,
    path: string,
    body?: () => string | ReadableStream<Uint8Array<ArrayBuffer>>,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const { signal } = this.#options;
    for (let tries = 0; ; tries++) {
      const pause = PAUSES_MS[tries];
      try {
        const response = await fetch(`${this.url}${path}`, {
          method,
          headers: { ...headers, authorization: `Bearer ${this.#token}` },
          ...(body && { body: body(), duplex: "half" }),
          signal,
        } as RequestInit);
        const mayChange = response.status >= 500 || response.status === 429 || response.status === 408;
        if (!mayChange || pause === undefined) return response;
        await response.body?.cancel();
        const wished = Number(response.headers.get("retry-after") ?? 0) * 1_000;
        await delay(Math.max(pause, Math.min(wished, MOST_PAUSE_MS)), undefined, { signal });
      } catch (error) {
        signal.throwIfAborted();
        if ((error as { syscall?: string }).syscall === "open") throw error;
        if (pause === undefined) throw unreachable(this.url, error as Error);
        await delay(pause, undefined, { signal });
      }
    }
  }
}

function asError(text: string): { error?: { code?: string; missing?: string[] } } {
  try {
    return JSON.parse(text) as ReturnType<typeof asError>;
  } catch {
    return {};
  }
}
