/**
 * Texts of any length in the shapes that answer each with one text: whole where a text goes as one prompt, else in pieces
 * as the task's `long` says, all of a request's together.
 */
import type { Context } from "hono";
import type { GenerationFields } from "../../src/api/generation.ts";
import type { LongProgress } from "../../src/t5/text-to-text/long/model.ts";
import { notWhole, planPieces, type TextPiece } from "../../src/tenancy/long-texts.ts";
import { type RenderedInput, renderTexts } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import { type Performance, perform } from "./perform.ts";
import { longTargetOf, performLong } from "./perform-long.ts";
import { generationOf, type Target } from "./target.ts";

/** As {@link Performance}; what was put in is known at the end. */
export interface TextsPerformance extends Pick<Performance, "metered" | "generation" | "gone"> {
  pieces: AsyncGenerator<TextPiece, void, undefined>;
}

/** Texts, before anything runs. */
export interface TextsPlan {
  /** What the model is given; of summaries, in the first round. */
  prompts: readonly string[];
  /** Whether each text is one prompt. */
  isWhole: boolean;
  /** @param tell is told how far the model is, where it is given pieces */
  begin(tell?: (progress: LongProgress) => void): Promise<TextsPerformance>;
}

/** A request's texts as the model is given them. @param param the field of the request that they stand in */
export function inputsOf({ task }: Target, texts: readonly string[], param: string): RenderedInput[] {
  return task ? renderTexts(task, texts, param) : texts.map((prompt) => ({ prompt, long: null, notes: [] }));
}

/**
 * @param words that a summary is to have, if any number
 * @throws ApiError as `planPieces`; its `begin` also 400 `invalid_value` for what an answer made of many cannot have, and
 * as `perform` and `performLong`
 */
export function planTexts(
  c: Context<GatewayEnv>,
  target: Target,
  inputs: readonly RenderedInput[],
  param: string,
  fields: GenerationFields,
  words = target.task?.definition.words ?? null,
): TextsPlan {
  const generation = generationOf(target, fields);
  const plan = planPieces(longTargetOf(c, target), generation, inputs, fields, words);
  if (!plan) {
    const prompts = inputs.map(({ prompt }) => prompt);
    const begin = () =>
      perform(c, target, prompts, param, fields).catch((error: unknown) =>
        Promise.reject(notWhole(error, inputs, generation, param)),
      );
    return { prompts, isWhole: true, begin };
  }
  return {
    prompts: plan.prompts,
    isWhole: false,
    async begin(tell) {
      const { metered, gone, parts } = await performLong(c, target, plan, fields, param, tell);
      return { metered, generation, gone, pieces: parts };
    },
  };
}
