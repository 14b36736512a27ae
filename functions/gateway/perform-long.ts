/** A text of any length through a task: in pieces that fit the model, and back to one answer (src/t5/text-to-text/long). */
import type { Context } from "hono";
import { answer, classify, type Halves, type Placement, type Prompt } from "../../src/api/answers.ts";
import type { Generation, GenerationFields } from "../../src/api/generation.ts";
import { ApiError } from "../../src/api-error.ts";
import { inputsOfCall, type Load, MOST_LIST_CALLS } from "../../src/placement/work.ts";
import {
  type LongBounds,
  type LongModel,
  type LongProgress,
  type LongSize,
  telling,
} from "../../src/t5/text-to-text/long/model.ts";
import { planSummary, summarizeLong } from "../../src/t5/text-to-text/long/summarize.ts";
import { planTranslation, translated } from "../../src/t5/text-to-text/long/translate.ts";
import type { LongInput } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import { halvesOf } from "./halves.ts";
import { Metered } from "./metered.ts";
import { originHalves } from "./origin-halves.ts";
import { goneOf, limitsOf, newTokensFor, placedAnswer, useOf } from "./perform.ts";
import { decide, longestOf, originBounds, ruleOf } from "./placing.ts";
import { chargeOf, generationOf, type Target } from "./target.ts";

/** A piece of the answer; its end, with what is to be said of it. */
export type LongPart = { text: string } | { notes: readonly string[] };

export interface LongPerformance<Part = LongPart> {
  metered: Metered;
  gone: AbortController;
  /** May be read once. */
  parts: AsyncGenerator<Part, void, undefined>;
}

/** Prompts that a request may come to, wherever it runs: a book of six hundred pages. */
const MOST_PROMPTS = 20_000;

/** What goes through the model in pieces, before anything runs. */
export interface LongPlan<Part = LongPart> {
  prompts: readonly string[];
  size: LongSize;
  /** Of an answer, at most. */
  newTokens: number;
  generation: Generation;
  bounds: LongBounds;
  parts(model: LongModel, signal: AbortSignal): AsyncGenerator<Part, void, undefined>;
}

/**
 * @param words that a summary is to have, if any number
 * @throws ApiError 400 as `perform`
 */
export function planLong(
  c: Context<GatewayEnv>,
  target: Target,
  input: LongInput,
  fields: GenerationFields,
  words: number | null,
): LongPlan {
  const generation = generationOf(target, fields);
  const most = newTokensFor(c, target, generation, fields);
  const bounds = boundsOf(c, target, most);
  const common = { generation, bounds };
  const { text, document, sections, fill } = input;
  if (input.mode === "sentences") {
    const plan = planTranslation(document ?? text, bounds, { fill });
    const pieces = (model: LongModel, signal: AbortSignal) =>
      plan.prompts.length === 0 ? nothing() : model.generate(plan.prompts, { signal });
    return {
      ...{ ...common, prompts: plan.prompts, size: plan.size, newTokens: plan.newTokens },
      parts: (model, signal) => partsOf(translated(plan, pieces(model, signal))),
    };
  }
  const options = { fill, ...(words !== null && { words }) };
  const source = sections ?? text;
  return {
    ...{ ...common, newTokens: most },
    ...planSummary(source, bounds, options),
    parts: (model, signal) => partsOf(summarizeLong(model, source, { ...options, signal })),
  };
}

/**
 * @param param the field of the request that the text stands in
 * @param tell is told how far the model is, from the beginning again where another place goes on
 * @throws ApiError 413 `content_too_large`; 429 and 402 for limits
 */
export async function performLong<Part>(
  c: Context<GatewayEnv>,
  target: Target,
  plan: LongPlan<Part>,
  fields: GenerationFields,
  param: string,
  tell: (progress: LongProgress) => void = () => {},
): Promise<LongPerformance<Part>> {
  const { size, generation, bounds } = plan;
  const { newTokens } = plan;
  const load: Load = {
    ...{ promptTokens: size.longest, inputs: Math.max(1, size.prompts), newTokens },
    sequences: generation.params.num_beams,
  };
  const decision = decide(c.env, target, load);
  const ofCall = inputsOfCall(target.model.manifest.model, load, c.env.EDGE_CPU_MS);
  const mostPrompts = decision.at === "edge" ? Math.min(MOST_PROMPTS, MOST_LIST_CALLS * ofCall) : MOST_PROMPTS;
  if (size.prompts > mostPrompts) {
    const message = `The text comes to ${size.prompts} pieces for the model; up to ${mostPrompts} are taken here. Divide it.`;
    throw new ApiError(413, "content_too_large", message, { param });
  }
  const charge = chargeOf(target, size.promptTokens, size.prompts * newTokens);
  const metered = await Metered.begin(c, charge);
  const gone = goneOf(c);
  const use = useOf(c, target, load);
  const way = <Encoded>(halves: Halves<Encoded>, env: Placement) => {
    metered.inputTokens = 0;
    const model = longModelOf(halves, env, { target, generation, newTokens, metered, bounds });
    return plan.parts(telling(model, tell), gone.signal);
  };
  const placed = placedAnswer(c, decision, {
    atEdge: () => way(halvesOf(use), c.env),
    atOrigin: () => way(originHalves(use), originBounds(c.env)),
    isWhole: !fields.stream,
    metered,
    gone: gone.signal,
  });
  return { metered, gone, parts: metered.streamed(gone.signal, placed) };
}

/** How long a target's prompts and answers may be, wherever they run. */
export function boundsOf(c: Context<GatewayEnv>, target: Target, maxNewTokens: number): LongBounds {
  const { tokenizer, manifest } = target.model;
  const { MAX_PROMPT_TOKENS } = longestOf(c.env, ruleOf(target));
  const own = limitsOf(target).maxInputTokens ?? Number.POSITIVE_INFINITY;
  return {
    count: (text) => tokenizer.encode(text).length,
    // What the model was trained with: more would be taken, and answered worse.
    maxInputTokens: Math.min(MAX_PROMPT_TOKENS, manifest.model.nPositions ?? Number.POSITIVE_INFINITY, own),
    maxNewTokens,
  };
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}

async function* partsOf(
  pieces: AsyncGenerator<string, { notes: readonly string[] }, undefined>,
): AsyncGenerator<LongPart, void, undefined> {
  try {
    for (;;) {
      const { done, value } = await pieces.next();
      if (done) return yield { notes: value.notes };
      yield { text: value };
    }
  } finally {
    await pieces.return({ notes: [] });
  }
}

/** The model as long texts use it: what goes through it is counted. */
function longModelOf<Encoded>(
  halves: Halves<Encoded>,
  env: Placement,
  {
    target,
    generation,
    newTokens,
    metered,
    bounds,
  }: { target: Target; generation: Generation; newTokens: number; metered: Metered; bounds: LongBounds },
): LongModel {
  const { tokenizer } = target.model;
  return {
    ...bounds,
    async *generate(texts, { maxNewTokens = newTokens, signal = NEVER }) {
      const order = likeLengths(texts.map((text) => ({ text, ids: tokenizer.encode(text) })));
      const prompts = order.map(({ prompt }) => prompt);
      metered.inputTokens += prompts.reduce((sum, { ids }) => sum + ids.length, 0);
      const most = Math.min(maxNewTokens, newTokens);
      const work = { tokenizer, prompts, generation, maxNewTokens: most, stream: true, asList: true };
      for await (const { index, text, finishReason } of answer(halves, env, work, signal, metered)) {
        yield { index: order[index]?.index ?? 0, text, finishReason };
      }
    },
    async score(texts, labels, { signal = NEVER }) {
      const prompts = texts.map((text) => ({ text, ids: tokenizer.encode(text) }));
      const all = await classify(halves, env, { tokenizer, prompts }, labels, signal, metered);
      return all.map((classified) => inOrder(labels, classified));
    },
  };
}

const NEVER = new AbortController().signal;

/** Labels' scores as they were ranked, in the labels' order. */
export function inOrder(labels: readonly string[], { scores }: Awaited<ReturnType<typeof classify>>[number]) {
  const of = new Map(scores.map((score) => [score.label, score]));
  const all = labels.map((label) => of.get(label));
  return { logprobs: all.map((one) => one?.logprob ?? 0), scores: all.map((one) => one?.score ?? 0) };
}

/** Inputs that are decoded side by side last as long as the longest: those of like length go together. */
const FIRST = 16;
const TOGETHER = 64;

/** The first few stay as they are, so that the answer begins soon. */
function likeLengths(prompts: readonly Prompt[]): { prompt: Prompt; index: number }[] {
  const all = prompts.map((prompt, index) => ({ prompt, index }));
  const ordered = all.slice(0, FIRST);
  for (let first = FIRST; first < all.length; first += TOGETHER) {
    const group = all.slice(first, first + TOGETHER);
    ordered.push(...group.sort((a, b) => a.prompt.ids.length - b.prompt.ids.length));
  }
  return ordered;
}
