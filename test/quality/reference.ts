/** 200 rows a task, with the answers of the float checkpoint that the packaged default model was made of. */
import { readFileSync } from "node:fs";

/** Hugging Face transformers 4.57.1, float32, greedy, at most 64 new tokens. */
export interface ReferenceRow {
  input: string;
  input_ids: number[];
  /** A person's answer. */
  reference: string;
  /** The float checkpoint's. */
  greedy: string;
}

export const TASKS = ["translate-de", "translate-fr", "summarize", "classify-package"] as const;
export type Task = (typeof TASKS)[number];
export const MAX_NEW_TOKENS = 64;

export function readReference(task: Task): ReferenceRow[] {
  const file = readFileSync(new URL(`../fixtures/reference/${task}.jsonl`, import.meta.url), "utf8");
  return file
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ReferenceRow);
}
