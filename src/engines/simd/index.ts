/** The simd engine: T5 on our own WASM kernels, int8 weights kept as they are, float32 as a checking mode. */
import { instantiateKernels, type KernelModule, type Kernels } from "../../kernels/index.ts";
import { tensorsOf } from "../../t5/architecture.ts";
import {
  DEFAULT_ADAPTER_BYTES,
  type Engine,
  type EngineLimits,
  type EngineLoader,
  type LoadRequest,
  type Role,
} from "../../t5/engine.ts";
import { type Manifest, partIn } from "../../t5/manifest.ts";
import { loadBlobs } from "../load.ts";
import { SimdAdapters } from "./adapters.ts";
import { SimdDecoder } from "./decoder.ts";
import { SimdEncoder } from "./encoder.ts";
import { Machine } from "./machine.ts";
import { growthPages, PAGE, planMemory } from "./plan.ts";

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
 * Plans the memory, has the weights brought in, and binds them. After a failure, an aborted signal's too, nothing more is
 * written to the memory.
 *
 * @throws EdgeT5Error `E_CAPACITY` (does not fit), `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_MANIFEST`
 */
export async function loadSimdEngine<R extends Role>(options: SimdLoadRequest<R>): Promise<SimdEngine<R>> {
  const { manifest, store, kernels, roles, limits, onMemory, onProgress } = options;
  const plan = planMemory(manifest, roles, limits);
  const reusable = options.memory?.buffer.byteLength === plan.pages * PAGE ? options.memory : undefined;
  const pages = growthPages(plan, limits);
  const memory = reusable ?? new WebAssembly.Memory({ initial: plan.pages, maximum: plan.pages + pages });
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
  const growth = { pages, isAllowed: options.mayGrow ?? (() => true) };
  const machine = new Machine(manifest, plan, options.wrapKernels?.(instance) ?? instance, memory, growth);
  const wanted = new Set<Role>(roles);
  const adapters = new SimdAdapters(machine, linearsOf(manifest, wanted), limits.adapterBytes ?? DEFAULT_ADAPTER_BYTES);
  const engine = {
    encoder: wanted.has("encoder")
      ? new SimdEncoder(machine, partIn(manifest, "encoder"), limits.maxInputTokens)
      : undefined,
    decoder: wanted.has("decoder")
      ? new SimdDecoder(machine, adapters, partIn(manifest, "decoder"), manifest.tiedHead, limits)
      : undefined,
    adapters,
    memory,
    memoryBytes: memory.buffer.byteLength,
  };
  return engine as unknown as SimdEngine<R>;
}

/** Names of the linear layers of the halves at hand. */
function linearsOf({ model, shards }: Manifest, roles: ReadonlySet<Role>): Set<string> {
  const isHere = (role: string, layer: number | null) =>
    shards.some((shard) => {
      const [first, end] = shard.layers;
      return shard.role === role && roles.has(shard.role) && layer !== null && layer >= first && layer < end;
    });
  const linears = tensorsOf(model, true).filter(({ kind, role, layer }) => kind === "linear" && isHere(role, layer));
  return new Set(linears.map(({ name }) => name));
}
