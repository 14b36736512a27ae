/** What a request's name stands for: one of the tenant's tasks, or a model. */
import type { Context } from "hono";
import type { Generation, GenerationFields } from "../../src/api/generation.ts";
import { ApiError } from "../../src/api-error.ts";
import { ADAPTER_CONFIG } from "../../src/t5/adapter.ts";
import { checkpointKey, findAdapter } from "../../src/tenancy/adapters.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import { type FineTuned, parseFineTuned } from "../../src/tenancy/fine-tuned.ts";
import { generationUnder } from "../../src/tenancy/task-request.ts";
import { loadTask, type Task } from "../../src/tenancy/tasks.ts";
import type { GatewayEnv } from "./bindings.ts";
import type { Charge } from "./metered.ts";
import { findModel, type GatewayModel, MODEL_VERSION_HEADER, modelNotFound } from "./models.ts";
import { loadAtEdge } from "./placing.ts";

export interface Target {
  task: Task | null;
  modelName: string;
  model: GatewayModel;
  /** Its name, and where it lies in the bucket: the version that was current when the request came. */
  adapter: { name: string; key: string } | null;
}

/** @throws ApiError 404 `task_not_found` */
export async function findTaskTarget(c: Context<GatewayEnv>, name: string): Promise<Target & { task: Task }> {
  const task = await loadTask(c.env.DB, c.get("caller").tenant, name);
  if (!task) {
    throw new ApiError(404, "task_not_found", `There is no task ${JSON.stringify(name)}. GET /v1/tasks lists them.`);
  }
  return { ...(await targetOf(c, task, task.definition.model)), task };
}

/** Has the private Workers load a model that a request is for; a job's is loaded elsewhere. */
type Load = (id: string) => Promise<void>;

/**
 * A task's name comes before a model's; `ft:…` is a model that was tuned for the tenant, or what it was at a checkpoint.
 *
 * @throws ApiError 404 `model_not_found`
 */
export async function findTarget(
  c: Context<GatewayEnv>,
  name: string,
  load: Load = (id) => loadAtEdge(c.env, id),
): Promise<Target> {
  const tuned = parseFineTuned(name);
  if (tuned) return tunedTarget(c, name, tuned, load);
  const task = await loadTask(c.env.DB, c.get("caller").tenant, name);
  return targetOf(c, task, task?.definition.model ?? name, load);
}

async function tunedTarget(
  c: Context<GatewayEnv>,
  name: string,
  { base, tenant, adapter: adapterName, step }: FineTuned,
  load: Load,
): Promise<Target> {
  const caller = c.get("caller");
  const ended = tenant === caller.tenant ? await findAdapter(c.env.DB, tenant, adapterName) : null;
  if (!ended || ended.model !== base || !mayUse(caller, base)) throw modelNotFound(name);
  const adapter = step === null ? ended : await checkpointOf(c.env.SHARDS, tenant, adapterName, step);
  if (!adapter) throw modelNotFound(name);
  const model = await findModel(c.env.SHARDS, base, (work) => c.executionCtx.waitUntil(work), load);
  c.header(MODEL_VERSION_HEADER, model.version);
  return { task: null, modelName: base, model, adapter };
}

/** Null where it was not kept: those before the last few of a fine-tuning are not. */
async function checkpointOf(bucket: R2Bucket, tenant: string, adapter: string, step: number) {
  const key = checkpointKey(tenant, adapter, step);
  // Written last.
  const isThere = await bucket.head(`${key}/${ADAPTER_CONFIG}`);
  // A name of its own: a batch may ask for several of one adapter's.
  return isThere && { name: `${adapter}-ckpt-step-${step}`, key };
}

async function targetOf(
  c: Context<GatewayEnv>,
  task: Task | null,
  modelName: string,
  load: Load = (id) => loadAtEdge(c.env, id),
): Promise<Target> {
  const caller = c.get("caller");
  if (!mayUse(caller, modelName)) throw modelNotFound(modelName);
  const adapterName = task?.definition.adapter ?? null;
  const isForOrigin = task?.definition.placement.run === "origin" && c.env.ORIGIN_URL;
  const [model, adapter] = await Promise.all([
    findModel(c.env.SHARDS, modelName, (work) => c.executionCtx.waitUntil(work), isForOrigin ? undefined : load),
    adapterName === null ? null : findAdapter(c.env.DB, caller.tenant, adapterName),
  ]);
  if (adapterName !== null && !adapter) {
    throw new ApiError(
      503,
      "adapter_unavailable",
      `The task's adapter ${adapterName} is not there any more. Upload it: PUT /v1/adapters/${adapterName}.`,
    );
  }
  if (adapter && adapter.model !== modelName) {
    throw new ApiError(
      503,
      "adapter_unavailable",
      `The task's adapter ${adapterName} is one for ${adapter.model} now, and the task is of ${modelName}. Upload one for ${modelName}, or change the task.`,
    );
  }
  c.header(MODEL_VERSION_HEADER, model.version);
  return { task, modelName, model, adapter };
}

/**
 * How the request is to be generated: its fields over the task's own, over the model's.
 *
 * @throws ApiError 400 as `generationUnder`
 */
export function generationOf({ task, model }: Target, fields: GenerationFields): Generation {
  return generationUnder(task, model.defaults, fields);
}

/** What a request of this target is billed as. */
export function chargeOf({ task, modelName, adapter }: Target, inputTokens: number, maxOutputTokens: number): Charge {
  return {
    task: task?.name ?? null,
    taskVersion: task?.version ?? null,
    model: modelName,
    adapter: adapter?.name ?? null,
    inputTokens,
    maxOutputTokens,
  };
}
