/** Labels for texts of any length: window by window where the task has it so (src/t5/text-to-text/long/classify.ts). */
import type { Context } from "hono";
import type { Classified } from "../../src/api/answers.ts";
import type { GenerationFields } from "../../src/api/generation.ts";
import { type ClassificationPlan, combineScores, planClassification } from "../../src/t5/text-to-text/long/classify.ts";
import type { RenderedInput } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import type { Metered } from "./metered.ts";
import { performLabels } from "./perform.ts";
import { boundsOf, inOrder } from "./perform-long.ts";
import type { Target } from "./target.ts";

type Windows = Pick<ClassificationPlan, "prompts" | "weights">;

/** Of each input. */
export function windowsOf(c: Context<GatewayEnv>, target: Target, inputs: readonly RenderedInput[]): Windows[] {
  const bounds = boundsOf(c, target, 1);
  return inputs.map(({ long, prompt }) =>
    long?.mode === "windows" ? planClassification(long.text, bounds, long) : { prompts: [prompt], weights: [1] },
  );
}

/** Of each input's windows one answer, its labels the most probable first. @param scored all windows, one after the other */
export function combined(
  labels: readonly string[],
  plans: readonly Windows[],
  scored: readonly Classified[],
): Classified[] {
  let first = 0;
  return plans.map((plan) => {
    const own = scored.slice(first, first + plan.prompts.length);
    first += plan.prompts.length;
    const windows = own.map((window) => inOrder(labels, window));
    const { scores, logprobs } = combineScores(plan, windows);
    const all = labels.map((label, i) => ({ label, score: scores[i] ?? 0, logprob: logprobs[i] ?? 0 }));
    return { scores: all.sort((a, b) => b.score - a.score) };
  });
}

/** As `performLabels`, one answer an input. */
export async function performWindows(
  c: Context<GatewayEnv>,
  target: Target,
  labels: readonly string[],
  inputs: readonly RenderedInput[],
  param: string,
  fields: GenerationFields,
): Promise<{ metered: Metered; results: Classified[] }> {
  const plans = windowsOf(c, target, inputs);
  const texts = plans.flatMap(({ prompts }) => prompts);
  const { metered, results } = await performLabels(c, target, labels, texts, param, fields);
  return { metered, results: combined(labels, plans, results) };
}
