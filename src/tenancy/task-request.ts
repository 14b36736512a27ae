/** A request of a task: the model's texts of its inputs, and how they are generated under the task's rules. */

import { type Generation, type GenerationFields, resolveGeneration } from "../api/generation.ts";
import { ApiError } from "../api-error.ts";
import type { GenerationParams } from "../t5/generation/config.ts";
import { fillTemplate, parseTemplate, type Template } from "../t5/template.ts";
import { OVERRIDABLE } from "./task-definition.ts";
import type { Task } from "./tasks.ts";

/** A task's input: a text for a template of one field, else the fields by name. */
export type TaskInput = string | Readonly<Record<string, string>>;

/**
 * How the request is to be generated: its fields over the task's own, if there is one, over the model's.
 *
 * @throws ApiError 400 `parameter_not_allowed` for a field that the task keeps to itself, and as `resolveGeneration`
 */
export function generationUnder(
  task: Pick<Task, "name" | "definition"> | null,
  defaults: Partial<GenerationParams>,
  fields: GenerationFields,
): Generation {
  if (!task) return resolveGeneration(fields, defaults);
  const { overridable, generation } = task.definition;
  for (const name of OVERRIDABLE) {
    if (fields[name] == null || overridable.includes(name)) continue;
    const may = overridable.length > 0 ? `A request may give ${overridable.join(", ")}.` : "It takes none.";
    throw new ApiError(400, "parameter_not_allowed", `The task ${task.name} sets ${name} itself. ${may}`, {
      param: name,
    });
  }
  return resolveGeneration(fields, { ...defaults, ...generation });
}

/**
 * The model's texts of a task's inputs.
 *
 * @throws ApiError 400 `invalid_type`, `missing_field`, `unknown_field`, `empty_prompt`
 */
export function promptsOf(
  { definition }: Pick<Task, "definition">,
  inputs: readonly TaskInput[],
  param: string,
): string[] {
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
