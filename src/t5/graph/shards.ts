/** The graphs of a package's shards: ordinary ONNX models whose weights lie in the package's blobs. */
import { Graph, type Value } from "../../onnx/graph.ts";
import type { Manifest, Shard } from "../manifest.ts";
import { Forward, lengthOf } from "./forward.ts";
import { type Activations, PackagedWeights } from "./packaged-weights.ts";

/** What a graph is built from: a manifest without its graphs. */
export interface GraphSource extends Pick<Manifest, "model" | "tensors" | "tiedHead"> {
  /** Default: `row`. */
  activations?: Activations;
}

/** Names of the graphs' inputs and outputs that go by layer. */
export const port = {
  crossKey: (layer: number) => `cross_attention.${layer}.key`,
  crossValue: (layer: number) => `cross_attention.${layer}.value`,
  pastKey: (layer: number) => `past_key_values.${layer}.key`,
  pastValue: (layer: number) => `past_key_values.${layer}.value`,
  presentKey: (layer: number) => `present.${layer}.key`,
  presentValue: (layer: number) => `present.${layer}.value`,
};

type Layers = Shard["layers"];

/**
 * Layers of the encoder: `input_ids` `[batch, sequence]` int64 (or `hidden_states`, when layers come before) and
 * `attention_mask` `[batch, sequence]` int64 → `last_hidden_state` (or `next_hidden_states`, when layers follow)
 * `[batch, sequence, dModel]`.
 */
export function encoderGraph(source: GraphSource, layers: Layers): Graph {
  const { g, forward } = begin(source, "encoder");
  const { model } = source;
  const [first, end] = layers;
  const hidden = ["batch", "sequence", model.dModel];
  let x =
    first === 0
      ? forward.embed(g.input("input_ids", "int64", ["batch", "sequence"]), "encoder")
      : g.input("hidden_states", "float32", hidden);
  const mask = g.input("attention_mask", "int64", ["batch", "sequence"]);
  const bias = forward.encoderBias(mask);
  for (let layer = first; layer < end; layer++) x = forward.encoderLayer(x, layer, bias);
  if (end === model.numLayers) g.output(forward.finalNorm(x, "encoder"), "last_hidden_state", "float32", hidden);
  else g.output(x, "next_hidden_states", "float32", hidden);
  return g;
}

/**
 * Cross-attention of a range of the decoder's layers, once a request: `encoder_hidden_states` `[batch, sequence, dModel]`
 * → a layer's keys `[batch, heads, dKv, sequence]` and values `[batch, heads, sequence, dKv]`.
 */
export function crossGraph(source: GraphSource, layers: Layers): Graph {
  const { g, forward } = begin(source, "cross_attention");
  const { dModel } = source.model;
  const hidden = g.input("encoder_hidden_states", "float32", ["batch", "sequence", dModel]);
  const shapes = crossShapes(source, "batch");
  for (let layer = layers[0]; layer < layers[1]; layer++) {
    const { keys, values } = forward.crossAttention(hidden, layer);
    g.output(keys, port.crossKey(layer), "float32", shapes.key);
    g.output(values, port.crossValue(layer), "float32", shapes.value);
  }
  return g;
}

/**
 * One step of a range of the decoder's layers for a batch of sequences, each at a position of its own.
 *
 * Inputs: `input_ids` `[batch, 1]` int64 (or `hidden_states` `[batch, 1, dModel]`); `positions` `[batch]` int64, the
 * number of tokens fed before; a layer's past keys and values `[batch, past, heads · dKv]`, of which a sequence's first
 * `position` rows count; the input's keys and values as {@link crossGraph} gives them, with a batch of 1 where all
 * sequences have one input; `encoder_attention_mask` `[cross_batch, sequence]` int64. Outputs: `logits`
 * `[batch, vocabSize]` (or `next_hidden_states`), and the token's own keys and values `[batch, 1, heads · dKv]`.
 */
export function stepGraph(source: GraphSource, layers: Layers): Graph {
  const { g, forward } = begin(source, "decoder_step");
  const { model } = source;
  const [first, end] = layers;
  const hidden = ["batch", 1, model.dModel];
  let x =
    first === 0
      ? forward.embed(g.input("input_ids", "int64", ["batch", 1]), "decoder")
      : g.input("hidden_states", "float32", hidden);
  const positions = g.input("positions", "int64", ["batch"]);
  const mask = g.input("encoder_attention_mask", "int64", ["cross_batch", "sequence"]);
  const crossBias = forward.maskBias(mask);
  const inner = model.numHeads * model.dKv;
  const shapes = crossShapes(source, "cross_batch");
  let bias: Value | undefined;
  for (let layer = first; layer < end; layer++) {
    const pastKeys = g.input(port.pastKey(layer), "float32", ["batch", "past", inner]);
    const pastValues = g.input(port.pastValue(layer), "float32", ["batch", "past", inner]);
    bias ??= stepBias(g, forward, positions, pastKeys);
    const self = {
      bias,
      join(keys: Value, values: Value) {
        g.output(keys, port.presentKey(layer), "float32", ["batch", 1, inner]);
        g.output(values, port.presentValue(layer), "float32", ["batch", 1, inner]);
        const allKeys = g.op("Concat", [pastKeys, keys], { axis: 1 });
        const allValues = g.op("Concat", [pastValues, values], { axis: 1 });
        return { keys: forward.splitKeys(allKeys), values: forward.splitHeads(allValues) };
      },
    };
    const cross = {
      keys: g.input(port.crossKey(layer), "float32", shapes.key),
      values: g.input(port.crossValue(layer), "float32", shapes.value),
      bias: crossBias,
    };
    x = forward.decoderLayer(x, layer, self, cross);
  }
  if (end < model.numDecoderLayers) {
    g.output(x, "next_hidden_states", "float32", hidden);
    return g;
  }
  const logits = g.op("Squeeze", [forward.head(forward.finalNorm(x, "decoder")), g.ints([1])]);
  g.output(logits, "logits", "float32", ["batch", model.vocabSize]);
  return g;
}

/**
 * The bias of a step's own attention, `[batch, heads, 1, past + 1]`: keys of the past lie at their positions, those at or
 * beyond the sequence's own are padding; the token's own key comes last.
 */
function stepBias(g: Graph, forward: Forward, positions: Value, past: Value): Value {
  const column = g.op("Unsqueeze", [positions, g.ints([1])]);
  const places = g.op("Unsqueeze", [g.op("Range", [g.int(0), lengthOf(g, past, 1), g.int(1)]), g.ints([0])]);
  const distances = g.op("Sub", [places, column]);
  const counts = g.op("Cast", [g.op("Less", [places, column])], { to: { type: "int64" } });
  const own = g.op("Sub", [column, column]);
  const relative = g.op("Transpose", [forward.relativeBias("decoder", g.op("Concat", [distances, own], { axis: 1 }))], {
    perm: [0, 2, 1],
  });
  const ownCounts = g.op("Add", [own, g.int(1)]);
  const masked = forward.maskBias(g.op("Concat", [counts, ownCounts], { axis: 1 }));
  return g.op("Add", [g.op("Unsqueeze", [relative, g.ints([2])]), masked]);
}

/** An empty graph, and what computes in it. */
export function begin(source: GraphSource, name: string): { g: Graph; forward: Forward } {
  const g = new Graph(name);
  const weights = new PackagedWeights(g, source.tensors, source.activations);
  return { g, forward: new Forward(g, source.model, weights, source.tiedHead) };
}

function crossShapes({ model }: GraphSource, batch: string) {
  return {
    key: [batch, model.numHeads, model.dKv, "sequence"],
    value: [batch, model.numHeads, "sequence", model.dKv],
  };
}
