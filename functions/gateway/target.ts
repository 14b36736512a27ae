/** What a request's name stands for: one of the tenant's tasks, or a model. */
import type { Context } from "hono";
import { ApiError } from "../../src/api/errors.ts";
import { type Generation, type GenerationFields, resolveGeneration } from "../../src/api/generation.ts";
import { fillTemplate, parseTemplate, type Template } from "../../src/t5/template.ts";
import { findAdapter } from "../../src/tenancy/adapters.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import { OVERRIDABLE } from "../../src/tenancy/task-definition.ts";
import { loadTask, type Task } from "../../src/tenancy/tasks.ts";
import type { GatewayEnv } from "./bindings.ts";
import { loadHalves } from "./halves.ts";
import type { Charge } from "./metered.ts";
import { findModel, type GatewayModel, MODEL_VERSION_HEADER, modelNotFound } from "./models.ts";

export interface Target {
  task: Task | null;
  modelName: string;
  model: GatewayModel;
  /** Its name, and where it lies in the bucket: the version that was current when the request came. */
  adapter: { name: string; key: string } | null;
}

/** A task's input: a text for a template of one field, else the fields by name. */
export type TaskInput = string | Readonly<Record<string, string>>;

/** @throws ApiError 404 `task_not_found` */
export async function findTaskTarget(c: Context<GatewayEnv>, name: string): Promise<Target & { task: Task }> {
  const task = await loadTask(c.env.DB, c.get("caller").tenant, name);
  if (!task) {
    throw new ApiError(404, "task_not_found", `There is no task ${JSON.stringify(name)}. GET /v1/tasks lists them.`);
  }
  return { ...(await targetOf(c, task, task.definition.model)), task };
}

/** A task's name comes before a model's. @throws ApiError 404 `model_not_found` */
export async function findTarget(c: Context<GatewayEnv>, name: string): Promise<Target> {
  const task = await loadTask(c.env.DB, c.get("caller").tenant, name);
  return targetOf(c, task, task?.definition.model ?? name);
}

async function targetOf(c: Context<GatewayEnv>, task: Task | null, modelName: string): Promise<Target> {
  const caller = c.get("caller");
  if (!mayUse(caller, modelName)) throw modelNotFound(modelName);
  const adapterName = task?.definition.adapter ?? null;
  const [model, adapter] = await Promise.all([
    findModel(
      c.env.SHARDS,
      modelName,
      (work) => c.executionCtx.waitUntil(work),
      (id) => loadHalves(c.env, id),
    ),
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
 * @throws ApiError 400 `parameter_not_allowed` for a field that the task keeps to itself, and as `resolveGeneration`
 */
export function generationOf({ task, model }: Target, fields: GenerationFields): Generation {
  if (!task) return resolveGeneration(fields, model.defaults);
  const { overridable, generation } = task.definition;
  for (const name of OVERRIDABLE) {
    if (fields[name] == null || overridable.includes(name)) continue;
    const may = overridable.length > 0 ? `A request may give ${overridable.join(", ")}.` : "It takes none.";
    throw new ApiError(400, "parameter_not_allowed", `The task ${task.name} sets ${name} itself. ${may}`, {
      param: name,
    });
  }
  return resolveGeneration(fields, { ...model.defaults, ...generation });
}

/**
 * The model's texts of a task's inputs.
 *
 * @throws ApiError 400 `invalid_type`, `missing_field`, `unknown_field`, `empty_prompt`
 */
export function promptsOf({ definition }: Task, inputs: readonly TaskInput[], param: string): string[] {
  const template = parseTemplate(definition.template);
  return inputs.map((input, i) => promptOf(template, input, inputs.length > 1 ? `${param}.${i}` : param));
}

function promptOf(template: Template, input: TaskInput, param: string): string {
  const { fields } = template;
  const refuse = (code: string, message: string, at = param) => new ApiError(400, code, message, { param: at });
  const [only] = fields;
  if (typeof input === "string" && (fields.length > 1 || only === undefined)) {
    throw refuse("invalid_type", `${param} must be an object with the fields ${fields.join(", ")}: each a text.`);
  }
  const values = typeof input === "string" ? { [only as string]: input } : input;
  for (const field of fields) {
    const value = Object.hasOwn(values, field) ? values[field] : undefined;
    if (value === undefined) {
      throw refuse("missing_field", `${param} has no ${field}. This task takes ${fields.join(", ")}.`);
    }
    if (value.trim() === "") throw refuse("empty_prompt", `${field} of ${param} is empty. Give it a text.`);
  }
  const unknown = Object.keys(values).find((name) => !fields.includes(name));
  if (unknown !== undefined) {
    throw refuse("unknown_field", `${param} has ${unknown}, which this task does not take: ${fields.join(", ")}.`);
  }
  return fillTemplate(template, values);
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
