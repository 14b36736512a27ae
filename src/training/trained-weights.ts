/** A model's weights as inputs of the training graph, with low-rank adapters beside those that have one. */
import type { Graph, Value } from "../onnx/graph.ts";
import type { TensorSpec } from "../t5/architecture.ts";
import type { T5Config } from "../t5/config.ts";
import type { DropoutPlace, NormNodes, Stack, Weights } from "../t5/graph/forward.ts";
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

/** A linear layer's product, its operands as rows and columns. */
export interface Product {
  x: Value;
  weight: Value;
  name: string;
}

/**
 * Columns that the feed-forward's inner states get where a row would take a multiple of 4 KB: rows of a matrix then fall
 * into the same lines of the processor's cache, and onnxruntime's product takes a quarter longer (measured on a Xeon with
 * AVX-512: 164 against 214 billion operations a second at 2048 columns).
 */
export const PADDING = 16;

/** Zeros stay zeros: relu and its kin make 0 of 0, and a column of zeros has no gradient. */
export function paddingOf(dFf: number): number {
  return dFf % 1024 === 0 ? PADDING : 0;
}

/** Names that an adapter's two matrices and its dropout mask have in the graph. */
export const loraPort = {
  a: (module: string) => `${module}.lora_A.weight`,
  b: (module: string) => `${module}.lora_B.weight`,
  mask: (module: string) => `${module}.lora_dropout`,
};

/** A dropout mask that a step feeds: uint8 `[rows, width]`, a row for each of the batch's tokens on one side. */
export interface MaskInput {
  name: string;
  side: "input" | "target";
  /** Numbers a token, or, where `keys` is given, a token and each one on that side of the same example. */
  width: number;
  keys?: "input" | "target";
  /** Part that is dropped. */
  dropout: number;
}

export interface TrainedWeightsOptions {
  lora: readonly LoraModuleSpec[];
  /** Of what an adapter's modules are given. */
  loraDropout: number;
  /** Of the model. */
  dropout: number;
  /** Columns behind the feed-forward's inner states, see {@link paddingOf}. */
  padding: number;
}

const INTO_INNER = /\.wi(_[01])?\.weight$/;
const OUT_OF_INNER = /\.wo\.weight$/;

export class TrainedWeights implements Weights {
  /** Those with a gradient of their own: the sum of a table's rows is done outside of the graph, in one order. */
  readonly lookups: Lookup[] = [];
  readonly own = new Map<string, OwnRule>();
  /** Of the model's own dropout. */
  readonly masks: MaskInput[] = [];
  readonly #graph: Graph;
  readonly #config: T5Config;
  readonly #specs: ReadonlyMap<string, TensorSpec>;
  readonly #lora: ReadonlyMap<string, LoraModuleSpec>;
  readonly #loraDropout: number;
  readonly #dropout: number;
  readonly #inputs = new Map<string, Value>();
  readonly #rows = new Map<string, Value>();
  readonly #products = new Map<string, Product>();
  readonly #padding: number;
  readonly #padded = new Map<string, Value>();

  constructor(
    graph: Graph,
    config: T5Config,
    specs: readonly TensorSpec[],
    { lora, loraDropout, dropout, padding }: TrainedWeightsOptions,
  ) {
    this.#graph = graph;
    this.#config = config;
    this.#specs = new Map(specs.map((spec) => [spec.name, spec]));
    this.#lora = new Map(lora.map((module) => [module.weight, module]));
    this.#loraDropout = loraDropout;
    this.#dropout = dropout;
    this.#padding = padding;
  }

  linear(x: Value, name: string): Value {
    const g = this.#graph;
    const [out, inner] = this.#paddedShape(name);
    // Rows and columns: Gemm takes both operands turned either way, so that neither pass copies a weight.
    const rows = this.#flat(x, inner);
    const weight = this.#matrix(name);
    const base = g.op("Gemm", [rows, weight], { transB: 1 });
    const y = this.#adapted(rows, base, name);
    const leading = g.op("Shape", [x], { start: 0, end: -1 });
    const shaped = g.op("Reshape", [y, g.op("Concat", [leading, g.ints([out])], { axis: 0 })]);
    this.#products.set(shaped.name, { x: rows, weight, name });
    return shaped;
  }

  /** What {@link linear} made a value of. */
  productOf({ name }: Value): Product {
    return this.#products.get(name)!;
  }

  embed(ids: Value, name: string): Value {
    const rows = this.#graph.op("Gather", [this.vector(name), ids], { axis: 0 });
    this.lookups.push({ table: name, ids: ids.name, rows });
    this.own.set(rows.name, { inputs: [], rule: () => [] });
    return rows;
  }

  vector(name: string): Value {
    return this.#input(name, this.fedShape(name));
  }

  /** The shape in which a tensor is fed: further rows of zeros lie behind those of the feed-forward's inner states. */
  fedShape(name: string): readonly number[] {
    const { shape } = this.#spec(name);
    const [out = 0, inner = 0] = shape;
    return INTO_INNER.test(name) ? [out + this.#padding, inner] : shape;
  }

  /** A tensor by which to differentiate, and its gradient in the shape in which it is fed. */
  trainable(name: string): { value: Value; gradient(of: Value): Value } {
    const padded = this.#padded.get(name);
    if (!padded) return { value: { name }, gradient: (of) => of };
    const [, inner = 0] = this.#spec(name).shape;
    const g = this.#graph;
    return { value: padded, gradient: (of) => g.op("Slice", [of, g.ints([0]), g.ints([inner]), g.ints([1])]) };
  }

  #paddedShape(name: string): [out: number, inner: number] {
    const [out = 0, inner = 0] = this.fedShape(name);
    return [out, OUT_OF_INNER.test(name) ? inner + this.#padding : inner];
  }

  /** A linear layer's weight, in its padded shape. */
  #matrix(name: string): Value {
    const fed = this.vector(name);
    if (this.#padding === 0 || !OUT_OF_INNER.test(name)) return fed;
    const g = this.#graph;
    const zeros = g.op("Expand", [g.float(0), g.ints([this.fedShape(name)[0]!, this.#padding])]);
    const padded = g.op("Concat", [fed, zeros], { axis: 1 });
    this.#padded.set(name, padded);
    return padded;
  }

  /**
   * With n = x ÷ root and t = dy · weight, dx = (t − n · mean(t · n)) ÷ root, and the weight's gradient is the sum of dy · n
   * over the tokens: half the passes over x of what the nodes' own rules come to.
   */
  normGradient({ x, root, normed, weight, y }: NormNodes): void {
    const g = this.#graph;
    this.own.set(y.name, {
      inputs: [x, weight],
      rule(_, dy, needs) {
        const t = g.op("Mul", [dy, weight]);
        // As a product with the weights the mean would be faster, and less exact: a relu of the references tips over by it.
        const mean = g.op("ReduceMean", [g.op("Mul", [t, normed]), g.ints([-1])], { keepdims: 1 });
        const rest = g.op("Sub", [t, g.op("Mul", [normed, mean])]);
        return [
          g.op("Div", [rest, root]),
          needs(1) ? g.op("ReduceSum", [g.op("Mul", [dy, normed]), g.ints([0, 1])], { keepdims: 0 }) : null,
        ];
      },
    });
  }

  dropped(x: Value, { name, of, stack, keys }: DropoutPlace): Value {
    if (this.#dropout === 0) return x;
    const { dModel, dFf, numHeads } = this.#config;
    const width = { states: dModel, inner: dFf + this.#padding, attention: numHeads }[of];
    const side = sideOf(stack);
    this.masks.push({ name, side, width, dropout: this.#dropout, ...(keys && { keys: sideOf(keys) }) });
    return this.#masked(x, name, this.#dropout);
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
    const kept = this.#loraDropout > 0 ? this.#masked(rows, loraPort.mask(module.name), this.#loraDropout) : rows;
    const low = g.op("Gemm", [kept, a], { transB: 1 });
    return g.op("Gemm", [low, b, base], { transB: 1, alpha: { float: scale } });
  }

  /** Where the mask is 0 nothing passes; the rest is scaled up so that the mean stays. */
  #masked(x: Value, name: string, dropout: number): Value {
    const g = this.#graph;
    const mask = g.input(name, "uint8", [`rows of ${name}`, `width of ${name}`]);
    const kept = g.op("Mul", [g.op("Cast", [mask], { to: { type: "float32" } }), g.float(1 / (1 - dropout))]);
    return g.op("Mul", [x, g.op("Reshape", [kept, g.op("Shape", [x])])]);
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

function sideOf(stack: Stack): MaskInput["side"] {
  return stack === "encoder" ? "input" : "target";
}
