/** Tasks: what a definition may say, versions, and who sees a change when. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { deletedTaskSchema, listSchema, taskSchema, taskVersionsSchema } from "../../src/api/control-plane.ts";
import { createTaskCache, loadTask, taskCache } from "../../src/tenancy/tasks.ts";
import { ADMIN_TOKEN, database, type ErrorBody, makeKey, nameModel, sendAs } from "./isolate.ts";

const TENANT = "task-tenant";
const MODEL = "m";
const GOOD = { model: MODEL, template: "summarize: {input}" };

interface TaskJson {
  id: string;
  version: number;
  fields: string[];
  created_at: string;
  definition: Record<string, unknown>;
}

let key: string;
beforeAll(async () => {
  key = await makeKey(TENANT);
  await nameModel(MODEL);
  await nameModel("another");
  const sql =
    "INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES (?, ?, 'v', 'm', 8, 1, 0)";
  await database.prepare(sql).bind(TENANT, "german").run();
  await database.prepare(sql).bind("others", "french").run();
});
beforeEach(() => taskCache.clear());

const ask = <Json = TaskJson>(method: string, path: string, body?: object, headers?: Record<string, string>) =>
  sendAs<Json>(key, method, `/v1/tasks${path}`, body, headers);
const errorOf = async (method: string, path: string, body?: object, headers?: Record<string, string>) => {
  const { status, json } = await ask<ErrorBody>(method, path, body, headers);
  return [status, json.error.code, json.error.param];
};

describe("a definition", () => {
  test("is kept with every default, and its fields told", async () => {
    const { status, json, headers } = await ask("PUT", "/plain", GOOD);
    expect(status).toBe(201);
    expect(headers.get("etag")).toBe('"1"');
    expect(json).toEqual({
      id: "plain",
      object: "task",
      version: 1,
      created_at: expect.stringMatching(/Z$/),
      fields: ["input"],
      definition: {
        ...GOOD,
        input: "text",
        labels: null,
        generation: {},
        overridable: [],
        adapter: null,
        table: { form: "tapex", columns: null, row_headers: false },
        image: { read: "text", languages: ["eng", "deu", "fra"] },
        long: "refuse",
        words: null,
        max_input_tokens: null,
        max_output_tokens: null,
        cache: { policy: "none", ttl_seconds: 3600 },
        placement: {
          run: "auto",
          edge: { prompt_tokens: null, inputs: null, beam_tokens: null, cpu_ms: null },
        },
      },
    });
    expect((await ask("GET", "/plain")).json).toEqual(json);
  });

  test("may say all of it", async () => {
    const full = {
      model: MODEL,
      template: "question: {question} context: {document}",
      input: "document",
      labels: ["yes", "no"],
      generation: {
        num_beams: 4,
        length_penalty: 2,
        early_stopping: "never",
        max_new_tokens: 20,
        bad_words_ids: [[5]],
      },
      overridable: ["max_tokens", "num_beams"],
      adapter: "german",
      table: { form: "totto", columns: ["a"], row_headers: true },
      image: { read: "caption", languages: ["deu", "fra"] },
      long: "windows",
      words: null,
      max_input_tokens: 100,
      max_output_tokens: 20,
      cache: { policy: "answers", ttl_seconds: 60 },
      placement: { run: "origin", edge: { prompt_tokens: 64, inputs: 4, beam_tokens: 256, cpu_ms: 500 } },
    };
    const { json } = await ask("PUT", "/full", full);
    expect(json.definition).toEqual(full);
    expect(taskSchema.strict().parse(json)).toEqual(json);
    expect(json.fields).toEqual(["question", "document"]);
    const stored = await loadTask(database, TENANT, "full");
    expect(stored?.definition).toEqual(full);
  });

  test.each([
    ["no model", { template: "{input}" }, "missing_required_parameter", "model"],
    ["a model that is not there", { ...GOOD, model: "other" }, "model_not_found", "model"],
    ["a model that is a path", { ...GOOD, model: "../m" }, "invalid_value", "model"],
    ["no template", { model: MODEL }, "missing_required_parameter", "template"],
    ["a template without a field", { ...GOOD, template: "summarize:" }, "invalid_value", "template"],
    ["a field that is no name", { ...GOOD, template: "{the input}" }, "invalid_value", "template"],
    ["a brace alone", { ...GOOD, template: "{input} }" }, "invalid_value", "template"],
    ["a kind of input that there is not", { ...GOOD, input: "sound" }, "invalid_value", "input"],
    [
      "a table in a field of another name",
      { ...GOOD, template: "{a} {b}", input: "table" },
      "invalid_value",
      "template",
    ],
    ["sentences with labels", { ...GOOD, labels: ["a", "b"], long: "sentences" }, "invalid_value", "long"],
    ["words of no summary", { ...GOOD, words: 50 }, "invalid_value", "words"],
    ["a pair of one", { ...GOOD, input: "pair" }, "invalid_value", "input"],
    ["a text of two", { ...GOOD, template: "{a} {b}", input: "text" }, "invalid_value", "input"],
    ["one label", { ...GOOD, labels: ["yes"] }, "invalid_value", "labels"],
    ["an empty label", { ...GOOD, labels: ["yes", " "] }, "invalid_value", "labels.1"],
    ["a label twice", { ...GOOD, labels: ["yes", "yes"] }, "invalid_value", "labels"],
    [
      "sixty-five labels",
      { ...GOOD, labels: Array.from({ length: 65 }, (_, i) => `l${i}`) },
      "invalid_value",
      "labels",
    ],
    [
      "an unknown parameter of generation",
      { ...GOOD, generation: { beams: 4 } },
      "unknown_parameter",
      "generation.beams",
    ],
    ["a parameter out of range", { ...GOOD, generation: { top_p: 2 } }, "invalid_value", "generation.top_p"],
    ["beams that sample", { ...GOOD, generation: { num_beams: 2, do_sample: true } }, "invalid_value", "generation"],
    ["a model to be overridden", { ...GOOD, overridable: ["model"] }, "invalid_value", "overridable.0"],
    ["an adapter that is not there", { ...GOOD, adapter: "none" }, "adapter_not_found", "adapter"],
    ["another tenant's adapter", { ...GOOD, adapter: "french" }, "adapter_not_found", "adapter"],
    ["an adapter of another model", { ...GOOD, model: "another", adapter: "german" }, "invalid_value", "adapter"],
    ["an adapter that is a path", { ...GOOD, adapter: "../others/adapters/french" }, "invalid_value", "adapter"],
    ["no output", { ...GOOD, max_output_tokens: 0 }, "invalid_value", "max_output_tokens"],
    [
      "less output than is generated",
      { ...GOOD, max_output_tokens: 5, generation: { max_new_tokens: 6 } },
      "invalid_value",
      "max_output_tokens",
    ],
    ["an unknown cache", { ...GOOD, cache: { policy: "all" } }, "invalid_value", "cache.policy"],
    ["an unknown field", { ...GOOD, prefix: "x" }, "unknown_parameter", "prefix"],
  ])("refuses %s", async (_, body, code, param) => {
    expect(await errorOf("PUT", "/refused", body)).toEqual([400, code, param]);
    expect(await errorOf("GET", "/refused")).toEqual([404, "task_not_found", null]);
  });

  test("names the model or adapter that is not there, and what a kind of input needs", async () => {
    const message = async (body: object) => (await ask<ErrorBody>("PUT", "/refused", body)).json.error.message;
    expect(await message({ ...GOOD, model: "other" })).toContain('"other"');
    expect(await message({ ...GOOD, adapter: "none" })).toContain('"none"');
    const several = { ...GOOD, template: "{question} {rows}", input: "table" };
    expect(await message(several)).toMatch(/one of its fields must be called table/);
    expect(await message({ ...GOOD, long: "windows" })).toMatch(/without labels goes by "sentences" or "sections"/);
    expect(await message({ ...GOOD, words: 50 })).toMatch(/set long to "sections"/);
  });

  test.each(["Upper", "-first", "with space", "a".repeat(64), "ünicode"])("refuses the name %s", async (name) => {
    expect(await errorOf("PUT", `/${encodeURIComponent(name)}`, GOOD)).toEqual([400, "invalid_value", "name"]);
  });

  test("may name only models that the tenant may use", async () => {
    await nameModel("closed");
    const own = await makeKey("narrow-tenant", {}, { models: [MODEL] });
    const put = (model: string) => sendAs<ErrorBody>(own, "PUT", "/v1/tasks/t", { ...GOOD, model });
    const [closed, nothing] = [await put("closed"), await put("nothing")];
    expect(closed.status).toBe(400);
    expect(JSON.stringify(closed.json).replaceAll("closed", "nothing")).toBe(JSON.stringify(nothing.json));
    expect((await put(MODEL)).status).toBe(201);
  });
});

describe("versions", () => {
  test("a change makes the next one, the same again none; old ones stay readable", async () => {
    await ask("PUT", "/v", GOOD);
    const second = await ask("PUT", "/v", { ...GOOD, template: "sum: {input}" });
    expect([second.status, second.json.version]).toEqual([200, 2]);
    const same = await ask("PUT", "/v", { overridable: [], template: "sum: {input}", model: MODEL });
    expect(same.json).toEqual(second.json);
    expect((await ask("GET", "/v?version=1")).json).toMatchObject({ version: 1, definition: GOOD });
    expect(await errorOf("GET", "/v?version=3")).toEqual([404, "task_not_found", null]);
    expect(await errorOf("GET", "/v?version=0")).toEqual([400, "invalid_value", "version"]);
  });

  test("a deletion is one: the task is gone, what it was stays, and it may come back as another version", async () => {
    await ask("PUT", "/gone", GOOD);
    const deleted = await ask<object>("DELETE", "/gone");
    expect(deleted.json).toEqual({ id: "gone", object: "task", version: 2, deleted: true });
    expect(await errorOf("GET", "/gone")).toEqual([404, "task_not_found", null]);
    expect(await errorOf("DELETE", "/gone")).toEqual([404, "task_not_found", null]);
    expect(await loadTask(database, TENANT, "gone")).toBeNull();
    expect((await ask<{ data: TaskJson[] }>("GET", "?limit=100")).json.data.map(({ id }) => id)).not.toContain("gone");
    expect((await ask("GET", "/gone?version=1")).json.definition).toMatchObject(GOOD);
    expect((await ask("PUT", "/gone", GOOD)).json.version).toBe(3);
    expect(deletedTaskSchema.strict().parse(deleted.json)).toEqual(deleted.json);
    const { json } = await ask<{ data: object[] }>("GET", "/gone/versions");
    expect(taskVersionsSchema.strict().parse(json)).toEqual(json);
    expect(json.data).toMatchObject([
      { version: 1, deleted: false },
      { version: 2, deleted: true },
      { version: 3, deleted: false },
    ]);
  });

  test("If-Match: a change of what the writer has not seen is refused with 412", async () => {
    await ask("PUT", "/matched", GOOD);
    const other = { ...GOOD, template: "other: {input}" };
    expect(await errorOf("PUT", "/matched", other, { "if-match": "2" })).toEqual([412, "version_mismatch", null]);
    expect((await ask("PUT", "/matched", other, { "if-match": '"1"' })).json.version).toBe(2);
    expect(await errorOf("DELETE", "/matched", undefined, { "if-match": "1" })).toEqual([
      412,
      "version_mismatch",
      null,
    ]);
    expect((await ask("DELETE", "/matched", undefined, { "if-match": "2" })).status).toBe(200);
    expect(await errorOf("PUT", "/matched", GOOD, { "if-match": "*" })).toEqual([412, "version_mismatch", null]);
    expect(await errorOf("PUT", "/matched", GOOD, { "if-match": "3" })).toEqual([412, "version_mismatch", null]);
    expect(await errorOf("PUT", "/matched", GOOD, { "if-match": "new" })).toEqual([400, "invalid_value", "If-Match"]);
  });

  test("writers at once: each change has a version of its own, and one of those that saw the same wins", async () => {
    const changes = [1, 2, 3, 4].map((i) => ({ ...GOOD, template: `${i}: {input}` }));
    const all = await Promise.all(changes.map((change) => ask("PUT", "/raced", change)));
    expect(all.map(({ json }) => json.version).sort()).toEqual([1, 2, 3, 4]);
    const matched = await Promise.all(
      changes.map((change) => ask("PUT", "/raced", { ...change, labels: ["a", "b"] }, { "if-match": "4" })),
    );
    expect(matched.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412]);
  });
});

describe("who sees a change", () => {
  test("the isolate that made it at once, others within ten seconds", async () => {
    await ask("PUT", "/seen", GOOD);
    const elsewhere = createTaskCache();
    const versionAt = async (now: number, cache = elsewhere) =>
      (await loadTask(database, TENANT, "seen", { now, cache }))?.version;
    expect(await versionAt(0)).toBe(1);
    expect(await versionAt(Date.now(), taskCache)).toBe(1);
    await ask("PUT", "/seen", { ...GOOD, template: "t: {input}" });
    expect(await versionAt(Date.now(), taskCache)).toBe(2);
    expect(await versionAt(9_999)).toBe(1);
    expect(await versionAt(10_000)).toBe(2);
    await ask("DELETE", "/seen");
    expect(await versionAt(20_000)).toBeUndefined();
  });

  test("a task is looked up for its own tenant only", async () => {
    await ask("PUT", "/mine", GOOD);
    const cache = createTaskCache();
    expect(await loadTask(database, TENANT, "mine", { cache })).not.toBeNull();
    expect(await loadTask(database, "others", "mine", { cache })).toBeNull();
  });
});

test("lists come in pages, by name, the newest version of each", async () => {
  const own = await makeKey("listing");
  const put = (name: string, template: string) =>
    sendAs(own, "PUT", `/v1/tasks/${name}`, { model: MODEL, template: `${template} {input}` });
  for (const name of ["c", "a", "b", "d"]) await put(name, "one");
  await put("a", "two");
  await sendAs(own, "DELETE", "/v1/tasks/b");
  const pages: (string | number)[][] = [];
  for (let query = "?limit=2"; ; ) {
    const { json } = await sendAs<{ data: TaskJson[]; has_more: boolean; last_id: string }>(
      own,
      "GET",
      `/v1/tasks${query}`,
    );
    expect(listSchema(taskSchema).strict().parse(json)).toEqual(json);
    pages.push(json.data.flatMap(({ id, version }) => [id, version]));
    if (!json.has_more) break;
    query = `?limit=2&after=${json.last_id}`;
  }
  expect(pages).toEqual([
    ["a", 2, "c", 1],
    ["d", 1],
  ]);
});

test("tasks are read with tasks:run, changed with tasks:write; the control plane does both", async () => {
  await ask("PUT", "/scoped", GOOD);
  const runner = await makeKey(TENANT, { scopes: ["tasks:run"] });
  const reader = await makeKey(TENANT, { scopes: ["usage:read"] });
  const statuses = async (as: string, path = "/v1/tasks") => [
    (await sendAs(as, "GET", path)).status,
    (await sendAs(as, "GET", `${path}/scoped`)).status,
    (await sendAs(as, "GET", `${path}/scoped/versions`)).status,
    (await sendAs(as, "PUT", `${path}/scoped`, GOOD)).status,
    (await sendAs(as, "DELETE", `${path}/none`)).status,
  ];
  expect(await statuses(runner)).toEqual([200, 200, 200, 403, 403]);
  expect(await statuses(reader)).toEqual([403, 403, 403, 403, 403]);
  expect(await statuses(ADMIN_TOKEN, `/admin/tenants/${TENANT}/tasks`)).toEqual([200, 200, 200, 200, 404]);
  expect(await statuses(ADMIN_TOKEN, "/admin/tenants/nobody/tasks")).toEqual([404, 404, 404, 404, 404]);
});
