/** onnxruntime in Node: the native one, and the one made for browsers. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { OnnxRuntime } from "./runtime.ts";

export interface NativeOptions {
  /** Threads of a session. Default: as many as the machine has cores. */
  threads?: number;
}

/** onnxruntime-node, on the processor. */
export async function nativeRuntime({ threads }: NativeOptions = {}): Promise<OnnxRuntime> {
  const { InferenceSession, Tensor } = await import("onnxruntime-node");
  const limits = threads === undefined ? {} : { intraOpNumThreads: threads, interOpNumThreads: threads };
  return {
    name: "onnxruntime-node",
    Tensor,
    createSession: (model, externalData) =>
      InferenceSession.create(model, { executionProviders: ["cpu"], ...limits, externalData }),
  };
}

/** onnxruntime-web, on one thread. */
export async function webRuntime(): Promise<OnnxRuntime> {
  const { env, InferenceSession, Tensor } = await import("onnxruntime-web/wasm");
  env.wasm.numThreads = 1;
  const wasm = createRequire(import.meta.url).resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm");
  env.wasm.wasmBinary = new Uint8Array(await readFile(wasm)).buffer;
  return {
    name: "onnxruntime-web",
    Tensor,
    createSession: (model, externalData) =>
      InferenceSession.create(model, { executionProviders: ["wasm"], externalData }),
  };
}
