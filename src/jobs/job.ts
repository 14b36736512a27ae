/** A job: heavy work of a tenant's that an origin does. What is asked for stands in its spec, what came of it in its result. */
import { ApiError } from "../api-error.ts";
import { type Database, type Page, type PageOptions, pageOf } from "../tenancy/database.ts";
import { trainingUsage } from "./training-usage.ts";

export const JOB_KINDS = ["batch", "fine_tuning"] as const;
export type JobKind = (typeof JOB_KINDS)[number];

export type JobStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";

export interface JobError {
  code: string;
  message: string;
  param: string | null;
}

export interface Job {
  id: string;
  tenant: string;
  /** Id of the API key that it was asked for with. */
  key: string;
  kind: JobKind;
  status: JobStatus;
  /** Among the tenant's own jobs; higher ones first. */
  priority: number;
  spec: unknown;
  /** Times: milliseconds since 1970. */
  createdAt: number;
  startedAt: number | null;
  finishedAt: number | null;
  cancelRequestedAt: number | null;
  /** The number of its lease: each claim's is one more. */
  fence: number;
  progress: unknown;
  result: unknown;
  error: JobError | null;
}

export interface JobRow {
  id: string;
  tenant: string;
  key: string;
  kind: JobKind;
  status: JobStatus;
  priority: number;
  spec: string;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
  cancel_requested_at: number | null;
  fence: number;
  progress: string | null;
  result: string | null;
  error: string | null;
}

const PREFIXES: Readonly<Record<JobKind, string>> = { batch: "batch_", fine_tuning: "ftjob-" };
const ID_LENGTH = 20;
const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";

export function newJobId(kind: JobKind): string {
  return PREFIXES[kind] + randomName(ID_LENGTH);
}

/** Letters and digits by chance. The remainder's preference for some of them is below one in 10^8. */
export function randomName(length: number): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(length)), (random) => ALPHABET[random % 36]).join("");
}

export interface NewJob {
  id: string;
  tenant: string;
  key: string;
  kind: JobKind;
  priority: number;
  spec: object;
  /** Ids of the files that it reads: they stay as long as it is not done. */
  files: readonly string[];
}

/** Jobs of a tenant that may run at once, and wait. */
export interface JobQuotas {
  running: number;
  waiting: number;
}

/** A tenant's own quota, or the deployment's. */
const quota = (column: string, tenant: string, other: string) =>
  `coalesce((SELECT ${column} FROM tenants WHERE id = ${tenant}), ${other})`;

const CREATE = `
  INSERT INTO jobs (id, tenant, key, kind, status, priority, spec, created_at, announced_at)
  SELECT ?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7, ?7
  WHERE (SELECT count(*) FROM jobs WHERE tenant = ?2 AND status = 'queued') < ${quota("jobs_waiting", "?2", "?8")}
    AND (SELECT count(*) FROM files WHERE tenant = ?2 AND deleted_at IS NULL AND id IN (SELECT value FROM json_each(?9)))
      = json_array_length(?9)
  RETURNING *`;

/**
 * @param now milliseconds since 1970
 * @throws ApiError 429 `jobs_waiting_limit`; 404 `file_not_found` for a file that was deleted meanwhile
 */
export async function createJob(db: Database, job: NewJob, quotas: JobQuotas, now: number): Promise<Job> {
  const { id, tenant, key, kind, priority, spec, files } = job;
  const names = JSON.stringify([...new Set(files)]);
  const [made] = await db.batch<JobRow>([
    db.prepare(CREATE).bind(id, tenant, key, kind, priority, JSON.stringify(spec), now, quotas.waiting, names),
    db
      .prepare(
        `INSERT INTO job_files (job, file) SELECT ?1, value FROM json_each(?2) WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)`,
      )
      .bind(id, names),
  ]);
  const row = made?.results[0];
  if (row) return toJob(row);
  const waiting = await db
    .prepare(
      `SELECT count(*) AS count, ${quota("jobs_waiting", "?1", "?2")} AS quota FROM jobs WHERE tenant = ?1 AND status = 'queued'`,
    )
    .bind(tenant, quotas.waiting)
    .first<{ count: number; quota: number }>();
  if (waiting && waiting.count < waiting.quota) {
    throw new ApiError(404, "file_not_found", "One of the job's files was deleted. Upload it again.");
  }
  throw new ApiError(
    429,
    "jobs_waiting_limit",
    `${waiting?.count} jobs wait already, of ${waiting?.quota} that may. Try again when one has begun, or cancel one.`,
    { retryAfter: 60 },
  );
}

/** Null where the tenant has no such job. */
export async function findJob(db: Database, tenant: string, kind: JobKind, id: string): Promise<Job | null> {
  const row = await db
    .prepare("SELECT * FROM jobs WHERE id = ? AND tenant = ? AND kind = ?")
    .bind(id, tenant, kind)
    .first<JobRow>();
  return row && toJob(row);
}

/** Newest first. */
export async function listJobs(
  db: Database,
  tenant: string,
  kind: JobKind,
  { limit, after }: PageOptions,
): Promise<Page<Job>> {
  const before = "AND (created_at, id) < (SELECT created_at, id FROM jobs WHERE id = ?4 AND tenant = ?1)";
  const sql = `SELECT * FROM jobs WHERE tenant = ?1 AND kind = ?2 ${after === null ? "" : before}
    ORDER BY created_at DESC, id DESC LIMIT ?3`;
  const { results } = await db
    .prepare(sql)
    .bind(tenant, kind, limit + 1, ...(after === null ? [] : [after]))
    .all<JobRow>();
  return pageOf(results, limit, toJob);
}

/**
 * Asks for a job's end: one that no origin runs has ended with it, others end within a step.
 *
 * @returns null where the tenant has no such job
 * @throws ApiError 409 `job_finished` for one that has ended in another way
 */
export async function requestCancel(
  db: Database,
  tenant: string,
  kind: JobKind,
  id: string,
  now: number,
): Promise<Job | null> {
  const ending = "j.id = ?2 AND j.tenant = ?3 AND j.status IN ('queued', 'running') AND j.lease_until <= ?1";
  const update = db
    .prepare(
      `UPDATE jobs SET
        cancel_requested_at = coalesce(cancel_requested_at, ?4),
        finished_at = CASE WHEN lease_until <= ?4 THEN ?4 END,
        status = CASE WHEN lease_until <= ?4 THEN 'cancelled' ELSE status END
       WHERE id = ?1 AND tenant = ?2 AND kind = ?3 AND status IN ('queued', 'running') RETURNING *`,
    )
    .bind(id, tenant, kind, now);
  const [, updated] = await db.batch<JobRow>([trainingUsage(db, "cancelled", ending, [id, tenant], now), update]);
  const row = updated?.results[0];
  if (row) return toJob(row);
  const job = await findJob(db, tenant, kind, id);
  if (job && job.status !== "cancelled") {
    throw new ApiError(409, "job_finished", `${id} has ${job.status} already: there is nothing to cancel.`);
  }
  return job;
}

export function toJob(row: JobRow): Job {
  return {
    id: row.id,
    tenant: row.tenant,
    key: row.key,
    kind: row.kind,
    status: row.status,
    priority: row.priority,
    spec: JSON.parse(row.spec),
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    cancelRequestedAt: row.cancel_requested_at,
    fence: row.fence,
    progress: row.progress === null ? null : JSON.parse(row.progress),
    result: row.result === null ? null : JSON.parse(row.result),
    error: row.error === null ? null : (JSON.parse(row.error) as JobError),
  };
}
