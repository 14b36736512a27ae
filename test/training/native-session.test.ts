/** Training's own way into onnxruntime gives the Node binding's bits, in the arrays that it is given. */
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { Graph } from "../../src/onnx/graph.ts";
import { encodeModel } from "../../src/onnx/model-proto.ts";
import { parseHuggingFaceConfig } from "../../src/t5/config.ts";
import { stepGraph } from "../../src/training/graph.ts";
import { openNativeSession } from "../../src/training/native-session.ts";
import { dropoutMask, randomBits } from "../../src/training/random.ts";

/** Inner states of 1,024 are padded. */
const CONFIG = {
  model_type: "t5",
  vocab_size: 11,
  d_model: 6,
  d_kv: 3,
  d_ff: 1024,
  num_heads: 2,
  num_layers: 2,
  num_decoder_layers: 1,
};
const [ROWS, INPUT, TARGET] = [2, 5, 3];
const BATCH = {
  input_ids: new Tensor("int32", Int32Array.of(5, 3, 5, 7, 1, 8, 1, 0, 0, 0), [ROWS, INPUT]),
  attention_mask: new Tensor("int32", Int32Array.of(1, 1, 1, 1, 1, 1, 1, 0, 0, 0), [ROWS, INPUT]),
  decoder_input_ids: new Tensor("int32", Int32Array.of(0, 4, 4, 0, 10, 0), [ROWS, TARGET]),
  label_places: new Tensor("int32", Int32Array.of(0, 1, 2, 3, 5), [5]),
  labels: new Tensor("int32", Int32Array.of(4, 4, 1, 10, 1), [5]),
};

function step() {
  const config = parseHuggingFaceConfig(CONFIG);
  const { graph, tensors, masks, trained } = stepGraph(config, { tiedHead: true, dropout: 0.2 });
  const bits = randomBits(7);
  const numbers = (shape: readonly number[]) =>
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => bits() / 2 ** 32 - 0.5);
  const lengths = { input: INPUT, target: TARGET };
  const feeds: Record<string, Tensor> = { ...BATCH };
  for (const { name, shape } of tensors) feeds[name] = new Tensor("float32", numbers(shape), shape);
  for (const [i, { name, side, width, keys, dropout }] of masks.entries()) {
    const shape = [ROWS * lengths[side], width * (keys ? lengths[keys] : 1)];
    feeds[name] = new Tensor("uint8", dropoutMask(shape[0]! * shape[1]!, dropout, randomBits(1, i)), shape);
  }
  return { model: encodeModel(graph), names: graph.outputs.map(({ name }) => name), feeds, trained };
}

describe("a step's graph", () => {
  test("gives the binding's bits, gradients where they were asked for", async () => {
    const { model, names, feeds, trained } = step();
    const binding = await InferenceSession.create(model, { intraOpNumThreads: 2 });
    const expected = await binding.run(feeds);
    const session = (await openNativeSession(model, names, 2))!;
    expect(session.outputNames).toEqual([...binding.outputNames]);
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
    let at = 64;
    const into: Record<string, Tensor | null> = Object.fromEntries(names.map((name) => [name, null]));
    for (const { gradient, fed } of trained) {
      if (gradient === null) continue;
      const size = fed.reduce((a, b) => a * b, 1);
      into[gradient] = new Tensor("float32", new Float32Array(memory.buffer, at, size).fill(Number.NaN), fed);
      at += 4 * size;
    }
    for (let round = 0; round < 3; round++) {
      const results = await session.run(feeds, into);
      expect(Object.keys(results)).toEqual(names);
      for (const name of names) expect(results[name]!.data, name).toEqual(expected[name]!.data);
    }
    expect(new Float32Array(memory.buffer, 64, 4).every(Number.isFinite)).toBe(true);
    await session.release();
    await session.release();
    await binding.release();
  });
});

describe("what goes wrong is told in onnxruntime's words", () => {
  test("a model that is none", async () => {
    await expect(openNativeSession(new Uint8Array([1, 2, 3]), [], 1)).rejects.toThrow(/protobuf|ModelProto|parse/i);
  });

  test("an input that is missing, or of another size", async () => {
    const g = new Graph("sum");
    const x = g.input("x", "float32", [3]);
    g.output(g.op("Add", [x, g.float(1)]), "y", "float32", [3]);
    const session = (await openNativeSession(encodeModel(g), ["y"], 1))!;
    await expect(session.run({}, { y: null })).rejects.toThrow(/\bx\b/);
    const two = new Tensor("float32", Float32Array.of(1, 2), [2]);
    await expect(session.run({ x: two }, { y: null })).rejects.toThrow(/invalid dimensions|Got: 2/i);
    const three = new Tensor("float32", Float32Array.of(1, 2, 3), [3]);
    expect((await session.run({ x: three }, { y: null })).y!.data).toEqual(Float32Array.of(2, 3, 4));
    await session.release();
    await expect(session.run({ x: three }, { y: null })).rejects.toThrow(/released/);
  });
});
