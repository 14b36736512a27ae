/** Usage summed by day, key, task or model, in pages that agree with each other. */
import type { Database } from "./database.ts";
import { dayOf, type Period } from "./period.ts";
import { AMOUNT_OF_ROW, PRICE_OF_ROW } from "./prices.ts";

export const USAGE_GROUPS = ["day", "key", "task", "model"] as const;
export type UsageGroup = (typeof USAGE_GROUPS)[number];

export interface UsageRow {
  /** What was grouped by; a task's '' stands for requests that name a model. */
  group: Partial<Record<UsageGroup, string>>;
  requests: number;
  /** Of the requests, those whose client left before the end. */
  cutOff: number;
  inputTokens: number;
  outputTokens: number;
  /** What fine-tunings trained on; each is one of the requests. */
  trainingTokens: number;
  workUnits: number;
  /** Nano-dollars, without adapter-days. */
  amount: bigint;
}

/** A place between two rows, and the moment that all pages show. */
export interface UsageMark {
  /** The ledger's last event on the first page. */
  snapshot: number;
  /** The group values of the last row given. */
  after: string[];
}

export interface UsagePage {
  rows: UsageRow[];
  next: UsageMark | null;
}

interface Sums {
  requests: number;
  cut_off: number;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
  work_units: number;
  amount: string;
}

/**
 * A tenant's usage in whole days. Every page shows the ledger as it was at the first one: of the sums, what arrived
 * since is taken off again.
 *
 * @param by at least one, each once
 * @param mark `next` of the page before, null for the first
 */
export async function readUsage(
  db: Database,
  tenant: string,
  { start, end }: Period,
  by: readonly UsageGroup[],
  mark: UsageMark | null,
  limit: number,
): Promise<UsagePage> {
  const snapshot = mark?.snapshot ?? (await lastSeq(db, tenant));
  const columns = by.join(", ");
  const after = mark ? `WHERE (${columns}) > (${by.map((_, i) => `?${8 + i}`).join(", ")})` : "";
  const sql = `
    WITH counted AS (
      SELECT tenant, day, priced_at, key, task, model, requests, cut_off, input_tokens, output_tokens,
        training_tokens, work_units
      FROM usage_days WHERE tenant = ?1 AND day >= ?2 AND day <= ?3
      UNION ALL
      SELECT tenant, date(at / 1000, 'unixepoch'), at, key, coalesce(task, ''), model,
        -1, -(outcome = 'cut_off'), -input_tokens, -output_tokens, -training_tokens, -work_units
      FROM usage_events WHERE tenant = ?1 AND seq > ?4 AND at >= ?5 AND at < ?6
    ), priced AS (
      SELECT r.*, ${PRICE_OF_ROW} AS price FROM counted r
    ), rows AS (
      SELECT priced.*, ${AMOUNT_OF_ROW} AS amount FROM priced LEFT JOIN prices ON prices.id = priced.price
    )
    SELECT ${columns}, sum(requests) AS requests, sum(cut_off) AS cut_off, sum(input_tokens) AS input_tokens,
      sum(output_tokens) AS output_tokens, sum(training_tokens) AS training_tokens, sum(work_units) AS work_units, CAST(sum(amount) AS TEXT) AS amount
    FROM rows ${after}
    GROUP BY ${columns} HAVING sum(requests) > 0 ORDER BY ${columns} LIMIT ?7`;
  const { results } = await db
    .prepare(sql)
    .bind(tenant, dayOf(start), dayOf(end - 1), snapshot, start, end, limit + 1, ...(mark?.after ?? []))
    .all<Sums & Record<UsageGroup, string>>();
  const rows = results.slice(0, limit);
  const last = rows.at(-1);
  return {
    rows: rows.map((row) => ({
      group: Object.fromEntries(by.map((name) => [name, row[name]])),
      requests: row.requests,
      cutOff: row.cut_off,
      inputTokens: row.input_tokens,
      outputTokens: row.output_tokens,
      trainingTokens: row.training_tokens,
      workUnits: row.work_units,
      amount: BigInt(row.amount),
    })),
    next: results.length > limit && last ? { snapshot, after: by.map((name) => last[name]) } : null,
  };
}

async function lastSeq(db: Database, tenant: string): Promise<number> {
  const row = await db
    .prepare("SELECT coalesce(max(seq), 0) AS seq FROM usage_events WHERE tenant = ?1")
    .bind(tenant)
    .first<{ seq: number }>();
  return row?.seq ?? 0;
}
