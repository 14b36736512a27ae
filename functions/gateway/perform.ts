/** A request from its target to its answer, under its tenant's limits: the part that all shapes of requests share. */
import type { Context } from "hono";
import {
  answer,
  type Classified,
  classify,
  mostLabelTokens,
  mostTokens,
  newTokensOf,
  type Piece,
  type Prompt,
  tokenize,
} from "../../src/api/answers.ts";
import type { Generation, GenerationFields } from "../../src/api/generation.ts";
import type { GatewayEnv } from "./bindings.ts";
import { halvesOf } from "./halves.ts";
import { type Charge, Metered } from "./metered.ts";
import { chargeOf, generationOf, type Target } from "./target.ts";

/** What has begun: its pieces may be read, once. */
export interface Performance {
  metered: Metered;
  inputTokens: number;
  generation: Generation;
  prompts: readonly Prompt[];
  /** Aborted when the client leaves. */
  gone: AbortController;
  pieces: AsyncGenerator<Piece, void, undefined>;
}

/**
 * @param texts what the model is given
 * @param param the field of the request that they stand in
 * @throws ApiError 400 for fields and lengths, 429 and 402 for limits
 */
export async function perform(
  c: Context<GatewayEnv>,
  target: Target,
  texts: readonly string[],
  param: string,
  fields: GenerationFields,
): Promise<Performance> {
  const generation = generationOf(target, fields);
  const limits = limitsOf(target);
  const prompts = tokenize(c.env, target.model, texts, limits, param);
  const maxNewTokens = newTokensOf(c.env, generation, limits, fields.max_tokens ?? null);
  const charge = chargeOf(target, inputTokensOf(prompts), mostTokens({ generation, maxNewTokens, prompts }));
  const metered = await begin(c, charge);
  const gone = goneOf(c);
  const { tokenizer } = target.model;
  const work = { tokenizer, prompts, generation, maxNewTokens, stream: fields.stream ?? false };
  const pieces = metered.streamed(gone.signal, answer(halvesFor(c, target), c.env, work, gone.signal, metered));
  return { metered, inputTokens: charge.inputTokens, generation, prompts, gone, pieces };
}

/** As {@link perform}, for a closed set of labels. */
export async function performLabels(
  c: Context<GatewayEnv>,
  target: Target,
  labels: readonly string[],
  texts: readonly string[],
  param: string,
  fields: GenerationFields,
): Promise<{ metered: Metered; inputTokens: number; results: Classified[] }> {
  generationOf(target, fields);
  const prompts = tokenize(c.env, target.model, texts, limitsOf(target), param);
  const inputTokens = inputTokensOf(prompts);
  const metered = await begin(
    c,
    chargeOf(target, inputTokens, mostLabelTokens(target.model.tokenizer, labels, prompts.length)),
  );
  const gone = goneOf(c);
  const work = { tokenizer: target.model.tokenizer, prompts };
  const halves = halvesFor(c, target);
  const results = await metered.whole(gone.signal, () => classify(halves, c.env, work, labels, gone.signal, metered));
  return { metered, inputTokens, results };
}

function halvesFor(c: Context<GatewayEnv>, { model, adapter }: Target) {
  return halvesOf({ env: c.env, model: model.id, adapter: adapter?.key, owner: c.get("caller").tenant });
}

async function begin(c: Context<GatewayEnv>, charge: Charge): Promise<Metered> {
  const metered = await Metered.begin(c, charge);
  c.header("x-edge-t5-served-by", metered.servedBy);
  return metered;
}

function goneOf(c: Context<GatewayEnv>): AbortController {
  const gone = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => gone.abort(), { once: true });
  return gone;
}

function limitsOf({ task }: Target) {
  return {
    maxInputTokens: task?.definition.max_input_tokens ?? null,
    maxOutputTokens: task?.definition.max_output_tokens ?? null,
  };
}

function inputTokensOf(prompts: readonly Prompt[]): number {
  return prompts.reduce((sum, { ids }) => sum + ids.length, 0);
}
