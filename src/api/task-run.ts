/** `POST /v1/tasks/{name}`: what is taken, and the shapes of what is given. */
import * as z from "zod";
import type { FinishReason } from "../t5/generate.ts";
import { generationFieldsSchema, MAX_PROMPTS } from "./completions.ts";

const fields = z.record(z.string(), z.string());
const one = z.union([z.string().min(1), fields], {
  error: "a text, or an object with the task's fields, each a text",
});

export const taskRunSchema = z.strictObject({
  /** One input, or a list of them. */
  input: z.union([one, z.array(one).min(1).max(MAX_PROMPTS)], {
    error: `a text, an object with the task's fields, or a list of 1 to ${MAX_PROMPTS} of them`,
  }),
  ...generationFieldsSchema.shape,
});

export type TaskRun = z.output<typeof taskRunSchema>;

export interface TaskUsage {
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

export function taskUsage(inputTokens: number, outputTokens: number): TaskUsage {
  return { input_tokens: inputTokens, output_tokens: outputTokens, total_tokens: inputTokens + outputTokens };
}

/** Of one input: a text (with `n`, all of them), or a label with the scores of all. */
export type TaskResult =
  | { output: string; finish_reason: FinishReason | null; outputs?: string[] }
  | { label: string; score: number; scores: { label: string; score: number }[] };
