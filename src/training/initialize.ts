/** Weights of a model that has learned nothing yet. */

import type { FloatTensors } from "../../model-split/safetensors-writer.ts";
import { type TensorSpec, tensorsOf } from "../t5/architecture.ts";
import type { T5Config } from "../t5/config.ts";
import { randomBits } from "./random.ts";

/**
 * T5's initialization, normal numbers by a seed (transformers 4.57, modeling_t5.py, `T5PreTrainedModel._init_weights`).
 *
 * @param factor `initializer_factor` of the configuration
 */
export function initialWeights(config: T5Config, tiedHead: boolean, seed: number, factor = 1): FloatTensors {
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const [i, spec] of tensorsOf(config, tiedHead).entries()) {
    const values = new Float32Array(spec.shape.reduce((product, n) => product * n, 1));
    if (spec.kind === "norm") values.fill(factor);
    else fillNormal(values, factor * deviationOf(spec, config), randomBits(seed, i, 5));
    tensors.set(spec.name, { shape: spec.shape, values });
  }
  return tensors;
}

function deviationOf({ name, kind }: TensorSpec, { dModel, dKv, numHeads, dFf }: T5Config): number {
  if (kind === "embedding" || name.startsWith("lm_head.")) return 1;
  if (name.endsWith(".q.weight")) return (dModel * dKv) ** -0.5;
  if (name.endsWith(".o.weight")) return (numHeads * dKv) ** -0.5;
  if (name.endsWith(".wo.weight")) return dFf ** -0.5;
  // k, v, the feed-forward's inputs and the relative bias.
  return dModel ** -0.5;
}

/** Box and Muller 1958. */
function fillNormal(values: Float32Array, deviation: number, bits: () => number): void {
  for (let i = 0; i < values.length; i += 2) {
    // Above 0, so that there is a logarithm.
    const radius = Math.sqrt(-2 * Math.log((bits() + 1) / 2 ** 32)) * deviation;
    const angle = 2 * Math.PI * (bits() / 2 ** 32);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}
