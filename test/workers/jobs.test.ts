/** Jobs in the gateway: leases on D1, quotas and budgets, uploads into R2, and what an origin may reach. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { app } from "../../functions/gateway/app.ts";
import { createJob, findJob, type Job, newJobId, requestCancel } from "../../src/jobs/job.ts";
import {
  type Beat,
  claimJob,
  finishJob,
  heartbeat,
  MOST_ATTEMPTS,
  releaseJob,
  sweepJobs,
} from "../../src/jobs/lease.ts";
import { signatureHeaders } from "../../src/jobs/signature.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { spendOf } from "../../src/metering/invoice.ts";
import { readEvents, recordEvents } from "../../src/metering/ledger.ts";
import { addPrice } from "../../src/metering/prices.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import {
  ADMIN_TOKEN,
  bindingsFor,
  bucket,
  database,
  makeKey,
  meterOf,
  ORIGIN_SECRET,
  putModel,
  send,
  sendAs,
} from "./isolate.ts";

const NOW = 1_800_000_000_000;
const LEASE = 10_000;
const QUOTAS = { running: 2, waiting: 100 };

const encoded = (text: string) => Uint8Array.from(new TextEncoder().encode(text));

interface Refused {
  error: { code: string; message: string };
}

beforeAll(async () => {
  await putModel("default");
});
beforeEach(async () => {
  for (const table of ["job_files", "job_events", "job_checkpoints", "jobs"]) {
    await database.prepare(`DELETE FROM ${table}`).run();
  }
});

async function job(tenant: string, change: { priority?: number; at?: number } = {}): Promise<Job> {
  await makeKey(tenant);
  const { priority = 0, at = NOW } = change;
  const wanted = { id: newJobId("batch"), tenant, key: "k", kind: "batch", priority, spec: {}, files: [] } as const;
  return createJob(database, wanted, QUOTAS, at);
}

async function claim(now = NOW, running = QUOTAS.running) {
  const claimed = await claimJob(database, { owner: "o", leaseMs: LEASE, kinds: ["batch"], running }, now);
  return claimed && { ...claimed.job, checkpoint: claimed.checkpoint };
}

const beat = (fence: number, more: Partial<Beat> = {}): Beat => ({
  fence,
  leaseMs: LEASE,
  events: [],
  usage: [],
  ...more,
});
const ending = (fence: number, status: "succeeded" | "failed" = "succeeded") => ({
  ...{ fence, status, result: {}, error: null, events: [], files: [] },
});
const stale = { status: 409, code: "stale_lease" };

function used(id: string, row: number): UsageEvent {
  return {
    ...{ id: `${id}-${row}`, tenant: "leased", key: "k", task: null, taskVersion: null, model: "m", adapter: null },
    ...{
      inputTokens: 3,
      outputTokens: 2,
      trainingTokens: 0,
      workUnits: 5,
      servedBy: "origin",
      outcome: "ok",
      at: NOW,
      durationMs: 1,
    },
  };
}

describe("a lease", () => {
  test("is one origin's, however many claim at once", async () => {
    await makeKey("leased");
    const made = await Promise.all(Array.from({ length: 6 }, () => job("leased")));
    const claims = await Promise.all(Array.from({ length: 20 }, () => claim(NOW, 100)));
    const ids = claims.flatMap((each) => each?.id ?? []);
    expect(ids.sort()).toEqual(made.map(({ id }) => id).sort());
  });

  test("that ran out is the next one's, and what the first still says is refused, and leaves nothing", async () => {
    const { id } = await job("leased");
    const first = await claim();
    const checkpoint = { step: 1, state: { rows: 1 }, files: {}, metrics: null };
    await heartbeat(database, id, beat(1, { checkpoint, usage: [used(id, 0)] }), NOW + 1);
    expect(await claim(NOW + LEASE)).toBeNull();
    const second = await claim(NOW + LEASE + 2);
    expect([first?.fence, second?.fence, second?.checkpoint?.state]).toEqual([1, 2, { rows: 1 }]);
    const later = NOW + LEASE + 3;
    const late = beat(1, {
      checkpoint: { ...checkpoint, step: 2 },
      usage: [used(id, 1)],
      events: [{ name: "late", level: "info", type: "message", message: "late", data: null }],
    });
    await expect(heartbeat(database, id, late, later)).rejects.toMatchObject(stale);
    const file = { id: "file-late", filename: "f", purpose: "batch_output", bytes: 1, key: "k" };
    await expect(finishJob(database, id, { ...ending(1), files: [file] }, later)).rejects.toMatchObject(stale);
    await expect(releaseJob(database, id, 1)).rejects.toMatchObject(stale);
    const count = async (table: string, where: string) =>
      (await database.prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).first<{ n: number }>())?.n;
    expect(await count("job_checkpoints", `job = '${id}'`)).toBe(1);
    expect(await count("usage_events", `id LIKE '${id}-%'`)).toBe(1);
    expect(await count("job_events", `job = '${id}'`)).toBe(0);
    expect(await count("files", "id = 'file-late'")).toBe(0);
    // The second one's are taken, and the same again changes nothing.
    const again = beat(2, { checkpoint: { ...checkpoint, step: 2 }, usage: [used(id, 0), used(id, 1)] });
    expect((await heartbeat(database, id, again, later)).isNew).toEqual([`${id}-1`]);
    expect((await heartbeat(database, id, again, later)).isNew).toEqual([]);
    const own = { ...ending(2), files: [file] };
    expect((await finishJob(database, id, own, later)).status).toBe("succeeded");
    expect((await finishJob(database, id, own, later + 5)).finishedAt).toBe(later);
    expect(await count("files", "id = 'file-late'")).toBe(1);
    await expect(heartbeat(database, id, beat(2), later)).rejects.toMatchObject(stale);
  });

  test("that nobody took meanwhile goes on after its time, and one that is given back is free at once", async () => {
    const { id } = await job("leased");
    await claim();
    await heartbeat(database, id, beat(1), NOW + 10 * LEASE);
    expect(await claim(NOW + 10 * LEASE + 1)).toBeNull();
    await releaseJob(database, id, 1);
    expect((await claim(NOW + 10 * LEASE + 1))?.fence).toBe(2);
  });

  test("is not given for ever to a job that takes its origins down: it fails, unless it comes further", async () => {
    const { id } = await job("leased");
    let now = NOW;
    for (let i = 0; i < MOST_ATTEMPTS; i++) {
      expect((await claim(now))?.fence).toBe(i + 1);
      const step = { step: 1, state: {}, files: {}, metrics: null };
      if (i === 3) await heartbeat(database, id, beat(4, { checkpoint: step }), now);
      now += LEASE + 1;
    }
    expect((await sweepJobs(database, now)).ended).toEqual([]);
    for (let i = 0; i < 4; i++) {
      expect(await claim(now)).not.toBeNull();
      now += LEASE + 1;
    }
    expect(await claim(now)).toBeNull();
    const { ended } = await sweepJobs(database, now);
    expect(ended).toMatchObject([{ id, status: "failed", error: { code: "origin_lost" } }]);
  });
});

describe("who comes first", () => {
  test("of tenants who has fewest running, then who waited longest; of a tenant's jobs the most urgent", async () => {
    const a = [await job("aa"), await job("aa", { at: NOW + 1 }), await job("aa", { priority: 1, at: NOW + 1 })];
    const b = await job("bb", { at: NOW + 2 });
    const c = await job("cc", { priority: 1, at: NOW + 3 });
    const order: (string | undefined)[] = [];
    for (let i = 0; i < 6; i++) order.push((await claim(NOW + 10 + i))?.id);
    // Two at once are a tenant's quota.
    expect(order).toEqual([a[2]?.id, b.id, c.id, a[0]?.id, undefined, undefined]);
    await finishJob(database, a[2]?.id ?? "", ending(1), NOW + 20);
    expect((await claim(NOW + 21))?.id).toBe(a[1]?.id);
  });

  test("a tenant's own quota goes before the deployment's; a disabled tenant's jobs wait", async () => {
    await job("own");
    await job("own");
    await database.prepare("UPDATE tenants SET jobs_running = 1, jobs_waiting = 1 WHERE id = 'own'").run();
    await expect(job("own")).rejects.toMatchObject({ status: 429, code: "jobs_waiting_limit" });
    expect(await claim()).not.toBeNull();
    expect(await claim()).toBeNull();
    await database.prepare("UPDATE tenants SET jobs_running = 5, disabled_at = 1 WHERE id = 'own'").run();
    expect(await claim()).toBeNull();
  });
});

describe("the clock", () => {
  test("announces what waits, once in a while, and ends what was cancelled while its origin was lost", async () => {
    const waiting = await job("clock");
    const lost = await job("clock");
    expect((await sweepJobs(database, NOW)).waiting).toEqual([]);
    for (let i = 0; i < 2; i++) await claim();
    await releaseJob(database, waiting.id, 1);
    expect((await requestCancel(database, "clock", "batch", lost.id, NOW + 1))?.status).toBe("running");
    const { job: told } = await heartbeat(database, lost.id, beat(1), NOW + 1);
    expect(told.cancelRequestedAt).toBe(NOW + 1);
    const later = NOW + LEASE + 2;
    expect(await sweepJobs(database, later)).toMatchObject({ ended: [{ id: lost.id }], waiting: [waiting.id] });
    expect((await sweepJobs(database, later + 1000)).waiting).toEqual([]);
    expect((await findJob(database, "clock", "batch", lost.id))?.status).toBe("cancelled");
    expect((await requestCancel(database, "clock", "batch", lost.id, later))?.status).toBe("cancelled");
  });
});

/** A form as clients send it, its file `bytes` long. */
function form(bytes: Uint8Array<ArrayBuffer>, fields: Record<string, string> = { purpose: "batch" }): FormData {
  const data = new FormData();
  // Clients send the file first, or last.
  data.set("file", new File([bytes], "rows.jsonl"));
  for (const [name, value] of Object.entries(fields)) data.set(name, value);
  return data;
}

async function upload(key: string, body: BodyInit, headers: Record<string, string> = {}) {
  const init = { method: "POST", body, headers: { authorization: `Bearer ${key}`, ...headers } };
  const response = await send("/v1/files", init);
  return { status: response.status, json: (await response.json()) as { id: string; bytes: number } & Refused };
}

const filesIn = async (tenant: string) => (await bucket.list({ prefix: `tenants/${tenant}/files/` })).objects.length;

describe("a file", () => {
  test("of many parts arrives as it was sent; one that is too large, or no form, leaves nothing", async () => {
    const key = await makeKey("uploader");
    const bytes = new Uint8Array(18 << 20);
    for (let at = 0; at < bytes.length; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
    const { status, json } = await upload(key, form(bytes));
    expect([status, json.bytes]).toEqual([200, bytes.length]);
    const content = await app.request(
      `/v1/files/${json.id}/content`,
      { headers: { authorization: `Bearer ${key}` } },
      bindingsFor(),
    );
    expect(await sha256Of(new Uint8Array(await content.arrayBuffer()))).toBe(await sha256Of(bytes));
    expect(await filesIn("uploader")).toBe(1);
    const refused: [body: BodyInit, headers: Record<string, string>, status: number, code: string][] = [
      [form(new Uint8Array(21 << 20)), {}, 413, "request_too_large"],
      [form(new Uint8Array(1), { purpose: "vision" }), {}, 400, "invalid_value"],
      [form(new Uint8Array(1), {}), {}, 400, "missing_required_parameter"],
      ["{}", { "content-type": "application/json" }, 400, "invalid_body"],
      ["--x\r\ncontent-disposition", { "content-type": "multipart/form-data; boundary=x" }, 400, "invalid_body"],
    ];
    for (const [body, headers, status, code] of refused) {
      const answer = await upload(key, body, headers);
      expect([answer.status, answer.json.error?.code]).toEqual([status, code]);
    }
    const empty = new FormData();
    empty.set("purpose", "batch");
    expect((await upload(key, empty)).json.error.code).toBe("missing_file");
    expect(await filesIn("uploader")).toBe(1);
  });

  test("counts against its tenant's quota, until it is deleted", async () => {
    const key = await makeKey("full");
    await database.prepare("UPDATE tenants SET file_bytes = 10 WHERE id = 'full'").run();
    const first = await upload(key, form(new Uint8Array(6)));
    const second = await upload(key, form(new Uint8Array(6)));
    expect([first.status, second.status, second.json.error.code]).toEqual([200, 413, "file_quota_exceeded"]);
    expect(await filesIn("full")).toBe(1);
    expect((await sendAs(key, "DELETE", `/v1/files/${first.json.id}`)).status).toBe(200);
    expect(await filesIn("full")).toBe(0);
    expect((await upload(key, form(new Uint8Array(6)))).status).toBe(200);
  });
});

const row = (id: string, body: object = {}) =>
  JSON.stringify({
    custom_id: id,
    method: "POST",
    url: "/v1/completions",
    body: { model: "default", prompt: "translate English to German: The house is old.", max_tokens: 10, ...body },
  });
const BATCH = { endpoint: "/v1/completions", completion_window: "24h" };

test("a batch keeps the money that it can cost: none is begun that the budget does not cover", async () => {
  await addPrice(
    database,
    {
      ...{ tenant: null, task: null, model: null, validFrom: null, inputPer1k: 0, outputPer1k: 1_000_000 },
      ...{ trainingPer1k: 0, perRequest: 0, adapterDay: 0 },
    },
    Date.now() - 1000,
  );
  // A token of output costs a million nano-dollars; a row at most ten.
  const limits = { concurrency: null, softBudget: null, hardBudget: 25_000_000 };
  const key = await makeKey("poor", {}, { limits });
  const { json: two } = await upload(key, form(encoded(`${row("a")}\n${row("b")}`)));
  const create = () =>
    sendAs<{ id: string } & Refused>(key, "POST", "/v1/batches", { ...BATCH, input_file_id: two.id });
  const first = await create();
  expect(first.status).toBe(200);
  const second = await create();
  expect([second.status, second.json.error?.code]).toEqual([402, "budget_exceeded"]);
  expect((await sendAs(key, "POST", `/v1/batches/${first.json.id}/cancel`)).status).toBe(200);
  const third = await create();
  expect(third.status).toBe(200);

  const claimed = await origin<{ job: { id: string; fence: number } }>("POST", "/claim", {
    ...{ owner: "o", lease_seconds: 30, kinds: ["batch"] },
  });
  const { id, fence } = claimed.json.job;
  expect(id).toBe(third.json.id);
  const { tenant: _, key: __, ...event } = used(id, 0);
  const usage = [{ ...event, model: "default", outputTokens: 4, at: Date.now() }];
  const beats = { fence, lease_seconds: 30, usage };
  for (let i = 0; i < 2; i++) expect((await origin("POST", `/${id}/heartbeat`, beats)).status).toBe(200);
  const month = new Date().toISOString().slice(0, 7);
  expect(await spendOf(database, "poor", month, Date.now())).toBe(4_000_000);
  const done = { fence, status: "succeeded" };
  expect((await origin("POST", `/${id}/finish`, done)).status).toBe(200);
  // 21 of 25 are left.
  const hold = (nano: number) =>
    meterOf("poor").hold("poor", { id: String(nano), nano, hardBudget: 25_000_000, now: Date.now() });
  expect([await hold(21_000_001), await hold(21_000_000)]).toEqual([false, true]);
});

test("a batch keeps for texts in pieces what all of their pieces can cost", async () => {
  // A token of input costs a thousand nano-dollars.
  const price = { input_per_1k: "0.001", output_per_1k: "0" };
  const tenant = async (name: string, hardBudget: number | null) => {
    const key = await makeKey(name, {}, { limits: { concurrency: null, softBudget: null, hardBudget } });
    const priced = await sendAs(ADMIN_TOKEN, "POST", "/admin/prices", { tenant: name, ...price });
    const task = { model: "default", template: "translate English to German: {input}", long: "sentences" };
    expect([priced.status, (await sendAs(key, "PUT", "/v1/tasks/letters", task)).status]).toEqual([201, 201]);
    return key;
  };
  // By far the most of it stays as it is. The second of them is over what is planned for its size.
  const texts = ["The house is old. Where is my book? ", "I am hungry. "].map(
    (text) => text + "\n12:30".repeat(90_000),
  );
  const rows = [...texts, texts[0]].map((prompt, i) =>
    row(String(i), { model: "letters", prompt, max_tokens: undefined }),
  );
  const create = async (key: string) => {
    const { json } = await upload(key, form(encoded(rows.join("\n"))));
    return sendAs<{ id: string } & Refused>(key, "POST", "/v1/batches", { ...BATCH, input_file_id: json.id });
  };
  const wanted = async (prompt: string) => {
    const completed = await sendAs<{ usage: { prompt_tokens: number } }>(measurer, "POST", "/v1/completions", {
      ...{ model: "letters", prompt },
    });
    return completed.json.usage.prompt_tokens;
  };
  const measurer = await tenant("measurer", null);
  const first = await wanted("The house is old. Where is my book?");
  // The second's are reckoned from the first's, by its characters.
  const share = (texts[1]?.length ?? 0) / (texts[0]?.length ?? 1);
  const most = 1000 * (first + Math.ceil(first * share) + first);
  const [thrifty, poorer] = [await tenant("thrifty", most), await tenant("poorer", most - 1)];
  expect((await create(thrifty)).status).toBe(200);
  const refused = await create(poorer);
  expect([refused.status, refused.json.error?.code]).toEqual([402, "budget_exceeded"]);
});

describe("a fine-tuning is billed what it trained on", () => {
  const spec = { modelName: "base", adapter: "ft-x" };
  const trained = (step: number, trainedTokens: number) =>
    beat(1, { checkpoint: { step, state: { trainedTokens }, files: {}, metrics: null } });
  const eventsOf = async (tenant: string) =>
    (await readEvents(database, tenant, { start: 0, end: 2 * NOW }, 0, 10)).events;

  /** One that an origin runs, with a checkpoint at 300 tokens and one at 700. */
  async function running(tenant: string): Promise<string> {
    await makeKey(tenant);
    const id = newJobId("fine_tuning");
    const wanted = { id, tenant, key: "k", kind: "fine_tuning", priority: 0, spec, files: [] } as const;
    await createJob(database, wanted, QUOTAS, NOW);
    await claimJob(database, { owner: "o", leaseMs: LEASE, kinds: ["fine_tuning"], running: 9 }, NOW);
    await heartbeat(database, id, trained(10, 300), NOW + 1);
    await heartbeat(database, id, trained(20, 700), NOW + 2);
    return id;
  }

  test("once, with its end, and no more is written to it", async () => {
    const id = await running("tuned");
    expect(await eventsOf("tuned")).toEqual([]);
    for (let i = 0; i < 2; i++) await finishJob(database, id, ending(1), NOW + 50 + i);
    const event = {
      ...{ id, tenant: "tuned", key: "k", task: null, taskVersion: null, model: "base", adapter: "ft-x" },
      ...{ inputTokens: 0, outputTokens: 0, trainingTokens: 700, workUnits: 0, servedBy: "origin", outcome: "ok" },
      ...{ at: NOW + 50, durationMs: 50 },
    };
    expect(await eventsOf("tuned")).toEqual([event]);
    await recordEvents(database, [{ ...used(id, 0), id, tenant: "tuned", trainingTokens: 0 }]);
    expect(await eventsOf("tuned")).toEqual([event]);
  });

  test("up to the last checkpoint when it is cancelled, whoever ends it; nothing when it failed", async () => {
    const told = { trainingTokens: 700, outcome: "cut_off", adapter: null, model: "base" };
    const byOrigin = await running("by-origin");
    await requestCancel(database, "by-origin", "fine_tuning", byOrigin, NOW + 3);
    expect(await eventsOf("by-origin")).toEqual([]);
    await finishJob(database, byOrigin, { ...ending(1), status: "cancelled" }, NOW + 4);
    expect(await eventsOf("by-origin")).toMatchObject([{ ...told, id: byOrigin }]);

    const released = await running("released");
    await releaseJob(database, released, 1);
    for (let i = 0; i < 2; i++) await requestCancel(database, "released", "fine_tuning", released, NOW + 3);
    expect(await eventsOf("released")).toMatchObject([{ ...told, id: released }]);

    const lost = await running("lost");
    await requestCancel(database, "lost", "fine_tuning", lost, NOW + 3);
    for (let i = 0; i < 2; i++) await sweepJobs(database, NOW + LEASE + 3);
    expect(await eventsOf("lost")).toMatchObject([{ ...told, id: lost }]);

    const failed = await running("failed");
    await finishJob(database, failed, ending(1, "failed"), NOW + 4);
    expect(await eventsOf("failed")).toEqual([]);
    // Not by who has lost its lease.
    const other = await running("other");
    await expect(finishJob(database, other, ending(2), NOW + 4)).rejects.toMatchObject(stale);
    expect(await eventsOf("other")).toEqual([]);
  });

  test("that nothing was trained of costs nothing", async () => {
    await makeKey("idle");
    const id = newJobId("fine_tuning");
    const wanted = { id, tenant: "idle", key: "k", kind: "fine_tuning", priority: 0, spec, files: [] } as const;
    await createJob(database, wanted, QUOTAS, NOW);
    expect((await requestCancel(database, "idle", "fine_tuning", id, NOW))?.status).toBe("cancelled");
    expect(await eventsOf("idle")).toEqual([]);
  });

  test("by the price of that time, on usage, invoice and CSV, within the budget that was kept for it", async () => {
    // A token costs 2,000 nano-dollars.
    const limits = { concurrency: null, softBudget: null, hardBudget: 30_000_000 };
    const key = await makeKey("trainer", {}, { limits });
    const training = { input_per_1k: "1", training_per_1k: "0.002", per_request: "0.00000001" };
    expect((await sendAs(ADMIN_TOKEN, "POST", "/admin/prices", { tenant: "trainer", ...training })).status).toBe(201);
    const rows = Array.from({ length: 40 }, (_, i) => JSON.stringify({ prompt: `word ${i}`, completion: "Wort" }));
    const file = await upload(key, form(encoded(rows.join("\n")), { purpose: "fine-tune" }));
    const create = (hyperparameters: object) =>
      sendAs<{ id: string } & Refused>(key, "POST", "/v1/fine_tuning/jobs", {
        ...{ model: "default", training_file: file.json.id, hyperparameters },
      });
    const large = await create({ n_epochs: 100 });
    expect([large.status, large.json.error?.code]).toEqual([402, "budget_exceeded"]);
    const small = await create({ n_epochs: 2, batch_size: 8 });
    expect(small.status).toBe(200);
    const { id } = small.json;
    const claimed = await origin<{ job: { id: string; fence: number } }>("POST", "/claim", {
      ...{ owner: "o", lease_seconds: 30, kinds: ["fine_tuning"] },
    });
    const { fence } = claimed.json.job;
    expect(claimed.json.job.id).toBe(id);
    const checkpoint = { step: 10, state: { trainedTokens: 900 } };
    expect((await origin("POST", `/${id}/heartbeat`, { fence, lease_seconds: 30, checkpoint })).status).toBe(200);
    const cancel = await sendAs(key, "POST", `/v1/fine_tuning/jobs/${id}/cancel`);
    expect(cancel.status).toBe(200);
    for (let i = 0; i < 2; i++) {
      expect((await origin("POST", `/${id}/finish`, { fence, status: "cancelled" })).status).toBe(200);
    }
    const spent = 900 * 2_000 + 10;
    const month = new Date().toISOString().slice(0, 7);
    expect(await spendOf(database, "trainer", month, Date.now())).toBe(spent);
    const sums = { requests: 1, input_tokens: 0, output_tokens: 0, training_tokens: 900, amount: "0.00180001" };
    const usage = await sendAs<{ data: object[] }>(key, "GET", "/v1/usage?group_by=model");
    expect(usage.json.data).toMatchObject([{ model: "default", ...sums, cut_off_requests: 1 }]);
    const events = await sendAs<{ data: object[] }>(key, "GET", "/v1/usage/events");
    expect(events.json.data).toMatchObject([{ id, training_tokens: 900, served_by: "origin", outcome: "cut_off" }]);
    const invoice = await sendAs<{ usage: object[]; total: string }>(key, "GET", `/v1/invoices/${month}`);
    expect(invoice.json).toMatchObject({ usage: [{ model: "default", ...sums }], total: sums.amount });
    const csv = await send(`/v1/invoices/${month}?format=csv`, { headers: { authorization: `Bearer ${key}` } });
    expect(await csv.text()).toMatch(
      /\nusage,.*,,,default,1,0,0,900,,\d+,[^,]+,1,0,0\.002,0\.00000001,0,0\.00180001\r/,
    );
    // What was kept beyond that is free again.
    const hold = (nano: number) =>
      meterOf("trainer").hold("trainer", { id: String(nano), nano, hardBudget: 30_000_000, now: Date.now() });
    expect([await hold(30_000_001 - spent), await hold(30_000_000 - spent)]).toEqual([false, true]);
  });
});

/** As an origin asks. */
async function origin<Json>(
  method: string,
  path: string,
  body?: object | Uint8Array<ArrayBuffer>,
  secret = ORIGIN_SECRET,
) {
  const whole = `/internal/jobs${path}`;
  const bytes = body instanceof Uint8Array ? body : encoded(body === undefined ? "" : JSON.stringify(body));
  const signed = await signatureHeaders(secret, { method, path: whole, bodyHash: await sha256Of(bytes) }, Date.now());
  const headers = { ...signed, authorization: "none", ...(body && { "content-length": String(bytes.length) }) };
  const response = await send(whole, { method, headers, ...(body && { body: bytes }) });
  const text = await response.text();
  return { status: response.status, text, json: (text.startsWith("{") ? JSON.parse(text) : null) as Json };
}

test("an origin reaches what its job names, and nothing else, as long as the job is its own", async () => {
  const key = await makeKey("reached");
  const other = await makeKey("unreached");
  const secret = await upload(other, form(encoded("a secret")));
  const file = await upload(key, form(encoded(row("a"))));
  await sendAs(key, "POST", "/v1/batches", { ...BATCH, input_file_id: file.json.id });
  const claimed = await origin<{
    job: { id: string; fence: number; spec: { targets: { default: { model: string } } } };
  }>("POST", "/claim", { owner: "o", lease_seconds: 30, kinds: ["batch"] });
  const { id, fence, spec } = claimed.json.job;
  const get = (path: string, by = fence) => origin<Refused>("GET", `/${id}/${path}?fence=${by}`);
  expect((await get(`inputs/files/${file.json.id}`)).text).toBe(row("a"));
  const { model } = spec.targets.default;
  const manifest = await get(`inputs/models/${model}/manifest.json`);
  expect(manifest.json).toMatchObject({ name: "default" });
  for (const path of [
    `inputs/files/${secret.json.id}`,
    "inputs/models/other@0123456789abcdef/manifest.json",
    `inputs/models/${model}/current.json`,
    `inputs/models/${model}/blobs/..%2F..%2Fcurrent.json`,
    "inputs/adapters/x/adapter_config.json",
    "artifacts/1/none",
    "artifacts/1/..%2F..%2Ffiles",
  ]) {
    expect([path, (await get(path)).status]).toEqual([path, 404]);
  }
  const put = (name: string, by = fence, as = ORIGIN_SECRET) =>
    origin<{ artifact: string }>("PUT", `/${id}/artifacts/${name}?fence=${by}`, encoded("part"), as);
  expect((await put("part-1")).json).toEqual({ artifact: `${fence}/part-1` });
  expect((await get(`artifacts/${fence}/part-1`)).text).toBe("part");
  for (const wrong of [await put("part-2", fence + 1), await put("part-2", 0), await get("checkpoints", fence - 1)]) {
    expect([wrong.status, (wrong.json as unknown as Refused).error.code]).toEqual([409, "stale_lease"]);
  }
  expect((await put("part-2", fence, "another")).status).toBe(401);
  // What is not what was signed is not kept.
  const path = `/internal/jobs/${id}/artifacts/part-3?fence=${fence}`;
  const signed = await signatureHeaders(
    ORIGIN_SECRET,
    { method: "PUT", path, bodyHash: await sha256Of(encoded("right")) },
    Date.now(),
  );
  const headers = { ...signed, authorization: "none", "content-length": "5" };
  const wrong = await send(path, { method: "PUT", headers, body: "wrong" });
  expect([wrong.status, ((await wrong.json()) as Refused).error.code]).toEqual([400, "artifact_corrupt"]);
  expect((await get(`artifacts/${fence}/part-3`)).status).toBe(404);
  // After its end nothing is reached any more, and of its folder only results are left.
  const outputs = [{ as: "output_file_id", artifact: `${fence}/part-1`, filename: "o", purpose: "batch_output" }];
  await put("part-4");
  expect((await origin("POST", `/${id}/finish`, { fence, status: "succeeded", outputs })).status).toBe(200);
  const left = await bucket.list({ prefix: `tenants/reached/jobs/${id}/` });
  expect(left.objects.map(({ key }) => key)).toEqual([`tenants/reached/jobs/${id}/${fence}/part-1`]);
  const batch = await sendAs<{ output_file_id: string }>(key, "GET", `/v1/batches/${id}`);
  const content = await send(`/v1/files/${batch.json.output_file_id}/content`, {
    headers: { authorization: `Bearer ${key}` },
  });
  expect(await content.text()).toBe("part");
  expect((await get(`inputs/files/${file.json.id}`)).status).toBe(409);
});

test("without ORIGIN_SECRET nothing of an origin's is taken", async () => {
  const bodyHash = await sha256Of(new Uint8Array(0));
  for (const secret of ["", "unset"]) {
    const path = "/internal/jobs/x/checkpoints?fence=1";
    const signing = secret || "unset";
    const headers = await signatureHeaders(signing, { method: "GET", path, bodyHash }, Date.now());
    const response = await send(path, { headers }, { bindings: { ORIGIN_SECRET: secret === "" ? "" : "real" } });
    expect(response.status).toBe(401);
  }
});
