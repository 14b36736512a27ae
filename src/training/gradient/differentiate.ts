/** Reverse-mode differentiation of an ONNX graph: the backward pass becomes further nodes of the same graph. */
import type { Graph, Value } from "../../onnx/graph.ts";
import { RULES, type Rule } from "./rules.ts";
import { Shapes } from "./shapes.ts";

/** Rules for single values, by name: what a few nodes compute together may have a better gradient than each by itself. */
export interface OwnRule {
  /** What the value is made of; the nodes between are passed by. */
  inputs: readonly Value[];
  /** The gradients of the inputs; null for one that is not asked for. */
  rule: (g: Graph, dy: Value, needs: (input: number) => boolean) => (Value | null)[];
}

/**
 * @param of a scalar
 * @param wrt inputs of the graph, or values within it
 * @returns d of ÷ d wrt, in the order of `wrt` and each in its shape
 * @throws Error for a value that `of` does not depend on, or an operator on the way that has no rule
 */
export function differentiate(
  g: Graph,
  of: Value,
  wrt: readonly Value[],
  own: ReadonlyMap<string, OwnRule> = new Map(),
): Value[] {
  const shapes = new Shapes(g);
  const forward = [...g.nodes];
  const moving = movingValues(forward, wrt);
  const parts = new Map<string, Value[]>([[of.name, [g.float(1)]]]);
  const give = (inputs: readonly Value[], gradients: readonly (Value | null)[]) => {
    for (const [i, gradient] of gradients.entries()) {
      const input = inputs[i];
      if (!gradient || !input || !moving.has(input.name)) continue;
      parts.set(input.name, [...(parts.get(input.name) ?? []), gradient]);
    }
  };
  const take = (name: string): Value | undefined => {
    const all = parts.get(name);
    if (!all) return undefined;
    const sum = all.reduce((a, b) => g.op("Add", [a, b]));
    parts.set(name, [sum]);
    return sum;
  };

  for (const node of forward.reverse()) {
    const [y] = node.outputs;
    if (!y || !parts.has(y.name)) continue;
    const special = own.get(y.name);
    const inputs = special?.inputs ?? node.inputs;
    if (!inputs.some(({ name }) => moving.has(name))) continue;
    const dy = take(y.name)!;
    const needs = (input: number) => moving.has(inputs[input]?.name ?? "");
    if (special) give(inputs, special.rule(g, dy, needs));
    else give(inputs, ruleOf(node.op)({ g, shapes, node, y, dy, needs }));
  }
  return wrt.map(({ name }) => {
    const gradient = take(name);
    if (!gradient) throw new Error(`${of.name} does not depend on ${name}.`);
    return gradient;
  });
}

/** Operators that look at sizes only: what they give does not move with the numbers. */
const STILL = new Set(["Shape", "Size"]);

/** Names of the values that move with `wrt`. */
function movingValues(nodes: Graph["nodes"], wrt: readonly Value[]): ReadonlySet<string> {
  const moving = new Set(wrt.map(({ name }) => name));
  for (const { op, inputs, outputs } of nodes) {
    if (STILL.has(op)) continue;
    if (inputs.some(({ name }) => moving.has(name))) for (const { name } of outputs) moving.add(name);
  }
  return moving;
}

function ruleOf(op: string): Rule {
  const rule = RULES[op];
  if (!rule) throw new Error(`${op} has no gradient rule.`);
  return rule;
}
