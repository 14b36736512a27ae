/** `/internal/jobs`: what an origin asks and tells, signed with ORIGIN_SECRET; each signature counts once. */
import { type Context, Hono } from "hono";
import { createMiddleware } from "hono/factory";
import type * as z from "zod";
import { parseWith } from "../../src/api/parse.ts";
import { ApiError, toApiError } from "../../src/api-error.ts";
import type { FineTuningSpec } from "../../src/jobs/fine-tuning/spec.ts";
import { allCheckpoints } from "../../src/jobs/history.ts";
import { artifactKey, inputKey } from "../../src/jobs/inputs.ts";
import type { Job } from "../../src/jobs/job.ts";
import { claimJob, type Ending, finishJob, heartbeat, leasedJob, releaseJob } from "../../src/jobs/lease.ts";
import {
  ARTIFACT_NAME,
  type claimAnswerSchema,
  claimSchema,
  finishSchema,
  heartbeatSchema,
  releaseSchema,
} from "../../src/jobs/protocol.ts";
import { checkBody, checkSignature, replayed, type Signature } from "../../src/jobs/signature.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { checkpointKey, putAdapter } from "../../src/tenancy/adapters.ts";
import { tryOut } from "./adapters.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { countEnded } from "./job-metrics.ts";
import { spendMoney } from "./job-money.ts";
import { sweep, tidy } from "./jobs.ts";
import { findModel } from "./models.ts";
import { sendToStripe } from "./stripe.ts";

/** Of what is read into memory; artifacts are streamed. */
const MOST_JSON_BYTES = 4 << 20;
const MOST_ARTIFACT_BYTES = 95_000_000;

export interface InternalEnv {
  Bindings: GatewayBindings;
  Variables: GatewayEnv["Variables"] & { signature: Signature };
}
type Internal = Context<InternalEnv>;

/** @throws ApiError 401 `invalid_signature`, `stale_signature`, `replayed_signature` */
export const requireOrigin = createMiddleware<InternalEnv>(async (c, next) => {
  const { pathname, search } = new URL(c.req.url);
  const now = Date.now();
  const signed = { method: c.req.method, path: pathname + search };
  const signature = await checkSignature(c.env.ORIGIN_SECRET, signed, c.req.raw.headers, now);
  const { meta } = await c.env.DB.prepare("INSERT INTO origin_nonces (nonce, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
    .bind(signature.nonce, now)
    .run();
  if (meta.changes === 0) throw replayed();
  c.set("signature", signature);
  await next();
});

export const internalJobs = new Hono<InternalEnv>();

internalJobs.use(requireOrigin);

internalJobs.post("/claim", async (c) => {
  const { owner, lease_seconds, kinds } = await signedBody(c, claimSchema, "a claim");
  const running = c.env.JOBS_RUNNING;
  const claimed = await claimJob(c.env.DB, { owner, leaseMs: lease_seconds * 1000, kinds, running }, Date.now());
  if (!claimed) {
    // Where nothing is called by the clock, on one's own machine, who has nothing to do does its work.
    c.executionCtx.waitUntil(sweep(c.env));
    return c.json({ job: null } satisfies z.input<typeof claimAnswerSchema>);
  }
  const { id, tenant, kind, spec, createdAt, fence } = claimed.job;
  const job = { id, tenant, kind, spec, created_at: createdAt, fence, checkpoint: claimed.checkpoint };
  return c.json({ job } satisfies z.input<typeof claimAnswerSchema>);
});

internalJobs.post("/:job/heartbeat", async (c) => {
  const { lease_seconds, usage, ...beat } = await signedBody(c, heartbeatSchema, "a heartbeat");
  const id = c.req.param("job");
  const leased = usage.length > 0 ? await leasedJob(c.env.DB, id, beat.fence) : null;
  // Whom it is billed to is the job's matter.
  const events = leased ? usage.map((used) => ({ ...used, tenant: leased.tenant, key: leased.key })) : [];
  const now = Date.now();
  const { job, isNew } = await heartbeat(c.env.DB, id, { ...beat, usage: events, leaseMs: lease_seconds * 1000 }, now);
  if (isNew.length > 0) {
    const ids = new Set(isNew);
    const spent = events.filter((event) => ids.has(event.id));
    c.executionCtx.waitUntil(Promise.all([spendMoney(c.env, job.tenant, id, spent, now), sendToStripe(c.env)]));
  }
  return c.json({ cancel: job.cancelRequestedAt !== null });
});

internalJobs.post("/:job/release", async (c) => {
  const { fence } = await signedBody(c, releaseSchema, "a release");
  await releaseJob(c.env.DB, c.req.param("job"), fence);
  return c.body(null, 204);
});

internalJobs.get("/:job/checkpoints", async (c) => {
  const { id } = await leasedFor(c);
  return c.json({ data: await allCheckpoints(c.env.DB, id) });
});

internalJobs.get("/:job/inputs/:path{.+}", async (c) => {
  const job = await leasedFor(c);
  return objectAnswer(c, inputKey(job, c.req.param("path")));
});

internalJobs.get("/:job/artifacts/:lease{\\d+}/:name", async (c) => {
  const job = await leasedFor(c);
  const { lease, name } = c.req.param();
  return objectAnswer(c, ARTIFACT_NAME.test(name) ? artifactKey(job, `${lease}/${name}`) : null);
});

internalJobs.put("/:job/artifacts/:name", async (c) => {
  const job = await leasedFor(c);
  const name = c.req.param("name");
  if (!ARTIFACT_NAME.test(name)) throw new ApiError(400, "invalid_value", `${name} cannot be an artifact's name.`);
  const length = Number(c.req.header("content-length") ?? Number.NaN);
  if (!(length <= MOST_ARTIFACT_BYTES)) {
    throw new ApiError(413, "request_too_large", `An artifact needs a content-length of up to ${MOST_ARTIFACT_BYTES}.`);
  }
  const artifact = `${job.fence}/${name}`;
  const sha256 = c.get("signature").bodyHash;
  try {
    // R2 keeps nothing that is not what was signed.
    await c.env.SHARDS.put(artifactKey(job, artifact), c.req.raw.body ?? new Uint8Array(0), { sha256 });
  } catch (cause) {
    if (!/checksum|sha-?256/i.test((cause as Error).message)) throw cause;
    throw new ApiError(400, "artifact_corrupt", "What arrived is not what was signed. Send it again.", { cause });
  }
  return c.json({ artifact });
});

internalJobs.post("/:job/finish", async (c) => {
  const { outputs, adapter, ...ending } = await signedBody(c, finishSchema, "a job's end");
  const id = c.req.param("job");
  const now = Date.now();
  const job = await leasedJob(c.env.DB, id, ending.fence).catch(() => null);
  // Without its lease it has ended before, or is another's: finishJob tells which.
  const files = job ? await filesOf(c.env.SHARDS, job, outputs) : [];
  const names = Object.fromEntries(files.map(({ as, id }) => [as, id]));
  const whole: Ending = { ...ending, result: { ...ending.result, ...names }, files };
  const refusal = job && adapter && ending.status === "succeeded" ? await tune(c, job, adapter) : null;
  if (refusal) {
    const { code, message, param } = refusal;
    Object.assign(whole, { status: "failed", error: { code, message, param }, result: {}, files: [] });
  }
  const ended = await finishJob(c.env.DB, id, whole, now);
  if (ended.finishedAt === now) countEnded(ended);
  c.executionCtx.waitUntil(Promise.all([tidy(c.env, ended), sendToStripe(c.env)]));
  return c.json({ status: ended.status });
});

type Outputs = z.output<typeof finishSchema>["outputs"];

/** @throws ApiError 400 `artifact_not_found` */
async function filesOf(bucket: R2Bucket, job: Job, outputs: Outputs) {
  return Promise.all(
    outputs.map(async ({ as, artifact, filename, purpose }) => {
      const key = artifactKey(job, artifact);
      const object = await bucket.head(key);
      if (!object) throw new ApiError(400, "artifact_not_found", `There is no artifact ${artifact}. Put it first.`);
      // The same each time it is told.
      const hash = await sha256Of(new TextEncoder().encode(`${job.id} ${as}`));
      return { as, id: `file-${hash.slice(0, 24)}`, filename, purpose, bytes: object.size, key };
    }),
  );
}

/**
 * Puts a trained adapter to use. The same files again change nothing; a lease that is lost meanwhile has another origin
 * train the same.
 *
 * @returns what is wrong with it
 */
async function tune(
  c: Internal,
  job: Job,
  { config, tensors }: { config: string; tensors: string },
): Promise<ApiError | null> {
  const { env } = c;
  const [configObject, tensorsObject] = await Promise.all(
    [config, tensors].map((artifact) => env.SHARDS.get(artifactKey(job, artifact))),
  );
  if (!configObject || !tensorsObject) {
    throw new ApiError(400, "artifact_not_found", "The adapter's files are not there. Put them first.");
  }
  const { modelName, adapter: name } = job.spec as FineTuningSpec;
  try {
    const model = await findModel(env.SHARDS, modelName, (work) => c.executionCtx.waitUntil(work));
    await putAdapter(
      {
        db: env.DB,
        bucket: env.SHARDS,
        tryOut: (key) => tryOut(env, job.tenant, model, key, c.req.raw.signal),
      },
      { tenant: job.tenant, name },
      { config: await configObject.text(), tensors: new Uint8Array(await tensorsObject.arrayBuffer()) },
      { model: modelName, config: model.manifest.model },
      Date.now(),
    );
    await keepCheckpoints(env, job);
    return null;
  } catch (error) {
    const known = toApiError(error);
    if (known.status >= 500) throw error;
    return known;
  }
}

/** As many as OpenAI keeps. */
const KEPT_CHECKPOINTS = 3;

/** Puts a fine-tuning's last checkpoints, of which one is its end, where they can be called. */
async function keepCheckpoints({ DB: db, SHARDS: bucket }: GatewayBindings, job: Job): Promise<void> {
  const { adapter } = job.spec as FineTuningSpec;
  const told = (await allCheckpoints(db, job.id)).filter(({ metrics }) => metrics !== null);
  for (const { step, files } of told.slice(-KEPT_CHECKPOINTS)) {
    for (const name of [ADAPTER_TENSORS, ADAPTER_CONFIG]) {
      const artifact = files[name];
      const object = artifact && (await bucket.get(artifactKey(job, artifact)));
      if (!object) break;
      await bucket.put(`${checkpointKey(job.tenant, adapter, step)}/${name}`, await object.arrayBuffer());
    }
  }
}

/** The job of the path, for who has the lease that the query names. @throws ApiError 409 `stale_lease` */
async function leasedFor(c: Internal): Promise<Job> {
  const fence = Number(c.req.query("fence") ?? 0);
  return leasedJob(c.env.DB, c.req.param("job") ?? "", Number.isSafeInteger(fence) ? fence : 0);
}

/** @param key null: what the job has nothing to do with */
async function objectAnswer(c: Internal, key: string | null): Promise<Response> {
  const object = key === null ? null : await c.env.SHARDS.get(key);
  if (!object) throw new ApiError(404, "not_found", "This job has no such input or artifact.");
  return c.body(object.body, 200, {
    "content-type": "application/octet-stream",
    "content-length": String(object.size),
  });
}

/** @throws ApiError 401 `invalid_signature`, 413, 400 */
async function signedBody<Schema extends z.ZodType>(
  c: Internal,
  schema: Schema,
  what: string,
): Promise<z.output<Schema>> {
  const length = Number(c.req.header("content-length") ?? Number.NaN);
  if (!(length <= MOST_JSON_BYTES)) {
    throw new ApiError(413, "request_too_large", `The body needs a content-length of up to ${MOST_JSON_BYTES}.`);
  }
  const body = new Uint8Array(await c.req.arrayBuffer());
  await checkBody(body, c.get("signature"));
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(body));
  } catch (cause) {
    throw new ApiError(400, "invalid_json", "The body is not JSON.", { cause });
  }
  return parseWith(schema, json, what);
}
