/**
 * Tenants apart: what is one's is neither read nor changed nor confirmed by another, nor by who has no key; the answer, and
 * the work behind it, are those of what is not there.
 */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { app } from "../../functions/gateway/app.ts";
import { keyCache } from "../../src/tenancy/authenticate.ts";
import { revokeKey } from "../../src/tenancy/keys.ts";
import { taskCache } from "../../src/tenancy/tasks.ts";
import { countedDatabase, database, makeKey, nameModel, putModel, send } from "./isolate.ts";

const TASK = "secret-task";
const NO_TASK = "absent-task";
const NO_KEY = "et5_0000000000";
const DEFINITION = { model: "m", template: "a secret template: {input}" };

const BATCH = { endpoint: "/v1/completions", completion_window: "24h" };

let owner: string;
let other: string;
let ownersKey: string;
beforeAll(async () => {
  owner = await makeKey("owner");
  other = await makeKey("other");
  ownersKey = owner.slice(0, 14);
  await nameModel("m");
  await putModel("readable");
  const made = await ask(owner, ["PUT", `/v1/tasks/${TASK}`, DEFINITION]);
  expect(made.status).toBe(201);
  await database
    .prepare(
      "INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES (?, ?, 'v', 'm', 8, 1, 0)",
    )
    .bind("owner", TASK)
    .run();
  await database
    .prepare(
      "INSERT INTO files (id, tenant, purpose, filename, bytes, key, created_at) VALUES (?, 'owner', 'batch', 'secret template', 1, 'k', 0)",
    )
    .bind(TASK)
    .run();
  for (const kind of ["batch", "fine_tuning"]) {
    await database
      .prepare(
        `INSERT INTO jobs (id, tenant, key, kind, status, priority, spec, created_at, announced_at)
         VALUES (?, 'owner', 'k', ?, 'queued', 0, '{"metadata":{"a":"secret template"}}', 0, 0)`,
      )
      .bind(`${kind}-${TASK}`, kind)
      .run();
  }
});

type Request = [method: string, path: string, body?: object];

/** From an isolate that knows nothing yet. */
async function ask(key: string | null, [method, path, body]: Request) {
  keyCache.clear();
  taskCache.clear();
  const { db, statements } = countedDatabase();
  const init = {
    method,
    headers: { authorization: key === null ? "" : `Bearer ${key}` },
    ...(body && { body: JSON.stringify(body) }),
  };
  const response = await send(path, init, { bindings: { DB: db } });
  const headers = [...response.headers.keys()].filter((name) => name !== "content-length").sort();
  return { status: response.status, headers, text: await response.text(), statements };
}

/** Everything of the owner's, as the database has it. */
async function ownersRows(): Promise<string> {
  const keys = await database.prepare("SELECT * FROM api_keys WHERE tenant = 'owner' ORDER BY id").all();
  const tasks = await database.prepare("SELECT * FROM tasks WHERE tenant = 'owner' ORDER BY name, version").all();
  const adapters = await database.prepare("SELECT * FROM adapters WHERE tenant = 'owner' ORDER BY id").all();
  const files = await database.prepare("SELECT * FROM files WHERE tenant = 'owner' ORDER BY id").all();
  const jobs = await database.prepare("SELECT * FROM jobs WHERE tenant = 'owner' ORDER BY id").all();
  return JSON.stringify([keys, tasks, adapters, files, jobs].map(({ results }) => results));
}

/** What one may try to reach of a tenant, given the name of one thing of theirs, or of nothing. */
const REACHING: [route: string, (name: { task: string; key: string }) => Request][] = [
  ["GET /v1/tasks/:name", ({ task }) => ["GET", `/v1/tasks/${task}`]],
  ["GET /v1/tasks/:name", ({ task }) => ["GET", `/v1/tasks/${task}?version=1`]],
  ["GET /v1/tasks/:name/versions", ({ task }) => ["GET", `/v1/tasks/${task}/versions`]],
  ["DELETE /v1/tasks/:name", ({ task }) => ["DELETE", `/v1/tasks/${task}`]],
  ["GET /v1/keys/:key", ({ key }) => ["GET", `/v1/keys/${key}`]],
  ["DELETE /v1/keys/:key", ({ key }) => ["DELETE", `/v1/keys/${key}`]],
  ["POST /v1/keys/:key/rotate", ({ key }) => ["POST", `/v1/keys/${key}/rotate`, {}]],
  ["POST /v1/tasks/:name", ({ task }) => ["POST", `/v1/tasks/${task}`, { input: "hello" }]],
  ["POST /v1/completions", ({ task }) => ["POST", "/v1/completions", { model: task, prompt: "hello" }]],
  ["POST /models/:name", ({ task }) => ["POST", `/models/${task}`, { inputs: "hello" }]],
  [
    "POST /models/:name/v1/completions",
    ({ task }) => ["POST", `/models/${task}/v1/completions`, { model: "m", prompt: "hello" }],
  ],
  ["GET /v1/adapters/:name", ({ task }) => ["GET", `/v1/adapters/${task}`]],
  ["DELETE /v1/adapters/:name", ({ task }) => ["DELETE", `/v1/adapters/${task}`]],
  ["GET /v1/files/:file", ({ task }) => ["GET", `/v1/files/${task}`]],
  ["GET /v1/files/:file/content", ({ task }) => ["GET", `/v1/files/${task}/content`]],
  ["DELETE /v1/files/:file", ({ task }) => ["DELETE", `/v1/files/${task}`]],
  ["POST /v1/batches", ({ task }) => ["POST", "/v1/batches", { ...BATCH, input_file_id: task }]],
  ["GET /v1/batches/:batch", ({ task }) => ["GET", `/v1/batches/batch-${task}`]],
  ["POST /v1/batches/:batch/cancel", ({ task }) => ["POST", `/v1/batches/batch-${task}/cancel`, {}]],
  [
    "POST /v1/fine_tuning/jobs",
    ({ task }) => ["POST", "/v1/fine_tuning/jobs", { model: "readable", training_file: task }],
  ],
  ["GET /v1/fine_tuning/jobs/:job", ({ task }) => ["GET", `/v1/fine_tuning/jobs/fine_tuning-${task}`]],
  ["GET /v1/fine_tuning/jobs/:job/events", ({ task }) => ["GET", `/v1/fine_tuning/jobs/fine_tuning-${task}/events`]],
  [
    "GET /v1/fine_tuning/jobs/:job/checkpoints",
    ({ task }) => ["GET", `/v1/fine_tuning/jobs/fine_tuning-${task}/checkpoints`],
  ],
  [
    "POST /v1/fine_tuning/jobs/:job/cancel",
    ({ task }) => ["POST", `/v1/fine_tuning/jobs/fine_tuning-${task}/cancel`, {}],
  ],
];

/** What has no name of a thing, or makes a thing of one's own. */
const OWN: [route: string, Request][] = [
  ["GET /v1/tasks", ["GET", "/v1/tasks"]],
  ["GET /v1/keys", ["GET", "/v1/keys"]],
  ["PUT /v1/tasks/:name", ["PUT", `/v1/tasks/${TASK}`, { ...DEFINITION, template: "mine: {input}" }]],
  ["POST /v1/keys", ["POST", "/v1/keys", { name: "mine" }]],
  ["GET /v1/usage", ["GET", "/v1/usage"]],
  ["GET /v1/usage/events", ["GET", "/v1/usage/events"]],
  ["GET /v1/invoices/:month", ["GET", "/v1/invoices/2026-11"]],
  ["GET /v1/models", ["GET", "/v1/models"]],
  ["GET /v1/models/:model", ["GET", "/v1/models/m"]],
  ["DELETE /v1/models/:model", ["DELETE", "/v1/models/m"]],
  ["POST /v1/completions", ["POST", "/v1/completions", { model: "none", prompt: "hello" }]],
  ["GET /v1/adapters", ["GET", "/v1/adapters"]],
  ["PUT /v1/adapters/:name", ["PUT", `/v1/adapters/${TASK}`, {}]],
  ["GET /v1/files", ["GET", "/v1/files"]],
  ["POST /v1/files", ["POST", "/v1/files", {}]],
  ["GET /v1/batches", ["GET", "/v1/batches"]],
  ["GET /v1/fine_tuning/jobs", ["GET", "/v1/fine_tuning/jobs"]],
];

test("every route of tenants is walked here", () => {
  const there = app.routes
    .filter(({ method, path }) => method !== "ALL" && /^\/(v1|models)\//.test(path) && !path.includes("*"))
    .map(({ method, path }) => `${method} ${path}`);
  expect(new Set([...REACHING, ...OWN].map(([route]) => route))).toEqual(new Set(there));
});

describe("another tenant, whose key may do everything", () => {
  test.each(REACHING)("%s: 404, as for what is not there, after as many queries", async (_, requestOf) => {
    const before = await ownersRows();
    const theirs = await ask(other, requestOf({ task: TASK, key: ownersKey }));
    const nothing = await ask(other, requestOf({ task: NO_TASK, key: NO_KEY }));
    expect(theirs.status).toBe(404);
    expect(theirs.text.replaceAll(TASK, NO_TASK).replaceAll(ownersKey, NO_KEY)).toBe(nothing.text);
    expect(theirs.headers).toEqual(nothing.headers);
    expect(theirs.statements).toEqual(nothing.statements);
    expect(theirs.text).not.toContain("secret template");
    expect(await ownersRows()).toBe(before);
  });

  test("lists hold nothing of the owner's, wherever a page is asked to begin", async () => {
    const lists: [path: string, theirs: string, nothing: string][] = [
      ["/v1/tasks", "secret", "absent"],
      ["/v1/keys", ownersKey, NO_KEY],
      ["/v1/adapters", "secret", "absent"],
      ["/v1/files", TASK, NO_TASK],
      ["/v1/batches", `batch-${TASK}`, `batch-${NO_TASK}`],
      ["/v1/fine_tuning/jobs", `fine_tuning-${TASK}`, `fine_tuning-${NO_TASK}`],
    ];
    for (const [path, theirs, nothing] of lists) {
      const [first, fromTheirs, fromNothing] = [
        await ask(other, ["GET", path]),
        await ask(other, ["GET", `${path}?after=${theirs}`]),
        await ask(other, ["GET", `${path}?after=${nothing}`]),
      ];
      for (const { text } of [first, fromTheirs]) {
        expect(text).not.toContain(ownersKey);
        expect(text).not.toContain("secret template");
      }
      if (!["/v1/tasks", "/v1/adapters"].includes(path)) expect(fromTheirs.text).toBe(fromNothing.text);
      expect(fromTheirs.statements).toEqual(fromNothing.statements);
    }
  });

  test("a task of the same name is a task of its own", async () => {
    const before = await ownersRows();
    const made = await ask(other, ["PUT", `/v1/tasks/${TASK}`, { ...DEFINITION, template: "mine: {input}" }]);
    expect([made.status, JSON.parse(made.text).version]).toEqual([201, 1]);
    expect((await ask(other, ["DELETE", `/v1/tasks/${TASK}`])).status).toBe(200);
    expect(await ownersRows()).toBe(before);
    expect((await ask(owner, ["GET", `/v1/tasks/${TASK}`])).text).toContain("secret template");
  });
});

describe("who has no key that works", () => {
  let keys: [who: string, key: string | null][];
  beforeAll(async () => {
    const revoked = await makeKey("owner");
    await revokeKey(database, "owner", revoked.slice(0, 14), Date.now());
    const guess = owner.at(-1) === "A" ? "B" : "A";
    keys = [
      ["no one", null],
      ["revoked", revoked],
      ["expired", await makeKey("owner", { expiresAt: Date.now() - 1 })],
      ["malformed", "sk-1234"],
      ["guessed, of a key's id", `${owner.slice(0, -1)}${guess}`],
      ["guessed", `et5_1234567890_${"A".repeat(43)}`],
    ];
  });
  beforeEach(() => keyCache.clear());

  const everything: Request[] = [
    ...REACHING.flatMap(([, requestOf]) => [
      requestOf({ task: TASK, key: NO_KEY }),
      requestOf({ task: NO_TASK, key: NO_KEY }),
    ]),
    ...OWN.map(([, request]) => request),
    ["GET", "/v1/nothing"],
  ];

  test("gets one and the same answer on every route, after one and the same query, and changes nothing", async () => {
    const before = await ownersRows();
    const answers = { openai: new Set<string>(), huggingFace: new Set<string>() };
    for (const [, key] of keys) {
      for (const request of everything) {
        const shape = request[1].startsWith("/models/") ? "huggingFace" : "openai";
        answers[shape].add(JSON.stringify(await ask(key, request)));
      }
    }
    for (const shape of Object.values(answers)) {
      expect(shape.size).toBe(1);
      const answer = JSON.parse([...shape][0]!) as Awaited<ReturnType<typeof ask>>;
      expect(answer).toMatchObject({ status: 401, statements: [expect.stringContaining("FROM api_keys")] });
      expect(answer.text).toContain("invalid_api_key");
    }
    expect(await ownersRows()).toBe(before);
  });

  test("and no tenant's key opens the control plane", async () => {
    for (const path of [
      "/admin/tenants",
      "/admin/tenants/owner",
      "/admin/tenants/owner/keys",
      "/admin/tenants/owner/tasks",
      "/admin/tenants/owner/usage",
      "/admin/tenants/owner/usage/events",
      "/admin/tenants/owner/invoices/2026-11",
      "/admin/prices",
      "/admin/dead-letters",
      "/admin/stripe",
      "/internal/jobs/batch-secret-task/checkpoints",
      "/metrics",
    ]) {
      for (const key of [owner, other, null]) expect((await ask(key, ["GET", path])).status).toBe(401);
    }
  });
});

test("a key without the scope is refused with 403 before anything is looked up, whatever the path names", async () => {
  const none = await makeKey("other", { scopes: [] });
  for (const [, requestOf] of REACHING) {
    const theirs = await ask(none, requestOf({ task: TASK, key: ownersKey }));
    const nothing = await ask(none, requestOf({ task: NO_TASK, key: NO_KEY }));
    expect(theirs).toEqual(nothing);
    expect(theirs.status).toBe(403);
    expect(theirs.statements).toHaveLength(1);
  }
});
