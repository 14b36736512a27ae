/** onnxruntime's own product of turned operands, where its provider has it: nothing is moved before it. */
import type { Graph, Node } from "../onnx/graph.ts";
import { swapsLastTwo } from "./gradient/rules.ts";

/** A MatMul of what a Transpose swapped the last two axes of becomes one FusedMatMul; changes the graph in place. */
export function fuseTurned(g: Graph): void {
  const turned = new Map<string, Node>();
  for (const node of g.nodes) {
    const isTurn = node.op === "Transpose" && swapsLastTwo(node.attributes.perm as readonly number[]);
    if (isTurn) turned.set(node.outputs[0]!.name, node);
  }
  for (const node of g.nodes) {
    if (node.op !== "MatMul") continue;
    const [a, b] = node.inputs.map(({ name }) => turned.get(name));
    if (!a && !b) continue;
    node.op = "com.microsoft::FusedMatMul";
    node.attributes = { transA: a ? 1 : 0, transB: b ? 1 : 0 };
    node.inputs = node.inputs.map((input) => turned.get(input.name)?.inputs[0] ?? input);
  }
  const used = new Set(g.nodes.flatMap(({ inputs }) => inputs.map(({ name }) => name)));
  const kept = g.nodes.filter((node) => !turned.has(node.outputs[0]?.name ?? "") || used.has(node.outputs[0]!.name));
  g.nodes.splice(0, g.nodes.length, ...kept);
}
