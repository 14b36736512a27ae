/**
 * The gradient rule of each operator that T5's training graph is made of. Every rule is held to finite differences in
 * test/training/gradient.test.ts.
 */
import type { Attribute, Graph, Node, Shape, Value } from "../../onnx/graph.ts";
import type { Shapes } from "./shapes.ts";

/** A node of the forward pass, and what a rule needs to go back through it. */
export interface Step {
  g: Graph;
  shapes: Shapes;
  node: Node;
  /** The node's first output. */
  y: Value;
  /** The gradient of its first output, of its shape. */
  dy: Value;
  /** Whether the gradient of an input is asked for. */
  needs(input: number): boolean;
}

/** Gives the gradients of a node's inputs, null for those that are not asked for. */
export type Rule = (step: Step) => (Value | null)[];

export const RULES: Readonly<Record<string, Rule>> = {
  Identity: ({ dy }) => [dy],

  Add: (step) => [0, 1].map((i) => when(step, i, () => step.dy)),

  Sub: (step) => [when(step, 0, () => step.dy), when(step, 1, () => step.g.op("Neg", [step.dy]))],

  Mul(step) {
    const { g, dy, node } = step;
    const [a, b] = inputs(node, 2);
    return [when(step, 0, () => g.op("Mul", [dy, b])), when(step, 1, () => g.op("Mul", [dy, a]))];
  },

  /** y = a ÷ b: da = dy ÷ b, db = −dy · y ÷ b. */
  Div(step) {
    const { g, dy, y, node } = step;
    const [, b] = inputs(node, 2);
    const da = g.op("Div", [dy, b]);
    return [when(step, 0, () => da), when(step, 1, () => g.op("Neg", [g.op("Mul", [da, y])]))];
  },

  Sqrt: ({ g, dy, y }) => [g.op("Div", [g.op("Mul", [dy, g.float(0.5)]), y])],

  Exp: ({ g, dy, y }) => [g.op("Mul", [dy, y])],

  Log: ({ g, dy, node }) => [g.op("Div", [dy, inputs(node, 1)[0]])],

  /** What is above zero has passed: 1 there, else 0, in one pass over y (Sign, Where or Cast take two to three times as long). */
  Relu: ({ g, dy, y }) => [g.op("Mul", [dy, g.op("HardSigmoid", [y], { alpha: { float: 3e38 }, beta: { float: 0 } })])],

  Sigmoid: ({ g, dy, y }) => [g.op("Mul", [dy, g.op("Mul", [y, g.op("Sub", [g.float(1), y])])])],

  Tanh: ({ g, dy, y }) => [g.op("Mul", [dy, g.op("Sub", [g.float(1), g.op("Mul", [y, y])])])],

  /** dx = y · (dy − Σ dy · y), along the last axis. */
  Softmax({ g, dy, y, node }) {
    lastAxis(node);
    const sum = g.op("ReduceSum", [g.op("Mul", [dy, y]), g.ints([-1])], { keepdims: 1 });
    return [g.op("Mul", [g.op("Sub", [dy, sum]), y])];
  },

  /** dx = dy − eʸ · Σ dy, along the last axis. */
  LogSoftmax({ g, dy, y, node }) {
    lastAxis(node);
    const sum = g.op("ReduceSum", [dy, g.ints([-1])], { keepdims: 1 });
    return [g.op("Sub", [dy, g.op("Mul", [g.op("Exp", [y]), sum])])];
  },

  ReduceSum(step) {
    const { g, node } = step;
    return [g.op("Expand", [widened(step), g.op("Shape", [inputs(node, 1)[0]])])];
  },

  ReduceMean(step) {
    const { g, shapes, y, dy, node } = step;
    const [x] = inputs(node, 1);
    const count = (value: Value) => g.op("Cast", [g.op("Size", [value])], { to: { type: "float32" } });
    // Of an axis whose size is known, as those that are averaged here are: a constant.
    const ratio = knownRatio(shapes.of(x), shapes.of(y));
    const each = ratio === null ? g.op("Div", [count(y), count(x)]) : g.float(ratio);
    const scaled = g.op("Mul", [widened({ ...step, dy }), each]);
    return [g.op("Expand", [scaled, g.op("Shape", [x])])];
  },

  Transpose({ g, dy, node }) {
    const perm = node.attributes.perm as readonly number[];
    // (A B)ᵀ is Bᵀ Aᵀ: nothing of the product's size has to be moved.
    const product = g.nodes.findLastIndex(({ op, outputs }) => op === "MatMul" && outputs[0] === dy);
    if (swapsLastTwo(perm) && product >= 0) {
      const [a, b] = inputs(g.nodes.splice(product, 1)[0]!, 2);
      return [g.op("MatMul", [turned(g, b, perm.length), turned(g, a, perm.length)])];
    }
    return [g.op("Transpose", [dy], { perm: perm.map((_, axis) => perm.indexOf(axis)) })];
  },

  Reshape: asInput,
  Unsqueeze: asInput,
  Squeeze: asInput,

  MatMul(step) {
    const { g, shapes, dy, y, node } = step;
    const [a, b] = inputs(node, 2);
    const rank = shapes.of(y).length;
    return [
      when(step, 0, () => g.op("MatMul", [dy, turned(g, b, rank)])),
      when(step, 1, () => g.op("MatMul", [turned(g, a, rank), dy])),
    ];
  },

  /** Y = α A' B' (+ C), A' and B' as they are or turned over. */
  Gemm(step) {
    const { g, dy, node } = step;
    const [a, b] = inputs(node, 2);
    const transA = node.attributes.transA === 1;
    const transB = node.attributes.transB === 1;
    const alpha: Record<string, Attribute> =
      node.attributes.alpha === undefined ? {} : { alpha: node.attributes.alpha };
    const product = (left: Value, transLeft: boolean, right: Value, transRight: boolean) =>
      g.op("Gemm", [left, right], { transA: Number(transLeft), transB: Number(transRight), ...alpha });
    return [
      when(step, 0, () => (transA ? product(b, transB, dy, true) : product(dy, false, b, !transB))),
      when(step, 1, () => (transB ? product(dy, true, a, transA) : product(a, !transA, dy, false))),
      when(step, 2, () => dy),
    ];
  },

  /**
   * Rows of a small table, such as the relative attention bias: a product with the rows' choice, whose sums have one order.
   * (ScatterND adds duplicates in whatever order its threads come by.)
   */
  Gather(step) {
    const { g, shapes, dy, node } = step;
    const [table, ids] = inputs(node, 2);
    const [rows, columns] = shapes.of(table);
    if (node.attributes.axis !== 0 || typeof rows !== "number" || typeof columns !== "number") {
      throw new Error("Only Gather of the rows of a table of known size has a gradient.");
    }
    return [
      when(step, 0, () => {
        const flat = g.op("Reshape", [ids, g.ints([-1, 1])]);
        const each = g.ints(Array.from({ length: rows }, (_, row) => row));
        const choice = g.op("Cast", [g.op("Equal", [flat, each])], { to: { type: "float32" } });
        return g.op("Gemm", [choice, g.op("Reshape", [dy, g.ints([-1, columns])])], { transA: 1 });
      }),
    ];
  },

  /** One element a row of the last axis: no two of them meet. */
  GatherElements(step) {
    const { g, dy, node } = step;
    const [x, indices] = inputs(node, 2);
    const zeros = g.op("Expand", [g.float(0), g.op("Shape", [x])]);
    return [when(step, 0, () => g.op("ScatterElements", [zeros, indices, dy], { axis: node.attributes.axis ?? 0 }))];
  },
};

/** A gradient of the broadcast shape, summed to the shape of the input that was stretched. */
export function sumTo(g: Graph, dy: Value, from: Shape, to: Shape): Value {
  const missing = from.length - to.length;
  const leading = Array.from({ length: missing }, (_, axis) => axis);
  const stretched = to.flatMap((size, axis) => (size === 1 && from[axis + missing] !== 1 ? [axis + missing] : []));
  let sum = dy;
  if (stretched.length > 0) sum = g.op("ReduceSum", [sum, g.ints(stretched)], { keepdims: 1 });
  if (leading.length > 0) sum = g.op("ReduceSum", [sum, g.ints(leading)], { keepdims: 0 });
  return sum;
}

/** The gradient of an input where it is asked for, in the input's own shape. */
function when({ g, shapes, node, y, needs }: Step, input: number, make: () => Value): Value | null {
  if (!needs(input)) return null;
  const value = node.inputs[input];
  if (!value) return null;
  const broadcasts = ["Add", "Sub", "Mul", "Div"].includes(node.op);
  const made = make();
  return broadcasts ? sumTo(g, made, shapes.of(y), shapes.of(value)) : made;
}

function inputs<N extends 1 | 2>(node: Node, count: N): N extends 1 ? [Value] : [Value, Value] {
  if (node.inputs.length < count) throw new Error(`${node.op} has ${node.inputs.length} inputs.`);
  return node.inputs as unknown as N extends 1 ? [Value] : [Value, Value];
}

/** The gradient in the shape of the node's first input, for operators that move nothing. */
function asInput({ g, dy, node }: Step): Value[] {
  return [g.op("Reshape", [dy, g.op("Shape", [inputs(node, 1)[0]])])];
}

/** The gradient of a reduction with the reduced axes back in, of size 1. */
function widened({ g, dy, node }: Step): Value {
  const [, axes] = node.inputs;
  const isWide = node.attributes.keepdims !== 0 || !axes;
  return isWide ? dy : g.op("Unsqueeze", [dy, axes]);
}

/** How many elements of `after` come of one of `before`, null where that is not known before the run. */
function knownRatio(before: Shape, after: Shape): number | null {
  const names = (shape: Shape) => shape.filter((size) => typeof size === "string").join();
  if (names(before) !== names(after)) return null;
  const product = (shape: Shape) => shape.reduce((p: number, size) => (typeof size === "number" ? p * size : p), 1);
  return product(after) / product(before);
}

/** The last two axes swapped, or swapped back. */
function turned(g: Graph, x: Value, rank: number): Value {
  const maker = g.nodes.find(({ outputs }) => outputs.some(({ name }) => name === x.name));
  if (maker?.op === "Transpose" && swapsLastTwo(maker.attributes.perm as readonly number[])) return maker.inputs[0]!;
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  return g.op("Transpose", [x], { perm: [...axes.slice(0, -2), rank - 1, rank - 2] });
}

/** Whether a Transpose swaps the last two axes and nothing else. */
export function swapsLastTwo(perm: readonly number[]): boolean {
  const last = perm.length - 1;
  return perm.every((from, axis) => from === (axis === last ? last - 1 : axis === last - 1 ? last : axis));
}

function lastAxis({ op, attributes }: Node): void {
  if (attributes.axis !== -1) throw new Error(`${op} has a gradient along the last axis only.`);
}
