/** The simd engine of a Worker. */
import { kernels } from "../../kernels/workerd.ts";
import type { Engine, LoadRequest, Role } from "../../t5/engine.ts";
import type { DeployedEngine, EngineSlot } from "../slot.ts";
import { loadSimdEngine, memoryBytesOf } from "./index.ts";

/**
 * What was given back last. WASM memory that is let go of is there until the garbage collector runs, and an isolate has no
 * room for that beside another model's; a version's successor mostly takes exactly as much.
 */
let spare: WebAssembly.Memory | undefined;

/** The spare memory, as if it were new, where it has so many bytes; else it is let go of. */
function takeSpare(bytes: number): WebAssembly.Memory | undefined {
  const memory = spare?.buffer.byteLength === bytes ? spare : undefined;
  spare = undefined;
  if (memory) new Uint8Array(memory.buffer).fill(0);
  return memory;
}

class SimdSlot implements EngineSlot {
  /** Kept through failed loads: WASM memory never shrinks, so a second try goes into the memory of the first. */
  #memory: WebAssembly.Memory | undefined;

  get bytes(): number {
    return this.#memory?.buffer.byteLength ?? 0;
  }

  bytesOf = memoryBytesOf;

  load<R extends Role>(request: LoadRequest<R>): Promise<Engine<R>> {
    this.#memory ??= takeSpare(memoryBytesOf(request.manifest, request.roles, request.limits));
    return loadSimdEngine({
      ...request,
      kernels,
      memory: this.#memory,
      onMemory: (memory) => {
        this.#memory = memory;
      },
    });
  }

  release(): void {
    spare = this.#memory;
    this.#memory = undefined;
  }
}

export const deployed: DeployedEngine = {
  describe: () => ({ engine: "simd", runs_on: kernels.name }),
  createSlot: () => new SimdSlot(),
};
