/** A tenant's month as an invoice. Each line holds what it is computed from, and {@link recompute} does so from the ledger. */
import type { Database } from "./database.ts";
import type { UsageEvent } from "./event.ts";
import { DAY_MS, dayOf, type Period, parseMonth } from "./period.ts";
import { AMOUNT_OF_ROW, costOf, PRICE_OF_ROW, type Price, pricesOf, resolvePrice } from "./prices.ts";

/** All requests and fine-tunings of one task (or, without one, of one model) at one version of a price. Amounts: nano-dollars. */
export interface UsageLine {
  task: string | null;
  model: string;
  /** Null: nothing was priced then. */
  price: Price | null;
  requests: number;
  inputTokens: number;
  outputTokens: number;
  /** What fine-tunings trained on. */
  trainingTokens: number;
  amount: bigint;
}

/** The days (UTC) on which an adapter existed, however short and in however many versions, at one version of a price. */
export interface AdapterLine {
  adapter: string;
  /** Base model. */
  model: string;
  price: Price | null;
  days: string[];
  amount: bigint;
}

export interface Invoice {
  tenant: string;
  month: string;
  period: Period;
  /** Whether the month is over. An event that was held up, a replayed dead letter for one, still counts in its own month. */
  isOver: boolean;
  usage: UsageLine[];
  adapters: AdapterLine[];
  total: bigint;
}

/** A version of an adapter, while it can be used; times in milliseconds since 1970. */
export interface AdapterSpan {
  name: string;
  model: string;
  createdAt: number;
  /** When it was replaced or deleted; null: it is there. */
  endedAt: number | null;
}

interface LineRow {
  task: string;
  model: string;
  price: number | null;
  requests: number;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
  amount: string;
}

const PRICED_DAYS = `(
  SELECT r.*, ${PRICE_OF_ROW} AS price FROM usage_days r WHERE r.tenant = ?1 AND r.day >= ?2 AND r.day <= ?3
) priced LEFT JOIN prices ON prices.id = priced.price`;

const LINES = `
  SELECT priced.task, priced.model, priced.price, sum(requests) AS requests, sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens, sum(training_tokens) AS training_tokens, CAST(sum(${AMOUNT_OF_ROW}) AS TEXT) AS amount
  FROM ${PRICED_DAYS}
  GROUP BY priced.task, priced.model, priced.price ORDER BY priced.task, priced.model, priced.price`;

const SUM = `SELECT CAST(coalesce(sum(${AMOUNT_OF_ROW}), 0) AS TEXT) AS amount FROM ${PRICED_DAYS}`;

/**
 * @param month `2026-11`, UTC
 * @param now milliseconds since 1970; adapter-days of later days are not there yet
 * @throws RangeError when `month` is none
 */
export async function invoiceOf(db: Database, tenant: string, month: string, now: number): Promise<Invoice> {
  const period = periodOf(month);
  const [{ results }, prices, spans] = await Promise.all([
    db
      .prepare(LINES)
      .bind(tenant, dayOf(period.start), dayOf(period.end - 1))
      .all<LineRow>(),
    pricesOf(db, tenant),
    adapterSpans(db, tenant, period),
  ]);
  const usage = results.map((row) => ({
    task: row.task || null,
    model: row.model,
    price: prices.find(({ id }) => id === row.price) ?? null,
    requests: row.requests,
    inputTokens: row.input_tokens,
    outputTokens: row.output_tokens,
    trainingTokens: row.training_tokens,
    amount: BigInt(row.amount),
  }));
  return assemble(tenant, month, period, usage, adapterLines(tenant, spans, prices, period, now), now);
}

/**
 * The same invoice from the ledger's events, one by one, in whatever order and however often they come: what anybody
 * can check a bill with.
 */
export function recompute(
  tenant: string,
  month: string,
  events: Iterable<UsageEvent>,
  prices: readonly Price[],
  spans: readonly AdapterSpan[],
  now: number,
): Invoice {
  const period = periodOf(month);
  const lines = new Map<string, UsageLine>();
  const seen = new Set<string>();
  for (const event of events) {
    if (event.tenant !== tenant || event.at < period.start || event.at >= period.end || seen.has(event.id)) continue;
    seen.add(event.id);
    const { task, model } = event;
    const price = resolvePrice(prices, { tenant, task, model }, event.at);
    const key = JSON.stringify([task, model, price?.id]);
    const none = { requests: 0, inputTokens: 0, outputTokens: 0, trainingTokens: 0, amount: 0n };
    const line = lines.get(key) ?? { task, model, price, ...none };
    lines.set(key, line);
    line.requests++;
    line.inputTokens += event.inputTokens;
    line.outputTokens += event.outputTokens;
    line.trainingTokens += event.trainingTokens;
    line.amount += costOf(event, price);
  }
  const usage = [...lines.values()].sort(
    (a, b) =>
      compareBytes(a.task ?? "", b.task ?? "") ||
      compareBytes(a.model, b.model) ||
      (a.price?.id ?? 0) - (b.price?.id ?? 0),
  );
  return assemble(tenant, month, period, usage, adapterLines(tenant, spans, prices, period, now), now);
}

/**
 * What a tenant has used in a month so far, without adapter-days: for budgets. Reads the days' sums, not the events.
 *
 * @returns nano-dollars
 */
export async function usedIn(db: Database, tenant: string, month: string): Promise<number> {
  const { start, end } = periodOf(month);
  const bound = db.prepare(SUM).bind(tenant, dayOf(start), dayOf(end - 1));
  return Number((await bound.first<{ amount: string }>())?.amount ?? 0);
}

/** What a month's adapter-days come to until now. @returns nano-dollars */
export async function keptIn(db: Database, tenant: string, month: string, now: number): Promise<number> {
  const period = periodOf(month);
  const [prices, spans] = await Promise.all([pricesOf(db, tenant), adapterSpans(db, tenant, period)]);
  return Number(adapterLines(tenant, spans, prices, period, now).reduce((sum, { amount }) => sum + amount, 0n));
}

/** What a tenant has spent in a month so far: {@link usedIn} and {@link keptIn}. */
export async function spendOf(db: Database, tenant: string, month: string, now: number): Promise<number> {
  const [used, kept] = await Promise.all([usedIn(db, tenant, month), keptIn(db, tenant, month, now)]);
  return used + kept;
}

/** The versions of a tenant's adapters that existed in a period. */
export async function adapterSpans(db: Database, tenant: string, { start, end }: Period): Promise<AdapterSpan[]> {
  const { results } = await db
    .prepare(
      `SELECT name, model, created_at AS createdAt, ended AS endedAt FROM (
        SELECT id, name, model, created_at, min(coalesce(replaced_at, deleted_at), coalesce(deleted_at, replaced_at)) AS ended
        FROM adapters WHERE tenant = ?1 AND created_at < ?3
      ) WHERE ended IS NULL OR ended > ?2 ORDER BY created_at, id`,
    )
    .bind(tenant, start, end)
    .all<AdapterSpan>();
  return results;
}

/** Each adapter's days, each once, at the price that held when the day, or the adapter's first version on it, began. */
function adapterLines(
  tenant: string,
  spans: readonly AdapterSpan[],
  prices: readonly Price[],
  { start, end }: Period,
  now: number,
): AdapterLine[] {
  const lines = new Map<string, AdapterLine>();
  const counted = new Set<string>();
  for (const { name, model, createdAt, endedAt } of spans.toSorted((a, b) => a.createdAt - b.createdAt)) {
    const last = Math.min(end - 1, endedAt === null ? now : Math.max(createdAt, endedAt - 1), now);
    const first = Math.max(start, createdAt);
    for (let at = first; at <= last; at = (Math.floor(at / DAY_MS) + 1) * DAY_MS) {
      const day = dayOf(at);
      const once = JSON.stringify([name, day]);
      if (counted.has(once)) continue;
      counted.add(once);
      const price = resolvePrice(prices, { tenant, task: null, model }, at);
      const key = JSON.stringify([name, model, price?.id]);
      const line = lines.get(key) ?? { adapter: name, model, price, days: [], amount: 0n };
      lines.set(key, line);
      line.days.push(day);
      line.amount += BigInt(price?.adapterDay ?? 0);
    }
  }
  return [...lines.values()].sort(
    (a, b) => compareBytes(a.adapter, b.adapter) || compareBytes(a.days[0] ?? "", b.days[0] ?? ""),
  );
}

function assemble(
  tenant: string,
  month: string,
  period: Period,
  usage: UsageLine[],
  adapters: AdapterLine[],
  now: number,
): Invoice {
  const total = [...usage, ...adapters].reduce((sum, { amount }) => sum + amount, 0n);
  return { tenant, month, period, isOver: now >= period.end, usage, adapters, total };
}

function periodOf(month: string): Period {
  const period = parseMonth(month);
  if (!period) throw new RangeError(`${JSON.stringify(month)} is no month; write it as 2026-11.`);
  return period;
}

/** As SQLite orders text: by its UTF-8. */
function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    if (x[i] !== y[i]) return x[i]! - y[i]!;
  }
  return x.length - y.length;
}
