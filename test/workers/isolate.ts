/** Gateway, encoder and decoder in one isolate of workerd, over its real local R2. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import decoder from "../../functions/decoder/index.ts";
import encoder from "../../functions/encoder/index.ts";
import { app as gateway } from "../../functions/gateway/app.ts";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { setCurrent } from "../../functions/gateway/models.ts";
import reader from "../../functions/reader/index.ts";
import type { ReaderBindings } from "../../functions/reader/routes.ts";
import type { HalfBindings } from "../../functions/shared/half.ts";
import { emptyPointer } from "../../src/store/model-pointer.ts";
import { modelKey, POINTER_KEY } from "../../src/store/r2.ts";
import { MANIFEST_KEY, type Manifest, parseManifest } from "../../src/t5/manifest.ts";
import { NO_QUOTAS, SCOPES } from "../../src/tenancy/caller.ts";
import { createKey, type KeySettings } from "../../src/tenancy/keys.ts";
import { ModelVersions, versionOf } from "../../src/tenancy/model-versions.ts";
import { createTenant, findTenant, type TenantSettings } from "../../src/tenancy/tenants.ts";

const { SHARDS, PACKAGE, DB, USAGE, JOBS, TENANTS } = env as unknown as { PACKAGE: Fetcher } & Pick<
  GatewayBindings,
  "SHARDS" | "DB" | "USAGE" | "JOBS" | "TENANTS"
>;

/** The object that counts for a tenant, or for a test. */
export function meterOf(name: string) {
  return TENANTS.get(TENANTS.idFromName(name));
}

export const bucket = SHARDS;
export const database = DB;

/** The control plane's, in tests. */
export const ADMIN_TOKEN = "admin token of the tests";
export const AS_ADMIN = { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } };
export const KEY_SECRET = "key secret of the tests";
export const ORIGIN_SECRET = "origin secret of the tests";

/** The tenant that requests come from unless a test says otherwise. */
export const TENANT = "tests";

const NO_LIMITS = { requestsPerMinute: null, tokensPerMinute: null };

/** A key that may do everything, unless told otherwise, of a tenant that is made where there is none. */
export async function makeKey(
  tenant: string = TENANT,
  settings: Partial<KeySettings> = {},
  tenantSettings: Partial<TenantSettings> = {},
): Promise<string> {
  const now = Date.now();
  if (!(await findTenant(DB, tenant))) {
    const limits = { concurrency: null, softBudget: null, hardBudget: null };
    const all = { name: tenant, models: null, limits, keyLimits: NO_LIMITS, quotas: NO_QUOTAS, ...tenantSettings };
    await createTenant(DB, tenant, all, now);
  }
  const all = { name: "test", scopes: SCOPES, allowedOrigins: [], limits: NO_LIMITS, expiresAt: null, ...settings };
  return (await createKey(DB, KEY_SECRET, tenant, all, now)).text;
}

/** The database, and every statement that is prepared through it. */
export function countedDatabase(): { db: D1Database; statements: string[] } {
  const statements: string[] = [];
  const db = new Proxy(DB, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (property !== "prepare") return typeof value === "function" ? value.bind(target) : value;
      return (sql: string) => {
        statements.push(sql);
        return target.prepare(sql);
      };
    },
  });
  return { db, statements };
}

let ownKey: Promise<string> | undefined;

export async function packageFile(key: string): Promise<ArrayBuffer> {
  const response = await PACKAGE.fetch(`http://package/${key}`);
  return response.arrayBuffer();
}

/** The packaged default model in R2 under a name of the test's own. */
export async function putModel(name: string, changes: Partial<Manifest> = {}): Promise<Manifest> {
  const original = new TextDecoder().decode(await packageFile(MANIFEST_KEY));
  const text = JSON.stringify({ ...JSON.parse(original), ...changes });
  const manifest = parseManifest(text);
  for (const hash of Object.keys(manifest.blobs)) await putBlob(name, hash);
  const versions = new ModelVersions(bucket, name);
  const version = await versionOf(text);
  await versions.put(version, text);
  await versions.publish(version);
  setCurrent(name, version);
  return manifest;
}

/** A model that can be named, of which nothing can be read. */
export async function nameModel(name: string): Promise<void> {
  const pointer = { ...emptyPointer(), version: "0123456789abcdef" };
  await bucket.put(modelKey(name, POINTER_KEY), JSON.stringify(pointer));
}

export async function putBlob(name: string, hash: string, change?: (bytes: Uint8Array) => Uint8Array): Promise<void> {
  const bytes = new Uint8Array(await packageFile(`blobs/${hash}`));
  await bucket.put(modelKey(name, `blobs/${hash}`), change ? change(bytes) : bytes);
}

export interface Limits {
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_WASM_BYTES: number;
}

const READER_LIMITS: ReaderBindings = {
  ...{ MAX_BYTES: 2_000_000, MAX_INFLATED_BYTES: 8_000_000, MAX_PAGES: 50, MAX_CHARACTERS: 500_000 },
  ...{ MAX_CELLS: 10_000, MAX_READ_MS: 20_000 },
};

const LIMITS: Limits = { MAX_PROMPT_TOKENS: 512, MAX_NEW_TOKENS: 64, MAX_SEQUENCES: 4, MAX_WASM_BYTES: 2 ** 30 };

interface Placement {
  shards?: R2Bucket;
  limits?: Partial<Limits>;
  /** In place of the gateway's own. */
  bindings?: Partial<GatewayBindings>;
}

/** What the gateway is given, both halves included. */
export function bindingsFor(
  { shards = bucket, limits = {} }: Placement = {},
  context = createExecutionContext(),
): GatewayBindings {
  const halfBindings: HalfBindings = { ...LIMITS, ...limits, SHARDS: shards };
  const half = (app: typeof encoder | typeof decoder) =>
    ({ fetch: (url: string, request?: RequestInit) => app.request(url, request, halfBindings, context) }) as Fetcher;
  return {
    ...LIMITS,
    ...limits,
    SHARDS: shards,
    ENCODER: half(encoder),
    DECODER: half(decoder),
    READER: {
      fetch: (url: string, request?: RequestInit) => reader.request(url, request, READER_LIMITS, context),
    } as Fetcher,
    DB,
    USAGE,
    TENANTS,
    ADMIN_TOKEN,
    KEY_SECRET,
    ...{ EDGE_CPU_MS: 30_000, EDGE_INPUTS: 16, EDGE_BEAM_TOKENS: 1024 },
    ...{
      ORIGIN_MAX_PROMPT_TOKENS: 2048,
      ORIGIN_MAX_NEW_TOKENS: 1024,
      ORIGIN_MAX_SEQUENCES: 16,
      ORIGIN_PATIENCE_MS: 5_000,
    },
    MAX_BODY_BYTES: 10_000,
    MAX_DOCUMENT_BYTES: 2_000_000,
    JOBS,
    ORIGIN_SECRET,
    MAX_FILE_BYTES: 20_000_000,
    FILE_BYTES: 50_000_000,
    JOBS_RUNNING: 2,
    JOBS_WAITING: 3,
  };
}

/** Sends a request to the gateway, with {@link TENANT}'s key unless it has an `authorization` of its own. */
export async function send(path: string, init: RequestInit = {}, placement: Placement = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (!headers.has("authorization")) {
    ownKey ??= makeKey();
    headers.set("authorization", `Bearer ${await ownKey}`);
  }
  const context = createExecutionContext();
  const bindings = { ...bindingsFor(placement, context), ...placement.bindings };
  const response = await gateway.request(path, { ...init, headers }, bindings, context);
  const text = await response.text();
  await waitOnExecutionContext(context);
  return new Response(text === "" ? null : text, response);
}

/** Sends JSON, with a key or the admin's token. @returns status and JSON */
export async function sendAs<Json>(
  token: string,
  method: string,
  path: string,
  body?: object,
  headers: Record<string, string> = {},
  placement: Placement = {},
): Promise<{ status: number; json: Json; headers: Headers }> {
  const init = {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body && { body: JSON.stringify(body) }),
  };
  const response = await send(path, init, placement);
  return { status: response.status, json: (await response.json()) as Json, headers: response.headers };
}

export function complete(body: object | string, placement: Placement = {}): Promise<Response> {
  const init = { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) };
  return send("/v1/completions", init, placement);
}

/** A half's models in `/healthz`, which has them by `NAME@VERSION`, by their names: for tests with one version of each. */
export function byName<T>(models: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(models).map(([id, model]) => [id.split("@")[0], model]));
}

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string };
}
