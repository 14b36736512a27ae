/** The API's document against the gateway: the same routes, and answers that have the shapes it tells. */

import { env } from "cloudflare:test";
import { Validator } from "@cfworker/json-schema";
import { beforeAll, describe, expect, test } from "vitest";
import { app } from "../../functions/gateway/app.ts";
import { type DocumentedAnswer, type DocumentedOperation, openApiDocument } from "../../src/api/openapi/document.ts";
import { MANIFEST_KEY } from "../../src/t5/manifest.ts";
import { versionOf } from "../../src/tenancy/model-versions.ts";
import { ADMIN_TOKEN, AS_ADMIN, makeKey, packageFile, putModel, send } from "./isolate.ts";
import { deliver, deliveryOf, makeEvent } from "./usage.ts";

const { ADAPTERS } = env as unknown as { ADAPTERS: Fetcher };

const document = openApiDocument();

const operations = new Map(
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [operation.operationId, { path, method, operation }] as const),
  ),
);

test("every route is in the document, and the other way round", () => {
  const routes = app.routes
    // What is between gateway and origin is theirs: src/jobs/protocol.ts.
    .filter(({ method, path }) => method !== "ALL" && !path.includes("*") && !path.startsWith("/internal/"))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  const told = [...operations.values()].map(({ path, method }) => `${method.toUpperCase()} ${path}`);
  expect(new Set(told)).toEqual(new Set(routes));
});

function check(schema: object, value: unknown): void {
  // Its pointers lead into the document.
  const whole = { ...schema, components: document.components };
  const { valid, errors } = new Validator(whole, "2020-12", false).validate(value);
  expect(valid, JSON.stringify([errors, value])).toBe(true);
}

test("a validator of JSON Schema refuses what is wrong", () => {
  const schema = { $ref: "#/components/schemas/Completion" };
  const right = { id: "a", object: "text_completion", created: 1, model: "m", choices: [] };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  check(schema, { ...right, usage });
  expect(() => check(schema, right)).toThrow();
  expect(() => check(schema, { ...right, usage, more: 1 })).toThrow();
});

interface Call {
  path?: Record<string, string>;
  query?: string;
  headers?: Record<string, string>;
  /** In place of the example. */
  body?: BodyInit;
  status?: number;
}

let key: string;

async function call(id: string, { path: names = {}, query = "", headers = {}, body, status = 200 }: Call = {}) {
  const { path, method, operation } = operations.get(id)!;
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => names[name]!);
  expect(filled).not.toContain("undefined");
  const scheme = operation.security[0] && Object.keys(operation.security[0])[0];
  const token = scheme === "key" ? key : scheme === undefined ? "" : ADMIN_TOKEN;
  const sent = body ?? exampleOf(operation);
  const init = { method: method.toUpperCase(), headers: { authorization: `Bearer ${token}`, ...headers } };
  const response = await send(`${filled}${query}`, { ...init, ...(sent !== undefined && { body: sent }) });
  const text = await response.text();
  expect([id, response.status, response.status === status ? "" : text]).toEqual([id, status, ""]);
  const told = operation.responses[String(status)] as DocumentedAnswer | undefined;
  expect(told, `${id} tells of ${status}`).toBeDefined();
  for (const name of Object.keys(told?.headers ?? {})) {
    if (name !== "retry-after") expect(response.headers.has(name), `${id}: ${name}`).toBe(true);
  }
  if (status === 204) return null;
  const type = response.headers.get("content-type")?.split(";")[0] ?? "";
  expect(Object.keys(told?.content ?? {})).toContain(type);
  const schema = told?.content?.[type]?.schema;
  if (type !== "application/json" || !schema) return text;
  const json = JSON.parse(text);
  check(schema, json);
  return json;
}

function exampleOf({ requestBody }: DocumentedOperation): string | undefined {
  const content = requestBody?.content["application/json"];
  if (content?.example === undefined) return undefined;
  if (content.schema) check(content.schema, content.example);
  return JSON.stringify(content.example);
}

describe("examples work, and answers have the shapes that are told", () => {
  let version: string;
  beforeAll(async () => {
    await putModel("default");
    key = await makeKey("documented");
  });
  const german = { name: "german" };
  const tenant = { tenant: "documented" };
  const month = new Date().toISOString().slice(0, 7);

  async function upload(): Promise<FormData> {
    const form = new FormData();
    form.set("model", "default");
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      form.set(name, new File([await (await ADAPTERS.fetch(`http://adapters/sentiment/${name}`)).arrayBuffer()], name));
    }
    return form;
  }

  test("running", async () => {
    await call("putTask", { path: german, status: 201 });
    const labels = { model: "default", template: "classify package: {input}", labels: ["games", "libs"] };
    await call("putTask", { path: { name: "kind" }, body: JSON.stringify(labels), status: 201 });
    await call("createCompletion");
    const prompt = "translate English to German: The house is old.";
    const several = { model: "default", prompt: [prompt, prompt], logprobs: 2, max_tokens: 2 };
    await call("createCompletion", { body: JSON.stringify(several) });
    const stream = await call("createCompletion", {
      body: JSON.stringify({ model: "german", prompt: "Hello.", stream: true }),
    });
    expect(stream).toContain("data: [DONE]");
    await call("runTask", { path: german });
    await call("runTask", { path: german, body: '{"input":["I am hungry.","It is raining."]}' });
    await call("runTask", { path: german, body: '{"input":"I am hungry.","stream":true}' });
    await call("runTask", { path: { name: "kind" }, body: '{"input":"A chess game."}' });
    await call("runHuggingFace", { path: { name: "default" } });
    await call("runHuggingFace", { path: { name: "kind" }, body: '{"inputs":"A chess game."}' });
    await call("createHuggingFaceCompletion", { path: { name: "default" } });
    await call("listModels");
    await call("getModel", { path: { model: "default" } });
  });

  test("errors", async () => {
    await call("createCompletion", { body: "{", status: 400 });
    await call("createCompletion", { body: '{"model":"none","prompt":"a"}', status: 404 });
    await call("createCompletion", { headers: { authorization: "" }, status: 401 });
    await call("createCompletion", { body: "x".repeat(20_000), status: 413 });
    await call("runHuggingFace", { path: { name: "default" }, body: "{}", status: 400 });
    await call("runHuggingFace", { path: { name: "none" }, status: 404 });
    await call("getTask", { path: { name: "none" }, status: 404 });
    await call("putTask", { path: german, headers: { "if-match": "7" }, status: 412 });
    await call("listTenants", { headers: { authorization: "" }, status: 401 });
    await call("getMetrics", { headers: { authorization: "" }, status: 401 });
  });

  test("tasks, adapters, keys, usage: a tenant's own, and the operator's for them", async () => {
    await call("putAdapter", { path: { name: "mood" }, body: await upload(), status: 201 });
    await deliver([deliveryOf(makeEvent({ tenant: "documented", at: Date.now() }))]);
    for (const [of, owner] of [
      ["", {}],
      ["OfTenant", tenant],
    ] as const) {
      await call(`putTask${of}`, { path: { ...owner, ...german } });
      for (const id of [`listTasks${of}`, `listAdapters${of}`, `listKeys${of}`]) await call(id, { path: owner });
      await call(`getTask${of}`, { path: { ...owner, ...german }, query: "?version=1" });
      await call(`listTaskVersions${of}`, { path: { ...owner, ...german } });
      await call(`deleteTask${of}`, { path: { ...owner, ...german } });
      await call(`putTask${of}`, { path: { ...owner, ...german }, status: 200 });
      await call(`putAdapter${of}`, { path: { ...owner, name: "mood" }, body: await upload() });
      await call(`getAdapter${of}`, { path: { ...owner, name: "mood" } });
      const made = await call(`createKey${of}`, { path: owner, status: 201 });
      await call(`getKey${of}`, { path: { ...owner, key: made.id } });
      const rotated = await call(`rotateKey${of}`, { path: { ...owner, key: made.id }, status: 201 });
      await call(`revokeKey${of}`, { path: { ...owner, key: rotated.id } });
      for (const query of ["", "?group_by=day,key,task,model", "?format=csv"]) {
        await call(`getUsage${of}`, { path: owner, query });
      }
      for (const query of ["?limit=1", "?format=csv"]) await call(`listUsageEvents${of}`, { path: owner, query });
      await call(`getInvoice${of}`, { path: { ...owner, month } });
    }
    await call("deleteAdapterOfTenant", { path: { ...tenant, name: "mood" } });
    await call("putAdapter", { path: { name: "mood" }, body: await upload(), status: 201 });
    await call("deleteAdapter", { path: { name: "mood" } });
  });

  test("files and jobs", async () => {
    const upload = async (purpose: string, row: object) => {
      const form = new FormData();
      form.set("purpose", purpose);
      form.set("file", new File([JSON.stringify(row)], "rows.jsonl"));
      return (await call("createFile", { body: form })).id as string;
    };
    const body = { model: "default", prompt: "translate English to German: The house is old." };
    const rows = await upload("batch", { custom_id: "1", method: "POST", url: "/v1/completions", body });
    const pairs = await upload("fine-tune", { prompt: "a", completion: "b" });
    await call("listFiles", { query: "?limit=1&order=asc&purpose=batch" });
    await call("getFile", { path: { file: rows } });
    await call("getFileContent", { path: { file: rows } });
    const batch = await call("createBatch", {
      body: JSON.stringify({ input_file_id: rows, endpoint: "/v1/completions", completion_window: "24h" }),
    });
    await call("createBatch", { body: "{}", status: 400 });
    await call("deleteFile", { path: { file: rows }, status: 409 });
    await call("listBatches");
    await call("getBatch", { path: { batch: batch.id } });
    await call("cancelBatch", { path: { batch: batch.id } });
    await call("deleteFile", { path: { file: rows } });
    const job = await call("createFineTuningJob", { body: JSON.stringify({ model: "default", training_file: pairs }) });
    await call("listFineTuningJobs");
    for (const id of ["getFineTuningJob", "listFineTuningEvents", "listFineTuningCheckpoints", "cancelFineTuningJob"]) {
      await call(id, { path: { job: job.id } });
      await call(id, { path: { job: "none" }, status: 404 });
    }
    await call("deleteModel", { path: { model: "default" }, status: 404 });
  });

  test("tenants and bills", async () => {
    await call("createTenant", { status: 201 });
    await call("listTenants");
    await call("getTenant", { path: { tenant: "acme" } });
    await call("changeTenant", { path: { tenant: "acme" } });
    await call("setStripeCustomer", { path: { tenant: "acme" } });
    await call("createPrice", { status: 201 });
    const later = { valid_from: new Date(Date.now() + 1e9).toISOString(), per_request: "0.01" };
    const price = await call("createPrice", { body: JSON.stringify(later), status: 201 });
    await call("listPrices");
    await call("withdrawPrice", { path: { id: price.id }, status: 204 });
    await deliver([{ id: "odd", body: { id: "odd" } }]);
    const { data } = await call("listDeadLetters");
    expect(data.length).toBeGreaterThan(0);
    await call("replayDeadLetters");
    await call("getStripe");
    await call("flushStripe", { status: 409 });
  });

  test("models", async () => {
    const { data } = await call("listModelVersions");
    version = data.find(({ name }: { name: string }) => name === "default").version;
    const name = { name: "default" };
    await call("getModelVersions", { path: name });
    const bytes = new TextEncoder().encode("a blob");
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    await call("putBlob", { path: { ...name, sha256 }, body: bytes, headers: { "content-length": "6" } });
    await call("getBlob", { path: { ...name, sha256 } });
    const original = JSON.parse(new TextDecoder().decode(await packageFile(MANIFEST_KEY)));
    const manifest = JSON.stringify({ ...original, name: "unpublished" });
    const unpublished = await versionOf(manifest);
    await call("putVersion", { path: { ...name, version: unpublished }, body: manifest });
    await call("publishVersion", { path: name, body: JSON.stringify({ version }) });
    await call("publishVersion", { path: name, status: 404 });
    await putModel("default", { name: "second" });
    const { version: back } = await call("rollbackModel", { path: name });
    expect(back).toBe(version);
    await call("deleteVersion", { path: { ...name, version: unpublished } });
    await call("deleteVersion", { path: { ...name, version }, status: 409 });
  });

  test("operating", async () => {
    await call("getHealth");
    expect(await call("getHealth", AS_ADMIN)).toMatchObject({ reader: { status: "ok" } });
    expect(await call("getMetrics")).toContain("edge_t5_requests_total");
    expect(JSON.parse(await call("getDocument"))).toEqual(JSON.parse(JSON.stringify(document)));
    expect(await call("getReference")).toContain("<!doctype html>");
    expect(await call("getConsole")).toContain("<!doctype html>");
    expect(await call("getConsoleScript")).toContain("/v1/tasks");
  });
});
