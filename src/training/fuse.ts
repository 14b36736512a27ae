/** What onnxruntime computes faster: changes of a graph that leave its numbers as they are. */
import type { Graph, Node, Value } from "../onnx/graph.ts";
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

/**
 * A Relu between a product and the next layer is taken before the product's rows are shaped: onnxruntime then applies it to
 * the product where it lies, in one node (FusedGemm).
 */
export function reluFirst(g: Graph): void {
  const makers = new Map(g.nodes.flatMap((node) => node.outputs.map(({ name }) => [name, node] as const)));
  const uses = new Map<string, number>();
  for (const { inputs } of g.nodes) for (const { name } of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  for (const relu of g.nodes) {
    const reshape = relu.op === "Relu" ? makers.get(relu.inputs[0]!.name) : undefined;
    const product = reshape?.op === "Reshape" ? makers.get(reshape.inputs[0]!.name) : undefined;
    if (!reshape || product?.op !== "Gemm") continue;
    if (uses.get(reshape.outputs[0]!.name) !== 1 || uses.get(product.outputs[0]!.name) !== 1) continue;
    const [rows, shape] = reshape.inputs as [Value, Value];
    const [inner, out] = [reshape.outputs[0]!, relu.outputs[0]!];
    Object.assign(reshape, { op: "Relu", inputs: [rows], outputs: [inner], attributes: {} });
    Object.assign(relu, { op: "Reshape", inputs: [inner, shape], outputs: [out], attributes: {} });
  }
}
