/** An ONNX graph while it is built: values by name, nodes in order of computation. */

/** Element types that the kit's graphs use; numbers are those of `TensorProto.DataType` in onnx.proto. */
export const DATA_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
} as const;

export type DataType = keyof typeof DATA_TYPES;

/** Sizes of the axes; a name for one that is known at run time only. */
export type Shape = readonly (number | string)[];

/** What an operator makes, or an input, or an initializer: an edge of the graph. */
export interface Value {
  readonly name: string;
}

export type Attribute = number | string | readonly number[] | { float: number } | { type: DataType };

export interface Node {
  /** The operator, `MatMul`, or with its domain, `com.microsoft::MatMulNBits`. */
  op: string;
  inputs: readonly Value[];
  outputs: readonly Value[];
  attributes: Readonly<Record<string, Attribute>>;
}

/** A graph's input or output. */
export interface Port {
  name: string;
  type: DataType;
  shape: Shape;
}

/** Where an initializer's bytes lie outside the graph: a file beside it. */
export interface ExternalData {
  location: string;
  offset: number;
  bytes: number;
}

export interface Initializer {
  name: string;
  type: DataType;
  shape: readonly number[];
  /** Little-endian bytes in the graph itself, or where to find them. */
  data: Uint8Array | ExternalData;
}

export class Graph {
  readonly name: string;
  readonly inputs: Port[] = [];
  readonly outputs: Port[] = [];
  readonly initializers: Initializer[] = [];
  readonly nodes: Node[] = [];
  readonly #constants = new Map<string, Value>();
  #values = 0;

  constructor(name: string) {
    this.name = name;
  }

  input(name: string, type: DataType, shape: Shape): Value {
    this.inputs.push({ name, type, shape });
    return { name };
  }

  /** Gives a value out under a name of its own. */
  output(value: Value, name: string, type: DataType, shape: Shape): void {
    this.nodes.push({ op: "Identity", inputs: [value], outputs: [{ name }], attributes: {} });
    this.outputs.push({ name, type, shape });
  }

  /** A tensor whose bytes lie in a file beside the graph. The same name gives the same value. */
  external(name: string, type: DataType, shape: readonly number[], data: ExternalData): Value {
    if (!this.initializers.some((initializer) => initializer.name === name)) {
      this.initializers.push({ name, type, shape, data });
    }
    return { name };
  }

  floats(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.#constant("float32", shape, new Float32Array(values));
  }

  ints(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.#constant("int64", shape, BigInt64Array.from(values, BigInt));
  }

  bytes(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.#constant("uint8", shape, Uint8Array.from(values));
  }

  /** A scalar float. */
  float(value: number): Value {
    return this.floats([value], []);
  }

  /** A scalar int64. */
  int(value: number): Value {
    return this.ints([value], []);
  }

  /** An operator with one output. */
  op(op: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    return this.ops(op, 1, inputs, attributes)[0] as Value;
  }

  /** An operator with several outputs. */
  ops(
    op: string,
    outputs: number,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value[] {
    const made = Array.from({ length: outputs }, () => ({ name: `v${this.#values++}` }));
    this.nodes.push({ op, inputs, outputs: made, attributes });
    return made;
  }

  /** Small constants stand in the graph itself, each once. */
  #constant(type: DataType, shape: readonly number[], values: Float32Array | BigInt64Array | Uint8Array): Value {
    const data = new Uint8Array(values.buffer);
    const key = `${type}[${shape}]${data}`;
    const known = this.#constants.get(key);
    if (known) return known;
    const value = { name: `c${this.#constants.size}` };
    this.#constants.set(key, value);
    this.initializers.push({ name: value.name, type, shape, data });
    return value;
  }
}
