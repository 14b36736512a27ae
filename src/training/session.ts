/** onnxruntime-node for training: which provider runs the graph. */
import { InferenceSession } from "onnxruntime-node";
import { EdgeT5Error } from "../errors.ts";
import { Graph } from "../onnx/graph.ts";
import { encodeModel } from "../onnx/model-proto.ts";
import { fuseTurned, reluFirst } from "./fuse.ts";
import { openNativeSession, type StepSession } from "./native-session.ts";

/** `auto`: the first of CUDA and WebGPU that is there, else the processor. Only `cpu` gives the same bits again. */
export type Provider = "cpu" | "cuda" | "webgpu";

export interface SessionOptions {
  provider?: Provider | "auto" | undefined;
  /** Threads on the processor. Default: as many as the machine has cores. */
  threads?: number | undefined;
}

/**
 * @param graph is changed to what the provider computes fastest
 * @throws EdgeT5Error `E_PROVIDER` for a provider that is not to be had, saying why
 */
export async function openSession(
  graph: Graph,
  { provider = "cpu", threads }: SessionOptions,
): Promise<{ session: StepSession; provider: Provider }> {
  const chosen = provider === "auto" ? await firstAvailable() : provider;
  if (chosen !== "cpu") await probe(chosen);
  // WebGPU has no kernels for what comes of these.
  if (chosen !== "webgpu") {
    fuseTurned(graph);
    reluFirst(graph);
  }
  const model = encodeModel(graph);
  const names = graph.outputs.map(({ name }) => name);
  const inPlace = chosen === "cpu" ? await openNativeSession(model, names, threads) : null;
  if (inPlace) return { session: inPlace, provider: chosen };
  const session = await InferenceSession.create(model, {
    // What a provider has no kernel for runs on the processor.
    executionProviders: chosen === "cpu" ? ["cpu"] : [chosen, "cpu"],
    graphOptimizationLevel: "all",
    ...(threads !== undefined && { intraOpNumThreads: threads }),
  });
  return { session, provider: chosen };
}

async function firstAvailable(): Promise<Provider> {
  for (const provider of ["cuda", "webgpu"] as const) {
    const isThere = await probe(provider).then(
      () => true,
      () => false,
    );
    if (isThere) return provider;
  }
  return "cpu";
}

/** A list of providers does not fall back by itself: an unavailable one throws, so a small graph is tried. */
async function probe(provider: Provider): Promise<void> {
  const graph = new Graph("probe");
  graph.output(graph.op("Add", [graph.input("x", "float32", [1]), graph.float(1)]), "y", "float32", [1]);
  try {
    const session = await InferenceSession.create(encodeModel(graph), { executionProviders: [provider] });
    await session.release();
  } catch (cause) {
    const [why] = String(cause instanceof Error ? cause.message : cause)
      .trim()
      .split("\n");
    throw new EdgeT5Error(
      "E_PROVIDER",
      `onnxruntime-node cannot use ${provider} here: ${why}. Use cpu, or install what it needs (for CUDA, onnxruntime-node's own install step).`,
      { cause },
    );
  }
}
