/**
 * A hub of one repository on this machine, with the routes and headers of the real one: commits, paged listings, files
 * of git (moved to a path of their own) and of large file storage (moved to another host, with ranges).
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export const REPOSITORY = "acme/tiny-t5";

export type Files = Record<string, Uint8Array>;

/** What a request got instead of its answer. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  /** No answer: the connection ends. */
  | { reset: true }
  /** This many bytes, then no more until {@link HubServer.drop}. */
  | { holdAfter: number }
  /** A byte is another. */
  | { flip: number }
  /** All of the file, whatever range was asked for. */
  | { wholeFile: true };

export interface Received {
  host: "hub" | "storage";
  /** With its query. */
  path: string;
  range: string | undefined;
  authorization: string | undefined;
  /** Bytes of body that were sent. */
  sent: number;
}

export class HubServer {
  endpoint = "";
  /** The other host. */
  storage = "";
  readonly received: Received[] = [];
  /** Asked at every request for what to do instead. */
  fault: (request: Received) => Fault | null | undefined = () => null;
  readonly #held = new Set<ServerResponse>();
  readonly #commits = new Map<string, Files>();
  readonly #revisions = new Map<string, string>();

  /** A hub that stops when the test ends. */
  static async serve(files: Files): Promise<HubServer> {
    const server = new HubServer();
    server.endpoint = await listen((request, response) => server.#answer("hub", request, response));
    server.storage = await listen((request, response) => server.#answer("storage", request, response));
    server.commit(files);
    return server;
  }

  /** Moves a branch to a new commit. @returns the commit */
  commit(files: Files, revision = "main"): string {
    const commit = createHash("sha1").update(`${revision} ${this.#commits.size}`).digest("hex");
    this.#commits.set(commit, files);
    this.#revisions.set(revision, commit);
    return commit;
  }

  /** Ends the connections that are held, in the middle of an answer. */
  drop(): void {
    for (const response of this.#held) response.socket?.destroy();
    this.#held.clear();
  }

  /** Requests for the bytes of a file, where they were answered. */
  downloads(name: string): Received[] {
    return this.received.filter(({ path }) => path.includes(`/${name}?bytes`));
  }

  /** Every file whose bytes were asked for. */
  downloaded(): string[] {
    const names = this.received.map(({ path }) => /([^/]+)\?bytes/.exec(path)?.[1]);
    return [...new Set(names.filter((name) => name !== undefined))].sort();
  }

  #hub(request: IncomingMessage, response: ServerResponse, received: Received, fault: Fault | null): void {
    const { pathname, searchParams } = new URL(request.url!, this.endpoint);
    const short = pathname.replace(`/api/models/${REPOSITORY}/`, "/").replace(`/${REPOSITORY}/`, "/");
    const [, route, revision = "", name = ""] = short.split("/").map(decodeURIComponent);
    const commit = this.#revisions.get(revision) ?? revision;
    const files = this.#commits.get(commit);
    const file = files?.[name];
    if (!files) refuse(response, { status: 404, headers: { "x-error-code": "RevisionNotFound" } });
    else if (route === "revision") json(response, { _id: "1", id: REPOSITORY, sha: commit });
    else if (route === "tree") this.#tree(response, files, pathname, Number(searchParams.get("cursor") ?? 0));
    else if (!file) refuse(response, { status: 404, headers: { "x-error-code": "EntryNotFound" } });
    else if (route === "bytes") this.#bytes(response, file, received, fault);
    else {
      const location = isLarge(name)
        ? `${this.storage}/${commit}/${name}?bytes&signature=abc`
        : `/bytes/${commit}/${name}?bytes`;
      response.writeHead(302, { location, "x-repo-commit": commit, "x-linked-size": file.length });
      response.end();
    }
  }

  #store(request: IncomingMessage, response: ServerResponse, received: Received, fault: Fault | null): void {
    const [, commit, name] = /^\/(\w+)\/(.*)\?bytes/.exec(request.url!)!;
    this.#bytes(response, this.#commits.get(commit!)![name!]!, received, fault);
  }

  #bytes(response: ServerResponse, file: Uint8Array, received: Received, fault: Fault | null): void {
    const range = fault && "wholeFile" in fault ? undefined : /^bytes=(\d+)-$/.exec(received.range ?? "");
    const start = Number(range?.[1] ?? 0);
    const body = Buffer.from(file.subarray(start));
    if (fault && "flip" in fault) body[fault.flip]! ^= 1;
    response.writeHead(range ? 206 : 200, {
      "accept-ranges": "bytes",
      "content-length": body.length,
      ...(range ? { "content-range": `bytes ${start}-${file.length - 1}/${file.length}` } : {}),
    });
    const end = fault && "holdAfter" in fault ? fault.holdAfter : body.length;
    received.sent = end;
    if (end === body.length) {
      response.end(body);
    } else {
      response.write(body.subarray(0, end));
      this.#held.add(response);
    }
  }

  /** Three entries a page. */
  #tree(response: ServerResponse, files: Files, pathname: string, start: number): void {
    const entries = [
      { type: "directory", path: "onnx", size: 0, oid: "0".repeat(40) },
      ...Object.entries(files).map(([path, bytes]) => entryOf(path, bytes)),
    ];
    if (start + 3 < entries.length) {
      response.setHeader("link", `<${this.endpoint}${pathname}?cursor=${start + 3}>; rel="next"`);
    }
    json(response, entries.slice(start, start + 3));
  }

  /** Notes a request, and answers it unless it meets a fault. */
  #answer(host: Received["host"], request: IncomingMessage, response: ServerResponse): void {
    const { range, authorization } = request.headers;
    const received = { host, path: request.url!, range, authorization, sent: 0 };
    this.received.push(received);
    const fault = this.fault(received) ?? null;
    if (fault && "status" in fault) refuse(response, fault);
    else if (fault && "reset" in fault) request.socket.destroy();
    else if (host === "hub") this.#hub(request, response, received, fault);
    else this.#store(request, response, received, fault);
  }
}

/** A folder's files, as a commit. */
export async function filesOf(dir: string): Promise<Files> {
  const names = await readdir(dir);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(dir, name))])));
}

/** The name that a file has among the cache's blobs. */
export function hashOf(path: string, bytes: Uint8Array): string {
  if (isLarge(path)) return createHash("sha256").update(bytes).digest("hex");
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function isLarge(path: string): boolean {
  return /\.(safetensors|bin|h5|msgpack)$/.test(path);
}

function entryOf(path: string, bytes: Uint8Array): object {
  const entry = { type: "file", path, size: bytes.length, oid: hashOf(path, bytes) };
  if (!isLarge(path)) return entry;
  const lfs = { oid: entry.oid, size: bytes.length, pointerSize: 134 };
  return { ...entry, oid: "1".repeat(40), lfs, xetHash: "2".repeat(64) };
}

function refuse(response: ServerResponse, { status, headers, body }: Extract<Fault, { status: number }>): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(body ?? '{"error":"no"}');
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

/** An address where nothing listens. */
export async function closedEndpoint(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const endpoint = addressOf(server);
  await new Promise((resolve) => server.close(resolve));
  return endpoint;
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return addressOf(server);
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
