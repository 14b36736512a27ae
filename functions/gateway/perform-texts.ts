/**
 * Texts of any length in the shapes that answer each with one text: whole where a text goes as one prompt, else in pieces
 * as the task's `long` says, all of a request's together.
 */
import type { Context } from "hono";
import type { Piece } from "../../src/api/answers.ts";
import type { Generation, GenerationFields } from "../../src/api/generation.ts";
import { ApiError } from "../../src/api-error.ts";
import { type LongModel, type LongProgress, type LongSize, sizeOf } from "../../src/t5/text-to-text/long/model.ts";
import { type OfText, together } from "../../src/t5/text-to-text/long/together.ts";
import { type RenderedInput, renderTexts } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import { newTokensFor, type Performance, perform } from "./perform.ts";
import { boundsOf, type LongPart, performLong, planLong } from "./perform-long.ts";
import { generationOf, type Target } from "./target.ts";

/** As {@link Performance}; what was put in is known at the end. */
export interface TextsPerformance extends Pick<Performance, "metered" | "generation" | "gone"> {
  pieces: AsyncGenerator<TextPiece, void, undefined>;
}

export interface TextPiece extends Piece {
  /** With a text's last: what is not as it was asked for, for people. */
  notes?: readonly string[];
}

/** Texts, before anything runs. */
export interface TextsPlan {
  /** What the model is given; of summaries, in the first round. */
  prompts: readonly string[];
  /** @param tell is told how far the model is, where it is given pieces */
  begin(tell?: (progress: LongProgress) => void): Promise<TextsPerformance>;
}

/** A request's texts as the model is given them. @param param the field of the request that they stand in */
export function inputsOf({ task }: Target, texts: readonly string[], param: string): RenderedInput[] {
  return task ? renderTexts(task, texts, param) : texts.map((prompt) => ({ prompt, long: null, notes: [] }));
}

/**
 * A text that fits goes whole where the request asks for what one prompt's answer has alone: several answers,
 * log-probabilities, a stop, an answer of so many tokens at most. Of a document that is to be translated, which has tables
 * and names, these tokens are each piece's.
 *
 * @param words that a summary is to have, if any number
 * @throws ApiError as `planLong`; its `begin` also 400 `invalid_value` for what an answer made of many cannot have, and as
 * `perform` and `performLong`
 */
export function planTexts(
  c: Context<GatewayEnv>,
  target: Target,
  inputs: readonly RenderedInput[],
  param: string,
  fields: GenerationFields,
  words = target.task?.definition.words ?? null,
): TextsPlan {
  const prompts = inputs.map(({ prompt }) => prompt);
  const begin = () => perform(c, target, prompts, param, fields);
  if (inputs.every(({ long }) => long === null)) return { prompts, begin };
  const generation = generationOf(target, fields);
  const name = onlyOfOne(generation);
  if (name !== null) {
    return { prompts, begin: () => begin().catch((error) => Promise.reject(notOfMany(error, name, param))) };
  }
  const bounds = boundsOf(c, target, newTokensFor(c, target, generation, fields));
  const ways = inputs.map(({ prompt, long }): Way => {
    const one = oneOf(prompt, { prompts: [prompt], size: sizeOf([prompt], bounds), newTokens: bounds.maxNewTokens });
    if (!long) return one;
    const mayBeOne = fields.max_tokens != null && words === null && !(long.mode === "sentences" && long.document);
    if (mayBeOne && one.size.longest <= bounds.maxInputTokens) return one;
    const plan = planLong(c, target, long, fields, words);
    if (words === null && plan.prompts.length === 1 && plan.prompts[0] === prompt) return one;
    return { ...plan, isWhole: false, parts: (model, signal) => told(plan.parts(model, signal)) };
  });
  if (ways.every(({ isWhole }) => isWhole)) return { prompts, begin };
  // As much for each: what differs would be lists of their own.
  const ofPieces = Math.max(...ways.map(({ isWhole, newTokens }) => (isWhole ? 0 : newTokens)));
  const plan = {
    ...{ generation, bounds, prompts: ways.flatMap(({ prompts }) => prompts), size: sumOf(ways) },
    newTokens: Math.max(...ways.map(({ newTokens }) => newTokens)),
    parts: (model: LongModel, signal: AbortSignal) => {
      const all = ways.map(({ isWhole, newTokens, parts }) => (own: LongModel) => {
        return parts(upTo(isWhole ? newTokens : ofPieces, own), signal);
      });
      return piecesOf(together(model, all, { signal }));
    },
  };
  return {
    prompts: plan.prompts,
    async begin(tell) {
      const { metered, gone, parts } = await performLong(c, target, plan, fields, param, tell);
      return { metered, generation, gone, pieces: parts };
    },
  };
}

type Told = Pick<TextPiece, "text" | "finishReason" | "notes">;

/** How one of the texts goes through the model. */
interface Way {
  /** As one prompt. */
  isWhole: boolean;
  prompts: readonly string[];
  size: LongSize;
  newTokens: number;
  parts(model: LongModel, signal: AbortSignal): AsyncIterable<Told>;
}

function oneOf(prompt: string, way: Pick<Way, "prompts" | "size" | "newTokens">): Way {
  return { ...way, isWhole: true, parts: (model, signal) => model.generate([prompt], { signal }) };
}

async function* told(parts: AsyncIterable<LongPart>): AsyncGenerator<Told, void, undefined> {
  for await (const part of parts) {
    if ("text" in part) yield { text: part.text, finishReason: null };
    else yield { text: "", finishReason: "stop", notes: part.notes };
  }
}

async function* piecesOf(all: AsyncIterable<OfText<Told>>): AsyncGenerator<TextPiece, void, undefined> {
  for await (const { index, value } of all) yield { ...value, index, logprobs: null };
}

function sumOf(ways: readonly Way[]): LongSize {
  const sum = (of: (size: LongSize) => number) => ways.reduce((total, { size }) => total + of(size), 0);
  return {
    prompts: sum(({ prompts }) => prompts),
    promptTokens: sum(({ promptTokens }) => promptTokens),
    longest: Math.max(...ways.map(({ size }) => size.longest)),
  };
}

/** The model, making so many tokens at most. */
function upTo(most: number, model: LongModel): LongModel {
  const generate: LongModel["generate"] = (prompts, { maxNewTokens = most, signal }) =>
    model.generate(prompts, { maxNewTokens: Math.min(maxNewTokens, most), signal });
  return { ...model, generate };
}

/** The field that asks for what one prompt's answer has alone, if any does. */
function onlyOfOne({ answers, candidates, logprobs, echo, stop }: Generation): string | null {
  if (answers > 1) return "n";
  if (candidates > 1) return "best_of";
  if (logprobs !== null) return "logprobs";
  if (echo) return "echo";
  return stop.length > 0 ? "stop" : null;
}

function notOfMany(error: unknown, name: string, param: string): unknown {
  const isTooLong = error instanceof ApiError && error.code === "context_length_exceeded" && error.param === param;
  if (!isTooLong) return error;
  const message = `${error.message} In pieces it would have one answer, made of many: leave ${name} out for that.`;
  return new ApiError(400, "invalid_value", message, { param: name, cause: error });
}
