/** What a job went through: its events and checkpoints, newest first. */
import type { JobEvent, ToldCheckpoint } from "../api/fine-tuning.ts";
import { type Database, type Page, type PageOptions, pageOf } from "../tenancy/database.ts";
import { type CheckpointRow, toCheckpoint } from "./lease.ts";
import type { Checkpoint } from "./protocol.ts";

interface EventRow {
  id: string;
  level: JobEvent["level"];
  type: JobEvent["type"];
  message: string;
  data: string | null;
  at: number;
}

export async function listEvents(db: Database, job: string, { limit, after }: PageOptions): Promise<Page<JobEvent>> {
  const before = "AND seq < (SELECT seq FROM job_events WHERE id = ?3 AND job = ?1)";
  const { results } = await db
    .prepare(`SELECT * FROM job_events WHERE job = ?1 ${after === null ? "" : before} ORDER BY seq DESC LIMIT ?2`)
    .bind(job, limit + 1, ...(after === null ? [] : [after]))
    .all<EventRow>();
  return pageOf(results, limit, ({ data, ...row }) => ({
    ...row,
    data: data === null ? null : (JSON.parse(data) as Record<string, unknown>),
  }));
}

/** Those that have metrics to tell. @param after a checkpoint's id, which ends in its step */
export async function listCheckpoints(
  db: Database,
  job: string,
  { limit, after }: PageOptions,
): Promise<Page<ToldCheckpoint>> {
  const step = after === null ? null : Number(/_(\d{1,15})$/.exec(after)?.[1] ?? -1);
  const { results } = await db
    .prepare(
      `SELECT * FROM job_checkpoints WHERE job = ?1 AND metrics IS NOT NULL AND (?3 IS NULL OR step < ?3)
       ORDER BY step DESC LIMIT ?2`,
    )
    .bind(job, limit + 1, step)
    .all<CheckpointRow>();
  return pageOf(results, limit, (row) => ({
    step: row.step,
    metrics: JSON.parse(row.metrics ?? "{}") as Record<string, unknown>,
    at: row.at,
  }));
}

/** All of them, oldest first, for who runs the job. */
export async function allCheckpoints(db: Database, job: string): Promise<Checkpoint[]> {
  const { results } = await db
    .prepare("SELECT * FROM job_checkpoints WHERE job = ? ORDER BY step")
    .bind(job)
    .all<CheckpointRow>();
  return results.map(toCheckpoint);
}

const TUNED = `
  FROM jobs j WHERE j.tenant = ?1 AND j.kind = 'fine_tuning' AND j.status = 'succeeded' AND EXISTS (
    SELECT 1 FROM adapters a WHERE a.tenant = j.tenant AND a.name = j.spec ->> 'adapter'
      AND a.replaced_at IS NULL AND a.deleted_at IS NULL
  )`;
const MOST_TUNED = 1000;

/** A tenant's fine-tuned models whose adapters are there, the newest first. @param name only that one */
export async function tunedModels(
  db: Database,
  tenant: string,
  name: string | null = null,
): Promise<{ name: string; adapter: string; created: Date }[]> {
  const { results } = await db
    .prepare(
      `SELECT j.spec ->> 'fineTunedModel' AS name, j.spec ->> 'adapter' AS adapter, j.finished_at AS at ${TUNED}
       AND (?2 IS NULL OR j.spec ->> 'fineTunedModel' = ?2) ORDER BY j.created_at DESC LIMIT ${MOST_TUNED}`,
    )
    .bind(tenant, name)
    .all<{ name: string; adapter: string; at: number }>();
  return results.map(({ at, ...model }) => ({ ...model, created: new Date(at) }));
}
