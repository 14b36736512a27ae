/** The gateway as an origin calls it: every request signed anew, and tried again while the gateway cannot be reached. */
import { setTimeout as delay } from "node:timers/promises";
import type * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import { sha256Of } from "../../store/sha256.ts";
import {
  type Checkpoint,
  type ClaimedJob,
  checkpointsAnswerSchema,
  claimAnswerSchema,
  type claimSchema,
  type Finish,
  type Heartbeat,
  heartbeatAnswerSchema,
} from "../protocol.ts";
import { signatureHeaders } from "../signature.ts";
import { StaleLease } from "./runner.ts";

/** What the gateway does not take, in its own words: to send it again is of no use. */
export class Refused extends EdgeT5Error {
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super("E_IO", `The gateway answers ${status}: ${message} (${reason})`);
    this.reason = reason;
  }
}

/** Bytes to send, with their hash: what is large lies in a file. */
export interface Body {
  bytes: Uint8Array<ArrayBuffer> | Blob;
  sha256: string;
}

/** So long the gateway may be away before a request fails. */
const PATIENCE_MS = 60_000;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 5_000;
/** Of one try. */
const TIMEOUT_MS = 120_000;

export interface Sending {
  /** Default: {@link PATIENCE_MS}; 0: one try. */
  patienceMs?: number;
  signal?: AbortSignal | undefined;
}

export class GatewayClient {
  readonly url: string;
  readonly #secret: string;

  constructor(url: string, secret: string) {
    this.url = url.replace(/\/+$/, "");
    this.#secret = secret;
  }

  async claim(request: z.input<typeof claimSchema>, sending: Sending = {}): Promise<ClaimedJob | null> {
    const answer = await this.#postJson("/internal/jobs/claim", request, sending);
    return claimAnswerSchema.parse(await answer.json()).job;
  }

  async heartbeat(job: string, request: Heartbeat, sending: Sending = {}): Promise<{ cancel: boolean }> {
    const answer = await this.#postJson(`/internal/jobs/${job}/heartbeat`, request, sending);
    return heartbeatAnswerSchema.parse(await answer.json());
  }

  async finish(job: string, request: Finish, sending: Sending = {}): Promise<void> {
    const answer = await this.#postJson(`/internal/jobs/${job}/finish`, request, sending);
    await answer.body?.cancel();
  }

  async release(job: string, fence: number): Promise<void> {
    await this.#postJson(`/internal/jobs/${job}/release`, { fence }, { patienceMs: 0 });
  }

  async checkpoints(job: string, fence: number): Promise<Checkpoint[]> {
    const answer = await this.send("GET", `/internal/jobs/${job}/checkpoints?fence=${fence}`);
    return checkpointsAnswerSchema.parse(await answer.json()).data;
  }

  async #postJson(path: string, value: object, sending: Sending): Promise<Response> {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    return this.send("POST", path, { bytes, sha256: await sha256Of(bytes) }, sending);
  }

  /**
   * @returns an answer that is well
   * @throws StaleLease; Refused for what would be refused again; EdgeT5Error `E_IO` when the gateway stays away
   */
  async send(
    method: string,
    path: string,
    body: Body | null = null,
    { patienceMs = PATIENCE_MS, signal }: Sending = {},
  ): Promise<Response> {
    const end = Date.now() + patienceMs;
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      signal?.throwIfAborted();
      const tried = await this.#try(method, path, body, signal);
      if (tried instanceof Response) return tried;
      if (tried instanceof Refused || tried instanceof StaleLease || Date.now() + wait > end) throw tried;
      await delay(wait, undefined, signal && { signal });
    }
  }

  async #try(
    method: string,
    path: string,
    body: Body | null,
    signal: AbortSignal | undefined,
  ): Promise<Response | Error> {
    const bodyHash = body?.sha256 ?? (await sha256Of(new Uint8Array(0)));
    const headers = await signatureHeaders(this.#secret, { method, path, bodyHash }, Date.now());
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    let response: Response;
    try {
      response = await fetch(this.url + path, {
        method,
        headers,
        ...(body && { body: body.bytes }),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const why = ((cause as Error).cause as Error | undefined)?.message ?? (cause as Error).message;
      return new EdgeT5Error("E_IO", `${this.url} cannot be reached: ${why}. Is it the gateway's address?`, { cause });
    }
    if (response.ok) return response;
    const text = await response.text().catch(() => "");
    const { message, code } = errorIn(text) ?? { message: text.slice(0, 200), code: "unknown" };
    if (code === "stale_lease") return new StaleLease(message);
    const mayPass = response.status >= 500 || response.status === 429 || code === "replayed_signature";
    if (!mayPass) return new Refused(response.status, code, message);
    return new EdgeT5Error("E_IO", `${this.url} answers ${response.status}: ${message}`);
  }
}

function errorIn(text: string): { message: string; code: string } | null {
  try {
    const { error } = JSON.parse(text) as { error?: { message?: string; code?: string } };
    return error?.message ? { message: error.message, code: error.code ?? "unknown" } : null;
  } catch {
    return null;
  }
}
