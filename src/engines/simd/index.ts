/** The simd engine: T5 on our own WASM kernels, int8 weights kept as they are, float32 as a checking mode. */
import { instantiateKernels, type KernelModule, type Kernels } from "../../kernels/index.ts";
import type { Engine, EngineLimits, EngineLoader, LoadRequest, Role } from "../../t5/engine.ts";
import { type Manifest, partIn } from "../../t5/manifest.ts";
import { loadBlobs } from "../load.ts";
import { SimdDecoder } from "./decoder.ts";
import { SimdEncoder } from "./encoder.ts";
import { Machine } from "./machine.ts";
import { PAGE, planMemory } from "./plan.ts";

export interface SimdLoadRequest<R extends Role = Role> extends LoadRequest<R> {
  kernels: KernelModule;
  /** A memory from an earlier attempt, used again when its size fits the plan. */
  memory?: WebAssembly.Memory | undefined;
  /** Called with the memory as soon as it is there: keep it, and a failed load can be tried again in it. */
  onMemory?: ((memory: WebAssembly.Memory) => void) | undefined;
  /** Stands between the engine and its kernels: for profiling. */
  wrapKernels?: ((kernels: Kernels) => Kernels) | undefined;
}

export interface SimdEngine<R extends Role = Role> extends Engine<R> {
  memory: WebAssembly.Memory;
  memoryBytes: number;
}

/** This engine, on the kernels given. */
export function simdEngine(kernels: KernelModule): EngineLoader {
  return (request) => loadSimdEngine({ ...request, kernels });
}

/**
 * Bytes of WASM memory that {@link loadSimdEngine} takes.
 *
 * @throws EdgeT5Error `E_CAPACITY` when it does not fit the limits
 */
export function memoryBytesOf(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): number {
  return planMemory(manifest, roles, limits).pages * PAGE;
}

/**
 * Plans the memory, streams the weights in, and binds them. Once the signal aborts, nothing more is written to the memory.
 *
 * @throws EdgeT5Error `E_CAPACITY` (does not fit), `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_MANIFEST`
 */
export async function loadSimdEngine<R extends Role>(options: SimdLoadRequest<R>): Promise<SimdEngine<R>> {
  const { manifest, store, kernels, roles, limits, onMemory, onProgress } = options;
  const plan = planMemory(manifest, roles, limits);
  const reusable = options.memory?.buffer.byteLength === plan.pages * PAGE ? options.memory : undefined;
  const memory = reusable ?? new WebAssembly.Memory({ initial: plan.pages, maximum: plan.pages });
  onMemory?.(memory);

  const bytes = new Uint8Array(memory.buffer);
  const blobs = [...plan.blobs].map(([hash, at]) => ({
    hash,
    at,
    bytes: manifest.blobs[hash]?.bytes ?? 0,
    memory: bytes,
  }));
  const total = blobs.reduce((sum, blob) => sum + blob.bytes, 0);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    onProgress?.(done, total);
  };
  await loadBlobs(store, blobs, onBytes, options.signal);

  const instance = instantiateKernels(kernels.module, memory);
  const machine = new Machine(manifest, plan, options.wrapKernels?.(instance) ?? instance, memory);
  const wanted = new Set<Role>(roles);
  return {
    encoder: wanted.has("encoder")
      ? new SimdEncoder(machine, partIn(manifest, "encoder"), limits.maxInputTokens)
      : undefined,
    decoder: wanted.has("decoder")
      ? new SimdDecoder(machine, partIn(manifest, "decoder"), manifest.tiedHead, limits)
      : undefined,
    memory,
    memoryBytes: memory.buffer.byteLength,
  } as SimdEngine<R>;
}
