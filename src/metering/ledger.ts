/** The ledger of usage in D1: written once per request, read in pages; never changed. */
import type { Database } from "./database.ts";
import type { UsageEvent } from "./event.ts";
import { dayOf, type Period } from "./period.ts";

/** Events of one statement; they travel as one JSON parameter, since D1 binds at most 100. */
const EVENTS_A_STATEMENT = 100;

/** `at` is in milliseconds since 1970; `seq` grows with arrival. */
interface EventRow {
  seq: number;
  id: string;
  tenant: string;
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
  at: number;
  duration_ms: number;
}

// Not INSERT OR IGNORE, which would also pass over what breaks another constraint.
const insert = (condition: string) => `
  INSERT INTO usage_events (
    id, tenant, key, task, task_version, model, adapter, input_tokens, output_tokens, training_tokens, work_units,
    served_by, outcome, at, duration_ms
  )
  SELECT
    value ->> 'id', value ->> 'tenant', value ->> 'key', value ->> 'task', value ->> 'taskVersion', value ->> 'model',
    value ->> 'adapter', value ->> 'inputTokens', value ->> 'outputTokens',
    value ->> 'trainingTokens', value ->> 'workUnits', value ->> 'servedBy', value ->> 'outcome', value ->> 'at', value ->> 'durationMs'
  FROM json_each(?1) WHERE ${condition}
  ON CONFLICT (id) DO NOTHING
  RETURNING id`;

/**
 * What writes events, for a transaction that writes more; each gives the ids that were new.
 *
 * @param condition in SQL, whether to; ?2 and on are `values`
 */
export function insertEvents<S>(
  db: { prepare(sql: string): { bind(...values: unknown[]): S } },
  events: readonly UsageEvent[],
  condition = "true",
  values: readonly unknown[] = [],
): S[] {
  const statements: S[] = [];
  for (let i = 0; i < events.length; i += EVENTS_A_STATEMENT) {
    const some = JSON.stringify(events.slice(i, i + EVENTS_A_STATEMENT));
    statements.push(db.prepare(insert(condition)).bind(some, ...values));
  }
  return statements;
}

/**
 * Writes events, all or none; an id that is in the ledger already is passed over, whatever else its event says.
 *
 * @returns the ids that were new
 */
export async function recordEvents(db: Database, events: readonly UsageEvent[]): Promise<string[]> {
  const statements = insertEvents(db, events);
  if (statements.length === 0) return [];
  const results = await db.batch<{ id: string }>(statements);
  return results.flatMap(({ results: rows }) => rows.map(({ id }) => id));
}

export interface EventPage {
  events: UsageEvent[];
  /** Where the next page begins; null: this was the last one so far. */
  next: number | null;
}

// The sums know where a day's events lie: nothing before and after them is read.
const PAGE = `
  SELECT * FROM usage_events
  WHERE tenant = ?1 AND seq > ?2 AND at >= ?3 AND at < ?4
    AND seq >= (SELECT min(first_seq) FROM usage_days WHERE tenant = ?1 AND day >= ?5 AND day <= ?6)
    AND seq <= (SELECT max(last_seq) FROM usage_days WHERE tenant = ?1 AND day >= ?5 AND day <= ?6)
  ORDER BY seq LIMIT ?7`;

/**
 * A tenant's events in the order of their arrival: pages that follow each other by `next` neither lose nor double one,
 * whatever arrives between them.
 *
 * @param after `next` of the page before, 0 for the first
 */
export async function readEvents(
  db: Database,
  tenant: string,
  { start, end }: Period,
  after: number,
  limit: number,
): Promise<EventPage> {
  const { results } = await db
    .prepare(PAGE)
    .bind(tenant, after, start, end, dayOf(start), dayOf(end - 1), limit + 1)
    .all<EventRow>();
  const rows = results.slice(0, limit);
  return { events: rows.map(eventOf), next: results.length > limit ? (rows.at(-1)?.seq ?? null) : null };
}

function eventOf(row: EventRow): UsageEvent {
  return {
    id: row.id,
    tenant: row.tenant,
    key: row.key,
    task: row.task,
    taskVersion: row.task_version,
    model: row.model,
    adapter: row.adapter,
    inputTokens: row.input_tokens,
    outputTokens: row.output_tokens,
    trainingTokens: row.training_tokens,
    workUnits: row.work_units,
    servedBy: row.served_by,
    outcome: row.outcome,
    at: row.at,
    durationMs: row.duration_ms,
  };
}
