/** A batch: rows of requests, each answered as `/v1/completions` answers it. */
import * as z from "zod";
import type { Prompt } from "../../api/answers.ts";
import { type CompletionRequest, parseCompletionRequest } from "../../api/completions.ts";
import type { Generation, GenerationFields } from "../../api/generation.ts";
import { parseWith } from "../../api/parse.ts";
import { ApiError } from "../../api-error.ts";
import { type Lengths, newTokensFor, tokenizeFor } from "../../placement/lengths.ts";
import type { GenerationParams } from "../../t5/generation/config.ts";
import type { LongSize } from "../../t5/text-to-text/long/model.ts";
import {
  checkPieces,
  type LongPlan,
  type LongTarget,
  MOST_PROMPTS,
  notWhole,
  planPieces,
  planWindows,
  type TextPiece,
  type Windows,
} from "../../tenancy/long-texts.ts";
import type { TaskDefinition } from "../../tenancy/task-definition.ts";
import { generationUnder, type RenderedInput, renderTexts } from "../../tenancy/task-request.ts";

/** Rows of one batch, as OpenAI has it. */
export const MOST_ROWS = 50_000;
/** Names of models and tasks that one batch asks for. */
export const MOST_TARGETS = 20;

/** What a name stands for, as it was when the batch was made: later changes are for later batches. */
export interface BatchTarget {
  task: { name: string; version: number; definition: TaskDefinition } | null;
  /** The model's name, and `NAME@VERSION`. */
  modelName: string;
  model: string;
  adapter: { name: string; key: string } | null;
}

export interface BatchSpec {
  endpoint: "/v1/completions";
  completionWindow: string;
  metadata?: Record<string, string> | null | undefined;
  input: { id: string; key: string; filename: string };
  rows: number;
  /** By the names that rows ask for. */
  targets: Record<string, BatchTarget>;
  lengths: Lengths;
}

export interface BatchProgress {
  completed: number;
  failed: number;
  inputTokens: number;
  outputTokens: number;
  /** Milliseconds since 1970; when the last row was done. */
  finalizingAt: number | null;
}

const rowSchema = z.strictObject({
  custom_id: z.string().min(1).max(512),
  method: z.literal("POST"),
  url: z.literal("/v1/completions"),
  body: z.record(z.string(), z.unknown()),
});

export interface BatchRow {
  customId: string;
  request: CompletionRequest;
}

/** @throws ApiError 400, naming the field */
export function parseBatchRow(json: unknown): BatchRow {
  const { custom_id, body } = parseWith(rowSchema, json, "a batch's row");
  const request = parseCompletionRequest(body);
  if (request.stream) {
    throw new ApiError(400, "invalid_value", "body.stream: nobody listens to a batch. Leave it out.", {
      param: "body.stream",
    });
  }
  return { customId: custom_id, request };
}

/** What a row asks of its target. */
export interface AskedRow {
  inputs: RenderedInput[];
  generation: Generation;
  /** Of one sequence. */
  maxNewTokens: number;
}

/**
 * @param defaults how the target's model generates unless told otherwise
 * @throws ApiError 400 as `/v1/completions`
 */
export function askRow(
  { request }: BatchRow,
  task: BatchTarget["task"],
  defaults: Partial<GenerationParams>,
  lengths: Lengths,
): AskedRow {
  const generation = generationUnder(task, defaults, request.fields as GenerationFields);
  return {
    inputs: task
      ? renderTexts(task, request.prompts, "prompt")
      : request.prompts.map((prompt) => ({ prompt, long: null, notes: [] })),
    generation,
    maxNewTokens: newTokensFor(lengths, task, generation, request.fields),
  };
}

/** What the model is given. */
export interface PlannedRow {
  /** Of summaries by sections, the first round's. */
  size: LongSize;
  /** Where its texts go whole, or window by window. */
  prompts: readonly Prompt[];
  /** Where they do not. */
  pieces: LongPlan<TextPiece> | null;
  /** Of each text that is labelled; null where none is. */
  windows: Windows[] | null;
}

/** @throws ApiError 400, 413 as `/v1/completions`; EdgeT5Error `E_CONTEXT_LENGTH` when a template leaves no room */
export function planRow({ request }: BatchRow, { inputs, generation }: AskedRow, target: LongTarget): PlannedRow {
  const { task, model, lengths } = target;
  const whole = (texts: readonly string[], windows: Windows[] | null): PlannedRow => {
    const prompts = tokenizeFor(lengths, task, model, texts, "prompt");
    const tokens = prompts.map(({ ids }) => ids.length);
    const promptTokens = tokens.reduce((sum, each) => sum + each, 0);
    const size = { prompts: prompts.length, promptTokens, longest: Math.max(...tokens) };
    return { size, prompts, pieces: null, windows };
  };
  if (task?.definition.labels) {
    const windows = planWindows(target, inputs);
    const texts = windows.flatMap(({ prompts }) => prompts);
    return whole(texts, windows);
  }
  const pieces = planPieces(target, generation, inputs, request.fields, task?.definition.words ?? null);
  if (pieces) {
    checkPieces(pieces.size, MOST_PROMPTS, "prompt");
    return { size: pieces.size, prompts: [], pieces, windows: null };
  }
  try {
    const texts = inputs.map(({ prompt }) => prompt);
    return whole(texts, null);
  } catch (error) {
    throw notWhole(error, inputs, generation, "prompt");
  }
}
