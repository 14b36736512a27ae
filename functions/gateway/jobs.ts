/** What batches and fine-tuning jobs share at the gateway, and how an origin is told of them. */
import type { Context } from "hono";
import { ApiError } from "../../src/api-error.ts";
import { fileNotFound, findFile, type TenantFile } from "../../src/jobs/files.ts";
import { artifactKey } from "../../src/jobs/inputs.ts";
import { type Job, type JobKind, requestCancel } from "../../src/jobs/job.ts";
import { addEvents, sweepJobs } from "../../src/jobs/lease.ts";
import { signatureHeaders } from "../../src/jobs/signature.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { countEnded } from "./job-metrics.ts";
import { settleMoney } from "./job-money.ts";

/** An origin that does not answer at once gets the message again. */
const PATIENCE_MS = 10_000;
const FIRST_WAIT_S = 2;
const LONGEST_WAIT_S = 600;

/**
 * A file that a job is to read.
 *
 * @param param the field that names it
 * @throws ApiError 404 `file_not_found`; 400 `invalid_purpose`
 */
export async function jobFile(
  c: Context<GatewayEnv>,
  id: string,
  purpose: TenantFile["purpose"],
  param: string,
): Promise<{ file: TenantFile; stream: ReadableStream<Uint8Array> }> {
  const file = await findFile(c.env.DB, c.get("caller").tenant, id);
  if (!file) throw fileNotFound(id, param);
  if (file.purpose !== purpose) {
    const message = `${id} was uploaded for ${file.purpose}. Upload it with the purpose ${purpose}.`;
    throw new ApiError(400, "invalid_purpose", message, { param });
  }
  const object = await c.env.SHARDS.get(file.key);
  if (!object) throw fileNotFound(id, param);
  return { file, stream: object.body };
}

export function jobNotFound(id: string, kind: JobKind): ApiError {
  const list = kind === "batch" ? "/v1/batches" : "/v1/fine_tuning/jobs";
  const code = kind === "batch" ? "batch_not_found" : "job_not_found";
  return new ApiError(404, code, `There is no ${JSON.stringify(id)}. GET ${list} lists those that are there.`);
}

/** @throws ApiError 404; 409 `job_finished` */
export async function cancelJob(c: Context<GatewayEnv>, kind: JobKind, id: string): Promise<Job> {
  const { tenant } = c.get("caller");
  const now = Date.now();
  const job = await requestCancel(c.env.DB, tenant, kind, id, now);
  if (!job) throw jobNotFound(id, kind);
  if (job.finishedAt === now) countEnded(job);
  // Who runs it hears of it at once, or with the next heartbeat.
  if (job.status === "running") c.executionCtx.waitUntil(tellOrigin(c.env, "/jobs/cancel", { job: id }));
  else c.executionCtx.waitUntil(tidy(c.env, job));
  return job;
}

/** What a job that has ended leaves: money that was kept for it, checkpoints and parts of its results. */
export async function tidy(env: GatewayBindings, job: Pick<Job, "tenant" | "id">): Promise<void> {
  const { SHARDS: bucket, DB: db } = env;
  try {
    await settleMoney(env, job);
    const results = await db.prepare("SELECT key FROM files WHERE job = ?").bind(job.id).all<{ key: string }>();
    const kept = new Set(results.results.map(({ key }) => key));
    for (let cursor: string | undefined, more = true; more; ) {
      const page = await bucket.list({ prefix: artifactKey(job, ""), ...(cursor && { cursor }) });
      const keys = page.objects.map(({ key }) => key).filter((key) => !kept.has(key));
      if (keys.length > 0) await bucket.delete(keys);
      more = page.truncated;
      cursor = page.truncated ? page.cursor : undefined;
    }
  } catch (error) {
    log("error", "job_not_tidied", { job: job.id, error: errorFields(error) });
  }
}

/** Puts jobs on the queue; never throws: the clock announces again what was not. */
export async function announce(env: GatewayBindings, ids: readonly string[]): Promise<void> {
  try {
    if (ids.length > 0) await env.JOBS.sendBatch(ids.map((job) => ({ body: { job }, contentType: "json" })));
  } catch (error) {
    log("error", "jobs_not_announced", { jobs: ids, error: errorFields(error) });
  }
}

/** Takes a batch of the jobs' queue: the origin is told, and then claims what there is. */
export async function consumeJobs(batch: MessageBatch<unknown>, env: GatewayBindings): Promise<void> {
  // Without an address, the origin asks by itself.
  if (!env.ORIGIN_URL || (await tellOrigin(env, "/jobs", { jobs: batch.messages.map(jobOf) }))) return batch.ackAll();
  for (const message of batch.messages) {
    const delaySeconds = Math.min(FIRST_WAIT_S * 2 ** Math.min(message.attempts - 1, 10), LONGEST_WAIT_S);
    message.retry({ delaySeconds });
  }
}

/** What the queue gave up stays where it is, in the database: the job says so, and the clock announces it again. */
export async function consumeDeadJobs(batch: MessageBatch<unknown>, env: GatewayBindings): Promise<void> {
  for (const message of batch.messages) {
    const job = jobOf(message);
    const event = {
      name: `unreached-${message.id}`,
      level: "warn" as const,
      type: "message" as const,
      message: "No origin could be reached for a long time. The job waits.",
      data: null,
    };
    if (job) await addEvents(env.DB, job, [event], Date.now()).catch(() => {});
    message.ack();
  }
}

function jobOf({ body }: { body: unknown }): string {
  const { job } = (body ?? {}) as { job?: unknown };
  return typeof job === "string" ? job : "";
}

/** By the clock: ends what nobody can end any more, announces what waits, forgets signatures that no longer count. */
export async function sweep(env: GatewayBindings): Promise<void> {
  const now = Date.now();
  const { ended, waiting } = await sweepJobs(env.DB, now);
  for (const job of ended) {
    countEnded(job);
    await tidy(env, job);
  }
  await announce(env, waiting);
  await forgetNonces(env.DB, now);
}

/** A signature counts for a minute before and after its time. */
const NONCES_MS = 5 * 60_000;

async function forgetNonces(db: D1Database, now: number): Promise<void> {
  await db
    .prepare("DELETE FROM origin_nonces WHERE at < ?")
    .bind(now - NONCES_MS)
    .run();
}

/** @returns whether the origin heard it */
async function tellOrigin(env: GatewayBindings, path: string, body: object): Promise<boolean> {
  const { ORIGIN_URL, ORIGIN_SECRET } = env;
  if (!ORIGIN_URL || !ORIGIN_SECRET) return false;
  const text = JSON.stringify(body);
  const bodyHash = await sha256Of(new TextEncoder().encode(text));
  const headers = await signatureHeaders(ORIGIN_SECRET, { method: "POST", path, bodyHash }, Date.now());
  try {
    const response = await fetch(ORIGIN_URL.replace(/\/+$/, "") + path, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: text,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    await response.body?.cancel();
    if (!response.ok) log("error", "origin_refused", { path, status: response.status });
    return response.ok;
  } catch (error) {
    log("warn", "origin_unreached", { path, error: errorFields(error) });
    return false;
  }
}
