/** What the operator sees: metrics and logs; and what nobody sees in them. */
import parsePrometheus, { type ParsedFamily } from "parse-prometheus-text-format";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { sweep } from "../../functions/gateway/jobs.ts";
import { createJob } from "../../src/jobs/job.ts";
import { claimJob } from "../../src/jobs/lease.ts";
import {
  ADMIN_TOKEN,
  AS_ADMIN,
  bindingsFor,
  bucket,
  complete,
  database,
  type ErrorBody,
  makeKey,
  putModel,
  send,
  sendAs,
} from "./isolate.ts";
import { registryOf } from "./metrics-of.ts";
import { brokenDatabase, deliver, deliveryOf, makeEvent } from "./usage.ts";

const METRICS_TOKEN = "metrics token of the tests";
const PROMPT = "translate English to German: The house is old.";
/** Stands for what must never be told. */
const CANARY = "zanzibar9canary";

let key: string;
beforeAll(async () => {
  await putModel("m");
  key = await makeKey("watched");
  const template = "translate English to German: {input}";
  await sendAs(key, "PUT", "/v1/tasks/german", { model: "m", template, cache: { policy: "answers" } });
});

function metricsWith(token: string, placement = {}) {
  return send("/metrics", { headers: { authorization: `Bearer ${token}` } }, placement);
}

async function metrics(): Promise<ParsedFamily[]> {
  const response = await metricsWith(ADMIN_TOKEN);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  const typed = parsePrometheus(text);
  const types = new Map(typed.map(({ name, type }) => [name, type]));
  expect(types.size).toBe(typed.length);
  expect(new Set(types.values())).toEqual(new Set(["COUNTER", "GAUGE", "HISTOGRAM"]));
  // The parser lays a histogram's samples over each other; without their type it gives each with its labels.
  return parsePrometheus(text.replace(/^# TYPE \S+ histogram\n/gm, ""));
}

/** The value, or a histogram's count, summed over samples with these labels. */
function total(families: ParsedFamily[], name: string, labels: Record<string, string> = {}): number {
  const samples = families
    .filter((family) => family.name === name || family.name === `${name}_count`)
    .flatMap(({ metrics }) => metrics);
  return samples
    .filter(({ labels: own = {} }) => Object.entries(labels).every(([label, value]) => own[label] === value))
    .reduce((sum, { value }) => sum + Number(value), 0);
}

describe("GET /metrics", () => {
  test("counts what requests did, in every Worker", async () => {
    const before = await metrics();
    const change = (after: ParsedFamily[], name: string, labels = {}) =>
      total(after, name, labels) - total(before, name, labels);
    const { usage } = await (await complete({ model: "m", prompt: PROMPT })).json<{ usage: Record<string, number> }>();
    await (await complete({ model: "m", prompt: PROMPT, stream: true })).text();
    for (let i = 0; i < 2; i++) await sendAs(key, "POST", "/v1/tasks/german", { input: "The house is old." });
    await complete("{");
    await deliver([deliveryOf(makeEvent({ tenant: "watched" }))]);
    const after = await metrics();

    const completions = { worker: "gateway", method: "POST", route: "/v1/completions" };
    expect(change(after, "edge_t5_requests_total", { ...completions, status: "200" })).toBe(2);
    expect(change(after, "edge_t5_requests_total", { ...completions, status: "400" })).toBe(1);
    expect(change(after, "edge_t5_request_duration_seconds", completions)).toBe(3);
    const route = "/models/:model/decode";
    expect(change(after, "edge_t5_requests_total", { worker: "decoder", route, status: "200" })).toBe(3);
    expect(change(after, "edge_t5_tokens_total", { direction: "output" })).toBe(3 * (usage.completion_tokens ?? 0));
    expect(change(after, "edge_t5_tokens_total", { direction: "input" })).toBe(3 * (usage.prompt_tokens ?? 0));
    expect(change(after, "edge_t5_generations_total", { outcome: "ok", served_by: "edge" })).toBe(3);
    expect(change(after, "edge_t5_generations_total", { outcome: "ok", served_by: "cache" })).toBe(1);
    const cache = "edge_t5_cache_requests_total";
    expect(change(after, cache, { cache: "answers", result: "hit" })).toBe(1);
    expect(change(after, cache, { cache: "answers", result: "miss" })).toBe(1);
    expect(change(after, cache, { cache: "keys", result: "hit" })).toBeGreaterThanOrEqual(3);
    for (const worker of ["gateway", "encoder", "decoder"]) {
      expect(total(after, "edge_t5_model_loads_total", { worker, result: "loaded" })).toBeGreaterThanOrEqual(1);
      expect(total(after, "edge_t5_model_load_seconds", { worker })).toBeGreaterThanOrEqual(1);
      expect(total(after, "edge_t5_worker_up", { worker })).toBe(1);
    }
    expect(total(after, "edge_t5_worker_up", { worker: "reader" })).toBe(1);
    expect(change(after, "edge_t5_batch_rows", { worker: "decoder" })).toBeGreaterThan(0);
    expect(total(after, "edge_t5_wasm_bytes", { worker: "decoder" })).toBeGreaterThan(1e6);
    expect(change(after, "edge_t5_usage_queue_lag_seconds", { queue: "usage" })).toBeGreaterThanOrEqual(1);
    expect(change(after, "edge_t5_usage_messages_total", { result: "written" })).toBeGreaterThanOrEqual(1);
  });

  test("tells of jobs: how many wait and run, since when the oldest waits, and how long those took that ended", async () => {
    const jobs = "edge_t5_jobs";
    const labels = { worker: "gateway", kind: "fine_tuning" };
    const before = await metrics();
    // None is there yet, and that is told too.
    for (const status of ["queued", "running"]) {
      const told = before.find(({ name }) => name === jobs)?.metrics.map((one) => one.labels);
      expect(told).toContainEqual({ ...labels, status });
    }
    const make = (id: string, at: number) => {
      const wanted = {
        id,
        tenant: "watched",
        key: "k",
        kind: "fine_tuning",
        priority: 0,
        spec: {},
        files: [],
      } as const;
      return createJob(database, wanted, { running: 9, waiting: 9 }, at);
    };
    await make("ftjob-first", Date.now() - 600_000);
    await make("ftjob-second", Date.now() - 60_000);
    await make("ftjob-third", Date.now());
    await claimJob(database, { owner: "o", leaseMs: 60_000, kinds: ["fine_tuning"], running: 9 }, Date.now() - 7000);
    const after = await metrics();
    expect(total(after, jobs, { ...labels, status: "queued" })).toBe(2);
    expect(total(after, jobs, { ...labels, status: "running" })).toBe(1);
    expect(total(after, jobs, { kind: "batch" })).toBe(0);
    expect(total(after, "edge_t5_jobs_oldest_queued_seconds", labels)).toBeGreaterThanOrEqual(60);
    expect(total(after, "edge_t5_jobs_oldest_queued_seconds", labels)).toBeLessThan(600);
    // Its origin is lost; the clock ends it, once.
    await database.prepare("UPDATE jobs SET lease_until = 0, cancel_requested_at = 1 WHERE id = 'ftjob-first'").run();
    for (let i = 0; i < 2; i++) await sweep(bindingsFor());
    const ended = await metrics();
    expect(total(ended, jobs, { ...labels, status: "running" })).toBe(0);
    const duration = "edge_t5_job_duration_seconds";
    expect(total(ended, duration, { ...labels, status: "cancelled" })).toBe(1);
    const seconds = ended.filter(({ name }) => name === `${duration}_sum`).flatMap(({ metrics: all }) => all);
    expect(Number(seconds.find((one) => one.labels?.kind === "fine_tuning")?.value)).toBeGreaterThanOrEqual(7);
    // One that no origin began took no time.
    await sendAs(key, "POST", "/v1/fine_tuning/jobs/ftjob-third/cancel");
    expect(total(await metrics(), duration, labels)).toBe(1);
    expect(JSON.stringify(ended.filter(({ name }) => name.startsWith("edge_t5_job")))).not.toMatch(/watched|ftjob/);
  });

  test("is Prometheus's format: one family a name, one sample a label set, buckets that grow up to the count", async () => {
    const families = await metrics();
    const byName = new Map<string, ParsedFamily["metrics"]>();
    for (const { name, metrics } of families) byName.set(name, [...(byName.get(name) ?? []), ...metrics]);
    let histograms = 0;
    for (const [name, metrics] of byName) {
      expect(name).toMatch(/^edge_t5_[a-z_]+$/);
      const series = metrics.map(({ labels }) => JSON.stringify(labels));
      expect(new Set(series).size).toBe(series.length);
      if (!name.endsWith("_bucket")) continue;
      const rows = Map.groupBy(metrics, ({ labels: { le: _, ...others } = {} }) => JSON.stringify(others));
      for (const [labels, buckets] of rows) {
        const counts = buckets.map(({ value }) => Number(value));
        expect(counts).toEqual(counts.toSorted((a, b) => a - b));
        expect(buckets.at(-1)?.labels?.le).toBe("+Inf");
        const count = byName
          .get(name.replace("_bucket", "_count"))
          ?.find((one) => JSON.stringify(one.labels) === labels);
        expect(Number(count?.value)).toBe(counts.at(-1));
        histograms++;
      }
    }
    expect(histograms).toBeGreaterThan(5);
  });

  test("paths, names and methods that clients make up become no labels", async () => {
    const series = async () => (await metrics()).reduce((sum, { metrics }) => sum + metrics.length, 0);
    const ask = async (i: number) => {
      await send(`/${CANARY}${i}`);
      await send(`/v1/${CANARY}${i}`);
      await send(`/models/${CANARY}${i}`, { method: "POST", body: "{}" });
      await send(`/v1/tasks/${CANARY}${i}`, { method: "POST", body: '{"input":"a"}' });
    };
    await ask(0);
    const before = await series();
    for (let i = 1; i < 5; i++) await ask(i);
    expect(await series()).toBe(before);
    expect(JSON.stringify(await metrics())).not.toContain(CANARY);
  });

  test("label values are escaped, and label sets of one metric bounded", () => {
    const { text, series } = registryOf(5_000, 'a\\b"c\nd');
    const [family] = parsePrometheus(text);
    expect(family?.metrics[0]?.labels).toEqual({ worker: "w", name: 'a\\b"c\nd0' });
    expect(series).toBe(2_000);
  });

  test("opens to the admin's token and METRICS_TOKEN, to no tenant's key and no empty secret", async () => {
    const placement = { bindings: { METRICS_TOKEN } };
    expect((await metricsWith(METRICS_TOKEN, placement)).status).toBe(200);
    expect((await metricsWith(ADMIN_TOKEN, placement)).status).toBe(200);
    const closed = [
      await metricsWith(key, placement),
      await metricsWith(METRICS_TOKEN),
      await metricsWith("", placement),
      await metricsWith("unset"),
      await metricsWith("unset", { bindings: { METRICS_TOKEN: "", ADMIN_TOKEN: "" } }),
    ];
    for (const response of closed) {
      expect(response.status).toBe(401);
      expect((await response.json<ErrorBody>()).error.code).toBe("invalid_metrics_token");
    }
    expect((await metricsWith(METRICS_TOKEN, placement)).headers.get("access-control-allow-origin")).toBeNull();
    const admin = await send("/admin/tenants", { headers: { authorization: `Bearer ${METRICS_TOKEN}` } }, placement);
    expect(admin.status).toBe(401);
  });

  test("tells all else when the database does not answer", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const text = await (await metricsWith(ADMIN_TOKEN, { bindings: { DB: brokenDatabase } })).text();
    vi.restoreAllMocks();
    const families = parsePrometheus(text);
    expect(families.map(({ name }) => name)).not.toContain("edge_t5_jobs");
    expect(total(families, "edge_t5_worker_up", { worker: "decoder" })).toBe(1);
  });

  test("tells that a Worker does not answer, and the others' metrics", async () => {
    const ENCODER = { fetch: () => Promise.reject(new Error("gone")) } as unknown as Fetcher;
    const text = await (await metricsWith(ADMIN_TOKEN, { bindings: { ENCODER } })).text();
    const families = parsePrometheus(text);
    expect(total(families, "edge_t5_worker_up", { worker: "encoder" })).toBe(0);
    expect(total(families, "edge_t5_worker_up", { worker: "decoder" })).toBe(1);
  });
});

interface Line {
  time: string;
  level: string;
  msg: string;
  request_id: string;
  worker: string;
  [field: string]: unknown;
}

describe("the log", () => {
  let printed: string[];
  beforeEach(() => {
    printed = [];
    for (const method of ["log", "info", "warn", "error", "debug"] as const) {
      vi.spyOn(console, method).mockImplementation((...all: unknown[]) => {
        // As workerd would print it: an error with its message and stack.
        printed.push(all.map((one) => (one instanceof Error ? `${one.stack} ${one.cause}` : String(one))).join(" "));
      });
    }
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  const lines = () => printed.map((line) => JSON.parse(line) as Line);
  const requests = (worker: string) => lines().filter((line) => line.msg === "request" && line.worker === worker);

  test("has one line a request and Worker, under one id", async () => {
    const headers = { "x-request-id": "from-the-client_1=" };
    const { headers: answered } = await sendAs(key, "POST", "/v1/completions", { model: "m", prompt: PROMPT }, headers);
    expect(answered.get("x-request-id")).toBe("from-the-client_1=");
    expect(lines().map(({ request_id }) => request_id)).toEqual(Array(3).fill("from-the-client_1="));
    expect(requests("encoder")).toMatchObject([{ route: "/models/:model/encode", status: 200 }]);
    expect(requests("decoder")).toMatchObject([{ route: "/models/:model/decode", status: 200 }]);
    expect(requests("gateway")).toEqual([
      {
        ...{ time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/), level: "info", msg: "request" },
        ...{ request_id: "from-the-client_1=", worker: "gateway", method: "POST", route: "/v1/completions" },
        ...{ status: 200, ms: expect.any(Number), tenant: "watched", key: key.slice(0, 14) },
        ...{ usage_id: expect.stringMatching(/^[0-9a-f-]{36}$/), outcome: "ok", served_by: "edge" },
        ...{ input_tokens: 7, output_tokens: 6 },
      },
    ]);
  });

  test("of a stream it is written at its end, with its tokens", async () => {
    await (await complete({ model: "m", prompt: PROMPT, stream: true })).text();
    expect(requests("gateway")).toMatchObject([{ status: 200, input_tokens: 7, output_tokens: 6, outcome: "ok" }]);
    expect(requests("decoder")).toHaveLength(1);
  });

  test.each([
    ["", "nothing"],
    ["a b", "a space"],
    ["x".repeat(129), "too much"],
    ['"},{"level":"error', "JSON"],
    ["<script>", "markup"],
  ])("an id that is not well-formed is replaced: %j (%s)", async (id) => {
    const response = await send("/v1/models", { headers: { "x-request-id": id } });
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(requests("gateway")[0]?.request_id).toBe(response.headers.get("x-request-id"));
  });

  test("/healthz tells what is loaded to who may read the metrics, and to nobody else", async () => {
    expect(await (await send("/healthz")).json()).toEqual({ status: "ok" });
    expect(await (await send("/healthz", { headers: { authorization: "Bearer guessed" } })).json()).toEqual({
      status: "ok",
    });
    const told = await (await send("/healthz", AS_ADMIN)).json<{ decoder: { models: object } }>();
    expect(Object.keys(told.decoder.models).length).toBeGreaterThan(0);
  });

  test("/healthz asks the reader too where it is bound, and names who does not answer", async () => {
    expect(await (await send("/healthz", AS_ADMIN)).json()).toMatchObject({ reader: { status: "ok" } });
    const unbound = await send("/healthz", AS_ADMIN, { bindings: { READER: undefined as never } });
    expect(Object.keys(await unbound.json<object>())).toEqual(["status", "encoder", "decoder"]);
    const broken: [Fetcher["fetch"], string][] = [
      [() => Promise.reject(new Error(CANARY)), "The reader Worker does not answer."],
      [async () => new Response("error code: 1101", { status: 500 }), "The reader Worker answered 500"],
    ];
    for (const [fetch, message] of broken) {
      const answer = await send("/healthz", {}, { bindings: { READER: { fetch } as Fetcher } });
      expect([answer.status, await answer.json()]).toMatchObject([
        503,
        { error: { code: "worker_unavailable", message: expect.stringContaining(message) } },
      ]);
    }
  });

  test("every answer says the id: errors of any kind, streams, preflights, what is not there", async () => {
    const headers = { "x-request-id": "told" };
    const stream = JSON.stringify({ model: "m", prompt: PROMPT, stream: true });
    const asked: [path: string, init: RequestInit][] = [
      ["/nothing", {}],
      ["/healthz", {}],
      ["/v1/completions", { method: "POST", body: "{" }],
      ["/v1/completions", { method: "POST", body: stream }],
      ["/v1/completions", { method: "POST", body: "x".repeat(10_001) }],
      ["/models/none", { method: "POST", body: "{}" }],
      ["/admin/tenants", {}],
      ["/metrics", {}],
    ];
    for (const [path, init] of asked) {
      expect((await send(path, { ...init, headers })).headers.get("x-request-id"), path).toBe("told");
    }
    const preflight = { method: "OPTIONS", headers: { ...headers, "access-control-request-method": "POST" } };
    expect((await send("/v1/completions", preflight)).headers.get("x-request-id")).toBe("told");
    const broken = { bindings: { SHARDS: { list: () => Promise.reject(new Error(CANARY)) } as unknown as R2Bucket } };
    const failed = await send("/v1/models", { headers }, broken);
    expect([failed.status, failed.headers.get("x-request-id")]).toEqual([500, "told"]);
  });

  test("a client's id is not the ledger's: the same twice are two events", async () => {
    const sent: { id: string }[] = [];
    const USAGE = { send: async (event: { id: string }) => void sent.push(event) } as unknown as Queue;
    for (let i = 0; i < 2; i++) {
      const init = { method: "POST", body: JSON.stringify({ model: "m", prompt: PROMPT }) };
      await send("/v1/completions", { ...init, headers: { "x-request-id": "same" } }, { bindings: { USAGE } });
    }
    expect(new Set(sent.map(({ id }) => id)).size).toBe(2);
    expect(sent.map(({ id }) => id)).not.toContain("same");
  });

  test("holds neither inputs nor outputs nor secrets, whatever fails and wherever", async () => {
    const secret = `et5_${CANARY.slice(0, 10)}_${"A".repeat(43)}`;
    const unread = `et5_${CANARY.slice(-10)}_${"B".repeat(43)}`;
    const error = (name: string) => Object.assign(new Error(`${CANARY} "${CANARY}"`), { name });
    const failing = (what: unknown) => ({ fetch: () => Promise.reject(what) }) as unknown as Fetcher;
    const DB = {
      prepare: () => {
        throw error("Error");
      },
    } as unknown as D1Database;
    const post = (path: string, body: unknown, placement = {}, headers = {}) =>
      send(path, { method: "POST", headers, body: typeof body === "string" ? body : JSON.stringify(body) }, placement);
    const prompt = `translate English to German: ${CANARY}`;
    const echoed = await post("/v1/completions", { model: "m", prompt, echo: true });
    expect(await echoed.text()).toContain(CANARY);
    await post("/v1/completions", { model: "m", prompt, echo: true, stream: true });
    await post("/v1/completions", `{"prompt": ${CANARY}`);
    await post("/v1/completions", { model: "m", prompt: CANARY.repeat(500) });
    await post("/v1/completions", { model: CANARY, prompt, [CANARY]: CANARY });
    await post("/v1/completions", { model: "m", prompt }, {}, { authorization: `Bearer ${secret}` });
    await post(`/v1/tasks/${CANARY}`, { input: CANARY });
    await post("/v1/tasks/german", { input: { [CANARY]: CANARY } });
    await post(`/models/m?${CANARY}`, { inputs: prompt, parameters: { [CANARY]: 1 } });
    for (const thrown of [error("Error"), error("SyntaxError"), new TypeError(`x "${CANARY}" y`)]) {
      const ENCODER = failing(thrown);
      expect((await post("/v1/completions", { model: "m", prompt }, { bindings: { ENCODER } })).status).toBe(500);
    }
    const odd = { fetch: async () => new Response(CANARY, { status: 500 }) } as unknown as Fetcher;
    await post("/v1/completions", { model: "m", prompt }, { bindings: { DECODER: odd } });
    await post("/v1/completions", { model: "m", prompt }, { bindings: { DB } }, { authorization: `Bearer ${unread}` });
    const SHARDS = new Proxy(bucket, { get: () => () => Promise.reject(error("Error")) });
    await post("/v1/completions", { model: "unread", prompt }, { bindings: { SHARDS } });
    await send(`/${CANARY}?${CANARY}=${CANARY}`, { headers: { cookie: CANARY, referer: CANARY } });
    const made = await sendAs<{ key: string }>(ADMIN_TOKEN, "POST", "/admin/tenants/watched/keys", { name: CANARY });
    expect(made.json.key).toMatch(/^et5_/);
    await sendAs(made.json.key, "POST", "/v1/completions", { model: "m", prompt });

    expect(lines().filter(({ level, msg }) => level === "error" && msg === "failed").length).toBeGreaterThanOrEqual(6);
    const failures = lines().filter(({ msg }) => msg === "failed") as (Line & { error: { stack: string[] } })[];
    expect(failures.some(({ error }) => error.stack.some((frame) => /halves|operating/.test(frame)))).toBe(true);
    const all = printed.join("\n");
    for (const secret of [CANARY, ADMIN_TOKEN, "key secret of the tests", key.slice(15), made.json.key.slice(15)]) {
      expect(all).not.toContain(secret);
    }
  });
});
