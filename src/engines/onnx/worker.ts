/** The onnx engine of a Worker: onnxruntime-web on one thread. */

import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import type { Engine, EngineLimits, LoadRequest, Role } from "../../t5/engine.ts";
import type { Manifest } from "../../t5/manifest.ts";
import type { DeployedEngine, EngineSlot } from "../slot.ts";
import { loadOnnxEngine, planBytes } from "./index.ts";
import type { ExternalFile, OnnxRuntime, Session } from "./runtime.ts";

/** onnxruntime's memory, one for all models of the isolate. */
let memory: WebAssembly.Memory | undefined;

/**
 * workerd compiles no WASM from bytes, and onnxruntime asks for that: while it starts, its request is answered with the
 * module that was imported. It also must not take workerd's `process` for Node's.
 */
async function withImportedModule<T>(start: () => Promise<T>): Promise<T> {
  const { instantiate } = WebAssembly;
  const { process } = globalThis;
  const answer = async (_: unknown, imports: WebAssembly.Imports) => {
    const memories = Object.values(imports).flatMap((group) => Object.values(group));
    memory = memories.find((value) => value instanceof WebAssembly.Memory);
    return { module: wasm, instance: await instantiate(wasm, imports) };
  };
  Object.assign(WebAssembly, { instantiate: answer });
  Object.assign(globalThis, { process: undefined });
  try {
    return await start();
  } finally {
    Object.assign(WebAssembly, { instantiate });
    Object.assign(globalThis, { process });
  }
}

env.wasm.numThreads = 1;
// Anything but nothing: the bytes are never read.
env.wasm.wasmBinary = new ArrayBuffer(8);

let started = false;

async function createSession(model: Uint8Array, externalData: readonly ExternalFile[]): Promise<Session> {
  const create = () => InferenceSession.create(model, { executionProviders: ["wasm"], externalData });
  if (started) return create();
  const session = await withImportedModule(create);
  started = true;
  return session;
}

class OnnxSlot implements EngineSlot {
  bytes = 0;
  readonly #sessions: Session[] = [];

  bytesOf(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): number {
    const { weights, caches } = planBytes(manifest, roles, limits);
    return weights + caches;
  }

  async load<R extends Role>(request: LoadRequest<R>): Promise<Engine<R>> {
    this.release();
    this.bytes = this.bytesOf(request.manifest, request.roles, request.limits);
    const runtime: OnnxRuntime = {
      name: "onnxruntime-web",
      Tensor,
      createSession: async (model, files) => {
        const session = await createSession(model, files);
        this.#sessions.push(session);
        return session;
      },
    };
    return loadOnnxEngine({ ...request, runtime });
  }

  release(): void {
    this.bytes = 0;
    for (const session of this.#sessions.splice(0)) void session.release();
  }
}

/** Bytes of onnxruntime's WASM memory. */
export function heapBytes(): number {
  return memory?.buffer.byteLength ?? 0;
}

export const deployed: DeployedEngine = {
  describe: () => ({
    engine: "onnx",
    runs_on: `onnxruntime-web, ${Math.round(heapBytes() / 1e6)} MB of WASM memory`,
  }),
  createSlot: () => new OnnxSlot(),
};
