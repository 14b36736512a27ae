/** The whole training graph in float64: gradients of every tensor, held to finite differences. */
import { describe, expect, test } from "vitest";
import { encodeModel } from "../../src/onnx/model-proto.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { collate } from "../../src/training/batch.ts";
import { type StepGraphOptions, stepGraph } from "../../src/training/graph.ts";
import { dropoutMask, randomBits } from "../../src/training/random.ts";
import { type Feeds, finiteDifferences, open } from "./float64.ts";

const TINY = {
  model_type: "t5",
  vocab_size: 11,
  d_model: 6,
  d_kv: 3,
  d_ff: 8,
  num_heads: 2,
  num_layers: 2,
  num_decoder_layers: 1,
  relative_attention_num_buckets: 8,
  relative_attention_max_distance: 12,
};

const BATCH = collate(
  [
    { input: Int32Array.of(5, 3, 5, 7, 1), target: Int32Array.of(4, 4, 9, 1) },
    { input: Int32Array.of(8, 1), target: Int32Array.of(10, -100, 1) },
  ],
  { padTokenId: 0, decoderStartTokenId: 0 },
);

const CASES: [what: string, config: object, options: StepGraphOptions][] = [
  ["relu, tied head", {}, { tiedHead: true }],
  ["relu, tied head, label smoothing and z-loss", {}, { tiedHead: true, labelSmoothing: 0.1, zLoss: 0.01 }],
  ["gated gelu, own head", { feed_forward_proj: "gated-gelu", tie_word_embeddings: false }, { tiedHead: false }],
  ["gated silu, z-loss", { feed_forward_proj: "gated-silu" }, { tiedHead: true, zLoss: 0.01 }],
  ["inner states that are padded", { d_ff: 1024 }, { tiedHead: true }],
  ["gated ones that are padded", { d_ff: 1024, feed_forward_proj: "gated-gelu" }, { tiedHead: true }],
  ["dropout", {}, { tiedHead: true, dropout: 0.3 }],
  [
    "gated silu, own head, padding, label smoothing and dropout",
    { d_ff: 1024, feed_forward_proj: "gated-silu" },
    { tiedHead: false, labelSmoothing: 0.1, dropout: 0.3 },
  ],
  ["LoRA on q and v", {}, { tiedHead: true, lora: { rank: 2 } }],
  [
    "LoRA on everything, rslora, dropout",
    { feed_forward_proj: "gated-gelu" },
    {
      tiedHead: true,
      lora: {
        rank: 3,
        alpha: 5,
        rslora: true,
        dropout: 0.3,
        targetModules: ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
      },
    },
  ],
];

describe("gradients are what finite differences say", () => {
  test.each(CASES)("%s", async (_, config, options) => {
    const graph = stepGraph(parseHuggingFaceConfig({ ...TINY, ...config }), options);
    const bits = randomBits(3);
    const numbers = (length: number) => Float64Array.from({ length }, () => bits() / 2 ** 31 - 1);
    const ints = (values: Int32Array, ...shape: number[]) => ({ values, shape });
    const { rows, inputLength, targetLength, labels, labelPlaces } = BATCH;
    const feeds: Feeds = {
      input_ids: ints(BATCH.inputIds, rows, inputLength),
      attention_mask: ints(BATCH.attentionMask, rows, inputLength),
      decoder_input_ids: ints(BATCH.decoderInputIds, rows, targetLength),
      label_places: ints(labelPlaces, labels.length),
      labels: ints(labels, labels.length),
    };
    for (const { name, shape } of graph.tensors) {
      feeds[name] = { values: numbers(shape.reduce((p, n) => p * n, 1)), shape: [...shape] };
    }
    for (const { name, side, width, keys, dropout } of graph.masks) {
      const length = { input: inputLength, target: targetLength };
      const shape = [rows * length[side], width * (keys ? length[keys] : 1)];
      feeds[name] = { values: dropoutMask(shape[0]! * shape[1]!, dropout, bits), shape };
    }
    const run = await open(graph.graph);
    const results = await run(feeds);
    for (const { name, shape, gradient, rows: lookups } of graph.trained) {
      const count = shape.reduce((p, n) => p * n, 1);
      const actual = gradient ? Float64Array.from(results[gradient]!) : new Float64Array(count);
      for (const { gradient: output, ids } of lookups) {
        const width = shape[1]!;
        for (const [i, value] of results[output]!.entries()) {
          const at = Number(feeds[ids]!.values[Math.floor(i / width)]) * width + (i % width);
          actual[at] = actual[at]! + value;
        }
      }
      expect(
        actual.subarray(count).every((value) => value === 0),
        `padding of ${name}`,
      ).toBe(true);
      const elements = Array.from({ length: Math.min(6, count) }, () => bits() % count);
      const expected = await finiteDifferences(run, feeds, name, "loss", elements, 1e-6);
      for (const [i, at] of elements.entries()) {
        expect(Math.abs(actual[at]! - expected[i]!), `${name} ${at}`).toBeLessThan(
          1e-6 * Math.max(1, Math.abs(expected[i]!)),
        );
      }
    }
  });
});

test("dropout is where T5 has it, and nowhere when it is 0", async () => {
  const config = parseHuggingFaceConfig({ ...TINY, num_layers: 1 });
  const places = (dropout?: number) =>
    stepGraph(config, { tiedHead: true, dropout }).masks.map(({ name, side, width, keys }) =>
      [name, side, width, keys].filter((part) => part !== undefined).join(" "),
    );
  expect(places(0.1).sort()).toEqual([
    "decoder.block.0.layer.0.SelfAttention.dropout target 2 target",
    "decoder.block.0.layer.0.dropout target 6",
    "decoder.block.0.layer.1.EncDecAttention.dropout target 2 input",
    "decoder.block.0.layer.1.dropout target 6",
    "decoder.block.0.layer.2.DenseReluDense.dropout target 8",
    "decoder.block.0.layer.2.dropout target 6",
    "decoder.embed_tokens.dropout target 6",
    "decoder.final_layer_norm.dropout target 6",
    "encoder.block.0.layer.0.SelfAttention.dropout input 2 input",
    "encoder.block.0.layer.0.dropout input 6",
    "encoder.block.0.layer.1.DenseReluDense.dropout input 8",
    "encoder.block.0.layer.1.dropout input 6",
    "encoder.embed_tokens.dropout input 6",
    "encoder.final_layer_norm.dropout input 6",
  ]);
  const bytes = (options: StepGraphOptions) => encodeModel(stepGraph(config, options).graph);
  expect(bytes({ tiedHead: true, dropout: 0 })).toEqual(bytes({ tiedHead: true }));
  expect(places(0)).toEqual([]);
  expect(bytes({ tiedHead: true, dropout: 0.1 })).not.toEqual(bytes({ tiedHead: true }));
});

test("an adapter's run computes gradients of the adapter alone", () => {
  const graph = stepGraph(parseHuggingFaceConfig(TINY), { tiedHead: true, lora: { rank: 2 } });
  expect(graph.trained.map(({ name }) => name).every((name) => /\.(q|v)\.lora_[AB]\.weight$/.test(name))).toBe(true);
  // q and v of two encoder layers, and of both attentions of a decoder layer; two matrices each.
  expect(graph.trained).toHaveLength(2 * 2 * 4);
});
