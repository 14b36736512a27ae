/** One training step's forward and backward pass as one ONNX graph, on the forward pass that inference runs. */
import { Graph, type Value } from "../onnx/graph.ts";
import { type TensorSpec, tensorsOf } from "../t5/architecture.ts";
import type { T5Config } from "../t5/config.ts";
import { Forward, lengthOf } from "../t5/graph/forward.ts";
import { differentiate } from "./gradient/differentiate.ts";
import { type LoraModuleSpec, type LoraOptions, loraModules, loraSettings } from "./lora.ts";
import { crossEntropy, type Loss, type LossOptions } from "./loss.ts";
import { loraPort, type MaskInput, paddingOf, TrainedWeights, type TrainedWeightsOptions } from "./trained-weights.ts";

export interface StepGraphOptions extends LossOptions {
  /** Whether the head is the embedding. */
  tiedHead: boolean;
  /** Train an adapter beside the model, which stays as it is. Default: train the model. */
  lora?: LoraOptions | undefined;
  /** Part that T5's dropout drops, everywhere that modeling_t5.py has it; an adapter's own is apart from it. Default 0. */
  dropout?: number | undefined;
}

/** A tensor that is trained, and where its gradient comes from. */
export interface TrainedTensor {
  name: string;
  shape: readonly number[];
  /** In which it is fed, and its gradient comes: rows of zeros may lie behind its own. */
  fed: readonly number[];
  /** The graph's output with its gradient, null where all of it comes by rows. */
  gradient: string | null;
  /** Gradients of looked-up rows: the output `[…, d]`, and the input with the rows' numbers `[…]`. */
  rows: readonly { gradient: string; ids: string }[];
}

export interface StepGraph {
  graph: Graph;
  /** Every tensor that is fed, with the shape in which it is: the model's, and an adapter's. */
  tensors: readonly { name: string; shape: readonly number[] }[];
  trained: readonly TrainedTensor[];
  lora: readonly LoraModuleSpec[];
  masks: readonly MaskInput[];
}

/** Outputs besides the gradients, scalars: sums over the batch's labels. */
export const LOSSES = { total: "loss", crossEntropy: "cross_entropy", smoothed: "smoothed", zLoss: "z_loss" } as const;

const gradientOf = (name: string) => `gradient of ${name}`;

/**
 * Inputs, int32: `input_ids` and `attention_mask` `[B, S]`, `decoder_input_ids` `[B, T]`, `label_places` `[M]` (where in
 * `[B · T]` a label stands, each at most once) and `labels` `[M]`; and the tensors by their names. Outputs:
 * {@link LOSSES} and gradients, those of the loss's sum over the labels.
 */
export function stepGraph(config: T5Config, options: StepGraphOptions): StepGraph {
  const lora = options.lora ? loraModules(config, options.lora) : [];
  const loraDropout = options.lora ? loraSettings(options.lora).dropout : 0;
  const { dropout = 0 } = options;
  const { g, loss, head, weights, specs } = forwardGraph(config, options, { lora, loraDropout, dropout });
  const trained =
    lora.length > 0 ? trainedAdapter(g, lora, loss.total, weights) : trainedModel(g, loss, head, weights, specs);
  const tensors = g.inputs.filter(({ type }) => type === "float32");
  return {
    graph: g,
    tensors: tensors.map(({ name, shape }) => ({ name, shape: shape as readonly number[] })),
    trained,
    lora,
    masks: [...(loraDropout > 0 ? lora.map((module) => loraMask(module, loraDropout)) : []), ...weights.masks],
  };
}

/** The losses of {@link stepGraph} alone, without dropout. */
export function lossGraph(config: T5Config, options: StepGraphOptions): Graph {
  const lora = options.lora ? loraModules(config, options.lora) : [];
  return forwardGraph(config, options, { lora, loraDropout: 0, dropout: 0 }).g;
}

function forwardGraph(
  config: T5Config,
  options: StepGraphOptions,
  { lora, ...dropouts }: Omit<TrainedWeightsOptions, "padding">,
) {
  const g = new Graph("training_step");
  const specs = tensorsOf(config, options.tiedHead);
  // An adapter's products would have to be padded too, and its run is shorter anyway.
  const padding = lora.length > 0 ? 0 : paddingOf(config.dFf);
  const weights = new TrainedWeights(g, config, specs, { lora, ...dropouts, padding });
  const forward = new Forward(g, config, weights, options.tiedHead);
  const states = decode(g, forward, config, encode(g, forward, config));
  const labelled = pick(g, weights, states, config.dModel);
  const labels = g.input("labels", "int32", ["M"]);
  const logits = forward.head(labelled);
  const { x, weight, name } = weights.productOf(logits);
  const loss = crossEntropy(g, { logits, states: x, weight }, labels, config.vocabSize, options);
  const { total, parts, own } = loss;
  weights.own.set(...own);
  turnLast(g);
  g.output(total, LOSSES.total, "float32", []);
  for (const [part, value] of Object.entries(parts)) g.output(value, LOSSES[part as keyof typeof parts], "float32", []);
  return { g, loss, head: name, weights, specs };
}

/**
 * Keys `[B, T, H, D]` → `[B, H, D, T]` in two moves, the second of which only swaps the last two axes: onnxruntime takes it
 * into the product beside it, and the gradient's rule knows it.
 */
function turnLast(g: Graph): void {
  for (const [i, node] of [...g.nodes.entries()].reverse()) {
    if (node.op !== "Transpose" || String(node.attributes.perm) !== "0,2,3,1") continue;
    const byHead = g.op("Transpose", node.inputs, { perm: [0, 2, 1, 3] });
    const first = g.nodes.pop()!;
    g.nodes.splice(i, 1, first, { ...node, inputs: [byHead], attributes: { perm: [0, 1, 3, 2] } });
  }
}

/** The encoder's last hidden states `[B, S, dModel]` and the mask `[B, S]` int64. */
function encode(g: Graph, forward: Forward, { numLayers }: T5Config): { states: Value; mask: Value } {
  const ids = g.input("input_ids", "int32", ["B", "S"]);
  const mask = g.op("Cast", [g.input("attention_mask", "int32", ["B", "S"])], { to: { type: "int64" } });
  const bias = forward.encoderBias(mask);
  let x = forward.embed(ids, "encoder");
  for (let layer = 0; layer < numLayers; layer++) x = forward.encoderLayer(x, layer, bias);
  return { states: forward.finalNorm(x, "encoder"), mask };
}

/** The decoder's last hidden states `[B, T, dModel]`; padding comes last, where nothing sees it. */
function decode(
  g: Graph,
  forward: Forward,
  { numDecoderLayers }: T5Config,
  input: { states: Value; mask: Value },
): Value {
  const ids = g.input("decoder_input_ids", "int32", ["B", "T"]);
  const self = {
    bias: forward.causalBias(null, lengthOf(g, ids, 1)),
    join: (keys: Value, values: Value) => ({ keys: forward.splitKeys(keys), values: forward.splitHeads(values) }),
  };
  const bias = forward.maskBias(input.mask);
  let x = forward.embed(ids, "decoder");
  for (let layer = 0; layer < numDecoderLayers; layer++) {
    x = forward.decoderLayer(x, layer, self, { ...forward.crossAttention(input.states, layer), bias });
  }
  return forward.finalNorm(x, "decoder");
}

/** The states that a label stands at, `[M, dModel]`: logits are made of no others. */
function pick(g: Graph, weights: TrainedWeights, states: Value, width: number): Value {
  const places = g.input("label_places", "int32", ["M"]);
  const picked = g.op("Gather", [g.op("Reshape", [states, g.ints([-1, width])]), places], { axis: 0 });
  // No place comes twice: nothing is added up, and the order does not matter.
  weights.own.set(picked.name, {
    inputs: [states],
    rule(_, dy) {
      const size = g.op("Shape", [states]);
      const rows = g.op("Div", [g.op("Size", [states]), g.int(width)]);
      const flat = g.op("Concat", [g.op("Unsqueeze", [rows, g.ints([0])]), g.ints([width])], { axis: 0 });
      const column = g.op("Unsqueeze", [g.op("Cast", [places], { to: { type: "int64" } }), g.ints([1])]);
      const zeros = g.op("Expand", [g.float(0), flat]);
      return [g.op("Reshape", [g.op("ScatterND", [zeros, column, dy]), size])];
    },
  });
  return picked;
}

function trainedModel(
  g: Graph,
  loss: Loss,
  head: string,
  weights: TrainedWeights,
  specs: readonly TensorSpec[],
): TrainedTensor[] {
  const tensors = g.inputs.filter(({ type }) => type === "float32");
  const { lookups, own } = weights;
  const tables = new Set(lookups.map(({ table }) => table));
  // A table that is only looked up in has no gradient but that of its rows.
  const dense = tensors.filter(({ name }) => !tables.has(name) || isMultiplied(g, name));
  const leaves = dense.map(({ name }) => weights.trainable(name));
  const wrt = [...leaves.map(({ value }) => value), ...lookups.map(({ rows }) => rows)];
  const gradients = differentiate(g, loss.total, wrt, own);
  for (const [i, { name, shape }] of dense.entries()) {
    g.output(leaves[i]!.gradient(gradients[i]!), gradientOf(name), "float32", shape);
  }
  const rows = [
    ...lookups.map(({ ids, table }, i) => ({ ids, table, gradient: gradients[dense.length + i]! })),
    { ids: "labels", table: head, gradient: loss.labelRows() },
  ];
  for (const { ids, table, gradient } of rows) {
    const [, width = 0] = tensors.find(({ name }) => name === table)?.shape ?? [];
    g.output(gradient, gradientOf(ids), "float32", [
      ...(g.inputs.find(({ name }) => name === ids)?.shape ?? []),
      width,
    ]);
  }
  return tensors.map(({ name, shape }) => ({
    name,
    shape: specs.find((spec) => spec.name === name)!.shape,
    fed: shape as readonly number[],
    gradient: dense.some((each) => each.name === name) ? gradientOf(name) : null,
    rows: rows.filter(({ table }) => table === name).map(({ ids }) => ({ ids, gradient: gradientOf(ids) })),
  }));
}

function isMultiplied(g: Graph, name: string): boolean {
  return g.nodes.some(({ op, inputs }) => op === "Gemm" && inputs.some((input) => input.name === name));
}

function trainedAdapter(
  g: Graph,
  modules: readonly LoraModuleSpec[],
  loss: Value,
  { own }: TrainedWeights,
): TrainedTensor[] {
  const names = modules.flatMap(({ name }) => [loraPort.a(name), loraPort.b(name)]);
  const ports = names.map((name) => g.inputs.find((input) => input.name === name)!);
  const gradients = differentiate(g, loss, ports, own);
  for (const [i, { name, shape }] of ports.entries()) g.output(gradients[i]!, gradientOf(name), "float32", shape);
  return ports.map(({ name, shape }) => ({
    name,
    shape: shape as readonly number[],
    fed: shape as readonly number[],
    gradient: gradientOf(name),
    rows: [],
  }));
}

/** Cross-attention's keys and values are made of the input's tokens, the decoder's other modules see the target's. */
function loraMask({ name, in: width }: LoraModuleSpec, dropout: number): MaskInput {
  const ofInput = name.startsWith("encoder.") || /\.EncDecAttention\.[kv]$/.test(name);
  return { name: loraPort.mask(name), side: ofInput ? "input" : "target", width, dropout };
}
