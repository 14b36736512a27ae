/** A model's weights as inputs of the training graph, with low-rank adapters beside those that have one. */
import type { Graph, Value } from "../onnx/graph.ts";
import type { TensorSpec } from "../t5/architecture.ts";
import type { Weights } from "../t5/graph/forward.ts";
import type { OwnRule } from "./gradient/differentiate.ts";
import type { LoraModuleSpec } from "./lora.ts";

/** Rows of a table that a batch looked up. */
export interface Lookup {
  table: string;
  /** The graph's input of their ids. */
  ids: string;
  /** `[…, d]` */
  rows: Value;
}

/** Names that an adapter's two matrices and its dropout mask have in the graph. */
export const loraPort = {
  a: (module: string) => `${module}.lora_A.weight`,
  b: (module: string) => `${module}.lora_B.weight`,
  mask: (module: string) => `${module}.lora_dropout`,
};

export class TrainedWeights implements Weights {
  /** Those with a gradient of their own: the sum of a table's rows is done outside of the graph, in one order. */
  readonly lookups: Lookup[] = [];
  readonly own = new Map<string, OwnRule>();
  readonly #graph: Graph;
  readonly #specs: ReadonlyMap<string, TensorSpec>;
  readonly #lora: ReadonlyMap<string, LoraModuleSpec>;
  readonly #dropout: number;
  readonly #inputs = new Map<string, Value>();
  readonly #rows = new Map<string, Value>();

  constructor(graph: Graph, specs: readonly TensorSpec[], lora: readonly LoraModuleSpec[], dropout: number) {
    this.#graph = graph;
    this.#specs = new Map(specs.map((spec) => [spec.name, spec]));
    this.#lora = new Map(lora.map((module) => [module.weight, module]));
    this.#dropout = dropout;
  }

  linear(x: Value, name: string): Value {
    const g = this.#graph;
    const [out = 0, inner = 0] = this.#spec(name).shape;
    // Rows and columns: Gemm takes both operands turned either way, so that neither pass copies a weight.
    const rows = this.#flat(x, inner);
    const base = g.op("Gemm", [rows, this.vector(name)], { transB: 1 });
    const y = this.#adapted(rows, base, name);
    const leading = g.op("Shape", [x], { start: 0, end: -1 });
    return g.op("Reshape", [y, g.op("Concat", [leading, g.ints([out])], { axis: 0 })]);
  }

  embed(ids: Value, name: string): Value {
    const rows = this.#graph.op("Gather", [this.vector(name), ids], { axis: 0 });
    this.lookups.push({ table: name, ids: ids.name, rows });
    this.own.set(rows.name, { inputs: [], rule: () => [] });
    return rows;
  }

  vector(name: string): Value {
    return this.#input(name, this.#spec(name).shape);
  }

  /** Base + scale · B A dropout(x). */
  #adapted(rows: Value, base: Value, name: string): Value {
    const module = this.#lora.get(name);
    if (!module) return base;
    const g = this.#graph;
    const { rank, scale } = module;
    const [out = 0, inner = 0] = this.#spec(name).shape;
    const a = this.#input(loraPort.a(module.name), [rank, inner]);
    const b = this.#input(loraPort.b(module.name), [out, rank]);
    const low = g.op("Gemm", [this.#dropped(rows, module.name, inner), a], { transB: 1 });
    return g.op("Gemm", [low, b, base], { transB: 1, alpha: { float: scale } });
  }

  /** Where the mask is 0 nothing passes; the rest is scaled up so that the mean stays. */
  #dropped(rows: Value, module: string, width: number): Value {
    if (this.#dropout === 0) return rows;
    const g = this.#graph;
    const mask = g.input(loraPort.mask(module), "uint8", [`rows of ${module}`, width]);
    const kept = g.op("Mul", [g.op("Cast", [mask], { to: { type: "float32" } }), g.float(1 / (1 - this.#dropout))]);
    return g.op("Mul", [rows, g.op("Reshape", [kept, g.op("Shape", [rows])])]);
  }

  #flat(x: Value, width: number): Value {
    const known = this.#rows.get(x.name);
    if (known) return known;
    const rows = this.#graph.op("Reshape", [x, this.#graph.ints([-1, width])]);
    this.#rows.set(x.name, rows);
    return rows;
  }

  #input(name: string, shape: readonly number[]): Value {
    const known = this.#inputs.get(name);
    if (known) return known;
    const value = this.#graph.input(name, "float32", shape);
    this.#inputs.set(name, value);
    return value;
  }

  #spec(name: string): TensorSpec {
    const spec = this.#specs.get(name);
    if (!spec) throw new Error(`The model has no tensor ${name}.`);
    return spec;
  }
}
