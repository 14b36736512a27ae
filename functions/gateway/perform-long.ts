/** A text of any length through a task: in pieces that fit the model, and back to one answer (src/tenancy/long-texts.ts). */
import type { Context } from "hono";
import type { Halves, Placement } from "../../src/api/answers.ts";
import type { GenerationFields } from "../../src/api/generation.ts";
import { boundsFor } from "../../src/placement/lengths.ts";
import { inputsOfCall, type Load, MOST_LIST_CALLS } from "../../src/placement/work.ts";
import { type LongBounds, type LongProgress, telling } from "../../src/t5/text-to-text/long/model.ts";
import {
  checkPieces,
  type LongPlan,
  type LongTarget,
  longModelOf,
  MOST_PROMPTS,
} from "../../src/tenancy/long-texts.ts";
import type { GatewayEnv } from "./bindings.ts";
import { halvesOf } from "./halves.ts";
import { Metered } from "./metered.ts";
import { originHalves } from "./origin-halves.ts";
import { goneOf, placedAnswer, useOf } from "./perform.ts";
import { decide, lengthsOf, originBounds } from "./placing.ts";
import { chargeOf, type Target } from "./target.ts";

export interface LongPerformance<Part> {
  metered: Metered;
  gone: AbortController;
  /** May be read once. */
  parts: AsyncGenerator<Part, void, undefined>;
}

export function longTargetOf(c: Context<GatewayEnv>, { task, model }: Target): LongTarget {
  return { task, model, lengths: lengthsOf(c.env) };
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
  const { size, generation, newTokens } = plan;
  const load: Load = {
    ...{ promptTokens: size.longest, inputs: Math.max(1, size.prompts), newTokens },
    sequences: generation.params.num_beams,
  };
  const decision = decide(c.env, target, load);
  const ofCall = inputsOfCall(target.model.manifest.model, load, c.env.EDGE_CPU_MS);
  checkPieces(size, decision.at === "edge" ? Math.min(MOST_PROMPTS, MOST_LIST_CALLS * ofCall) : MOST_PROMPTS, param);
  const charge = chargeOf(target, size.promptTokens, size.prompts * newTokens);
  const metered = await Metered.begin(c, charge);
  const gone = goneOf(c);
  const use = useOf(c, target, load);
  const way = <Encoded>(halves: Halves<Encoded>, env: Placement) => {
    metered.inputTokens = 0;
    const model = longModelOf(halves, env, plan, target.model.tokenizer, metered);
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
export function boundsOf(c: Context<GatewayEnv>, { task, model }: Target, maxNewTokens: number): LongBounds {
  return boundsFor(lengthsOf(c.env), task, model, maxNewTokens);
}
