/** What `GET /metrics` tells of jobs: those that are open, read from the database, and how long those took that ended here. */
import type { Job } from "../../src/jobs/job.ts";
import { openJobs } from "../../src/jobs/open-jobs.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import type { Family, Sample } from "../../src/observability/metrics.ts";
import { metrics } from "./metrics.ts";

/** Seconds; from a batch of a few rows to a day's training. */
const DURATIONS: readonly number[] = [1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400];

const jobSeconds = metrics.histogram(
  "edge_t5_job_duration_seconds",
  "From a job's start to its end, by kind and how it ended; jobs that ended before an origin began them are not in it.",
  ["kind", "status"],
  DURATIONS,
);

/** Told once of each job that has ended. */
export function countEnded({ kind, status, startedAt, finishedAt }: Job): void {
  if (startedAt !== null && finishedAt !== null) {
    jobSeconds.observe([kind, status], Math.max(0, finishedAt - startedAt) / 1000);
  }
}

/** None where the database does not answer. */
export async function jobFamilies(db: D1Database): Promise<Family[]> {
  try {
    const open = await openJobs(db, Date.now());
    const gauge = (name: string, help: string, samples: Sample[]): Family => ({ name, help, type: "gauge", samples });
    return [
      gauge(
        "edge_t5_jobs",
        "Jobs that are open now, by kind and status: queued, or running.",
        open.flatMap(({ kind, queued, running }) => [
          { labels: { kind, status: "queued" }, value: queued },
          { labels: { kind, status: "running" }, value: running },
        ]),
      ),
      gauge(
        "edge_t5_jobs_oldest_queued_seconds",
        "How long the queued job has waited that was asked for first; 0 where none waits.",
        open.map(({ kind, oldestQueuedMs }) => ({ labels: { kind }, value: oldestQueuedMs / 1000 })),
      ),
    ];
  } catch (error) {
    log("error", "jobs_not_counted", { error: errorFields(error) });
    return [];
  }
}
