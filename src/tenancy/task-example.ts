/** What a task takes, for who sent something else. */
import { ApiError } from "../api-error.ts";
import { parseTemplate } from "../t5/template.ts";
import { contentField, type InputKind, isContentKind, type TaskDefinition } from "./task-definition.ts";

/** A task that may have no name yet. */
export interface NamedTask {
  name?: string;
  definition: Pick<TaskDefinition, "template" | "input">;
}

/** @param param where the file stands in the request */
export function takesNoFile(task: NamedTask, param: string): ApiError {
  const { name, definition } = task;
  const who = name === undefined ? "This task" : `The task ${name}`;
  const what = definition.input === "pair" ? "texts" : "a text";
  return new ApiError(
    400,
    "invalid_value",
    `${who} takes ${what}, no file. Send ${exampleOf(task)} as JSON, or ask a task whose input is "document": PUT /v1/tasks/NAME makes one.`,
    { param },
  );
}

/** Of the JSON that the task takes. */
export function exampleOf({ definition: { template, input } }: NamedTask): string {
  const { fields } = parseTemplate(template);
  const content = isContentKind(input) ? contentField(template, input) : null;
  const valueFor = (field: string) => (field === content ? EXAMPLES[input] : undefined) ?? '"…"';
  const [only = ""] = fields;
  const all = fields.map((field) => `${JSON.stringify(field)}: ${valueFor(field)}`).join(", ");
  return `{"input": ${fields.length > 1 ? `{${all}}` : valueFor(only)}}`;
}

const EXAMPLES: Partial<Record<InputKind, string>> = {
  table: '{"rows": [{"COLUMN": "…"}]}',
  image: '{"file": {"data": "BASE64"}}',
};
