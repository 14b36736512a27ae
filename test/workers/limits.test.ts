/** Limits: counted exactly, refused before anything is done, settled when it is done. */
import { beforeAll, describe, expect, test } from "vitest";
import { recordEvents } from "../../src/metering/ledger.ts";
import { LEASE_MS, type Reservation } from "../../src/tenancy/meter.ts";
import { ADMIN_TOKEN, database, type ErrorBody, makeKey, meterOf, putModel, send, sendAs } from "./isolate.ts";
import { makeEvent, putPrice } from "./usage.ts";

const NOW = Date.UTC(2026, 10, 24, 12);
const NONE = { requestsPerMinute: null, tokensPerMinute: null };
const FREE = { concurrency: null, softBudget: null, hardBudget: null };

let serial = 0;
const ask = (changes: Partial<Reservation> = {}): Reservation => ({
  ...{ id: `r${serial++}`, key: "k", keyLimits: NONE, tenantLimits: FREE, tokens: 10, nano: 0, now: NOW },
  ...changes,
});

describe("a tenant's counts", () => {
  test("requests a minute: a minute's worth at once, then as they come", async () => {
    const meter = meterOf("requests");
    const keyLimits = { requestsPerMinute: 6, tokensPerMinute: null };
    for (let i = 0; i < 6; i++) {
      const answer = await meter.reserve("t", ask({ keyLimits }));
      expect(answer).toMatchObject({ refused: null, requests: { limit: 6, remaining: 5 - i, reset: (i + 1) * 10 } });
    }
    expect(await meter.reserve("t", ask({ keyLimits }))).toMatchObject({ refused: "requests", retryAfter: 10 });
    expect(await meter.reserve("t", ask({ keyLimits, now: NOW + 9_999 }))).toMatchObject({ refused: "requests" });
    expect(await meter.reserve("t", ask({ keyLimits, now: NOW + 10_000 }))).toMatchObject({ refused: null });
    expect(await meter.reserve("t", ask({ key: "another", keyLimits }))).toMatchObject({ refused: null });
  });

  test("of a hundred at once exactly so many get through as there are", async () => {
    const meter = meterOf("at-once");
    const keyLimits = { requestsPerMinute: 37, tokensPerMinute: null };
    const answers = await Promise.all(Array.from({ length: 100 }, () => meter.reserve("t", ask({ keyLimits }))));
    expect(answers.filter(({ refused }) => refused === null)).toHaveLength(37);
  });

  test("tokens: the most is reserved, what was not taken is given back, once", async () => {
    const meter = meterOf("tokens");
    const keyLimits = { requestsPerMinute: null, tokensPerMinute: 100 };
    const first = ask({ keyLimits, tokens: 80 });
    expect(await meter.reserve("t", first)).toMatchObject({ tokens: { remaining: 20 } });
    expect(await meter.reserve("t", ask({ keyLimits, tokens: 30 }))).toMatchObject({
      refused: "tokens",
      retryAfter: 6,
    });
    await meter.settle(first.id, { tokens: 50, nano: 0 }, NOW);
    await meter.settle(first.id, { tokens: 0, nano: 0 }, NOW);
    expect(await meter.reserve("t", ask({ keyLimits, tokens: 30 }))).toMatchObject({ tokens: { remaining: 20 } });
  });

  test("requests at once; one whose gateway went down is let go of in time", async () => {
    const meter = meterOf("concurrency");
    const tenantLimits = { ...FREE, concurrency: 2 };
    const first = ask({ tenantLimits });
    await meter.reserve("t", first);
    await meter.reserve("t", ask({ tenantLimits }));
    expect(await meter.reserve("t", ask({ tenantLimits }))).toMatchObject({ refused: "concurrency", retryAfter: 1 });
    await meter.settle(first.id, { tokens: 0, nano: 0 }, NOW);
    expect(await meter.reserve("t", ask({ tenantLimits }))).toMatchObject({ refused: null });
    const later = ask({ tenantLimits, now: NOW + LEASE_MS + 1 });
    expect(await meter.reserve("t", later)).toMatchObject({ refused: null });
  });

  test("the same request reserves once", async () => {
    const meter = meterOf("twice");
    const tenantLimits = { ...FREE, concurrency: 1 };
    const one = ask({ tenantLimits });
    expect(await meter.reserve("t", one)).toMatchObject({ refused: null });
    expect(await meter.reserve("t", one)).toMatchObject({ refused: null });
  });

  test("budgets: soft is told, hard is refused until the month ends, what runs counts as the most it can cost", async () => {
    const meter = meterOf("budget");
    const tenantLimits = { concurrency: null, softBudget: 500, hardBudget: 1_000 };
    const first = ask({ tenantLimits, nano: 600 });
    expect(await meter.reserve("budget-tenant", first)).toMatchObject({ refused: null, softBudgetReached: false });
    expect(await meter.reserve("budget-tenant", ask({ tenantLimits, nano: 600 }))).toMatchObject({ refused: "budget" });
    // The first one may take less.
    expect(await meter.reserve("budget-tenant", ask({ tenantLimits, nano: 600 }))).toMatchObject({ retryAfter: 1 });
    await meter.settle(first.id, { tokens: 0, nano: 500 }, NOW);
    const second = ask({ tenantLimits, nano: 500 });
    const answer = await meter.reserve("budget-tenant", second);
    expect(answer).toMatchObject({ refused: null, softBudgetReached: true });
    await meter.settle(second.id, { tokens: 0, nano: 500 }, NOW);
    const refused = await meter.reserve("budget-tenant", ask({ tenantLimits, nano: 1 }));
    expect(refused).toMatchObject({ refused: "budget", retryAfter: (Date.UTC(2026, 11, 1) - NOW) / 1000 });
    const nextMonth = ask({ tenantLimits, nano: 1_000, now: Date.UTC(2026, 11, 1) });
    expect(await meter.reserve("budget-tenant", nextMonth)).toMatchObject({ refused: null });
  });
});

describe("a budget", () => {
  const tenantLimits = { ...FREE, hardBudget: 1_000 };

  test("counts an adapter's later days too, within the hour", async () => {
    const noon = NOW - 2 * 3_600_000;
    await database.batch([
      database.prepare(
        `INSERT INTO prices (tenant, task, model, valid_from, input_per_1k, output_per_1k, per_request, adapter_day, created_at)
         VALUES ('kept-tenant', '', '', 0, 0, 0, 0, 400, 0)`,
      ),
      database
        .prepare(
          "INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES ('kept-tenant', 'a', 'v', 'm', 8, 1, ?)",
        )
        .bind(noon),
    ]);
    const meter = meterOf("kept-tenant");
    const at = (now: number, nano: number) => meter.reserve("kept-tenant", ask({ tenantLimits, now, nano }));
    expect(await at(NOW, 601)).toMatchObject({ refused: "budget" });
    expect(await at(NOW + 86_400_000, 201)).toMatchObject({ refused: "budget" });
    expect(await at(NOW + 86_400_000, 200)).toMatchObject({ refused: null });
  });

  test("set again counts what was used without it", async () => {
    const tenant = "again-tenant";
    const meter = meterOf(tenant);
    await makeKey(tenant, {}, { limits: FREE });
    const now = Date.now();
    expect(await meter.reserve(tenant, ask({ tenantLimits, nano: 1_000, now, id: "again" }))).toMatchObject({
      refused: null,
    });
    await meter.settle("again", { tokens: 0, nano: 0 }, now);
    await putPrice(0, { tenant, perRequest: 1 });
    await recordEvents(
      database,
      Array.from({ length: 10 }, () => makeEvent({ tenant, at: now })),
    );
    const change = { limits: { hard_budget: "0.000001" } };
    expect((await sendAs(ADMIN_TOKEN, "PATCH", `/admin/tenants/${tenant}`, change)).status).toBe(200);
    expect(await meter.reserve(tenant, ask({ tenantLimits, nano: 991, now }))).toMatchObject({ refused: "budget" });
    expect(await meter.reserve(tenant, ask({ tenantLimits, nano: 990, now }))).toMatchObject({ refused: null });
  });
});

describe("on the wire", () => {
  const prompt = "translate English to German: The house is old.";
  beforeAll(async () => {
    await putModel("limited");
  });
  const complete = (key: string, body: object = {}) =>
    sendAs<ErrorBody>(key, "POST", "/v1/completions", { model: "limited", prompt, ...body });

  test("429 with when to come again, in all the headers", async () => {
    const key = await makeKey("wire-requests", { limits: { requestsPerMinute: 1, tokensPerMinute: 1_000 } });
    const first = await complete(key);
    expect(first.status).toBe(200);
    expect(first.headers.get("ratelimit-policy")).toBe('"requests";q=1;w=60, "tokens";q=1000;w=60');
    expect(first.headers.get("ratelimit")).toMatch(/^"requests";r=0;t=60, "tokens";r=\d+;t=\d+$/);
    expect(first.headers.get("x-ratelimit-limit-tokens")).toBe("1000");
    const second = await complete(key);
    expect([second.status, second.json.error.code]).toEqual([429, "rate_limit_exceeded"]);
    expect(Number(second.headers.get("retry-after"))).toBeGreaterThan(50);
    expect(second.headers.get("x-ratelimit-remaining-requests")).toBe("0");
  });

  test("more tokens than a minute has are refused with what to change", async () => {
    const key = await makeKey("wire-tokens", { limits: { requestsPerMinute: null, tokensPerMinute: 40 } });
    const { status, json } = await complete(key, { max_tokens: 60 });
    expect(status).toBe(429);
    expect(json.error.message).toContain("lower max_tokens");
    expect((await complete(key, { max_tokens: 20 })).status).toBe(200);
  });

  test("402 for a budget that does not cover it", async () => {
    await database
      .prepare(
        `INSERT INTO prices (tenant, task, model, valid_from, input_per_1k, output_per_1k, per_request, adapter_day, created_at)
         VALUES ('wire-budget', '', '', 0, 1000, 1000, 0, 0, 0)`,
      )
      .run();
    const limits = { concurrency: null, softBudget: 1, hardBudget: 22_000 };
    const key = await makeKey("wire-budget", {}, { limits });
    // 7 + 6 tokens of a thousand nano-dollars each, of which 7 + 10 are reserved.
    expect((await complete(key, { max_tokens: 10 })).status).toBe(200);
    const { status, json, headers } = await complete(key, { max_tokens: 10 });
    expect([status, json.error.code]).toEqual([402, "budget_exceeded"]);
    expect(headers.get("x-edge-t5-budget")).toBe("soft");
    expect(Number(headers.get("retry-after"))).toBeGreaterThan(0);
  });

  test("what we get wrong takes no tokens and is not billed; the next request is", async () => {
    const key = await makeKey("wire-failed", { limits: { requestsPerMinute: null, tokensPerMinute: 100 } });
    const broken = { fetch: async () => new Response("down", { status: 500 }) } as unknown as Fetcher;
    const init = {
      method: "POST",
      headers: { authorization: `Bearer ${key}` },
      body: JSON.stringify({ model: "limited", prompt, max_tokens: 60 }),
    };
    const failed = await send("/v1/completions", init, { bindings: { DECODER: broken } });
    expect(failed.status).toBe(500);
    // The tokens are there again.
    expect((await complete(key, { max_tokens: 60 })).status).toBe(200);
    const outcomes = async () => {
      const sql = "SELECT outcome FROM usage_events WHERE tenant = 'wire-failed'";
      return (await database.prepare(sql).all<{ outcome: string }>()).results.map(({ outcome }) => outcome);
    };
    await expect.poll(outcomes, { timeout: 5_000 }).toEqual(["ok"]);
  });
});
