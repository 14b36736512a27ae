/** Prices, usage and invoices as tenants and the operator see them, over the real database. */
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { UsageEvent } from "../../src/metering/event.ts";
import { type AdapterSpan, adapterSpans, invoiceOf, recompute, spendOf } from "../../src/metering/invoice.ts";
import { recordEvents } from "../../src/metering/ledger.ts";
import { DAY_MS } from "../../src/metering/period.ts";
import { pricesOf } from "../../src/metering/prices.ts";
import { ADMIN_TOKEN, database, type ErrorBody, makeKey, send, sendAs } from "./isolate.ts";
import { makeEvent, NOON, putPrice } from "./usage.ts";

const START = Date.UTC(2026, 10);
const END = Date.UTC(2026, 11);
const LATER = Date.UTC(2027, 0);

interface PriceJson {
  id: string;
  valid_from: string;
  valid_until: string | null;
  status: string;
  input_per_1k: string;
}

interface UsagePage {
  data: { day?: string; task?: string | null; key?: string; requests: number; input_tokens: number; amount: string }[];
  has_more: boolean;
  next_cursor: string | null;
}

interface InvoiceJson {
  status: string;
  total: string;
  usage: {
    task: string | null;
    model: string;
    requests: number;
    input_tokens: number;
    output_tokens: number;
    price: { id: string; per_request: string; input_per_1k: string; output_per_1k: string } | null;
    amount: string;
  }[];
  adapters: { adapter: string; days: number; dates: string[]; amount: string }[];
}

const asAdmin = <Json>(method: string, path: string, body?: object) =>
  sendAs<Json & ErrorBody>(ADMIN_TOKEN, method, path, body);

describe("prices", () => {
  test("hold from now on; the versions before stay as they were", async () => {
    const tenant = "price-versions";
    await makeKey(tenant);
    const body = { tenant, input_per_1k: "0.0015", output_per_1k: "0.003", per_request: "0.000000001" };
    const first = await asAdmin<PriceJson>("POST", "/admin/prices", body);
    expect(first).toMatchObject({
      status: 201,
      json: { ...body, object: "price", adapter_day: "0", task: null, model: null },
    });
    const second = await asAdmin<PriceJson>("POST", "/admin/prices", { ...body, input_per_1k: "0.002" });
    const third = await asAdmin<PriceJson>("POST", "/admin/prices", {
      ...body,
      input_per_1k: "0.1",
      valid_from: "2099-01-01T01:00:00+01:00",
    });
    const { json } = await asAdmin<{ data: PriceJson[] }>("GET", `/admin/prices?tenant=${tenant}`);
    expect(json.data.map(({ id, status, input_per_1k }) => [id, status, input_per_1k])).toEqual([
      [first.json.id, "past", "0.0015"],
      [second.json.id, "current", "0.002"],
      [third.json.id, "scheduled", "0.1"],
    ]);
    expect(json.data.map(({ valid_until }) => valid_until)).toEqual([
      second.json.valid_from,
      "2099-01-01T00:00:00.000Z",
      null,
    ]);
  });

  test("change what they name alone, from the version before theirs; a first one has 0", async () => {
    const tenant = "price-merged";
    await makeKey(tenant);
    const set = async (body: object) => {
      const { status, json } = await asAdmin<Record<string, string>>("POST", "/admin/prices", { tenant, ...body });
      const { input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day } = json;
      return { status, amounts: [input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day] };
    };
    const amounts = { training_per_1k: "0.3", per_request: "0.4", adapter_day: "0.5" };
    const first = await set({ input_per_1k: "0.1", output_per_1k: "0.2", ...amounts });
    expect(first.status).toBe(201);
    expect((await set({ input_per_1k: "1", output_per_1k: "0" })).amounts).toEqual(["1", "0", "0.3", "0.4", "0.5"]);
    expect((await set({ adapter_day: "5", valid_from: "2099-01-01T00:00:00Z" })).amounts.at(-1)).toBe("5");
    // Those that come later stay out of it, and so do those of another subject.
    expect((await set({ per_request: "4" })).amounts).toEqual(["1", "0", "0.3", "4", "0.5"]);
    const last = await set({ training_per_1k: "3", valid_from: "2100-01-01T00:00:00Z" });
    expect(last.amounts).toEqual(["1", "0", "3", "0.4", "5"]);
    expect((await set({ model: "default", per_request: "7" })).amounts).toEqual(["0", "0", "0", "7", "0"]);
  });

  test("of a tenant that is not there are refused", async () => {
    const { status, json } = await asAdmin("POST", "/admin/prices", { tenant: "price-nobody", per_request: "1" });
    expect({ status, error: json.error }).toMatchObject({
      status: 404,
      error: { code: "tenant_not_found", param: "tenant" },
    });
    expect(await asAdmin("GET", "/admin/prices?tenant=price-nobody")).toMatchObject({ json: { data: [] } });
  });

  test("of the past cannot be set, changed or withdrawn; those to come can be withdrawn", async () => {
    const tenant = "price-past";
    await makeKey(tenant);
    const past = await asAdmin("POST", "/admin/prices", { tenant, valid_from: "2026-01-01T00:00:00Z" });
    expect(past).toMatchObject({ status: 400, json: { error: { code: "price_in_the_past", param: "valid_from" } } });
    expect(past.json.error.message).toMatch(/billed at the prices that held/);
    const noDay = await asAdmin("POST", "/admin/prices", { tenant, valid_from: "2099-02-30T00:00:00Z" });
    expect(noDay).toMatchObject({ status: 400, json: { error: { code: "invalid_value", param: "valid_from" } } });
    const current = await asAdmin<PriceJson>("POST", "/admin/prices", { tenant });
    expect(await asAdminRaw("DELETE", `/admin/prices/${current.json.id}`)).toBe(409);
    const next = { tenant, valid_from: "2099-01-01T00:00:00Z" };
    const scheduled = await asAdmin<PriceJson>("POST", "/admin/prices", next);
    expect(await asAdmin("POST", "/admin/prices", next)).toMatchObject({
      status: 409,
      json: { error: { code: "price_exists" } },
    });
    expect(await asAdminRaw("DELETE", `/admin/prices/${scheduled.json.id}`)).toBe(204);
    expect(await asAdminRaw("DELETE", `/admin/prices/${scheduled.json.id}`)).toBe(404);
    await expect(database.prepare("UPDATE prices SET per_request = 1").run()).rejects.toThrow(/immutable/);
  });

  test("begin after every event of theirs that is in the ledger already", async () => {
    const tenant = "price-order";
    await makeKey(tenant);
    // Of a machine whose clock is a little ahead.
    const event = makeEvent({ tenant, at: Date.now() + 2000 });
    await recordEvents(database, [event]);
    const { json } = await asAdmin<PriceJson>("POST", "/admin/prices", { tenant, per_request: "1" });
    expect(Date.parse(json.valid_from)).toBe(event.at + 1);
  });

  test.each([
    ["a JSON number", { input_per_1k: 0.1 }, "invalid_type", "input_per_1k"],
    ["more digits than are kept", { input_per_1k: "0.0000001" }, "invalid_value", "input_per_1k"],
    ["more digits a request than are kept", { per_request: "0.0000000001" }, "invalid_value", "per_request"],
    ["a negative price", { per_request: "-1" }, "invalid_value", "per_request"],
    ["a price beyond all sense", { adapter_day: "1000.000000001" }, "invalid_value", "adapter_day"],
    ["no number", { output_per_1k: "1e-3" }, "invalid_value", "output_per_1k"],
    ["a task of nobody's", { task: "t" }, "invalid_value", "task"],
    ["a task and a model", { tenant: "a", task: "t", model: "m" }, "invalid_value", "model"],
    ["a day as time", { valid_from: "2099-01-01" }, "invalid_value", "valid_from"],
    ["an unknown field", { per_token: "1" }, "unknown_parameter", "per_token"],
  ])("%s is refused", async (_, body, code, param) => {
    expect(await asAdmin("POST", "/admin/prices", body)).toMatchObject({
      status: 400,
      json: { error: { code, param } },
    });
  });

  test("are for the admin's token alone", async () => {
    const key = await makeKey("price-thief");
    for (const path of ["/admin/prices", "/admin/dead-letters", "/admin/stripe", "/admin/tenants/price-thief/usage"]) {
      expect((await sendAs(key, "GET", path)).status).toBe(401);
    }
  });
});

async function asAdminRaw(method: string, path: string): Promise<number> {
  return (await send(path, { method, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } })).status;
}

describe("usage", () => {
  let key: string;
  beforeAll(async () => {
    key = await makeKey("user");
    await putPrice(START, { tenant: "user", inputPer1k: 1_000, outputPer1k: 3_000, perRequest: 7 });
    const days = [0, 1, 1, 2, 2, 2].map((day) => START + day * DAY_MS + 5);
    await recordEvents(
      database,
      days.map((at, i) =>
        makeEvent({ tenant: "user", at, key: `key-${i % 2}`, task: i < 4 ? "a" : null, model: i < 5 ? "m" : "n" }),
      ),
    );
    await recordEvents(database, [makeEvent({ tenant: "neighbour", at: START, key: "theirs" })]);
  });

  const get = <Json>(path: string) => sendAs<Json & ErrorBody>(key, "GET", path);
  const NOVEMBER = "from=2026-11-01&to=2026-11-30";

  test("by day", async () => {
    const { json } = await get<UsagePage>(`/v1/usage?${NOVEMBER}`);
    expect(json).toMatchObject({ object: "list", from: "2026-11-01", to: "2026-11-30", group_by: ["day"] });
    expect(json.data.map(({ day, requests, input_tokens, amount }) => [day, requests, input_tokens, amount])).toEqual([
      ["2026-11-01", 1, 10, "0.000025007"],
      ["2026-11-02", 2, 20, "0.000050014"],
      ["2026-11-03", 3, 30, "0.000075021"],
    ]);
    expect(json.next_cursor).toBeNull();
  });

  test("by task, key and model, one or several", async () => {
    const rows = async (by: string) => (await get<UsagePage>(`/v1/usage?${NOVEMBER}&group_by=${by}`)).json.data;
    expect((await rows("task")).map(({ task, requests }) => [task, requests])).toEqual([
      [null, 2],
      ["a", 4],
    ]);
    expect((await rows("key")).map((row) => [row.key, row.requests])).toEqual([
      ["key-0", 3],
      ["key-1", 3],
    ]);
    expect(await rows("model,day")).toHaveLength(4);
  });

  test("of a few days only", async () => {
    const { json } = await get<UsagePage>("/v1/usage?from=2026-11-02&to=2026-11-02&group_by=key");
    expect(json.data.map(({ requests }) => requests)).toEqual([1, 1]);
  });

  test("is each tenant's own, for the operator anybody's, and needs the scope", async () => {
    const other = await makeKey("neighbour");
    const theirs = await sendAs<UsagePage>(other, "GET", `/v1/usage?${NOVEMBER}`);
    expect(theirs.json.data.map(({ requests }) => requests)).toEqual([1]);
    const events = await sendAs<{ data: { id: string }[] }>(other, "GET", `/v1/usage/events?${NOVEMBER}`);
    expect(events.json.data).toHaveLength(1);
    // Their cursor opens nothing of another's.
    const page = await get<UsagePage>(`/v1/usage/events?${NOVEMBER}&limit=1`);
    const stolen = await sendAs<{ data: object[] }>(other, "GET", `/v1/usage/events?cursor=${page.json.next_cursor}`);
    expect(JSON.stringify(stolen.json.data)).not.toMatch(/key-[01]/);
    expect(stolen.json.data.length).toBeLessThanOrEqual(1);
    const operator = await asAdmin<UsagePage>("GET", `/admin/tenants/user/usage?${NOVEMBER}&group_by=task`);
    expect(operator.json.data).toHaveLength(2);
    expect(await asAdmin("GET", "/admin/tenants/nobody/usage")).toMatchObject({
      status: 404,
      json: { error: { code: "tenant_not_found" } },
    });
    const narrow = await makeKey("user", { scopes: ["tasks:run"] });
    for (const path of ["/v1/usage", "/v1/usage/events", "/v1/invoices/2026-11"]) {
      expect(await sendAs(narrow, "GET", path)).toMatchObject({
        status: 403,
        json: { error: { code: "insufficient_scope" } },
      });
    }
  });

  test.each([
    ["from=2026-02-30", "invalid_value", "from"],
    ["from=2026-11-02&to=2026-11-01", "invalid_value", "from"],
    ["from=2020-01-01&to=2026-11-01", "invalid_value", "from"],
    ["group_by=tenant", "invalid_value", "group_by.0"],
    ["group_by=day,day", "invalid_value", "group_by"],
    ["limit=0", "invalid_value", "limit"],
    ["limit=1001", "invalid_value", "limit"],
    ["cursor=nonsense", "invalid_cursor", "cursor"],
    ["tenant=neighbour", "unknown_parameter", "tenant"],
  ])("%s is refused", async (query, code, param) => {
    expect(await get(`/v1/usage?${query}`)).toMatchObject({ status: 400, json: { error: { code, param } } });
  });

  test("pages show one moment: rows are neither lost, doubled nor changed while events arrive", async () => {
    const pager = await makeKey("pager");
    const names = Array.from({ length: 11 }, (_, i) => `task-${String(i).padStart(2, "0")}`);
    await recordEvents(
      database,
      names.flatMap((task) => [makeEvent({ tenant: "pager", task }), makeEvent({ tenant: "pager", task })]),
    );
    const path = `/v1/usage?${NOVEMBER}&group_by=task`;
    const whole = await sendAs<UsagePage>(pager, "GET", path);
    const seen: object[] = [];
    for (let next: string | null = "", page = 0; next !== null; page++) {
      const { json }: { json: UsagePage } = await sendAs(
        pager,
        "GET",
        next ? `/v1/usage?cursor=${next}&limit=3` : `${path}&limit=3`,
      );
      seen.push(...json.data);
      next = json.next_cursor;
      // Into rows given and to come, and new ones before and after.
      const tasks = ["task-00", "task-10", "a", "z", `task-0${page}x`];
      await recordEvents(
        database,
        tasks.map((task) => makeEvent({ tenant: "pager", task })),
      );
    }
    expect(seen).toEqual(whole.json.data);
    const later = await sendAs<UsagePage>(pager, "GET", path);
    expect(later.json.data.length).toBeGreaterThan(seen.length);
  });

  test("a cursor goes with its own question only", async () => {
    const { json } = await get<UsagePage>(`/v1/usage?${NOVEMBER}&limit=1`);
    const cursor = json.next_cursor;
    for (const query of ["group_by=key", "from=2026-11-02", "to=2026-11-29"]) {
      expect(await get(`/v1/usage?cursor=${cursor}&${query}`)).toMatchObject({
        status: 400,
        json: { error: { code: "invalid_cursor" } },
      });
    }
  });

  test("as CSV: whole, streamed past a page, with cells that no spreadsheet runs", async () => {
    const csvKey = await makeKey("csv");
    const events = Array.from({ length: 1203 }, (_, i) =>
      makeEvent({ tenant: "csv", at: START + i, key: i === 0 ? '=cmd|"x"' : "k", task: `a,"b"${i % 3}` }),
    );
    await recordEvents(database, events);
    const download = async (path: string, headers: Record<string, string> = {}) => {
      const response = await send(path, { headers: { authorization: `Bearer ${csvKey}`, ...headers } });
      expect(response.headers.get("content-type")).toMatch(/^text\/csv/);
      return (await response.text()).split("\r\n");
    };
    const lines = await download(`/v1/usage/events?${NOVEMBER}&format=csv`);
    expect(lines[0]).toMatch(/^id,at,key,task,/);
    expect(lines.at(-1)).toBe("");
    expect(lines.slice(1, -1).map((line) => line.split(",")[0])).toEqual(events.map(({ id }) => id));
    expect(lines[1]).toContain(`,"'=cmd|""x""","a,""b""0",`);
    const usage = await download(`/v1/usage?${NOVEMBER}&group_by=task`, { accept: "text/csv" });
    expect(usage).toEqual([
      "task,requests,cut_off_requests,input_tokens,output_tokens,training_tokens,work_units,amount",
      ...[0, 1, 2].map((i) => `"a,""b""${i}",401,0,4010,2005,0,6015,0`),
      "",
    ]);
  });
});

describe("invoices", () => {
  test("a price that changes in the middle of a month splits its lines at that moment", async () => {
    const tenant = "mid-month";
    const key = await makeKey(tenant);
    const first = await putPrice(START, { tenant, inputPer1k: 1_000, outputPer1k: 2_000, perRequest: 50 });
    const second = await putPrice(NOON, { tenant, inputPer1k: 4_000, outputPer1k: 2_000 });
    await recordEvents(
      database,
      [START, NOON - 1, NOON, END - 1, END].map((at) => makeEvent({ tenant, at })),
    );
    const { json } = await sendAs<InvoiceJson>(key, "GET", "/v1/invoices/2026-11");
    expect(json).toMatchObject({ object: "invoice", tenant, month: "2026-11", currency: "usd" });
    // 2 × (10 × 1 µ$ + 5 × 2 µ$ + 50 n$), and 2 × (10 × 4 µ$ + 5 × 2 µ$)
    expect(json.usage.map(({ price, requests, amount }) => [price?.id, requests, amount])).toEqual([
      [String(first), 2, "0.0000401"],
      [String(second), 2, "0.0001"],
    ]);
    expect(json.total).toBe("0.0001401");
    expect(await spendOf(database, tenant, "2026-11", LATER)).toBe(140_100);
    for (const line of json.usage) {
      const { per_request = "0", input_per_1k = "0", output_per_1k = "0" } = line.price ?? {};
      const dollars =
        line.requests * Number(per_request) +
        (line.input_tokens * Number(input_per_1k) + line.output_tokens * Number(output_per_1k)) / 1000;
      expect(Number(line.amount)).toBeCloseTo(dollars, 12);
    }
  });

  test("the most specific price counts: task, tenant's model, tenant, model, default", async () => {
    const tenant = "specific";
    const model = "specific-model";
    const time = START + 1000;
    const ids = [
      await putPrice(time, { perRequest: 1 }),
      await putPrice(time + 1, { model, perRequest: 2 }),
      await putPrice(time + 2, { tenant, perRequest: 3 }),
      await putPrice(time + 3, { tenant, model, perRequest: 4 }),
      await putPrice(time + 4, { tenant, task: "t", perRequest: 5 }),
    ];
    await putPrice(time, { tenant: "somebody", model, perRequest: 99 });
    await putPrice(time + 9, { perRequest: 6 });
    const events = ids.map((_, i) => makeEvent({ tenant, model, task: "t", at: time + i }));
    const late = makeEvent({ tenant, model, task: "other", at: time + 20 });
    await recordEvents(database, [...events, late]);
    const { usage } = await invoiceOf(database, tenant, "2026-11", LATER);
    expect(usage.map((line) => [line.task, line.price?.id, line.amount])).toEqual([
      ["other", ids[3], 4n],
      ...ids.map((id, i) => ["t", id, BigInt(i + 1)]),
    ]);
  });

  test("what had no price costs nothing, and is on the invoice", async () => {
    const tenant = "unpriced";
    await recordEvents(database, [makeEvent({ tenant, at: Date.UTC(2020, 1) })]);
    const invoice = await invoiceOf(database, tenant, "2020-02", LATER);
    expect(invoice.usage).toMatchObject([{ price: null, requests: 1, amount: 0n }]);
    expect(invoice).toMatchObject({ total: 0n, isOver: true });
  });

  test("an adapter's day counts once, whatever versions it had; a deleted one no more", async () => {
    const tenant = "adapted";
    const key = await makeKey(tenant);
    await putPrice(START, { tenant, adapterDay: 1_000_000_000 });
    await putPrice(START + 12 * DAY_MS + 5, { tenant, adapterDay: 2_000_000_000 });
    const put = (name: string, from: number, replaced: number | null, deleted: number | null) =>
      database
        .prepare(
          `INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at, replaced_at, deleted_at)
           VALUES (?1, ?2, ?3, 'm', 8, 100, ?4, ?5, ?6)`,
        )
        .bind(tenant, name, `sha-${from}`, from, replaced, deleted)
        .run();
    const day = (n: number, hour = 0) => START + (n - 1) * DAY_MS + hour * 3_600_000;
    // Of October until the 2nd, replaced twice on one day, there to the 4th at midnight.
    await put("a", START - DAY_MS, day(2, 10), null);
    await put("a", day(2, 10), day(2, 11), null);
    await put("a", day(2, 11), null, day(4));
    await put("b", day(13), day(14, 1), null);
    await put("b", day(14, 1), null, day(14, 2));
    const { json } = await sendAs<InvoiceJson>(key, "GET", "/v1/invoices/2026-11");
    expect(json.adapters.map(({ adapter, days, dates, amount }) => [adapter, days, dates, amount])).toEqual([
      ["a", 3, ["2026-11-01", "2026-11-02", "2026-11-03"], "3"],
      ["b", 1, ["2026-11-13"], "1"],
      ["b", 1, ["2026-11-14"], "2"],
    ]);
    expect(json.total).toBe("6");
    expect(await spendOf(database, tenant, "2026-11", LATER)).toBe(6_000_000_000);
  });

  test("an adapter that is still there counts until today", async () => {
    const tenant = "adapting";
    await putPrice(START, { tenant, adapterDay: 10 });
    await database
      .prepare(
        `INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES (?1, 'a', 's', 'm', 8, 1, ?2)`,
      )
      .bind(tenant, START + 5)
      .run();
    const invoice = await invoiceOf(database, tenant, "2026-11", START + 2 * DAY_MS);
    expect(invoice).toMatchObject({ isOver: false, total: 30n });
    expect(await spendOf(database, tenant, "2026-11", START + 2 * DAY_MS)).toBe(30);
  });

  test.each([
    ["2026-13", /no month/],
    ["November", /no month/],
    ["2199-01", /has not begun/],
  ])("%s is refused", async (month, message) => {
    const { status, json } = await sendAs<ErrorBody>(await makeKey("month"), "GET", `/v1/invoices/${month}`);
    expect(status).toBe(400);
    expect(json.error.message).toMatch(message);
  });

  test("as CSV, for the tenant and the operator", async () => {
    const tenant = "csv-invoice";
    await makeKey(tenant);
    const id = await putPrice(START, { tenant, perRequest: 5 });
    await recordEvents(database, [makeEvent({ tenant, task: "@sum", at: START })]);
    const response = await send(`/admin/tenants/${tenant}/invoices/2026-11?format=csv`, {
      headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
    });
    expect(response.headers.get("content-disposition")).toBe('attachment; filename="invoice-csv-invoice-2026-11.csv"');
    expect((await response.text()).split("\r\n")).toEqual([
      "kind,month,task,adapter,model,requests,input_tokens,output_tokens,training_tokens,adapter_days,price,price_valid_from,input_per_1k,output_per_1k,training_per_1k,per_request,adapter_day,amount",
      `usage,2026-11,'@sum,,m,1,10,5,0,,${id},2026-11-01T00:00:00.000Z,0,0,0,0.000000005,0,0.000000005`,
      "",
    ]);
  });

  test("every invoice is what its ledger recomputes to: any events, prices and adapters, delivered in any order", async () => {
    let run = 0;
    const time = fc.integer({ min: START - 2 * DAY_MS, max: END + 2 * DAY_MS });
    const tokens = fc.integer({ min: 0, max: 100_000 });
    const amount = fc.integer({ min: 0, max: 1_000_000_000 });
    const name = fc.constantFrom("x", "y", "Ü", "z-1");
    const eventFields = fc.record({
      task: fc.option(name),
      model: name,
      key: name,
      // What trains produces nothing.
      used: fc.oneof(
        fc.record({ inputTokens: tokens, outputTokens: tokens }),
        tokens.map((trainingTokens) => ({ inputTokens: 0, outputTokens: 0, trainingTokens })),
      ),
      at: time,
    });
    const priceFields = fc.record({
      kind: fc.constantFrom("default", "model", "tenant", "tenant-model", "task"),
      name,
      validFrom: time,
      inputPer1k: amount,
      outputPer1k: amount,
      trainingPer1k: amount,
      perRequest: amount,
      adapterDay: amount,
    });
    const span = fc.record({
      name,
      model: name,
      createdAt: time,
      days: fc.option(fc.double({ min: 0, max: 9, noNaN: true })),
    });
    const scenario = fc.record({
      events: fc.array(eventFields, { maxLength: 40 }),
      prices: fc.uniqueArray(priceFields, { maxLength: 12, selector: ({ validFrom }) => validFrom }),
      spans: fc.uniqueArray(span, { maxLength: 4, selector: (it) => it.name }),
      order: fc.array(fc.nat(), { maxLength: 60 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ events: fields, prices, spans, order }) => {
        const tenant = `p${run++}`;
        for (const { kind, name: of, ...price } of prices) {
          // Defaults of one run would be another's.
          const subject =
            kind === "task" ? { tenant, task: of } : kind.endsWith("model") ? { tenant, model: of } : { tenant };
          await putPrice(price.validFrom, { ...price, ...subject });
        }
        for (const { name: adapter, model, createdAt, days } of spans) {
          const deleted = days === null ? null : createdAt + Math.floor(days * DAY_MS);
          await database
            .prepare(
              `INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at, deleted_at)
               VALUES (?1, ?2, 'v', ?3, 8, 1, ?4, ?5)`,
            )
            .bind(tenant, adapter, model, createdAt, deleted)
            .run();
        }
        const events: UsageEvent[] = fields.map(({ used, ...event }) => makeEvent({ tenant, ...event, ...used }));
        const doubled = order.flatMap((i) => events[i % (events.length || 1)] ?? []);
        await recordEvents(database, [...doubled, ...events.toReversed()]);
        const [invoice, versions, known] = await Promise.all([
          invoiceOf(database, tenant, "2026-11", LATER),
          pricesOf(database, tenant),
          adapterSpans(database, tenant, { start: START, end: END }),
        ]);
        const given: AdapterSpan[] = spans.map(({ days, ...rest }) => ({
          ...rest,
          endedAt: days === null ? null : rest.createdAt + Math.floor(days * DAY_MS),
        }));
        expect(recompute(tenant, "2026-11", [...events, ...doubled], versions, given, LATER)).toEqual(invoice);
        expect(known.length).toBeLessThanOrEqual(given.length);
        expect(BigInt(await spendOf(database, tenant, "2026-11", LATER))).toBe(invoice.total);
      }),
      { numRuns: 60 },
    );
  });
});
