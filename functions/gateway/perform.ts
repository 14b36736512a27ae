/** A request from its target to its answer, under its tenant's limits: the part that all shapes of requests share. */
import type { Context } from "hono";
import {
  answer,
  type Classified,
  classify,
  mostLabelTokens,
  mostTokens,
  type Piece,
  type Prompt,
} from "../../src/api/answers.ts";
import type { Generation, GenerationFields } from "../../src/api/generation.ts";
import { withFallback } from "../../src/placement/fallback.ts";
import { newTokensFor, tokenizeFor } from "../../src/placement/lengths.ts";
import type { Decision } from "../../src/placement/rule.ts";
import { inputsOfCall, type Load } from "../../src/placement/work.ts";
import type { GatewayEnv } from "./bindings.ts";
import { type HalvesUse, halvesOf } from "./halves.ts";
import { Metered } from "./metered.ts";
import { originHalves } from "./origin-halves.ts";
import { decide, hasNoRoom, isOriginsFault, lengthsOf, neitherCan, originBounds } from "./placing.ts";
import { chargeOf, generationOf, type Target } from "./target.ts";

/** Where an answer was made: `edge`, `origin`, or `cache`. */
export const SERVED_BY_HEADER = "x-edge-t5-served-by";

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
  const lengths = lengthsOf(c.env);
  const prompts = tokenizeFor(lengths, target.task, target.model, texts, param);
  const maxNewTokens = newTokensFor(lengths, target.task, generation, fields);
  const load: Load = {
    ...{ promptTokens: longest(prompts), inputs: prompts.length, newTokens: maxNewTokens },
    sequences: Math.max(generation.candidates, generation.params.num_beams),
  };
  const decision = decide(c.env, target, load);
  const charge = chargeOf(target, inputTokensOf(prompts), mostTokens({ generation, maxNewTokens, prompts }));
  const metered = await Metered.begin(c, charge);
  const gone = goneOf(c);
  const { tokenizer } = target.model;
  const stream = fields.stream ?? false;
  const work = { tokenizer, prompts, generation, maxNewTokens, stream };
  const use = useOf(c, target, load);
  const atEdge = () => answer(halvesOf(use), c.env, work, gone.signal, metered);
  const atOrigin = () => answer(originHalves(use), originBounds(c.env), work, gone.signal, metered);
  const placed = placedAnswer(c, decision, { atEdge, atOrigin, isWhole: !stream, metered, gone: gone.signal });
  const pieces = metered.streamed(gone.signal, placed);
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
  const { tokenizer } = target.model;
  const prompts = tokenizeFor(lengthsOf(c.env), target.task, target.model, texts, param);
  const inputTokens = inputTokensOf(prompts);
  const load: Load = {
    ...{ promptTokens: longest(prompts), inputs: prompts.length, sequences: labels.length },
    newTokens: mostLabelTokens(tokenizer, labels, 1),
  };
  const decision = decide(c.env, target, load);
  const charge = chargeOf(target, inputTokens, mostLabelTokens(tokenizer, labels, prompts.length));
  const metered = await Metered.begin(c, charge);
  const gone = goneOf(c);
  const work = { tokenizer, prompts };
  const use = useOf(c, target, load);
  const atEdge = () => once(classify(halvesOf(use), c.env, work, labels, gone.signal, metered));
  const atOrigin = () => once(classify(originHalves(use), originBounds(c.env), work, labels, gone.signal, metered));
  const placed = placedAnswer(c, decision, { atEdge, atOrigin, isWhole: true, metered, gone: gone.signal });
  const results = await metered.whole(gone.signal, async () => (await placed.next()).value ?? []);
  return { metered, inputTokens, results };
}

interface Ways<T> {
  atEdge(): AsyncIterable<T>;
  atOrigin(): AsyncIterable<T>;
  /** Whether the client is sent nothing before its end. */
  isWhole: boolean;
  metered: Metered;
  /** Aborted when the client has left. */
  gone: AbortSignal;
}

/** The answer from where it was decided; from the edge, where that can, when the origin fails before anything was sent. */
export function placedAnswer<T>(
  c: Context<GatewayEnv>,
  decision: Decision,
  { atEdge, atOrigin, isWhole, metered, gone }: Ways<T>,
): AsyncGenerator<T, void, undefined> {
  const begin = (at: "edge" | "origin", way: () => AsyncIterable<T>) => {
    // What was made elsewhere is not part of this answer.
    Object.assign(metered, { servedBy: at, outputTokens: 0, workUnits: 0 });
    c.header(SERVED_BY_HEADER, at);
    return way();
  };
  async function* placed(): AsyncGenerator<T, void, undefined> {
    if (decision.at === "edge") {
      const mayMove = (error: unknown) => decision.originMay && !gone.aborted && hasNoRoom(error);
      const instead = () => placedAnswer(c, NO_ROOM, { atEdge, atOrigin, isWhole, metered, gone });
      return yield* withFallback(begin("edge", atEdge), instead, false, mayMove);
    }
    const mayFallBack = (error: unknown) => decision.edgeCan && !gone.aborted && isOriginsFault(error);
    try {
      yield* withFallback(begin("origin", atOrigin), () => begin("edge", atEdge), isWhole, mayFallBack);
    } catch (error) {
      // In a stream's middle it is true, and gone.
      if (!c.finalized) c.header(SERVED_BY_HEADER, undefined);
      throw neitherCan(error, decision);
    }
  }
  return placed();
}

/** What the edge had no room for after all. */
const NO_ROOM: Decision = { at: "origin", reason: "model", over: null, edgeCan: false };

async function* once<T>(value: Promise<T>): AsyncGenerator<T, void, undefined> {
  yield await value;
}

export function useOf(c: Context<GatewayEnv>, { model, adapter }: Target, load: Load): HalvesUse {
  return {
    ...{ env: c.env, model: model.id, adapter: adapter?.key, owner: c.get("caller").tenant },
    inputsOfCall: inputsOfCall(model.manifest.model, load, c.env.EDGE_CPU_MS),
  };
}

export function goneOf(c: Context<GatewayEnv>): AbortController {
  const gone = new AbortController();
  const { signal } = c.req.raw;
  // Who left while it was looked up what is asked for is told of no more.
  if (signal.aborted) gone.abort();
  signal.addEventListener("abort", () => gone.abort(), { once: true });
  return gone;
}

export function longest(prompts: readonly Prompt[]): number {
  return Math.max(...prompts.map(({ ids }) => ids.length));
}

export function inputTokensOf(prompts: readonly Prompt[]): number {
  return prompts.reduce((sum, { ids }) => sum + ids.length, 0);
}
