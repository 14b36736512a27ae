/**
 * A double of Cloudflare's API, as far as wrangler asks it while `edge-t5 deploy` runs: there is no account here. The
 * wrangler that asks is the real one. It keeps what was made, refuses what refers to something that is not there, and
 * records every request that changes something.
 */

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Version {
  id: string;
  tag: string | null;
}

interface DeployedWorker {
  versions: Version[];
  bindings: Binding[];
  secrets: Map<string, string>;
}

interface Binding {
  type: string;
  name: string;
  text?: string;
  service?: string;
  bucket_name?: string;
  queue_name?: string;
  id?: string;
  database_id?: string;
}

const ACCOUNT = "account-of-the-double";
const TOKEN = "token-of-the-double";

type Answer = { result: unknown; info?: object } | { status: number; code: number; message: string };

export class CloudflareDouble {
  readonly buckets = new Set<string>();
  /** By name: id, and the statements that were run. */
  readonly databases = new Map<string, { id: string; migrations: string[] }>();
  readonly queues = new Map<string, { id: string; consumers: object[] }>();
  readonly workers = new Map<string, DeployedWorker>();
  /** What was changed, in its order. */
  readonly changes: string[] = [];
  /** What nobody here knows how to answer. */
  readonly unknown: string[] = [];
  /** All that was asked. */
  requests = 0;
  /** Makes a change fail, once. */
  failNext: RegExp | null = null;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<CloudflareDouble> {
    const double = new CloudflareDouble();
    double.#server.listen(0, "127.0.0.1");
    await once(double.#server, "listening");
    return double;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** What has wrangler ask here. */
  get env(): Record<string, string> {
    return {
      CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      CLOUDFLARE_API_TOKEN: TOKEN,
      CLOUDFLARE_ACCOUNT_ID: ACCOUNT,
    };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.requests++;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const url = new URL(request.url ?? "", "http://double");
    const path = url.pathname.replace(`/accounts/${ACCOUNT}`, "");
    const form = await formOf(request, body);
    const answer =
      request.headers.authorization === `Bearer ${TOKEN}`
        ? await this.#answer(request.method ?? "", path, url.searchParams, body.toString("utf8"), form)
        : { status: 401, code: 10000, message: "Authentication error" };
    const isRefused = "status" in answer;
    response.writeHead(isRefused ? answer.status : 200, { "content-type": "application/json" });
    response.end(
      JSON.stringify(
        isRefused
          ? { success: false, errors: [{ code: answer.code, message: answer.message }], messages: [], result: null }
          : { success: true, errors: [], messages: [], result: answer.result, result_info: answer.info },
      ),
    );
  }

  async #answer(
    method: string,
    path: string,
    query: URLSearchParams,
    body: string,
    form: FormData | null,
  ): Promise<Answer> {
    const [, first, second, third, fourth] = path.split("/");
    const json = () => JSON.parse(body) as Record<string, string>;
    const isChange = method !== "GET" && !path.endsWith("/query");
    if (isChange && this.failNext?.test(`${method} ${path}`)) {
      this.failNext = null;
      return { status: 400, code: 10001, message: "The double was told to fail here" };
    }
    if (isChange && path !== "/graphql") this.changes.push(`${method} ${path}`);

    if (path === "/user/tokens/verify") return { result: { id: "t", status: "active" } };
    if (path === "/user") return { result: { id: "u", email: "double@example.org" } };
    if (path === "/accounts") return { result: [{ id: ACCOUNT, name: "Double" }] };
    if (path === "/memberships") return { result: [{ id: "m", account: { id: ACCOUNT, name: "Double" } }] };

    if (path === "/r2/buckets" && method === "POST") {
      this.buckets.add(json().name ?? "");
      return { result: {} };
    }
    if (first === "r2" && third) {
      if (!this.buckets.has(third))
        return { status: 404, code: 10006, message: "The specified bucket does not exist." };
      return { result: { name: third, creation_date: "2026-11-01", location: "WEUR", storage_class: "Standard" } };
    }
    if (path === "/graphql") return { result: null };

    if (path === "/d1/database") {
      if (method === "POST") this.databases.set(json().name ?? "", { id: randomUUID(), migrations: [] });
      const wanted = query.get("name");
      const all = [...this.databases].map(([name, { id }]) => ({ uuid: id, name, version: "production" }));
      if (method === "POST") return { result: all.at(-1) };
      const found = wanted ? all.filter(({ name }) => name === wanted) : all;
      return { result: found, info: { page: 1, per_page: 100, count: found.length, total_count: found.length } };
    }
    if (first === "d1" && third) {
      const entry = [...this.databases].find(([, { id }]) => id === third);
      if (!entry) return { status: 404, code: 7404, message: "The database does not exist" };
      const [name, database] = entry;
      if (!fourth) return { result: { uuid: third, name, version: "production" } };
      const { sql = "" } = json();
      if (/SELECT \*\s+FROM \W?d1_migrations/i.test(sql)) {
        const rows = database.migrations.map((migration, i) => ({
          id: i + 1,
          name: migration,
          applied_at: "2026-11-01",
        }));
        return { result: [{ results: rows, success: true, meta: {} }] };
      }
      for (const [, migration = ""] of sql.matchAll(
        /INSERT INTO \W?d1_migrations\W? \(name\)\s+values \('([^']+)'\)/gi,
      )) {
        database.migrations.push(migration);
        this.changes.push(`migration ${migration}`);
      }
      return { result: [{ results: [], success: true, meta: {} }] };
    }

    if (path === "/queues") {
      if (method === "POST") {
        const name = json().queue_name ?? "";
        this.queues.set(name, { id: randomUUID(), consumers: [] });
        return { result: { queue_id: this.queues.get(name)?.id, queue_name: name } };
      }
      const wanted = query.getAll("name");
      const all = [...this.queues].map(([name, { id, consumers }]) => ({
        queue_id: id,
        queue_name: name,
        consumers,
        producers: [],
      }));
      return { result: wanted.length > 0 ? all.filter(({ queue_name }) => wanted.includes(queue_name)) : all };
    }
    if (first === "queues" && third === "consumers") {
      const queue = [...this.queues.values()].find(({ id }) => id === second);
      if (!queue) return { status: 404, code: 11000, message: "The queue does not exist" };
      if (method !== "GET") queue.consumers.push({ consumer_id: randomUUID(), type: "worker", ...json() });
      return { result: method === "GET" ? queue.consumers : queue.consumers.at(-1) };
    }

    if (path === "/workers/subdomain") return { result: { subdomain: "double" } };
    if (first === "workers" && second === "workers" && third && this.workers.has(third)) {
      return { result: { id: third, name: third, subdomain: { enabled: false, previews_enabled: false } } };
    }
    if (first === "workers" && (second === "scripts" || second === "services") && third) {
      return this.#worker(method, third, path.split("/").slice(4).join("/"), form);
    }
    this.unknown.push(`${method} ${path}`);
    return { status: 404, code: 7003, message: `The double knows no ${method} ${path}` };
  }

  async #worker(method: string, name: string, rest: string, form: FormData | null): Promise<Answer> {
    const worker = this.workers.get(name);
    const isUpload = (rest === "" || rest === "versions") && (method === "PUT" || method === "POST");
    if (!worker && !isUpload) {
      return { status: 404, code: 10007, message: "This Worker does not exist on your account." };
    }
    if (isUpload) {
      const metadata = JSON.parse(await textOf(form?.get("metadata") ?? null)) as {
        bindings?: Binding[];
        annotations?: Record<string, string>;
      };
      const bindings = metadata.bindings ?? [];
      const lost = bindings.find((binding) => !this.#isThere(binding));
      if (lost) return { status: 400, code: 10021, message: `binding ${lost.name} refers to what does not exist` };
      const uploaded: DeployedWorker = worker ?? { versions: [], bindings: [], secrets: new Map() };
      const version = { id: randomUUID(), tag: metadata.annotations?.["workers/tag"] ?? null };
      uploaded.versions.unshift(version);
      uploaded.bindings = bindings;
      for (const binding of bindings) {
        if (binding.type === "secret_text") uploaded.secrets.set(binding.name, binding.text ?? "");
      }
      this.workers.set(name, uploaded);
      return {
        result: { id: version.id, deployment_id: version.id, startup_time_ms: 5, etag: version.id, metadata: {} },
      };
    }
    const { versions = [], secrets = new Map<string, string>() } = worker ?? {};
    const items = versions.map(({ id, tag }, i) => ({
      id,
      number: versions.length - i,
      metadata: { created_on: "2026-11-01T00:00:00Z", modified_on: "2026-11-01T00:00:00Z", source: "wrangler" },
      annotations: tag ? { "workers/tag": tag } : {},
    }));
    if (rest === "secrets")
      return { result: [...secrets.keys()].map((secret) => ({ name: secret, type: "secret_text" })) };
    if (rest === "versions") return { result: { items } };
    if (rest === "deployments" && method === "GET") {
      const deployments = versions.slice(0, 1).map(({ id }) => ({
        id: `deployment-${id}`,
        source: "wrangler",
        strategy: "percentage",
        author_email: "double@example.org",
        created_on: "2026-11-01T00:00:00Z",
        annotations: {},
        versions: [{ version_id: id, percentage: 100 }],
      }));
      return { result: { deployments } };
    }
    if (rest === "deployments") return { result: { id: randomUUID() } };
    if (rest === "subdomain") return { result: { enabled: true, previews_enabled: false } };
    if (rest === "")
      return {
        result: { default_environment: { environment: "production", script: { last_deployed_from: "wrangler" } } },
      };
    if (rest === "schedules" && method === "PUT") return { result: { schedules: [] } };
    this.unknown.push(`${method} ${name}/${rest}`);
    return { status: 404, code: 7003, message: `The double knows no ${method} of a Worker's ${rest}` };
  }

  #isThere({ type, service, bucket_name, queue_name, id, database_id }: Binding): boolean {
    if (type === "service") return this.workers.has(service ?? "");
    if (type === "r2_bucket") return this.buckets.has(bucket_name ?? "");
    if (type === "queue") return this.queues.has(queue_name ?? "");
    if (type === "d1") return [...this.databases.values()].some((database) => database.id === (id ?? database_id));
    return true;
  }
}

async function formOf(request: IncomingMessage, body: Buffer): Promise<FormData | null> {
  const type = request.headers["content-type"] ?? "";
  if (!type.startsWith("multipart/form-data")) return null;
  return new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData();
}

async function textOf(value: FormDataEntryValue | null): Promise<string> {
  return value instanceof Blob ? value.text() : (value ?? "");
}
