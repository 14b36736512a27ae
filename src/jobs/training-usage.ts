/**
 * What a fine-tuning is billed: one event in the ledger, with the job's id, written by the write that ends the job. Its
 * tokens are those that its last checkpoint had come to; a job that failed costs nothing.
 */
import type { Database, Statement } from "../tenancy/database.ts";
import type { JobStatus } from "./job.ts";

/**
 * The statement, which goes before the one that ends the jobs; it writes nothing for jobs that are no fine-tunings.
 *
 * @param condition in SQL, which jobs `j` end; ?2 and on are `values`
 * @param now milliseconds since 1970, ?1
 */
export function trainingUsage(
  db: Database,
  status: Extract<JobStatus, "succeeded" | "cancelled">,
  condition: string,
  values: readonly unknown[],
  now: number,
): Statement {
  const isDone = status === "succeeded";
  return db
    .prepare(
      `INSERT INTO usage_events (
        id, tenant, key, model, adapter, input_tokens, output_tokens, training_tokens, work_units, served_by, outcome,
        at, duration_ms
      )
      SELECT
        id, tenant, key, spec ->> 'modelName', ${isDone ? "spec ->> 'adapter'" : "NULL"}, 0, 0, tokens, 0, 'origin',
        '${isDone ? "ok" : "cut_off"}', ?1, max(0, ?1 - started_at)
      FROM (
        SELECT j.*, (
          SELECT c.state ->> 'trainedTokens' FROM job_checkpoints c WHERE c.job = j.id ORDER BY c.step DESC LIMIT 1
        ) AS tokens FROM jobs j WHERE j.kind = 'fine_tuning' AND ${condition}
      ) WHERE tokens > 0
      ON CONFLICT (id) DO NOTHING`,
    )
    .bind(now, ...values);
}
