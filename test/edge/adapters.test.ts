/** A tenant's adapters over TCP: uploaded, used, swapped, deleted; and by the command line. */
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit, makeState } from "./kit.ts";

const START_MS = 120_000;
const ADAPTERS = fileURLToPath(new URL("../fixtures/adapters/", import.meta.url));
const SENTIMENT = join(ADAPTERS, "sentiment");
const EVERYWHERE = join(ADAPTERS, "everywhere");
const PREFIX = "sst2 sentence: ";

interface Row {
  input: string;
  greedy: string;
}

let state: Awaited<ReturnType<typeof makeState>>;
let kit: Kit;
let other: string;
/** Inputs without their prefix, and Hugging Face's answers, where rounding the base's weights changed none. */
let rows: Row[];
beforeAll(async () => {
  state = await makeState();
  kit = await Kit.start(state.state);
  await kit.admin("POST", "/admin/tenants", { id: "other", name: "Other" });
  const scopes = ["tasks:run", "tasks:write", "adapters:write"];
  other = (await kit.admin<{ key: string }>("POST", "/admin/tenants/other/keys", { name: "k", scopes })).json.key;
  const lines = (await readFile(join(SENTIMENT, "expected.jsonl"), "utf8")).trim().split("\n");
  rows = [0, 10, 20, 30].map((i) => {
    const row = JSON.parse(lines[i] ?? "") as Row;
    return { ...row, input: row.input.slice(PREFIX.length) };
  });
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await state?.remove();
});

type Files = Record<string, Blob | string>;

async function filesOf(folder: string): Promise<Files> {
  const read = async (file: string) => new Blob([await readFile(join(folder, file))]);
  return {
    model: "default",
    [ADAPTER_CONFIG]: await read(ADAPTER_CONFIG),
    [ADAPTER_TENSORS]: await read(ADAPTER_TENSORS),
  };
}

async function call<Json>(method: string, path: string, body?: object | Files, key = kit.key) {
  const isForm = body !== undefined && "model" in body && path.startsWith("/v1/adapters");
  const form = new FormData();
  if (isForm) for (const [name, value] of Object.entries(body as Files)) form.set(name, value);
  const response = await fetch(kit.url + path, {
    method,
    headers: { authorization: `Bearer ${key}` },
    ...(body && { body: isForm ? form : JSON.stringify(body) }),
  });
  return { status: response.status, json: (await response.json()) as Json };
}

interface Refused {
  error: { code: string; message: string; param: string | null };
}

const run = async (input: string | readonly string[], task = "sentiment") =>
  (await call<{ output?: string; results?: { output: string }[] }>("POST", `/v1/tasks/${task}`, { input })).json;

test("an adapter is ready when its upload is answered; a task with it answers as Hugging Face does", async () => {
  const uploaded = await call("PUT", "/v1/adapters/sentiment", await filesOf(SENTIMENT));
  expect(uploaded).toMatchObject({
    status: 201,
    json: { id: "sentiment", model: "default", status: "ready", version: expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
  // The same files again are the same version.
  expect(await call("PUT", "/v1/adapters/sentiment", await filesOf(SENTIMENT))).toEqual({ ...uploaded, status: 200 });
  const definition = { model: "default", template: `${PREFIX}{input}`, overridable: ["max_tokens", "suppress_tokens"] };
  await call("PUT", "/v1/tasks/plain", definition);
  expect((await call("PUT", "/v1/tasks/sentiment", { ...definition, adapter: "sentiment" })).status).toBe(201);
  const inputs = rows.map(({ input }) => input);
  const { results } = await run(inputs);
  expect(results?.map(({ output }) => output)).toEqual(rows.map(({ greedy }) => greedy));
  const plain = await run(inputs, "plain");
  expect(plain.results?.map(({ output }) => output)).not.toEqual(rows.map(({ greedy }) => greedy));
  expect((await call("GET", "/v1/adapters")).json).toMatchObject({ data: [{ id: "sentiment" }], has_more: false });
});

test("nobody else sees, uses or deletes it", async () => {
  const ask = (method: string, path: string, body?: object) => call<Refused>(method, path, body, other);
  expect(await ask("GET", "/v1/adapters/sentiment")).toMatchObject({ status: 404 });
  expect(await ask("DELETE", "/v1/adapters/sentiment")).toMatchObject({ status: 404 });
  expect((await ask("GET", "/v1/adapters")).json).toMatchObject({ data: [] });
  const task = await ask("PUT", "/v1/tasks/theirs", { model: "default", template: "{input}", adapter: "sentiment" });
  expect(task.status).toBeGreaterThanOrEqual(400);
  expect(task.json.error.message).toContain("sentiment");
  const { json } = await kit.admin<{ key: string }>("POST", "/admin/tenants/other/keys", { name: "runs" });
  const weak = await call<Refused>("PUT", "/v1/adapters/a", await filesOf(SENTIMENT), json.key);
  expect([weak.status, weak.json.error.code]).toEqual([403, "insufficient_scope"]);
  expect((await run(rows[0]?.input ?? "")).output).toBe(rows[0]?.greedy);
});

describe("a bad upload is refused with the reason, and leaves the one before in use", () => {
  const text = (value: string) => new Blob([value]);
  const cases: [
    what: string,
    change: (files: Files) => Files | Promise<Files>,
    status: number,
    code: string,
    message: RegExp,
  ][] = [
    ["no JSON", (files) => ({ ...files, [ADAPTER_CONFIG]: text("{") }), 400, "invalid_adapter", /is not JSON/],
    [
      "no LoRA",
      (files) => ({ ...files, [ADAPTER_CONFIG]: text('{"peft_type":"IA3"}') }),
      400,
      "invalid_adapter",
      /IA3/,
    ],
    [
      "no tensors",
      (files) => ({ ...files, [ADAPTER_TENSORS]: text("nothing") }),
      400,
      "invalid_adapter",
      /safetensors/,
    ],
    [
      "tensors cut short",
      async (files) => ({ ...files, [ADAPTER_TENSORS]: (files[ADAPTER_TENSORS] as Blob).slice(0, -8) }),
      400,
      "invalid_adapter",
      /safetensors/,
    ],
    [
      "another rank than the file's",
      async (files) => {
        const config = JSON.parse(await (files[ADAPTER_CONFIG] as Blob).text()) as object;
        return { ...files, [ADAPTER_CONFIG]: text(JSON.stringify({ ...config, r: 3 })) };
      },
      400,
      "invalid_adapter",
      /shape|rank/,
    ],
    ["another base", (files) => ({ ...files, model: "endless" }), 400, "invalid_adapter", /./],
    ["a base that is not there", (files) => ({ ...files, model: "nobody" }), 404, "model_not_found", /nobody/],
    [
      "a file that is missing",
      ({ model, [ADAPTER_CONFIG]: config = "" }) => ({ model: model ?? "", [ADAPTER_CONFIG]: config }),
      400,
      "missing_file",
      /adapter_model\.safetensors/,
    ],
  ];
  test.each(cases)("%s", async (_, change, status, code, message) => {
    const refused = await call<Refused>("PUT", "/v1/adapters/sentiment", await change(await filesOf(SENTIMENT)));
    expect([refused.status, refused.json.error?.code]).toEqual([status, code]);
    expect(refused.json.error.message).toMatch(message);
    expect((await run(rows[0]?.input ?? "")).output).toBe(rows[0]?.greedy);
  });

  test("a body that is no form, and one that is too large", async () => {
    const headers = { authorization: `Bearer ${kit.key}` };
    const put = (body: string | Uint8Array<ArrayBuffer>) =>
      fetch(`${kit.url}/v1/adapters/sentiment`, { method: "PUT", headers, body });
    expect((await put("{}")).status).toBe(400);
    const large = await put(new Uint8Array((16 << 20) + 1));
    expect([large.status, ((await large.json()) as Refused).error.code]).toEqual([413, "request_too_large"]);
  });
});

test("a swap while a stream runs: that stream ends with the adapter that it began with, the next one has the new", async () => {
  await call("PUT", "/v1/adapters/swapped", await filesOf(SENTIMENT));
  const template = `${PREFIX}{input}`;
  const definition = { model: "default", template, adapter: "swapped", overridable: ["max_tokens", "suppress_tokens"] };
  await call("PUT", "/v1/tasks/swapped", definition);
  // It never ends by itself.
  const body = { input: rows[0]?.input, max_tokens: 120, suppress_tokens: [1] };
  const whole = async () => (await call<{ output: string }>("POST", "/v1/tasks/swapped", body)).json.output;
  const before = await whole();
  const response = await kit.fetch("/v1/tasks/swapped", {
    method: "POST",
    body: JSON.stringify({ ...body, stream: true }),
  });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader?.read())?.value ?? "";
  expect(text).not.toContain("[DONE]");
  const swapped = await call("PUT", "/v1/adapters/swapped", await filesOf(EVERYWHERE));
  expect(swapped).toMatchObject({ status: 200, json: { rank: 4 } });
  const after = await whole();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) text += next.value;
  const events = text
    .trim()
    .split("\n\n")
    .map((event) => event.replace(/^data: /, ""));
  expect(events.pop()).toBe("[DONE]");
  expect(events.map((event) => (JSON.parse(event) as { text?: string }).text ?? "").join("")).toBe(before);
  expect(after).not.toBe(before);
});

test("from the command line: put, list, delete; a task without its adapter says so", async () => {
  const env = { EDGE_T5_URL: kit.url, EDGE_T5_ADMIN_TOKEN: kit.adminToken };
  const adapter = (...args: string[]) => edgeT5(["adapter", ...args], { env });
  const put = await adapter("put", "tests", "cli", SENTIMENT, "--model", "default");
  expect(put).toMatchObject({ code: 0, stderr: "" });
  expect(put.stdout).toMatch(/^cli of tests is ready: rank \d+, .* for default, version [0-9a-f]{16}\.\n$/);
  expect((await adapter("list", "tests")).stdout).toMatch(/^cli +default +\d+ /m);
  const listed = JSON.parse((await adapter("list", "tests", "--json")).stdout) as { data: { id: string }[] };
  expect(listed.data.map(({ id }) => id)).toEqual(["cli", "sentiment", "swapped"]);
  await call("PUT", "/v1/tasks/by-cli", { model: "default", template: `${PREFIX}{input}`, adapter: "cli" });
  expect((await run(rows[1]?.input ?? "", "by-cli")).output).toBe(rows[1]?.greedy);
  expect((await adapter("delete", "tests", "cli")).stdout).toBe("cli of tests is deleted.\n");
  const gone = await call<Refused>("POST", "/v1/tasks/by-cli", { input: "a" });
  expect([gone.status, gone.json.error.code]).toEqual([503, "adapter_unavailable"]);
  expect(gone.json.error.message).toContain("PUT /v1/adapters/cli");

  expect((await adapter("list", "other")).stdout).toMatch(/^other has no adapters/);
  const wrong = [
    [["put", "tests", "cli", tmpdir(), "--model", "default"], /^E_USAGE: .* has no adapter_config\.json/],
    [["put", "tests", "cli", SENTIMENT, "--model", "endless"], /^E_INPUT: The gateway answers 400: .*invalid_adapter/],
    [
      ["put", "nobody", "cli", SENTIMENT, "--model", "default"],
      /^E_INPUT: The gateway answers 404: .*tenant_not_found/,
    ],
    [["delete", "tests", "cli"], /^E_INPUT: The gateway answers 404: .*adapter_not_found/],
  ] as const;
  for (const [args, message] of wrong) {
    expect(await adapter(...args)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(message) });
  }
});
