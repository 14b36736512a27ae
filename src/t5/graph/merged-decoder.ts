/**
 * The decoder as one graph with two uses, in the shape that Hugging Face's optimum gave it and transformers.js runs: the
 * first tokens of an answer, with nothing kept before, and every later token, with the keys and values kept so far.
 */
import type { Graph, Value } from "../../onnx/graph.ts";
import { lengthOf } from "./forward.ts";
import { begin, type GraphSource } from "./shards.ts";

/** A layer's keys and values, `[batch, heads, length, dKv]`. */
interface KeysAndValues {
  key: Value;
  value: Value;
}

/** Which of a layer's attentions they are for: to the answer so far, or to the input. */
type Half = "decoder" | "encoder";

/**
 * Inputs: `input_ids` `[batch_size, decoder_sequence_length]` int64; `encoder_hidden_states`
 * `[batch_size, encoder_sequence_length, dModel]`; `encoder_attention_mask` of the same sequence, int64; a layer's
 * `past_key_values.N.{decoder,encoder}.{key,value}` `[batch_size, heads, length, dKv]`; `use_cache_branch` `[1]` bool: false
 * where nothing is kept yet, and what the past holds does not count.
 *
 * Outputs: `logits` `[batch_size, decoder_sequence_length, vocabSize]`; `present.N.decoder.*`, the past with the new tokens'
 * own behind it; `present.N.encoder.*`, which come with the first use, and are empty afterwards.
 *
 * Both uses are the same nodes: what a use does not need is cut to a length of zero, and costs nothing.
 */
export function mergedDecoderGraph(source: GraphSource): Graph {
  const { g, forward } = begin(source, "decoder_model_merged");
  const { numHeads, dKv, dModel, numDecoderLayers, vocabSize } = source.model;
  const ids = g.input("input_ids", "int64", ["batch_size", "decoder_sequence_length"]);
  const mask = g.input("encoder_attention_mask", "int64", ["batch_size", "encoder_sequence_length"]);
  const allHidden = g.input("encoder_hidden_states", "float32", ["batch_size", "encoder_sequence_length", dModel]);
  const isLater = g.op("Cast", [g.input("use_cache_branch", "bool", [1])], { to: { type: "int64" } });
  const hidden = cut(g, allHidden, 1, g.op("Sub", [g.int(1), isLater]));

  // transformers.js makes empty pasts by these shapes: an axis whose name is not batch_size has a length of zero.
  const shape = (length: string) => ["batch_size", numHeads, length, dKv];
  const take = (layer: number, half: Half): KeysAndValues => {
    const past = (part: string) => {
      const name = `past_key_values.${layer}.${half}.${part}`;
      return cut(g, g.input(name, "float32", shape(`past_${half}_sequence_length`)), 2, isLater);
    };
    return { key: past("key"), value: past("value") };
  };
  const give = (layer: number, half: Half, made: KeysAndValues) => {
    for (const part of ["key", "value"] as const) {
      g.output(made[part], `present.${layer}.${half}.${part}`, "float32", shape(`${half}_sequence_length_out`));
    }
  };
  const behind = (past: KeysAndValues, more: KeysAndValues): KeysAndValues => ({
    key: g.op("Concat", [past.key, more.key], { axis: 2 }),
    value: g.op("Concat", [past.value, more.value], { axis: 2 }),
  });
  const turned = (keys: Value) => g.op("Transpose", [keys], { perm: [0, 1, 3, 2] });

  let x = forward.embed(ids, "decoder");
  let bias: Value | undefined;
  const crossBias = forward.maskBias(mask);
  for (let layer = 0; layer < numDecoderLayers; layer++) {
    const past = take(layer, "decoder");
    bias ??= forward.causalBias(lengthOf(g, past.key, 2), lengthOf(g, ids, 1));
    const self = {
      bias,
      join(keys: Value, values: Value) {
        const all = behind(past, { key: forward.splitHeads(keys), value: forward.splitHeads(values) });
        give(layer, "decoder", all);
        return { keys: turned(all.key), values: all.value };
      },
    };
    const projected = forward.crossAttention(hidden, layer);
    const made = { key: turned(projected.keys), value: projected.values };
    give(layer, "encoder", made);
    const cross = behind(take(layer, "encoder"), made);
    x = forward.decoderLayer(x, layer, self, { keys: turned(cross.key), values: cross.value, bias: crossBias });
  }
  const logits = forward.head(forward.finalNorm(x, "decoder"));
  g.output(logits, "logits", "float32", ["batch_size", "decoder_sequence_length", vocabSize]);
  return g;
}

/** An axis of `x` in full where `keep` is 1, with a length of zero where it is 0. */
function cut(g: Graph, x: Value, axis: number, keep: Value): Value {
  const length = g.op("Shape", [x], { start: axis, end: axis + 1 });
  return g.op("Slice", [x, g.ints([0]), g.op("Mul", [length, keep]), g.ints([axis])]);
}
