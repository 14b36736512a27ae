/** A fine-tuning: an adapter (LoRA) trained on rows of inputs and targets, beside a model that stays as it is. */

import * as z from "zod";
import { ApiError } from "../../api-error.ts";
import { issueText } from "../../issue-text.ts";

/** Rows of one training file. */
export const MOST_TRAINING_ROWS = 200_000;

/** Of one row. */
export const MOST_INPUT_TOKENS = 512;
export const MOST_TARGET_TOKENS = 256;

export interface FineTuningSpec {
  /** Name of the base, and `NAME@VERSION`. */
  modelName: string;
  model: string;
  training: { id: string; key: string; filename: string; rows: number };
  validation: { id: string; key: string; filename: string; rows: number } | null;
  suffix: string | null;
  /** `ft:BASE:TENANT:SUFFIX:ID`, and the adapter that it stands for. */
  fineTunedModel: string;
  adapter: string;
  seed: number;
  epochs: number;
  batchSize: number;
  learningRateMultiplier: number;
  lora: { rank: number; alpha: number; dropout: number; targetModules: string[] };
  metadata?: Record<string, string> | null | undefined;
}

export interface FineTuningProgress {
  step: number;
  steps: number;
  trainedTokens: number;
  /** Milliseconds since 1970; null before anything is known. */
  estimatedFinish: number | null;
}

export interface TrainingRow {
  input: string;
  target: string;
}

/** What input and target may be called. */
const NAMES = [
  ["prompt", "completion"],
  ["input", "target"],
  ["source", "target"],
  ["text", "label"],
] as const;

const text = z.string().refine((value) => value.trim() !== "", "it is empty");
const rowSchema = z.record(z.string(), z.unknown());
/** OpenAI's chat rows: one question, one answer. */
const messagesSchema = z.array(z.object({ role: z.enum(["system", "user", "assistant"]), content: text })).refine(
  (messages) =>
    messages
      .filter(({ role }) => role !== "system")
      .map(({ role }) => role)
      .join() === "user,assistant",
  "one message of the user's and one of the assistant's: T5 answers once",
);

/** The most tokens that a row can have. It is not tokenized for that: a token is a byte at least, but for the first and the last. */
export function mostTokensOf({ input, target }: TrainingRow): number {
  const most = (text: string, limit: number) => Math.min(limit, new TextEncoder().encode(text).length + 2);
  return most(input, MOST_INPUT_TOKENS) + most(target, MOST_TARGET_TOKENS);
}

/** @throws ApiError 400, saying what is wrong with the row */
export function parseTrainingRow(json: unknown): TrainingRow {
  const parsed = rowSchema.safeParse(json);
  const refuse = (code: string, message: string, param: string | null = null) =>
    new ApiError(400, code, message, { param });
  if (!parsed.success)
    throw refuse("invalid_type", 'A row must be an object, such as {"prompt": "…", "completion": "…"}.');
  const row = parsed.data;
  if ("messages" in row) {
    const messages = messagesSchema.safeParse(row.messages, { error: issueText });
    if (!messages.success) throw refuse("invalid_value", `messages: ${messages.error.issues[0]?.message}.`, "messages");
    const of = (role: string) => messages.data.filter((message) => message.role === role).map(({ content }) => content);
    return { input: [...of("system"), ...of("user")].join("\n"), target: of("assistant").join() };
  }
  const names = NAMES.find((pair) => pair.every((name) => name in row));
  if (!names) {
    const has = Object.keys(row).join(", ") || "nothing";
    throw refuse("missing_field", `A row needs prompt and completion (or input and target); this one has ${has}.`);
  }
  for (const name of names) {
    const value = text.safeParse(row[name], { error: issueText });
    if (!value.success)
      throw refuse("invalid_value", `${name}: ${value.error.issues[0]?.message ?? "it is no text"}.`, name);
  }
  const [input, target] = names;
  return { input: row[input] as string, target: row[target] as string };
}
