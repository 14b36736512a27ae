/** The options that choose an engine, and the engine that they choose. */
import type { EnumArgDef } from "citty";
import { onnxEngine } from "../engines/onnx/index.ts";
import { nativeRuntime, webRuntime } from "../engines/onnx/node.ts";
import { simdEngine } from "../engines/simd/index.ts";
import { EdgeT5Error } from "../errors.ts";
import { loadKernels } from "../kernels/node.ts";
import type { EngineLoader } from "../t5/engine.ts";

export const engineOption = {
  type: "enum",
  options: ["simd", "onnx", "onnx-web"],
  default: "simd",
  description: "simd: our WASM kernels; onnx: onnxruntime-node; onnx-web: onnxruntime-web",
} satisfies EnumArgDef;

export const kernelsOption = {
  type: "enum",
  options: ["relaxed", "plain"],
  description: "WASM kernels of the simd engine; default: what suits this machine",
} satisfies EnumArgDef;

/** @throws EdgeT5Error `E_USAGE` for kernels of an engine that has none */
export async function loadEngine(args: { engine: string; kernels?: string | undefined }): Promise<EngineLoader> {
  if (args.engine === "simd") return simdEngine(await loadKernels(args.kernels as "relaxed" | "plain" | undefined));
  if (args.kernels) throw new EdgeT5Error("E_USAGE", "--kernels belongs to --engine simd. Drop one of the two.");
  return onnxEngine(args.engine === "onnx" ? await nativeRuntime() : await webRuntime());
}
