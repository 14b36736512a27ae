/** `/v1/fine_tuning/jobs`: adapters, trained by an origin on a tenant's rows. */
import { type Context, Hono } from "hono";
import { listJson } from "../../src/api/control-plane.ts";
import {
  checkpointJson,
  eventJson,
  fineTuningJson,
  hyperparametersOf,
  newFineTuningSchema,
} from "../../src/api/fine-tuning.ts";
import { jobsQuerySchema, PRIORITIES } from "../../src/api/jobs.ts";
import { parseWith } from "../../src/api/parse.ts";
import {
  type FineTuningSpec,
  MOST_INPUT_TOKENS,
  MOST_TARGET_TOKENS,
  MOST_TRAINING_ROWS,
  mostTokensOf,
  parseTrainingRow,
  type TrainingRow,
} from "../../src/jobs/fine-tuning/spec.ts";
import { listCheckpoints, listEvents } from "../../src/jobs/history.ts";
import { createJob, findJob, type Job, listJobs, newJobId } from "../../src/jobs/job.ts";
import { checkRows } from "../../src/jobs/jsonl.ts";
import { addEvents } from "../../src/jobs/lease.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import { fineTunedAdapter, fineTunedName } from "../../src/tenancy/fine-tuned.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";
import { holdMoney, nanoOf, pricesFor, settleMoney } from "./job-money.ts";
import { announce, cancelJob, jobFile, jobNotFound } from "./jobs.ts";
import { findModel, modelNotFound } from "./models.ts";

export const fineTuning = new Hono<GatewayEnv>();

fineTuning.get("/", async (c) => {
  const query = parseWith(jobsQuerySchema, c.req.query(), "a list's query");
  return c.json(listJson(await listJobs(c.env.DB, c.get("caller").tenant, "fine_tuning", query), fineTuningJson));
});

fineTuning.post("/", async (c) => {
  const caller = c.get("caller");
  const { tenant, key } = caller;
  const request = await readBody(c.req.raw, newFineTuningSchema, "a fine-tuning job");
  const { model: modelName, suffix = null, lora, priority } = request;
  if (!mayUse(caller, modelName)) throw modelNotFound(modelName);
  const model = await findModel(c.env.SHARDS, modelName, (work) => c.executionCtx.waitUntil(work));
  let tokens = 0;
  const training = await readRows(c, request.training_file, "training_file", (row) => {
    tokens += mostTokensOf(row);
  });
  const validation = request.validation_file ? await readRows(c, request.validation_file, "validation_file") : null;
  const id = newJobId("fine_tuning");
  const name = id.replace(/^ftjob-/, "");
  const spec: FineTuningSpec = {
    modelName,
    model: model.id,
    training,
    validation,
    suffix,
    fineTunedModel: fineTunedName(modelName, tenant, suffix, name),
    adapter: fineTunedAdapter(name),
    seed: request.seed ?? (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) >>> 1,
    ...hyperparametersOf(request),
    lora: {
      rank: lora.r,
      alpha: lora.lora_alpha ?? 2 * lora.r,
      dropout: lora.lora_dropout,
      targetModules: lora.target_modules,
    },
    metadata: request.metadata,
  };
  const files = [training.id, ...(validation ? [validation.id] : [])];
  const wanted = { id, tenant, key, kind: "fine_tuning", priority: PRIORITIES[priority], spec, files } as const;
  const quotas = { running: c.env.JOBS_RUNNING, waiting: c.env.JOBS_WAITING };
  const now = Date.now();
  await holdMoney(c.env, caller, id, await mostOf(c.env, tenant, spec, tokens, now), now);
  const job = await createJob(c.env.DB, wanted, quotas, now).catch(async (error: unknown) => {
    await settleMoney(c.env, { tenant, id });
    throw error;
  });
  const rows = `${training.rows} rows${validation ? `, ${validation.rows} to validate with` : ""}`;
  const told = { level: "info", type: "message", data: null } as const;
  await addEvents(
    c.env.DB,
    id,
    [{ name: "created", message: `Created fine-tuning job ${id}: ${rows}.`, ...told }],
    now,
  );
  c.executionCtx.waitUntil(announce(c.env, [id]));
  return c.json(fineTuningJson(job));
});

fineTuning.get("/:job", async (c) => c.json(fineTuningJson(await jobOf(c))));

fineTuning.get("/:job/events", async (c) => {
  const query = parseWith(jobsQuerySchema, c.req.query(), "a list's query");
  const { id } = await jobOf(c);
  return c.json(listJson(await listEvents(c.env.DB, id, query), eventJson));
});

fineTuning.get("/:job/checkpoints", async (c) => {
  const query = parseWith(jobsQuerySchema, c.req.query(), "a list's query");
  const job = await jobOf(c);
  return c.json(
    listJson(await listCheckpoints(c.env.DB, job.id, query), (checkpoint) => checkpointJson(job, checkpoint)),
  );
});

fineTuning.post("/:job/cancel", async (c) =>
  c.json(fineTuningJson(await cancelJob(c, "fine_tuning", c.req.param("job")))),
);

/** @throws ApiError 404 `job_not_found` */
async function jobOf(c: Context<GatewayEnv>): Promise<Job> {
  const id = c.req.param("job") ?? "";
  const job = await findJob(c.env.DB, c.get("caller").tenant, "fine_tuning", id);
  if (!job) throw jobNotFound(id, "fine_tuning");
  return job;
}

/** @throws ApiError 400 `invalid_file` with line and reason */
async function readRows(
  c: Context<GatewayEnv>,
  id: string,
  param: string,
  each: (row: TrainingRow) => void = () => {},
) {
  const { file, stream } = await jobFile(c, id, "fine-tune", param);
  const rows = await checkRows(file.filename, stream, MOST_TRAINING_ROWS, (row) => each(parseTrainingRow(row)));
  return { id: file.id, key: file.key, filename: file.filename, rows };
}

/** The most that a fine-tuning can cost, in nano-dollars. @param tokens most of its rows */
async function mostOf(
  env: GatewayEnv["Bindings"],
  tenant: string,
  { modelName, epochs, batchSize }: FineTuningSpec,
  tokens: number,
  now: number,
): Promise<number> {
  // The last batch is filled up with rows of the next round.
  const trainingTokens = tokens * epochs + batchSize * (MOST_INPUT_TOKENS + MOST_TARGET_TOKENS);
  const part = { task: null, model: modelName, inputTokens: 0, outputTokens: 0, trainingTokens };
  return nanoOf(await pricesFor(env, tenant, now), tenant, part, now);
}
