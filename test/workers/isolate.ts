/** Gateway, encoder and decoder in one isolate of workerd, over its real local R2. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import decoder from "../../functions/decoder/index.ts";
import encoder from "../../functions/encoder/index.ts";
import { app as gateway } from "../../functions/gateway/app.ts";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { setCurrent } from "../../functions/gateway/models.ts";
import type { HalfBindings } from "../../functions/shared/half.ts";
import { modelKey } from "../../src/store/r2.ts";
import { MANIFEST_KEY, type Manifest, parseManifest } from "../../src/t5/manifest.ts";
import { ModelVersions, versionOf } from "../../src/tenancy/model-versions.ts";

const { SHARDS, PACKAGE, DB, USAGE, TENANTS } = env as unknown as { PACKAGE: Fetcher } & Pick<
  GatewayBindings,
  "SHARDS" | "DB" | "USAGE" | "TENANTS"
>;

export const bucket = SHARDS;
export const database = DB;

/** The control plane's, in tests. */
export const ADMIN_TOKEN = "admin token of the tests";

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

const LIMITS: Limits = { MAX_PROMPT_TOKENS: 512, MAX_NEW_TOKENS: 64, MAX_SEQUENCES: 4, MAX_WASM_BYTES: 2 ** 30 };

interface Placement {
  shards?: R2Bucket;
  limits?: Partial<Limits>;
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
    DB,
    USAGE,
    TENANTS,
    ADMIN_TOKEN,
    KEY_SECRET: "a secret of the tests",
    MAX_BODY_BYTES: 10_000,
  };
}

/** Sends a request to the gateway. */
export async function send(path: string, init: RequestInit = {}, placement: Placement = {}): Promise<Response> {
  const context = createExecutionContext();
  const response = await gateway.request(path, init, bindingsFor(placement, context), context);
  const text = await response.text();
  await waitOnExecutionContext(context);
  return new Response(text, response);
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
