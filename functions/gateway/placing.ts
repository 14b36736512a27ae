/** Where this deployment's requests run: its bounds, and what its Workers have no room for (src/placement/rule.ts). */
import type { Placement } from "../../src/api/answers.ts";
import { ApiError, toApiError } from "../../src/api-error.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { type Lengths, ruleOf, withOrigin } from "../../src/placement/lengths.ts";
import { type Decision, place } from "../../src/placement/rule.ts";
import type { Load } from "../../src/placement/work.ts";
import type { GatewayBindings } from "./bindings.ts";
import { loadHalves } from "./halves.ts";
import type { Target } from "./target.ts";

/** Models by `NAME@VERSION` that the Workers said they have no room for. */
const tooLarge = new Set<string>();

/** As {@link loadHalves}; where there is an origin, a model that does not fit is left to it. */
export async function loadAtEdge(env: GatewayBindings, id: string): Promise<void> {
  try {
    await loadHalves(env, id);
  } catch (error) {
    if (!env.ORIGIN_URL || !hasNoRoom(error)) throw error;
    tooLarge.add(id);
  }
}

/** Of a model, or of a request, that the Workers' memory was not made for. */
export function hasNoRoom(error: unknown): boolean {
  return error instanceof EdgeT5Error && error.code === "E_CAPACITY";
}

/** The lengths that may be asked for. */
export function lengthsOf(env: GatewayBindings): Lengths {
  return env.ORIGIN_URL ? withOrigin(env, originBounds(env)) : { edge: env, longest: env };
}

export function originBounds(env: GatewayBindings): Placement {
  return {
    MAX_PROMPT_TOKENS: env.ORIGIN_MAX_PROMPT_TOKENS,
    MAX_NEW_TOKENS: env.ORIGIN_MAX_NEW_TOKENS,
    MAX_SEQUENCES: env.ORIGIN_MAX_SEQUENCES,
  };
}

export function decide(env: GatewayBindings, target: Target, load: Load): Decision {
  const { model } = target.model.manifest;
  const edge = {
    promptTokens: Math.min(env.MAX_PROMPT_TOKENS, model.nPositions ?? Number.POSITIVE_INFINITY),
    newTokens: env.MAX_NEW_TOKENS,
    maxSequences: env.MAX_SEQUENCES,
    fitsModel: !tooLarge.has(target.model.id),
    cpuMs: env.EDGE_CPU_MS,
    inputs: env.EDGE_INPUTS,
    beamTokens: env.EDGE_BEAM_TOKENS,
  };
  return place(load, model, ruleOf(target.task), edge, env.ORIGIN_URL !== undefined);
}

/** Whether the edge may answer in the origin's place: not what the request itself is at fault for. */
export function isOriginsFault(error: unknown): boolean {
  return !(error instanceof ApiError || error instanceof EdgeT5Error) || error.status >= 500;
}

/** What a client is told when neither can: when to come again, and why it is not the edge. */
export function neitherCan(error: unknown, { reason, over }: Extract<Decision, { at: "origin" }>): unknown {
  const known = toApiError(error);
  // Of the origin's own failures only those that pass say so themselves.
  const isFailure = error instanceof EdgeT5Error && known.code === "internal_error";
  if (known.code !== "origin_unavailable" && !isFailure) return error;
  const why = over ? `${reason} is ${over.value}, the edge takes up to ${over.bound}` : `its ${reason} asks for it`;
  const message = `This request is for the origin (${why}), which cannot take it now. Try again later, or ask for less.`;
  return new ApiError(503, "origin_unavailable", message, { retryAfter: known.retryAfter ?? 1, cause: error });
}
