/** Weights as a package holds them, read in place: every initializer names its bytes in a blob. */
import type { DataType, Graph, Value } from "../../onnx/graph.ts";
import { GROUP, groupsOf, type PackagedTensor } from "../manifest.ts";
import type { Weights } from "./forward.ts";

/**
 * An activation `[…, in]` in two digits: value ≈ ((first − 128) + (second − 128) ÷ 254) × scale, a scale a row. Digits
 * `[2, …, in]`: T5's activations have outliers, and one digit of 8 bits loses what lies beside them.
 */
interface Quantized {
  digits: Value;
  scale: Value;
}

/**
 * How activations meet int8 weights. `row`: in two digits with a scale a row. `matrix`: in one digit with a scale for all
 * rows, as onnxruntime's own quantization writes it: faster, less exact, and what shares a batch changes each other.
 */
export type Activations = "row" | "matrix";

const MAX_DIGIT = 127;
const ZERO_POINT = 128;
/** The second digit's place: what rounding to the first one leaves is at most a half. */
const SECOND_DIGIT = 254;
/** Keeps the scale of a row of zeros from being zero. */
const LEAST = 1e-30;

export class PackagedWeights implements Weights {
  readonly #graph: Graph;
  readonly #tensors: Readonly<Record<string, PackagedTensor>>;
  readonly #activations: Activations;
  readonly #quantized = new Map<Value, Quantized>();
  readonly #matrices = new Map<Value, [digits: Value, scale: Value, zeroPoint: Value]>();

  constructor(graph: Graph, tensors: Readonly<Record<string, PackagedTensor>>, activations: Activations = "row") {
    this.#graph = graph;
    this.#tensors = tensors;
    this.#activations = activations;
  }

  linear(x: Value, name: string): Value {
    const g = this.#graph;
    const { dtype } = this.#tensor(name);
    if (dtype === "float32") return g.op("MatMul", [x, this.#transposed(name, "float32")]);
    if (dtype === "int4") return this.#linearInt4(x, name);
    if (this.#activations === "matrix") return this.#linearOfMatrix(x, name);
    // One scale a row, not DynamicQuantizeMatMul's one a matrix: what shares a batch must not change each other.
    const { digits, scale } = this.#quantize(x);
    const sums = g.op("MatMulInteger", [digits, this.#transposed(name, "int8"), g.bytes([ZERO_POINT], [])]);
    // Both digits' sums `[2, …, out]`, the second one's less by its place.
    const weighted = g.op("Mul", [
      g.op("Cast", [sums], { to: { type: "float32" } }),
      g.floats([1, 1 / SECOND_DIGIT], [2, 1, 1, 1]),
    ]);
    const sum = g.op("ReduceSum", [weighted, g.ints([0])], { keepdims: 0 });
    return g.op("Mul", [g.op("Mul", [sum, scale]), this.#scales(name, false)]);
  }

  embed(ids: Value, name: string): Value {
    const g = this.#graph;
    const { dtype } = this.#tensor(name);
    if (dtype === "float32") return g.op("Gather", [this.#matrix(name, "float32"), ids], { axis: 0 });
    if (dtype === "int4") return this.#embedInt4(ids, name);
    const rows = g.op("Gather", [this.#matrix(name, "int8"), ids], { axis: 0 });
    const scales = g.op("Gather", [this.#scales(name, true), ids], { axis: 0 });
    return g.op("Mul", [g.op("Cast", [rows], { to: { type: "float32" } }), scales]);
  }

  vector(name: string): Value {
    return this.#matrix(name, "float32");
  }

  /** The nodes that onnxruntime makes one kernel of. */
  #linearOfMatrix(x: Value, name: string): Value {
    const g = this.#graph;
    const known = this.#matrices.get(x);
    const quantized = known ?? (g.ops("DynamicQuantizeLinear", 3, [x]) as [Value, Value, Value]);
    this.#matrices.set(x, quantized);
    const [digits, scale, zeroPoint] = quantized;
    const sums = g.op("MatMulInteger", [digits, this.#transposed(name, "int8"), zeroPoint]);
    const scales = g.op("Mul", [scale, this.#scales(name, false)]);
    return g.op("Mul", [g.op("Cast", [sums], { to: { type: "float32" } }), scales]);
  }

  #linearInt4(x: Value, name: string): Value {
    const { blob, offset, bytes, shape } = this.#tensor(name);
    const [rows = 0, columns = 0] = shape;
    const groups = groupsOf(columns);
    const data = { location: blob, offset, bytes };
    const nibbles = this.#graph.external(`${name}.nibbles`, "uint8", [rows, groups, GROUP / 2], data);
    return this.#graph.op("com.microsoft::MatMulNBits", [x, nibbles, this.#groupScales(name, [rows * groups])], {
      K: columns,
      N: rows,
      bits: 4,
      block_size: GROUP,
    });
  }

  #embedInt4(ids: Value, name: string): Value {
    const g = this.#graph;
    const { blob, offset, bytes, shape } = this.#tensor(name);
    const [rows = 0, columns = 0] = shape;
    const groups = groupsOf(columns);
    const data = { location: blob, offset, bytes };
    const nibbles = g.external(`${name}.rows`, "uint8", [rows, (groups * GROUP) / 2], data);
    const scales = this.#groupScales(name, [rows, groups]);
    const whole = g.op("com.microsoft::GatherBlockQuantized", [nibbles, ids, scales], {
      bits: 4,
      block_size: GROUP,
      gather_axis: 0,
      quantize_axis: 1,
    });
    if (columns % GROUP === 0) return whole;
    return g.op("Slice", [whole, g.ints([0]), g.ints([columns]), g.ints([-1])]);
  }

  /** Scales of an int4 matrix; float16 in storage. */
  #groupScales(name: string, shape: readonly number[]): Value {
    const { blob, scales } = this.#tensor(name);
    const data = { location: blob, offset: scales?.offset ?? 0, bytes: scales?.bytes ?? 0 };
    const halves = this.#graph.external(`${name}.scales.${shape.length}`, "float16", shape, data);
    return this.#graph.op("Cast", [halves], { to: { type: "float32" } });
  }

  #tensor(name: string): PackagedTensor {
    const tensor = this.#tensors[name];
    if (!tensor) throw new Error(`The package has no tensor ${name}.`);
    return tensor;
  }

  #matrix(name: string, type: DataType): Value {
    const { blob, offset, bytes, shape } = this.#tensor(name);
    return this.#graph.external(name, type, shape, { location: blob, offset, bytes });
  }

  /** Stored `[out, in]`; a runtime turns the constant over once, while it loads. */
  #transposed(name: string, type: DataType): Value {
    return this.#graph.op("Transpose", [this.#matrix(name, type)], { perm: [1, 0] });
  }

  /** Scales of an int8 matrix, `[rows]` or as a column `[rows, 1]`. */
  #scales(name: string, asColumn: boolean): Value {
    const { blob, shape, scales } = this.#tensor(name);
    const rows = shape[0] ?? 0;
    const data = { location: blob, offset: scales?.offset ?? 0, bytes: scales?.bytes ?? 0 };
    const initializer = asColumn ? `${name}.scales.column` : `${name}.scales`;
    return this.#graph.external(initializer, "float32", asColumn ? [rows, 1] : [rows], data);
  }

  #quantize(x: Value): Quantized {
    const known = this.#quantized.get(x);
    if (known) return known;
    const g = this.#graph;
    const largest = g.op("ReduceMax", [g.op("Abs", [x]), g.ints([-1])], { keepdims: 1 });
    const scale = g.op("Div", [g.op("Max", [largest, g.float(LEAST)]), g.float(MAX_DIGIT)]);
    const scaled = g.op("Div", [x, scale]);
    const first = g.op("Round", [scaled]);
    const second = g.op("Round", [g.op("Mul", [g.op("Sub", [scaled, first]), g.float(SECOND_DIGIT)])]);
    const both = g.op(
      "Concat",
      [first, second].map((digit) => g.op("Unsqueeze", [digit, g.ints([0])])),
      { axis: 0 },
    );
    const clipped = g.op("Clip", [both, g.float(-MAX_DIGIT), g.float(MAX_DIGIT)]);
    const digits = g.op("Cast", [g.op("Add", [clipped, g.float(ZERO_POINT)])], { to: { type: "uint8" } });
    const quantized = { digits, scale };
    this.#quantized.set(x, quantized);
    return quantized;
  }
}
