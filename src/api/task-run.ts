/** `POST /v1/tasks/{name}`: what is taken, and the shapes of what is given. */
import * as z from "zod";
import type { FinishReason } from "../t5/generate.ts";
import { IMAGE_LANGUAGES } from "../tenancy/task-definition.ts";
import { generationFieldsSchema } from "./completions.ts";
import { dollarsOf } from "./money.ts";
import { oneTextOrList } from "./one-or-list.ts";
import { parseWith } from "./parse.ts";
import { checkPrompts, MAX_PROMPTS } from "./prompts.ts";

const one = z.union([z.string(), z.record(z.string(), z.unknown())], {
  error: "a text, or an object with the task's fields",
});

const column = z.union([z.string(), z.int().nonnegative()]);
const row = z.int().nonnegative();

/** What is chosen of tables: t5/text-to-text/table.ts. */
export const tableChoiceSchema = z.strictObject({
  /** By its sheet's or section's name, or its number, from 0. */
  table: z.union([z.string(), z.int().nonnegative()]).exactOptional(),
  columns: z.array(column).min(1).max(1000).exactOptional(),
  rows: z
    .strictObject({
      /** The first, from 1 on. */
      from: z.int().min(1, "rows are numbered from 1 on; the header always stays").exactOptional(),
      to: row.exactOptional(),
      where: z.record(z.string(), z.string()).exactOptional(),
    })
    .exactOptional(),
  highlighted: z
    .array(z.tuple([row, column]))
    .max(1000)
    .exactOptional(),
});

export const taskRunSchema = z.strictObject({
  /**
   * One input, or a list of them: texts, or objects with the task's fields. A table's field is `{rows, columns, title,
   * section}`, rows as arrays or objects; any content's may be `{file: {data, content_type, filename}}`, data in base64.
   * Left out where a file is all there is.
   */
  input: z
    .union([one, z.array(one).min(1).max(MAX_PROMPTS)], {
      error: `a text, an object with the task's fields, or a list of 1 to ${MAX_PROMPTS} of them`,
    })
    .optional(),
  /** Whether the answer says what the model was given. */
  explain: z.boolean().optional(),
  select: tableChoiceSchema.optional(),
  /** That the writing in an image may be in, likeliest first, in place of the task's. In a form, before the file. */
  languages: oneTextOrList(z.array(z.enum(IMAGE_LANGUAGES)).min(1).optional()),
  /** How long a summary by sections is to be. */
  words: z.int().min(5).max(5000).optional(),
  ...generationFieldsSchema.shape,
});

export type TaskRun = z.output<typeof taskRunSchema>;

/** @throws ApiError 400 as `checkPrompts` and `parseWith` */
export function parseTaskRun(json: unknown): TaskRun {
  if (typeof json === "object" && json !== null && "input" in json) checkPrompts(json.input, "input");
  return parseWith(taskRunSchema, json, "a task's run");
}

export interface TaskUsage {
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
  /** Dollars, as decimal text; an adapter's days are not in it. */
  cost: string;
}

/** @param cost nano-dollars */
export function taskUsage(inputTokens: number, outputTokens: number, cost: bigint): TaskUsage {
  return {
    ...{ input_tokens: inputTokens, output_tokens: outputTokens, total_tokens: inputTokens + outputTokens },
    cost: dollarsOf(cost),
  };
}

/** What the model was given, of the first {@link MOST_TOLD} of its inputs. */
export interface Explanation {
  inputs: string[];
  /** How many there were. */
  total: number;
  /** That not all are told. */
  notes?: string[];
}

const MOST_TOLD = 32;

export function explanationOf(prompts: readonly string[]): Explanation {
  const { length: total } = prompts;
  const notes = [`Only the first ${MOST_TOLD} of ${total} are told.`];
  return { inputs: prompts.slice(0, MOST_TOLD), total, ...(total > MOST_TOLD && { notes }) };
}

/** Of one input: a text (with `n`, all of them), or a label with the scores of all. */
export type TaskResult = (
  | { output: string; finish_reason: FinishReason | null; outputs?: string[] }
  | { label: string; score: number; scores: { label: string; score: number }[] }
) & {
  /** What was left out, cut or guessed, for people. */
  notes?: readonly string[];
};
