/** How long prompts and answers may be, in tokens: as requests have it, and the rows of a batch. */
import { newTokensOf, type Placement, type Prompt, type TokenLimits, tokenize } from "../api/answers.ts";
import type { Generation } from "../api/generation.ts";
import type { Manifest } from "../t5/manifest.ts";
import type { LongBounds } from "../t5/text-to-text/long/model.ts";
import type { Tokenizer } from "../t5/tokenizer.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import { AUTO, type PlacementRule } from "./rule.ts";

export interface Lengths {
  edge: Placement;
  /** The edge's and the origin's, whichever is more; the edge's where there is no origin. */
  longest: Placement;
}

/** With an origin. */
export function withOrigin(edge: Placement, origin: Placement): Lengths {
  return {
    edge,
    longest: {
      MAX_PROMPT_TOKENS: Math.max(edge.MAX_PROMPT_TOKENS, origin.MAX_PROMPT_TOKENS),
      MAX_NEW_TOKENS: Math.max(edge.MAX_NEW_TOKENS, origin.MAX_NEW_TOKENS),
      MAX_SEQUENCES: edge.MAX_SEQUENCES,
    },
  };
}

type Tasked = { definition: TaskDefinition } | null;

interface Model {
  manifest: Pick<Manifest, "model">;
  tokenizer: Tokenizer;
}

export function ruleOf(task: Tasked): PlacementRule {
  return task?.definition.placement ?? AUTO;
}

/** A task's own. */
export function limitsOf(task: Tasked): TokenLimits {
  return {
    maxInputTokens: task?.definition.max_input_tokens ?? null,
    maxOutputTokens: task?.definition.max_output_tokens ?? null,
  };
}

function longestOf({ edge, longest }: Lengths, task: Tasked): Placement {
  return ruleOf(task).run === "edge" ? edge : longest;
}

/**
 * Prompts that go whole.
 *
 * @param param the field of the request that they stand in
 * @throws ApiError 400 `context_length_exceeded`
 */
export function tokenizeFor(
  lengths: Lengths,
  task: Tasked,
  { manifest, tokenizer }: Model,
  texts: readonly string[],
  param: string,
): Prompt[] {
  const placement = longestOf(lengths, task);
  // T5's positions are relative: `n_positions` says what it was trained with, and the origin takes more.
  const model = placement === lengths.edge ? manifest.model : {};
  return tokenize(placement, { manifest: { model }, tokenizer }, texts, limitsOf(task), param);
}

/**
 * Most new tokens of a sequence. A default that is longer than the edge's answers is cut: only who asks for more gets it.
 *
 * @throws ApiError 400 `context_length_exceeded` when more are asked for than may be made
 */
export function newTokensFor(
  lengths: Lengths,
  task: Tasked,
  generation: Generation,
  { max_tokens }: { max_tokens?: number | null | undefined },
): number {
  const isAsked = max_tokens != null || task?.definition.generation.max_new_tokens !== undefined;
  const placement = isAsked || ruleOf(task).run === "origin" ? longestOf(lengths, task) : lengths.edge;
  return newTokensOf(placement, generation, limitsOf(task), max_tokens ?? null);
}

/** Of a long text's pieces, wherever they run. */
export function boundsFor(
  lengths: Lengths,
  task: Tasked,
  { manifest, tokenizer }: Model,
  maxNewTokens: number,
): LongBounds {
  // A plan asks of the same windows several times, and what runs asks again.
  const known = new Map<string, number>();
  return {
    count(text) {
      const tokens = known.get(text) ?? tokenizer.encode(text).length;
      known.set(text, tokens);
      return tokens;
    },
    // What the model was trained with: more would be taken, and answered worse.
    maxInputTokens: Math.min(
      longestOf(lengths, task).MAX_PROMPT_TOKENS,
      manifest.model.nPositions ?? Number.POSITIVE_INFINITY,
      limitsOf(task).maxInputTokens ?? Number.POSITIVE_INFINITY,
    ),
    maxNewTokens,
  };
}
