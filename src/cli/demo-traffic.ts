/** `edge-t5 demo traffic` */
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { defineCommand } from "citty";
import { invoiceJson, newPrice, newPriceSchema } from "../api/metering.ts";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_PACKAGE } from "../index.ts";
import { DEMO_TASKS, ensurePrice, ensureTasks, ensureTenant, type Request } from "../local/demo.ts";
import { daysOf, type Outcome, randomAdapter, sendTraffic, type Visit, type Visitor } from "../local/traffic.ts";
import type { UsageEvent } from "../metering/event.ts";
import { recompute } from "../metering/invoice.ts";
import { dayOf, monthOf } from "../metering/period.ts";
import type { Price } from "../metering/prices.ts";
import { FolderStore } from "../store/folder.ts";
import { readManifest } from "../t5/manifest.ts";
import { wholeNumber } from "./arguments.ts";
import { controlPlane, controlPlaneOptions } from "./control-plane.ts";
import { abortOnSignals, formatCount, formatTable, printJson } from "./output.ts";
import { createProgress } from "./progress.ts";
import { type Invoice, pages, printInvoice } from "./usage.ts";

const ADAPTER = "house-style";
const STYLED_TASK = "translate-de-styled";
/** The queue's consumer waits up to a second for more; a machine that does other things gets time. */
const PATIENCE_MS = 60_000;
const POLL_MS = 250;

export default defineCommand({
  meta: { name: "traffic", description: "Send a week's mixed load through the running kit; show usage and invoices" },
  args: {
    requests: { type: "string", default: "500", valueHint: "n", description: "Requests of all tenants together" },
    days: { type: "string", default: "7", valueHint: "n", description: "Days whose pattern the load has, compressed" },
    seed: { type: "string", default: "1", valueHint: "n", description: "The same seed asks the same" },
    ...controlPlaneOptions,
    json: { type: "boolean", description: "Print one JSON object instead of text" },
  },
  async run({ args }) {
    const requests = wholeNumber("--requests", args.requests, 1, 100_000);
    const days = wholeNumber("--days", args.days, 1, 366);
    const seed = wholeNumber("--seed", args.seed, 0, 2 ** 32 - 1);
    const { url, request } = await controlPlane(args);
    const model = (await readManifest(new FolderStore(DEFAULT_PACKAGE))).name;
    const interruption = abortOnSignals();
    const progress = createProgress(process.stderr, formatCount);
    const began = performance.now();
    const visitors = await makeVisitors(request, model, requests);
    let visits: Visit[];
    let seconds: number;
    try {
      const onVisit = (done: number, day: number) => progress.update(done, requests, `day ${day + 1} of ${days}`);
      visits = await sendTraffic({
        ...{ url, model, visitors, requests, days, seed, onVisit },
        signal: interruption.signal,
      });
      seconds = (performance.now() - began) / 1000;
    } finally {
      progress.stop();
      interruption.dispose();
      for (const { visitor } of visitors) {
        await request("DELETE", `/admin/tenants/${visitor.tenant}/keys/${visitor.key.slice(0, 14)}`);
      }
    }
    const reports: Report[] = [];
    for (const { visitor } of visitors) {
      const own = visits.filter(({ tenant }) => tenant === visitor.tenant);
      reports.push(await reportOf(request, visitor, own));
    }
    const isRight = reports.every(({ checks }) => Object.values(checks).every(Boolean));
    if (!isRight) process.exitCode = 1;
    if (args.json) {
      const byDay = daysOf(requests, days).map((sent, day) => ({ day: day + 1, sent, ...outcomesOf(visits, day) }));
      return printJson({ requests, seconds, outcomes: outcomesOf(visits), days: byDay, tenants: reports, ok: isRight });
    }
    print(visits, daysOf(requests, days), seconds, reports);
  },
});

/** Three tenants with a key each: one that uses most, one whose key has a limit that it runs into, one with an adapter. */
async function makeVisitors(request: Request, model: string, requests: number) {
  await ensurePrice(request);
  const limits = { limits: { concurrency: 32, soft_budget: "50", hard_budget: "100" } };
  const visitors: { visitor: Visitor; share: number }[] = [];
  for (const [tenant, name, share, hasAdapter] of [
    ["demo-a", "Demo A, a busy one", 55, false],
    ["demo-b", "Demo B, over its limit", 25, false],
    ["demo-c", "Demo C, with an adapter", 20, true],
  ] as const) {
    await ensureTenant(request, tenant, name, limits);
    await ensureTasks(request, tenant, model, DEMO_TASKS);
    if (hasAdapter) {
      await putAdapter(request, tenant, model);
      const definition = { model, adapter: ADAPTER, template: "translate English to German: {input}" };
      await request("PUT", `/admin/tenants/${tenant}/tasks/${STYLED_TASK}`, definition);
    }
    // Less than its share of the load: what is over it is refused.
    const perMinute = tenant === "demo-b" ? Math.max(1, Math.floor((requests * share) / 100 / 2)) : null;
    const body = { name: "traffic", limits: { requests_per_minute: perMinute } };
    const { key } = (await request("POST", `/admin/tenants/${tenant}/keys`, body)) as { key: string };
    visitors.push({ visitor: { tenant, key, styledTask: hasAdapter ? STYLED_TASK : null }, share });
  }
  return visitors;
}

async function putAdapter(request: Request, tenant: string, model: string): Promise<void> {
  const form = new FormData();
  form.set("model", model);
  for (const [name, content] of Object.entries(await randomAdapter(new FolderStore(DEFAULT_PACKAGE)))) {
    form.set(name, new File([content], name));
  }
  await request("PUT", `/admin/tenants/${tenant}/adapters/${ADAPTER}`, form);
}

interface EventJson {
  id: string;
  at: string;
  key: string;
  task: string | null;
  task_version: number | null;
  model: string;
  adapter: string | null;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
  work_units: number;
  served_by: UsageEvent["servedBy"];
  outcome: UsageEvent["outcome"];
  duration_ms: number;
}

interface Report {
  tenant: string;
  /** Of the ledger, this load's. */
  events: number;
  usage: { day: string; requests: number; input_tokens: number; output_tokens: number; amount: string }[];
  invoice: Invoice;
  checks: {
    /** Each answer, and each stream that was left, is one event; nothing else is. */
    one_event_each: boolean;
    /** The events have the tokens that the answers told. */
    tokens_as_told: boolean;
    /** The invoice's lines are those that the month's events and the prices give again; its total is their sum. */
    invoice_recomputed: boolean;
  };
}

/** Waits until the ledger has everything, then compares. */
async function reportOf(request: Request, { tenant, key }: Visitor, visits: readonly Visit[]): Promise<Report> {
  const path = `/admin/tenants/${tenant}`;
  const billed = visits.filter(({ outcome }) => outcome === "answered" || outcome === "cut_off");
  const month = monthOf(Date.now());
  const span = { from: `${month}-01`, to: dayOf(Date.now()) };
  const all: EventJson[] = [];
  let own: EventJson[] = [];
  for (const end = Date.now() + PATIENCE_MS; ; await delay(POLL_MS)) {
    all.length = 0;
    for await (const event of pages<EventJson>(request, `${path}/usage/events`, span)) all.push(event);
    own = all.filter((event) => key.startsWith(event.key));
    if (own.length >= billed.length) break;
    if (Date.now() > end) {
      throw new EdgeT5Error(
        "E_IO",
        `The ledger has ${own.length} of ${billed.length} events of ${tenant} after a minute. GET /admin/dead-letters has what could not be written.`,
      );
    }
  }
  const invoice = (await request("GET", `${path}/invoices/${month}`)) as Invoice;
  const usage: Report["usage"] = [];
  for await (const row of pages<Report["usage"][number]>(request, `${path}/usage`, { ...span, group_by: "day" })) {
    usage.push(row);
  }
  const byId = new Map(own.map((event) => [event.id, event]));
  const known = billed.filter(({ id }) => id !== null);
  const checks = {
    one_event_each:
      own.length === billed.length && byId.size === own.length && known.every(({ id }) => byId.has(id ?? "")),
    tokens_as_told: billed.every(({ id, tokens }) => {
      const event = byId.get(id ?? "");
      return !tokens || (event?.input_tokens === tokens.input && event.output_tokens === tokens.output);
    }),
    invoice_recomputed: isRecomputed(tenant, month, invoice, all, await pricesOf(request)),
  };
  return { tenant, events: own.length, usage, invoice, checks };
}

function isRecomputed(
  tenant: string,
  month: string,
  invoice: Invoice,
  events: readonly EventJson[],
  prices: readonly Price[],
): boolean {
  const usageEvents = events.map((event): UsageEvent => {
    const { task_version, input_tokens, output_tokens, training_tokens, work_units, ...more } = event;
    const { served_by, duration_ms, at, ...same } = more;
    return {
      ...same,
      tenant,
      taskVersion: task_version,
      inputTokens: input_tokens,
      outputTokens: output_tokens,
      trainingTokens: training_tokens,
      workUnits: work_units,
      servedBy: served_by,
      at: Date.parse(at),
      durationMs: duration_ms,
    };
  });
  const again = recompute(tenant, month, usageEvents, prices, [], Date.now());
  // An adapter's days stand on the invoice itself: days × the price of one.
  const kept = invoice.adapters.map(({ days, price }) => BigInt(days) * nanoOf(price?.adapter_day ?? "0"));
  const total = kept.reduce((sum, amount) => sum + amount, again.total);
  return isDeepStrictEqual(invoiceJson(again).usage, invoice.usage) && total === nanoOf(invoice.total);
}

/** Dollars as nano-dollars, exactly. */
function nanoOf(dollars: string): bigint {
  const [whole = "0", fraction = ""] = dollars.split(".");
  return BigInt(whole + fraction.padEnd(9, "0"));
}

/** All versions, as the ledger's arithmetic has them. */
async function pricesOf(request: Request): Promise<Price[]> {
  type PriceJson = { id: string; valid_from: string } & Record<string, string | null>;
  const prices: Price[] = [];
  for (let after = ""; ; ) {
    const page = (await request("GET", `/admin/prices?limit=100${after}`)) as {
      data: PriceJson[];
      has_more: boolean;
      last_id: string;
    };
    for (const { id, tenant, task, model, valid_from, ...rest } of page.data) {
      const { input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day } = rest;
      const amounts = { input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day };
      const price = newPrice(newPriceSchema.parse({ tenant, ...amounts }));
      const validFrom = Date.parse(valid_from);
      prices.push({
        id: Number(id),
        tenant: price.tenant,
        task: task ?? null,
        model: model ?? null,
        validFrom,
        inputPer1k: price.inputPer1k ?? 0,
        outputPer1k: price.outputPer1k ?? 0,
        trainingPer1k: price.trainingPer1k ?? 0,
        perRequest: price.perRequest ?? 0,
        adapterDay: price.adapterDay ?? 0,
        createdAt: validFrom,
      });
    }
    if (!page.has_more) return prices;
    after = `&after=${page.last_id}`;
  }
}

function outcomesOf(visits: readonly Visit[], day?: number): Record<Outcome, number> {
  const counts: Record<Outcome, number> = { answered: 0, cut_off: 0, refused: 0, rejected: 0, failed: 0 };
  for (const visit of visits) if (day === undefined || visit.day === day) counts[visit.outcome]++;
  return counts;
}

const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

function print(visits: readonly Visit[], days: readonly number[], seconds: number, reports: readonly Report[]): void {
  const times = visits.filter(({ outcome }) => outcome === "answered").map(({ ms }) => ms);
  const median = times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  console.log(
    `${formatCount(visits.length)} requests in ${seconds.toFixed(1)} s, with the pattern of ${days.length} days; half of the answers took under ${median.toFixed(0)} ms.`,
  );
  console.log("The nights are left out, and the ledger dates every request as it came: today.\n");
  const rows = days.map((sent, day) => {
    const { answered, cut_off, refused, rejected, failed } = outcomesOf(visits, day);
    return [`${day + 1} ${WEEKDAYS[day % 7]}`, sent, answered, cut_off, refused, rejected, failed];
  });
  console.log(
    formatTable(["DAY", "SENT", "ANSWERED", "LEFT BY THE CLIENT", "OVER A LIMIT", "BAD REQUEST", "FAILED"], rows),
  );
  console.log("\nUsage by day, of the whole month so far:\n");
  const used = reports.flatMap(({ tenant, usage }) =>
    usage.map((row) => [tenant, row.day, row.requests, row.input_tokens, row.output_tokens, row.amount]),
  );
  console.log(formatTable(["TENANT", "DAY", "REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "$"], used));
  for (const { invoice } of reports) {
    console.log("");
    printInvoice(invoice);
  }
  console.log("");
  const events = reports.reduce((sum, report) => sum + report.events, 0);
  const verdict = (name: keyof Report["checks"]) => (reports.every(({ checks }) => checks[name]) ? "yes" : "NO");
  console.log(
    formatTable(
      ["CHECKED", ""],
      [
        [`one event for each of ${formatCount(events)} answers, none for what was refused`, verdict("one_event_each")],
        ["the ledger has the tokens that the answers told", verdict("tokens_as_told")],
        ["the events, one by one, give the invoices again", verdict("invoice_recomputed")],
      ],
    ),
  );
}
