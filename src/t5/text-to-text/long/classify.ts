/** Classification of a text of any length: by windows that overlap, whose scores are combined. */
import { EdgeT5Error } from "../../../errors.ts";
import type { LabelScores } from "../../generation/labels.ts";
import {
  type LongBounds,
  type LongModel,
  type LongOptions,
  type LongRunOptions,
  type LongSize,
  sizeOf,
} from "./model.ts";
import { fits, pack, textOf, tilesOf, tokensOf, windowOf } from "./windows.ts";

export interface ClassificationOptions extends LongOptions {
  /** The most of a window that is sentences of the one before, from 0 to 0.5. Default: 0.2. */
  overlap?: number | undefined;
}

export interface ClassificationPlan {
  /** One a window. */
  readonly prompts: readonly string[];
  /** What each window counts: its share of the text, what it has in common with the one before left out. Sum: 1. */
  readonly weights: readonly number[];
  readonly size: LongSize;
}

/** As {@link LabelScores}, and of how many windows. */
export interface LongClassification extends LabelScores {
  windows: number;
}

const DEFAULT_OVERLAP = 0.2;

/**
 * Windows of whole sentences. A text that fits is one window, untouched.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room, `E_INPUT` for a locale or an overlap that is none
 */
export function planClassification(
  text: string,
  bounds: LongBounds,
  { fill, locale, overlap = DEFAULT_OVERLAP }: ClassificationOptions,
): ClassificationPlan {
  if (!(overlap >= 0 && overlap <= 0.5)) {
    throw new EdgeT5Error("E_INPUT", `overlap is ${overlap}. It is a share of a window: from 0 to 0.5.`);
  }
  const window = windowOf(bounds, fill);
  if (fits(text, window)) {
    const prompts = [fill(text)];
    return { prompts, weights: [1], size: sizeOf(prompts, bounds) };
  }
  const tiles = tilesOf(text, window, locale);
  const spans = pack(tiles, window, overlap);
  const fresh = spans.map(({ end }, i) => tokensOf(tiles.slice(spans[i - 1]?.end ?? 0, end)));
  const total = fresh.reduce((sum, tokens) => sum + tokens, 0);
  const prompts = spans.map((span) => fill(textOf(tiles, span)));
  return { prompts, weights: fresh.map((tokens) => tokens / total), size: sizeOf(prompts, bounds) };
}

/**
 * One answer of all windows': a label's log-probability is the mean of its log-probabilities in the windows, each weighted
 * by its share of the text; scores are their softmax. Those of one window are the model's own.
 *
 * @param windows scores of the plan's prompts, labels in the same order
 */
export function combineScores(
  { weights }: Pick<ClassificationPlan, "weights">,
  windows: readonly LabelScores[],
): LongClassification {
  const [only] = windows;
  if (!only || windows.length !== weights.length) {
    throw new EdgeT5Error("E_INTERNAL", `${weights.length} windows have ${windows.length} scores. Score each once.`);
  }
  if (windows.length === 1) return { ...only, windows: 1 };
  const logprobs = only.logprobs.map((_, label) =>
    windows.reduce((sum, { logprobs }, i) => sum + (weights[i] as number) * (logprobs[label] as number), 0),
  );
  const largest = Math.max(...logprobs);
  const powers = logprobs.map((logprob) => Math.exp(logprob - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return { logprobs, scores: powers.map((power) => power / total), windows: windows.length };
}

/**
 * Scores labels for a text of any length, by {@link combineScores}' rule.
 *
 * @returns scores in the order of the labels
 * @throws EdgeT5Error as {@link planClassification}
 */
export async function classifyLong(
  model: LongModel,
  text: string,
  labels: readonly string[],
  { signal, ...options }: ClassificationOptions & LongRunOptions,
): Promise<LongClassification> {
  const plan = planClassification(text, model, options);
  return combineScores(plan, await model.score(plan.prompts, labels, { signal }));
}
