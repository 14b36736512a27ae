/** The training loss, and its gradient as one rule: the logits are by far the largest tensor of a step. */
import type { Graph, Value } from "../onnx/graph.ts";
import type { OwnRule } from "./gradient/differentiate.ts";

export interface LossOptions {
  /** Part of the target that is spread over all classes, as PyTorch's `cross_entropy` does it. Default 0. */
  labelSmoothing?: number | undefined;
  /** Weight of the z-loss, log² of the softmax's sum, which keeps logits from drifting (T5 and PaLM: 1e-4). Default 0. */
  zLoss?: number | undefined;
}

export interface Loss {
  /** What is minimized, the sum over the labels, a scalar: smoothed cross entropy and z-loss. */
  total: Value;
  /** Sums over the labels of the plain cross entropy, of the smoothed one, and of the weighted z-loss. */
  parts: { crossEntropy: Value; smoothed: Value; zLoss: Value };
  /** The gradient of `total` by the head's states and weight, for {@link differentiate}, but for {@link labelRows}. */
  own: [name: string, rule: OwnRule];
  /** What belongs to the weight's gradient besides: rows `[M, d]` to be added at the labels, for `total` itself. */
  labelRows(): Value;
}

/** Logits `[M, V]`, those of the labels that count, and what they are the product of. */
export interface Head {
  logits: Value;
  /** `[M, d]` */
  states: Value;
  /** `[V, d]` */
  weight: Value;
}

/** @param labels `[M]` int32 or int64 */
export function crossEntropy(
  g: Graph,
  { logits, states, weight }: Head,
  labels: Value,
  vocabSize: number,
  { labelSmoothing = 0, zLoss = 0 }: LossOptions = {},
): Loss {
  const column = g.op("Unsqueeze", [labels, g.ints([1])]);
  const atLabel = (table: Value) => g.op("GatherElements", [table, column], { axis: 1 });
  const sum = (x: Value) => g.op("ReduceSum", [x], { keepdims: 0 });
  const logp = g.op("LogSoftmax", [logits], { axis: -1 });
  const logpAtLabel = atLabel(logp);
  const nll = g.op("Neg", [logpAtLabel]);
  const crossEntropySum = sum(nll);
  let smoothed = crossEntropySum;
  if (labelSmoothing > 0) {
    const uniform = g.op("Neg", [g.op("ReduceMean", [logp, g.ints([-1])], { keepdims: 1 })]);
    const mixed = [g.op("Mul", [nll, g.float(1 - labelSmoothing)]), g.op("Mul", [uniform, g.float(labelSmoothing)])];
    smoothed = sum(g.op("Add", mixed));
  }
  // log Σ eˣ = x − log p, at any class.
  const logSum = g.op("Sub", [atLabel(logits), logpAtLabel]);
  const zLossSum = sum(g.op("Mul", [g.op("Mul", [logSum, logSum]), g.float(zLoss)]));
  const total = g.op("Add", [smoothed, zLossSum]);

  // The logits' gradient is p (1 + 2 z log Σ) − ε ÷ V, less 1 − ε at the label. What stands at the labels alone is taken to
  // the states by a lookup, and to the weight by rows: it is never put into a table of the logits' size.
  const atLabels = 1 - labelSmoothing;
  const rule: OwnRule["rule"] = (_, dy, needs) => {
    let gradient = g.op("Exp", [logp]);
    const factor = zLoss > 0 ? g.op("Add", [g.op("Mul", [logSum, g.float(2 * zLoss)]), g.float(1)]) : null;
    gradient = g.op("Mul", [gradient, factor ? g.op("Mul", [factor, dy]) : dy]);
    if (labelSmoothing > 0) {
      gradient = g.op("Sub", [gradient, g.op("Mul", [dy, g.float(labelSmoothing / vocabSize)])]);
    }
    const less = g.op("Mul", [g.op("Gather", [weight, labels], { axis: 0 }), g.op("Mul", [dy, g.float(-atLabels)])]);
    return [
      needs(0) ? g.op("Gemm", [gradient, weight, less]) : null,
      needs(1) ? g.op("Gemm", [gradient, states], { transA: 1 }) : null,
    ];
  };
  return {
    total,
    parts: { crossEntropy: crossEntropySum, smoothed, zLoss: zLossSum },
    own: [total.name, { inputs: [states, weight], rule }],
    labelRows: () => g.op("Mul", [states, g.float(-atLabels)]),
  };
}
