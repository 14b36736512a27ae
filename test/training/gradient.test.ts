/** Each operator's gradient rule, held to finite differences in float64. */
import { describe, expect, test } from "vitest";
import { Graph, type Value } from "../../src/onnx/graph.ts";
import { differentiate } from "../../src/training/gradient/differentiate.ts";
import { RULES } from "../../src/training/gradient/rules.ts";
import { type Feeds, finiteDifferences, open } from "./float64.ts";

interface Case {
  op: string;
  what: string;
  /** Shapes of the float inputs. */
  inputs: number[][];
  /** As the graph declares them; default: as they are. */
  declared?: (number | string)[][];
  build(g: Graph, ...inputs: Value[]): Value;
  /** Numbers of an input; default: between −2 and 2, none near zero. */
  values?: (random: () => number) => number;
}

const positive = (random: () => number) => 0.5 + random();

const CASES: Case[] = [
  { op: "Identity", what: "passes on", inputs: [[3]], build: (g, x) => g.op("Identity", [x]) },
  ...["Add", "Sub", "Mul", "Div"].flatMap((op): Case[] => [
    {
      op,
      what: "same shapes",
      inputs: [
        [2, 3],
        [2, 3],
      ],
      build: (g, a, b) => g.op(op, [a, b]),
    },
    {
      op,
      what: "b stretched",
      inputs: [
        [2, 3, 4],
        [3, 1],
      ],
      build: (g, a, b) => g.op(op, [a, b]),
    },
    {
      op,
      what: "both stretched",
      inputs: [
        [2, 1, 4],
        [3, 1],
      ],
      build: (g, a, b) => g.op(op, [a, b]),
    },
    {
      op,
      what: "a stretched over named axes",
      inputs: [
        [1, 3],
        [2, 3],
      ],
      declared: [
        [1, "B"],
        ["A", "B"],
      ],
      build: (g, a, b) => g.op(op, [a, b]),
    },
  ]),
  { op: "Mul", what: "a square", inputs: [[5]], build: (g, x) => g.op("Mul", [x, x]) },
  { op: "Sqrt", what: "", inputs: [[4]], values: positive, build: (g, x) => g.op("Sqrt", [x]) },
  { op: "Exp", what: "", inputs: [[4]], build: (g, x) => g.op("Exp", [x]) },
  { op: "Log", what: "", inputs: [[4]], values: positive, build: (g, x) => g.op("Log", [x]) },
  ...["Relu", "Sigmoid", "Tanh"].map(
    (op): Case => ({ op, what: "", inputs: [[3, 4]], build: (g, x) => g.op(op, [x]) }),
  ),
  ...["Softmax", "LogSoftmax"].map(
    (op): Case => ({ op, what: "", inputs: [[2, 3, 5]], build: (g, x) => g.op(op, [x], { axis: -1 }) }),
  ),
  ...["ReduceSum", "ReduceMean"].flatMap((op): Case[] => [
    { op, what: "last axis, kept", inputs: [[2, 3, 4]], build: (g, x) => g.op(op, [x, g.ints([-1])], { keepdims: 1 }) },
    {
      op,
      what: "two axes, dropped",
      inputs: [[2, 3, 4]],
      build: (g, x) => g.op(op, [x, g.ints([0, 2])], { keepdims: 0 }),
    },
    {
      op,
      what: "a named axis",
      inputs: [[2, 3]],
      declared: [["B", 3]],
      build: (g, x) => g.op(op, [x, g.ints([0])], { keepdims: 0 }),
    },
    { op, what: "everything", inputs: [[2, 3]], build: (g, x) => g.op(op, [x], { keepdims: 0 }) },
  ]),
  {
    op: "Transpose",
    what: "four axes",
    inputs: [[2, 3, 4, 5]],
    build: (g, x) => g.op("Transpose", [x], { perm: [0, 2, 3, 1] }),
  },
  {
    op: "Reshape",
    what: "kept, split and joined",
    inputs: [[2, 3, 4]],
    declared: [["B", "T", 4]],
    build: (g, x) => g.op("Reshape", [x, g.ints([0, 0, 2, 2])]),
  },
  {
    op: "Reshape",
    what: "rows of everything",
    inputs: [[2, 3, 4]],
    declared: [["B", "T", 4]],
    build: (g, x) => g.op("Reshape", [x, g.ints([-1, 4])]),
  },
  { op: "Unsqueeze", what: "", inputs: [[2, 3]], build: (g, x) => g.op("Unsqueeze", [x, g.ints([0, 2])]) },
  { op: "Squeeze", what: "", inputs: [[2, 1, 3]], build: (g, x) => g.op("Squeeze", [x, g.ints([1])]) },
  {
    op: "MatMul",
    what: "a batch of heads",
    inputs: [
      [2, 3, 4, 5],
      [2, 3, 5, 2],
    ],
    declared: [
      ["B", 3, "Q", 5],
      ["B", 3, 5, "K"],
    ],
    build: (g, a, b) => g.op("MatMul", [a, b]),
  },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map(
      (transB): Case => ({
        op: "Gemm",
        what: `transA ${transA}, transB ${transB}`,
        inputs: [transA ? [4, 3] : [3, 4], transB ? [5, 4] : [4, 5]],
        build: (g, a, b) => g.op("Gemm", [a, b], { transA, transB }),
      }),
    ),
  ),
  {
    op: "Gemm",
    what: "α A B + C",
    inputs: [
      [3, 4],
      [4, 5],
      [3, 5],
    ],
    build: (g, a, b, c) => g.op("Gemm", [a, b, c], { alpha: { float: 0.5 } }),
  },
  {
    op: "Gather",
    what: "rows, some of them twice",
    inputs: [[6, 3]],
    build: (g, x) => g.op("Gather", [x, g.ints([5, 0, 5, 2, 0, 5], [2, 3])], { axis: 0 }),
  },
  {
    op: "GatherElements",
    what: "one a row",
    inputs: [[3, 4]],
    build: (g, x) => g.op("GatherElements", [x, g.ints([3, 0, 3], [3, 1])], { axis: 1 }),
  },
];

describe("a gradient is what finite differences say", () => {
  test.each(CASES)("$op: $what", async ({ inputs, declared, build, values }) => {
    const random = mulberry(7);
    const g = new Graph("case");
    const names = inputs.map((_, i) => `x${i}`);
    const ports = inputs.map((shape, i) => g.input(`x${i}`, "float32", declared?.[i] ?? shape));
    const y = build(g, ...ports);
    // A sum that weighs every element differently, so that none can take another's place.
    const ramp = g.op("Cast", [g.op("Range", [g.int(1), g.op("Add", [g.op("Size", [y]), g.int(1)]), g.int(1)])], {
      to: { type: "float32" },
    });
    // Doubled first: onnxruntime 1.30 cannot open a graph in which two Reshapes follow each other into an output.
    const flat = g.op("Reshape", [g.op("Mul", [y, g.float(2)]), g.ints([1, -1])]);
    const product = g.op("Gemm", [flat, g.op("Reshape", [ramp, g.ints([-1, 1])])]);
    const loss = g.op("ReduceSum", [product], { keepdims: 0 });
    const gradients = differentiate(g, loss, ports);
    g.output(loss, "loss", "float32", []);
    for (const [i, gradient] of gradients.entries()) g.output(gradient, `d${i}`, "float32", inputs[i]!);
    const run = await open(g);
    const far = () => (random() < 0.5 ? -1 : 1) * (0.3 + 1.7 * random());
    const feeds: Feeds = Object.fromEntries(
      inputs.map((shape, i) => {
        const count = shape.reduce((p, n) => p * n, 1);
        return [
          names[i]!,
          { values: Float64Array.from({ length: count }, () => (values ? values(random) : far())), shape },
        ];
      }),
    );
    const results = await run(feeds);
    for (const [i, name] of names.entries()) {
      const expected = await finiteDifferences(run, feeds, name, "loss");
      const largest = Math.max(...expected.map(Math.abs));
      expect(largest).toBeGreaterThan(0.1);
      const actual = [...results[`d${i}`]!];
      expect(actual).toHaveLength(expected.length);
      for (const [at, value] of expected.entries()) expect(Math.abs(actual[at]! - value)).toBeLessThan(1e-7 * largest);
    }
  });

  test("every rule is among them", () => {
    expect(Object.keys(RULES).filter((op) => !CASES.some((each) => each.op === op))).toEqual([]);
  });
});

describe("through a graph", () => {
  test("what is used twice is summed, and a value within the graph has a gradient too", async () => {
    const g = new Graph("shared");
    const x = g.input("x", "float32", [2]);
    const inner = g.op("Mul", [x, g.float(3)]);
    const loss = g.op("ReduceSum", [g.op("Add", [g.op("Mul", [inner, inner]), inner])], { keepdims: 0 });
    const [dx, dInner] = differentiate(g, loss, [x, inner]);
    g.output(dx!, "dx", "float32", [2]);
    g.output(dInner!, "dInner", "float32", [2]);
    const results = await (await open(g))({ x: { values: Float64Array.of(1, -2), shape: [2] } });
    expect([...results.dInner!]).toEqual([7, -11]);
    expect([...results.dx!]).toEqual([21, -33]);
  });

  test("an own rule takes the place of those of the nodes within", async () => {
    const g = new Graph("own");
    const x = g.input("x", "float32", [2]);
    const y = g.op("Clip", [g.op("Mul", [x, x])]);
    const own = new Map([[y.name, { inputs: [x], rule: (_: Graph, dy: Value) => [g.op("Mul", [dy, g.float(5)])] }]]);
    const [dx] = differentiate(g, g.op("ReduceSum", [y], { keepdims: 0 }), [x], own);
    g.output(dx!, "dx", "float32", [2]);
    expect([...(await (await open(g))({ x: { values: Float64Array.of(1, -2), shape: [2] } })).dx!]).toEqual([5, 5]);
  });

  test("refuses an operator without a rule, and what the loss does not depend on", () => {
    const g = new Graph("refused");
    const x = g.input("x", "float32", [2]);
    const other = g.input("other", "float32", [2]);
    const sum = g.op("ReduceSum", [g.op("Clip", [x])], { keepdims: 0 });
    expect(() => differentiate(g, sum, [x])).toThrow("Clip has no gradient rule");
    expect(() => differentiate(g, sum, [other])).toThrow("does not depend on other");
  });

  test("refuses a sum over axes of which nobody can tell which is stretched", () => {
    const g = new Graph("ambiguous");
    const sum = g.op("Add", [g.input("a", "float32", ["A"]), g.input("b", "float32", ["B"])]);
    expect(() => differentiate(g, g.op("ReduceSum", [sum], { keepdims: 0 }), [sum])).toThrow(
      "[A] and [B] cannot be broadcast",
    );
  });
});

/** Mulberry32, a small generator with a seed. */
function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
