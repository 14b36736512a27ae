/**
 * The hub's routes as this kit needs them: which commit a revision is, which files it holds, a file's bytes from any
 * place on. `@huggingface/hub` knows the API; its own downloads begin again at the first byte and check nothing, so the
 * bytes are asked for here. Here, too, the token is added and a request that fails for a passing reason is made again.
 */
import { setTimeout as delay } from "node:timers/promises";
import { listFiles, modelInfo, REGEX_COMMIT_HASH } from "@huggingface/hub";
import * as z from "zod";
import { EdgeT5Error } from "../../src/errors.ts";
import { PassingError, refused, unreachable } from "./failures.ts";
import type { HubRepository } from "./repository.ts";
import type { HubSettings } from "./settings.ts";

/** A file of a commit. */
export interface HubFile {
  path: string;
  bytes: number;
  /** SHA-256 of a file in large file storage, else git's SHA-1: in lower-case hex, the file's name in the cache. */
  hash: string;
}

const commitSchema = z.string().regex(REGEX_COMMIT_HASH);

const fileSchema = z.object({
  path: z.string(),
  size: z.int().nonnegative(),
  oid: z.string().regex(/^[0-9a-f]{40}$/),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/) }).optional(),
});

export class HubClient {
  readonly #repository: HubRepository;
  readonly #settings: HubSettings;
  readonly #signal: AbortSignal | undefined;

  constructor(repository: HubRepository, settings: HubSettings, signal?: AbortSignal) {
    this.#repository = repository;
    this.#settings = settings;
    this.#signal = signal;
  }

  /** The commit that the revision is now. */
  async commit(): Promise<string> {
    const { id, revision } = this.#repository;
    if (REGEX_COMMIT_HASH.test(revision)) return revision;
    return this.#understand(async () => {
      const info = await modelInfo({ name: id, revision, additionalFields: ["sha"], ...this.#library });
      return commitSchema.parse(info.sha);
    });
  }

  /** The files of a commit's top folder, by name. */
  files(commit: string): Promise<Map<string, HubFile>> {
    return this.#understand(async () => {
      const files = new Map<string, HubFile>();
      for await (const entry of listFiles({ repo: this.#repository.id, revision: commit, ...this.#library })) {
        if (entry.type !== "file") continue;
        const { path, size, oid, lfs } = fileSchema.parse(entry);
        files.set(path, { path, bytes: size, hash: lfs?.oid ?? oid });
      }
      return files;
    });
  }

  /** A file's bytes from `start` to its end; where a connection breaks, the next one goes on. */
  async *bytes(commit: string, file: HubFile, start: number): AsyncGenerator<Uint8Array> {
    const url = new URL(
      `${this.#settings.endpoint}/${this.#repository.id}/resolve/${commit}/${encodeURIComponent(file.path)}`,
    );
    let at = start;
    let failures = 0;
    while (at < file.bytes) {
      try {
        for await (const chunk of this.#bytesOnce(url, at)) {
          // Never more than a file has: a hash that does not fit tells the rest.
          const wanted = chunk.subarray(0, file.bytes - at);
          at += wanted.length;
          failures = 0;
          yield wanted;
          if (at === file.bytes) return;
        }
        throw new PassingError(`${url.origin} ended ${file.path} after ${at} of ${file.bytes} bytes.`);
      } catch (error) {
        await this.#pause(error, failures++);
      }
    }
  }

  async *#bytesOnce(url: URL, start: number): AsyncGenerator<Uint8Array> {
    // Without an encoding: sizes and places are the file's own.
    const headers = { "accept-encoding": "identity", ...(start > 0 && { range: `bytes=${start}-` }) };
    const response = await this.#request(url, headers);
    // A server that knows no ranges sends all of it.
    let skip = response.status === 206 ? 0 : start;
    try {
      for await (const chunk of response.body ?? []) {
        if (skip < chunk.length) yield chunk.subarray(skip);
        skip = Math.max(0, skip - chunk.length);
      }
    } catch (error) {
      this.#signal?.throwIfAborted();
      throw new PassingError(`${new URL(response.url).origin} broke off the connection.`, error);
    }
  }

  /** What every call of the library takes. Its `accessToken` is left out: it accepts none but those of one form. */
  get #library() {
    return { hubUrl: this.#settings.endpoint, fetch: this.#fetchWhole };
  }

  /** `fetch` for the library: answers of some kilobytes, read to their end, so that a broken one is asked for again. */
  readonly #fetchWhole: typeof fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    for (let failures = 0; ; failures++) {
      try {
        const response = await this.#request(url, init?.headers);
        const body = await response.arrayBuffer().catch((error: unknown) => {
          throw new PassingError(`${url.origin} broke off the connection.`, error);
        });
        return new Response(body, { headers: response.headers });
      } catch (error) {
        await this.#pause(error, failures);
      }
    }
  };

  /** One request, its redirects followed. `fetch` leaves the token behind when one leads to another host. */
  async #request(url: URL, headers: HeadersInit | undefined): Promise<Response> {
    const { token, endpoint } = this.#settings;
    const sent = new Headers(headers);
    if (token && url.origin === new URL(endpoint).origin) sent.set("authorization", `Bearer ${token}`);
    const response = await fetch(url, { headers: sent, signal: this.#signal ?? null }).catch((error: unknown) => {
      this.#signal?.throwIfAborted();
      throw unreachable(url, error);
    });
    if (response.ok) return response;
    await response.body?.cancel();
    throw refused(response, this.#repository, this.#settings);
  }

  /** Waits for the next attempt after a passing error; throws any other, and the one too many. */
  async #pause(error: unknown, failures: number): Promise<void> {
    this.#signal?.throwIfAborted();
    const milliseconds = this.#settings.retryDelays[failures];
    if (!(error instanceof PassingError) || milliseconds === undefined) throw error;
    await delay(milliseconds, null, this.#signal && { signal: this.#signal }).catch(() =>
      this.#signal?.throwIfAborted(),
    );
  }

  /** An answer that is not the hub's: a proxy's log-in page, a mirror that lacks the route. */
  async #understand<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (cause) {
      this.#signal?.throwIfAborted();
      if (cause instanceof EdgeT5Error) throw cause;
      const { endpoint } = this.#settings;
      throw new EdgeT5Error(
        "E_IO",
        `${endpoint} does not answer as the hub does when asked for ${this.#repository.id}. Check HF_ENDPOINT and what stands between, or give a local directory.`,
        { cause },
      );
    }
  }
}
