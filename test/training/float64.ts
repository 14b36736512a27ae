/** Graphs in float64, where finite differences are exact enough to hold gradients to. */
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Attribute, DataType, Graph } from "../../src/onnx/graph.ts";
import { encodeModel } from "../../src/onnx/model-proto.ts";

/** Every float32 of a graph becomes a float64, in place. */
export function widen(graph: Graph): Graph {
  const wide = (type: DataType): DataType => (type === "float32" ? "float64" : type);
  for (const port of [...graph.inputs, ...graph.outputs]) port.type = wide(port.type);
  for (const [i, node] of [...graph.nodes.entries()].reverse()) {
    // onnxruntime has no HardSigmoid in float64: what it computes, in two nodes.
    if (node.op === "HardSigmoid") {
      const { alpha } = node.attributes as { alpha: { float: number } };
      const steep = graph.op("Mul", [node.inputs[0]!, graph.float(alpha.float)]);
      Object.assign(node, { op: "Clip", inputs: [steep, graph.float(0), graph.float(1)], attributes: {} });
      graph.nodes.splice(i, 0, graph.nodes.pop()!);
    }
    const { to } = node.attributes as { to?: Attribute };
    if (typeof to === "object" && "type" in to) node.attributes = { ...node.attributes, to: { type: wide(to.type) } };
  }
  for (const initializer of graph.initializers) {
    const { type, data } = initializer;
    if (type !== "float32" || !(data instanceof Uint8Array)) continue;
    const values = Float64Array.from(new Float32Array(data.slice().buffer));
    Object.assign(initializer, { type: "float64", data: new Uint8Array(values.buffer) });
  }
  return graph;
}

export type Numbers = Float64Array | Int32Array | Uint8Array;
export type Feeds = Record<string, { values: Numbers; shape: number[] }>;

export async function open(graph: Graph): Promise<(feeds: Feeds) => Promise<Record<string, Float64Array>>> {
  const session = await InferenceSession.create(encodeModel(widen(graph)), {
    executionProviders: ["cpu"],
    intraOpNumThreads: 1,
  });
  return async (feeds) => {
    const tensors = Object.entries(feeds).map(([name, { values, shape }]) => [name, tensorOf(values, shape)]);
    const results = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data as Float64Array]));
  };
}

function tensorOf(values: Numbers, shape: number[]): Tensor {
  if (values instanceof Float64Array) return new Tensor("float64", values, shape);
  return values instanceof Int32Array ? new Tensor("int32", values, shape) : new Tensor("uint8", values, shape);
}

/** d of ÷ d each element of an input, by central differences. */
export async function finiteDifferences(
  run: (feeds: Feeds) => Promise<Record<string, Float64Array>>,
  feeds: Feeds,
  input: string,
  of: string,
  elements: readonly number[] = [...feeds[input]!.values.keys()],
  step = 1e-5,
): Promise<number[]> {
  const { values, shape } = feeds[input]!;
  const gradient: number[] = [];
  for (const at of elements) {
    const evaluate = async (offset: number) => {
      const moved = Float64Array.from(values as Float64Array);
      moved[at] = moved[at]! + offset;
      return (await run({ ...feeds, [input]: { values: moved, shape } }))[of]![0]!;
    };
    gradient.push(((await evaluate(step)) - (await evaluate(-step))) / (2 * step));
  }
  return gradient;
}
