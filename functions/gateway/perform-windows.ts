/** Labels for texts of any length: window by window where the task has it so (src/t5/text-to-text/long/classify.ts). */
import type { Context } from "hono";
import type { Classified } from "../../src/api/answers.ts";
import type { GenerationFields } from "../../src/api/generation.ts";
import { combined, planWindows } from "../../src/tenancy/long-texts.ts";
import type { RenderedInput } from "../../src/tenancy/task-request.ts";
import type { GatewayEnv } from "./bindings.ts";
import type { Metered } from "./metered.ts";
import { performLabels } from "./perform.ts";
import { longTargetOf } from "./perform-long.ts";
import type { Target } from "./target.ts";

/** As `performLabels`, one answer an input. */
export async function performWindows(
  c: Context<GatewayEnv>,
  target: Target,
  labels: readonly string[],
  inputs: readonly RenderedInput[],
  param: string,
  fields: GenerationFields,
): Promise<{ metered: Metered; results: Classified[] }> {
  const plans = planWindows(longTargetOf(c, target), inputs);
  const texts = plans.flatMap(({ prompts }) => prompts);
  const { metered, results } = await performLabels(c, target, labels, texts, param, fields);
  return { metered, results: combined(labels, plans, results) };
}
