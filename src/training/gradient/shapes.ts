/** Shapes of a graph's values, followed from its inputs through its operators: gradient rules must know what was broadcast. */
import type { Attribute, Graph, Node, Shape, Value } from "../../onnx/graph.ts";

type Size = number | string;

/** Operators whose output has the shape of their first input. */
const ELEMENTWISE = new Set([
  "Identity",
  "Cast",
  "Clip",
  "Sqrt",
  "Exp",
  "Log",
  "Relu",
  "Sigmoid",
  "Tanh",
  "Softmax",
  "LogSoftmax",
]);
const BROADCASTING = new Set(["Add", "Sub", "Mul", "Div", "Greater", "Less"]);
const REDUCTIONS = new Set(["ReduceSum", "ReduceMean", "ReduceMax"]);

/** Sizes of an axis that are known at run time only are names; two different names on one axis are an error. */
export class Shapes {
  readonly #shapes = new Map<string, Shape>();
  /** What small integer tensors hold, where it is sizes: the shapes of other values are computed with them. */
  readonly #contents = new Map<string, readonly Size[]>();

  constructor(graph: Graph) {
    for (const { name, shape } of graph.inputs) this.#shapes.set(name, shape);
    for (const { name, type, shape, data } of graph.initializers) {
      this.#shapes.set(name, shape);
      if (type === "int64" && data instanceof Uint8Array) {
        const ints = new BigInt64Array(data.buffer, data.byteOffset, data.byteLength / 8);
        this.#contents.set(name, [...ints].map(Number));
      }
    }
    for (const node of graph.nodes) this.#follow(node);
  }

  /** @throws Error for a value behind an operator that is not followed */
  of({ name }: Value): Shape {
    const shape = this.#shapes.get(name);
    if (!shape) throw new Error(`The shape of ${name} is not known.`);
    return shape;
  }

  #follow(node: Node): void {
    const [output] = node.outputs;
    if (!output) return;
    const contents = this.#contentsOf(node);
    if (contents) this.#contents.set(output.name, contents);
    const shape = this.#shapeOf(node);
    if (shape) this.#shapes.set(output.name, shape);
  }

  #shapeOf({ op, inputs, attributes }: Node): Shape | undefined {
    const shapes = inputs.map(({ name }) => this.#shapes.get(name));
    const [first, second] = shapes;
    if (op === "Range") return this.#contents.get(inputs[1]?.name ?? "");
    if (!first) return undefined;
    if (ELEMENTWISE.has(op)) return first;
    if (op === "Shape") return [first.slice(...range(attributes)).length];
    if (op === "Transpose") return ints(attributes.perm).map((axis) => first[axis]!);
    if (op === "Reshape") return reshaped(first, this.#contents.get(inputs[1]?.name ?? ""));
    if (op === "Expand") return this.#contents.get(inputs[1]?.name ?? "");
    if (op === "Concat") return joined(shapes, attributes.axis as number);
    if (REDUCTIONS.has(op)) {
      const axes = this.#axes(inputs[1], first.length) ?? first.map((_, axis) => axis);
      const kept = attributes.keepdims !== 0;
      return first.flatMap((size, axis) => (axes.includes(axis) ? (kept ? [1] : []) : [size]));
    }
    if (op === "Unsqueeze") {
      const axes = this.#axes(inputs[1], first.length + ints(this.#contents.get(inputs[1]?.name ?? "")).length);
      const left = [...first];
      return (
        axes && Array.from({ length: first.length + axes.length }, (_, i) => (axes.includes(i) ? 1 : left.shift()!))
      );
    }
    if (op === "Squeeze") {
      const axes = this.#axes(inputs[1], first.length);
      return axes && first.filter((_, axis) => !axes.includes(axis));
    }
    if (!second) return undefined;
    if (BROADCASTING.has(op)) return broadcast(first, second);
    if (op === "GatherElements") return second;
    if (op === "Gather") {
      const axis = attributes.axis as number;
      return [...first.slice(0, axis), ...second, ...first.slice(axis + 1)];
    }
    if (op === "MatMul") return [...broadcast(first.slice(0, -2), second.slice(0, -2)), first.at(-2)!, second.at(-1)!];
    if (op === "Gemm") return [first[attributes.transA ? 1 : 0]!, second[attributes.transB ? 0 : 1]!];
    return undefined;
  }

  #contentsOf({ op, inputs, attributes }: Node): readonly Size[] | undefined {
    const [input] = inputs;
    if (op === "Shape") return input && this.#shapes.get(input.name)?.slice(...range(attributes));
    if (op === "Squeeze" || op === "Identity") return input && this.#contents.get(input.name);
    if (op !== "Concat") return undefined;
    const parts = inputs.map(({ name }) => this.#contents.get(name));
    return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
  }

  #axes(value: Value | undefined, rank: number): number[] | undefined {
    const axes = value && this.#contents.get(value.name);
    return axes && ints(axes).map((axis) => (axis < 0 ? axis + rank : axis));
  }
}

/** The shape of two tensors' sum. @throws Error where a name meets another size: nobody could tell which one is stretched */
function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const [one = 1, other = 1] = [a[i - rank + a.length], b[i - rank + b.length]];
    if (one === other || other === 1) return one;
    if (one === 1) return other;
    throw new Error(`[${a}] and [${b}] cannot be broadcast.`);
  });
}

function joined(shapes: readonly (Shape | undefined)[], axis: number): Shape | undefined {
  const sizes = shapes.map((shape) => shape?.[axis]);
  if (!sizes.every((size) => typeof size === "number")) return undefined;
  return shapes[0]?.with(
    axis,
    sizes.reduce((sum, size) => sum + size, 0),
  );
}

/** ONNX's Reshape: 0 keeps a size, −1 takes what is left; a product of names is a name, `B·T`. */
function reshaped(from: Shape, to: readonly Size[] | undefined): Shape | undefined {
  const sizes = to?.map((size, axis) => (size === 0 ? from[axis]! : size));
  if (!sizes?.includes(-1)) return sizes;
  const known = sizes.filter((size) => size !== -1);
  const names = from.flatMap((size) => (typeof size === "string" ? size.split("·") : []));
  for (const name of known.flatMap((size) => (typeof size === "string" ? size.split("·") : []))) {
    names.splice(names.indexOf(name), 1);
  }
  const product = (all: readonly Size[]) =>
    all.reduce((p: number, size) => (typeof size === "number" ? p * size : p), 1);
  const number = product(from) / product(known);
  const left = names.length === 0 ? number : [...(number === 1 ? [] : [number]), ...names.sort()].join("·");
  return sizes.map((size) => (size === -1 ? left : size));
}

function range(attributes: Readonly<Record<string, Attribute>>): [number, number | undefined] {
  return [(attributes.start as number | undefined) ?? 0, attributes.end as number | undefined];
}

function ints(value: unknown): number[] {
  return Array.isArray(value) ? value : [];
}
