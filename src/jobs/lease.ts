/**
 * Who runs a job: an origin claims it for a time, which its heartbeats prolong. Claim, heartbeat, release and finish are
 * one conditional write each, and whatever else is written on a job's behalf depends, in the same transaction, on its
 * lease's number being the newest: two origins never do one job, however late one of them speaks.
 */

import type * as z from "zod";
import { ApiError } from "../api-error.ts";
import type { UsageEvent } from "../metering/event.ts";
import { insertEvents } from "../metering/ledger.ts";
import type { Database, Statement } from "../tenancy/database.ts";
import { type Job, type JobKind, type JobRow, toJob } from "./job.ts";
import type { Checkpoint, eventSchema, finishSchema } from "./protocol.ts";
import { trainingUsage } from "./training-usage.ts";

type Event = z.output<typeof eventSchema>;

/** A job that was claimed so often without coming further takes its origins down with it. */
export const MOST_ATTEMPTS = 10;

// Of all tenants first who has the fewest jobs running, then who was served longest ago, then who waits longest; of that
// tenant's jobs the most urgent.
const CLAIM = `
  UPDATE jobs SET
    status = 'running', lease_owner = ?1, lease_until = ?2, fence = fence + 1, attempts = attempts + 1,
    started_at = coalesce(started_at, ?3)
  WHERE id = (
    SELECT j.id FROM jobs j JOIN tenants t ON t.id = j.tenant
    WHERE (j.status = 'queued' OR (j.status = 'running' AND j.lease_until <= ?3))
      AND j.cancel_requested_at IS NULL AND j.attempts < ${MOST_ATTEMPTS} AND t.disabled_at IS NULL
      AND j.kind IN (SELECT value FROM json_each(?4))
      AND (SELECT count(*) FROM jobs r WHERE r.tenant = j.tenant AND r.status = 'running' AND r.lease_until > ?3)
        < coalesce(t.jobs_running, ?5)
    ORDER BY
      (SELECT count(*) FROM jobs r WHERE r.tenant = j.tenant AND r.status = 'running' AND r.lease_until > ?3),
      (SELECT max(s.started_at) FROM jobs s WHERE s.tenant = j.tenant),
      (SELECT min(w.created_at) FROM jobs w WHERE w.tenant = j.tenant AND w.status = 'queued'), j.tenant,
      j.priority DESC, j.created_at, j.id
    LIMIT 1
  )
  RETURNING *`;

export interface Claim {
  owner: string;
  leaseMs: number;
  kinds: readonly JobKind[];
  /** Jobs of one tenant that may run at once, unless it has its own quota. */
  running: number;
}

/** The next job, with its last checkpoint. @param now milliseconds since 1970 @returns null when there is none to do */
export async function claimJob(
  db: Database,
  { owner, leaseMs, kinds, running }: Claim,
  now: number,
): Promise<{ job: Job; checkpoint: Checkpoint | null } | null> {
  const row = await db
    .prepare(CLAIM)
    .bind(owner, now + leaseMs, now, JSON.stringify(kinds), running)
    .first<JobRow>();
  if (!row) return null;
  const last = await db
    .prepare("SELECT * FROM job_checkpoints WHERE job = ? ORDER BY step DESC LIMIT 1")
    .bind(row.id)
    .first<CheckpointRow>();
  return { job: toJob(row), checkpoint: last && toCheckpoint(last) };
}

/** What an origin tells of a job that it runs. */
export interface Beat {
  fence: number;
  leaseMs: number;
  progress?: object | undefined;
  events: readonly Event[];
  checkpoint?: Checkpoint | undefined;
  usage: readonly UsageEvent[];
}

// In one transaction after the lease was prolonged: nothing of it is written when it was not.
const HAS_LEASE = "EXISTS (SELECT 1 FROM jobs WHERE id = ?2 AND fence = ?3 AND status = 'running')";

/**
 * Prolongs the lease, and writes what goes with it: all or nothing, and the same again once.
 *
 * @returns the job, and the ids of usage that was new
 * @throws ApiError 409 `stale_lease` when another origin has it, or nobody any more
 */
export async function heartbeat(
  db: Database,
  id: string,
  { fence, leaseMs, progress, events, checkpoint, usage }: Beat,
  now: number,
): Promise<{ job: Job; isNew: string[] }> {
  const statements: Statement[] = [
    db
      .prepare(
        `UPDATE jobs SET lease_until = ?3, progress = coalesce(?4, progress), attempts = CASE WHEN ?5 THEN 0 ELSE attempts END
         WHERE id = ?1 AND fence = ?2 AND status = 'running' RETURNING *`,
      )
      .bind(id, fence, now + leaseMs, progress ? JSON.stringify(progress) : null, checkpoint ? 1 : 0),
  ];
  if (checkpoint) {
    const { step, state, files, metrics } = checkpoint;
    statements.push(
      db
        .prepare(
          `INSERT INTO job_checkpoints (step, job, state, files, metrics, at) SELECT ?1, ?2, ?4, ?5, ?6, ?7 WHERE ${HAS_LEASE}
           ON CONFLICT DO NOTHING`,
        )
        .bind(
          ...[step, id, fence, JSON.stringify(state), JSON.stringify(files)],
          ...[metrics && JSON.stringify(metrics), now],
        ),
    );
  }
  if (events.length > 0) statements.push(eventStatement(db, id, fence, events, now, HAS_LEASE));
  const first = statements.length;
  statements.push(...insertEvents(db, usage, HAS_LEASE, [id, fence]));
  const [beat, ...rest] = await db.batch<JobRow>(statements);
  const row = beat?.results[0];
  if (!row) throw staleLease(id);
  const isNew = rest.slice(first - 1).flatMap(({ results }) => results.map(({ id }) => id));
  return { job: toJob(row), isNew };
}

function eventStatement(
  db: Database,
  id: string,
  fence: number,
  events: readonly Event[],
  now: number,
  condition: string,
): Statement {
  const named = events.map(({ name, data, ...event }) => ({
    ...event,
    id: `ftevent-${id}-${name}`,
    data: data && JSON.stringify(data),
  }));
  return db
    .prepare(
      `INSERT INTO job_events (id, job, level, type, message, data, at)
       SELECT value ->> 'id', ?2, value ->> 'level', value ->> 'type', value ->> 'message', value ->> 'data', ?4
       FROM json_each(?1) WHERE ${condition} ON CONFLICT (id) DO NOTHING`,
    )
    .bind(JSON.stringify(named), id, fence, now);
}

/** Events that the gateway tells of itself. */
export async function addEvents(db: Database, id: string, events: readonly Event[], now: number): Promise<void> {
  await eventStatement(db, id, 0, events, now, "?3 = 0").run();
}

export interface Ending extends Omit<z.output<typeof finishSchema>, "outputs" | "adapter"> {
  /** Files that it leaves, with ids that are the same each time. */
  files: readonly { id: string; filename: string; purpose: string; bytes: number; key: string }[];
}

/**
 * Ends a job, and bills it where it is a fine-tuning. Said twice, it counts once.
 *
 * @throws ApiError 409 `stale_lease`
 */
export async function finishJob(
  db: Database,
  id: string,
  { fence, status, progress, result, error, events, files }: Ending,
  now: number,
): Promise<Job> {
  const texts = [progress && JSON.stringify(progress), JSON.stringify(result), error && JSON.stringify(error)];
  const ended = "EXISTS (SELECT 1 FROM jobs WHERE id = ?2 AND fence = ?3 AND status NOT IN ('queued', 'running'))";
  const ending = "j.id = ?2 AND j.fence = ?3 AND j.status = 'running'";
  const billed = status === "failed" ? [] : [trainingUsage(db, status, ending, [id, fence], now)];
  const statements = [
    db
      .prepare(
        `UPDATE jobs SET status = ?3, finished_at = ?4, lease_until = 0, progress = coalesce(?5, progress), result = ?6, error = ?7
         WHERE id = ?1 AND fence = ?2 AND status = 'running' RETURNING *`,
      )
      .bind(id, fence, status, now, ...texts.map((text) => text ?? null)),
    db
      .prepare(
        `INSERT INTO files (id, tenant, purpose, filename, bytes, key, job, created_at)
         SELECT value ->> 'id', (SELECT tenant FROM jobs WHERE id = ?2), value ->> 'purpose', value ->> 'filename',
           value ->> 'bytes', value ->> 'key', ?2, ?4
         FROM json_each(?1) WHERE ${ended} ON CONFLICT (id) DO NOTHING`,
      )
      .bind(JSON.stringify(files), id, fence, now),
  ];
  if (events.length > 0) statements.push(eventStatement(db, id, fence, events, now, ended));
  const [finished] = (await db.batch<JobRow>([...billed, ...statements])).slice(billed.length);
  const row = finished?.results[0] ?? (await endedWith(db, id, fence));
  if (!row) throw staleLease(id);
  return toJob(row);
}

/** The job, if it was ended under this lease before: the answer did not arrive. */
function endedWith(db: Database, id: string, fence: number): Promise<JobRow | null> {
  return db
    .prepare("SELECT * FROM jobs WHERE id = ? AND fence = ? AND status IN ('succeeded', 'failed', 'cancelled')")
    .bind(id, fence)
    .first<JobRow>();
}

/** Gives a job back undone: it can be claimed at once. @throws ApiError 409 `stale_lease` */
export async function releaseJob(db: Database, id: string, fence: number): Promise<void> {
  const { meta } = await db
    .prepare(
      "UPDATE jobs SET status = 'queued', lease_until = 0, announced_at = 0 WHERE id = ? AND fence = ? AND status = 'running'",
    )
    .bind(id, fence)
    .run();
  if (meta.changes === 0) throw staleLease(id);
}

/** The job, for who has its lease. @throws ApiError 409 `stale_lease` */
export async function leasedJob(db: Database, id: string, fence: number): Promise<Job> {
  const row = await db
    .prepare("SELECT * FROM jobs WHERE id = ? AND fence = ? AND status = 'running'")
    .bind(id, fence)
    .first<JobRow>();
  if (!row) throw staleLease(id);
  return toJob(row);
}

/** A queued job is announced again after this time. */
const ANNOUNCE_MS = 4 * 60_000;
const MOST_ANNOUNCED = 100;

const LOST = JSON.stringify({
  code: "origin_lost",
  message: `The origin was lost ${MOST_ATTEMPTS} times without coming further. Look at its log; make the job smaller.`,
  param: null,
});

/**
 * What the clock has to do: ends jobs that nobody runs and that were cancelled, or that took too many origins down with
 * them.
 *
 * @returns jobs that were ended, and ids of those that origins should be told of
 */
export async function sweepJobs(db: Database, now: number): Promise<{ ended: Job[]; waiting: string[] }> {
  const ending = "j.status IN ('queued', 'running') AND j.cancel_requested_at IS NOT NULL AND j.lease_until <= ?1";
  const [, cancelled, lost, waiting] = await db.batch<JobRow>([
    trainingUsage(db, "cancelled", ending, [], now),
    db
      .prepare(
        `UPDATE jobs SET status = 'cancelled', finished_at = ?1 WHERE status IN ('queued', 'running')
         AND cancel_requested_at IS NOT NULL AND lease_until <= ?1 RETURNING *`,
      )
      .bind(now),
    db
      .prepare(
        `UPDATE jobs SET status = 'failed', finished_at = ?1, error = ?2 WHERE status IN ('queued', 'running')
         AND attempts >= ${MOST_ATTEMPTS} AND lease_until <= ?1 RETURNING *`,
      )
      .bind(now, LOST),
    db
      .prepare(
        `UPDATE jobs SET announced_at = ?1 WHERE id IN (
          SELECT id FROM jobs WHERE status IN ('queued', 'running') AND lease_until <= ?1 AND announced_at <= ?2
          ORDER BY created_at LIMIT ${MOST_ANNOUNCED}
        ) RETURNING *`,
      )
      .bind(now, now - ANNOUNCE_MS),
  ]);
  const rowsOf = (result: { results: JobRow[] } | undefined) => result?.results ?? [];
  return { ended: [...rowsOf(cancelled), ...rowsOf(lost)].map(toJob), waiting: rowsOf(waiting).map(({ id }) => id) };
}

function staleLease(id: string): ApiError {
  return new ApiError(409, "stale_lease", `The lease on ${id} is over: it has ended, or another origin runs it.`);
}

export interface CheckpointRow {
  job: string;
  step: number;
  state: string;
  files: string;
  metrics: string | null;
  at: number;
}

export function toCheckpoint({ step, state, files, metrics }: CheckpointRow): Checkpoint {
  return {
    step,
    state: JSON.parse(state),
    files: JSON.parse(files),
    metrics: metrics === null ? null : JSON.parse(metrics),
  };
}
