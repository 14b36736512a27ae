/** How many jobs wait and run, of all tenants together. */
import type { Database } from "../tenancy/database.ts";
import { JOB_KINDS, type JobKind } from "./job.ts";

export interface OpenJobs {
  kind: JobKind;
  queued: number;
  running: number;
  /** How long the one has waited that was asked for first; 0 where none waits. */
  oldestQueuedMs: number;
}

/** @param now milliseconds since 1970 */
export async function openJobs(db: Database, now: number): Promise<OpenJobs[]> {
  const { results } = await db
    .prepare(
      `SELECT kind, status, count(*) AS count, min(created_at) AS first FROM jobs
       WHERE status IN ('queued', 'running') GROUP BY kind, status`,
    )
    .all<{ kind: JobKind; status: "queued" | "running"; count: number; first: number }>();
  return JOB_KINDS.map((kind) => {
    const of = (status: string) => results.find((row) => row.kind === kind && row.status === status);
    const first = of("queued")?.first ?? now;
    return {
      kind,
      queued: of("queued")?.count ?? 0,
      running: of("running")?.count ?? 0,
      oldestQueuedMs: Math.max(0, now - first),
    };
  });
}
