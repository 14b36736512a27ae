/** The simd engine of a Worker. */
import { kernels } from "../../kernels/workerd.ts";
import type { Engine, LoadRequest, Role } from "../../t5/engine.ts";
import type { DeployedEngine, EngineSlot } from "../slot.ts";
import { loadSimdEngine, memoryBytesOf } from "./index.ts";

class SimdSlot implements EngineSlot {
  /** Kept through failed loads: WASM memory never shrinks, so a second try goes into the memory of the first. */
  #memory: WebAssembly.Memory | undefined;

  get bytes(): number {
    return this.#memory?.buffer.byteLength ?? 0;
  }

  bytesOf = memoryBytesOf;

  load<R extends Role>(request: LoadRequest<R>): Promise<Engine<R>> {
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
    this.#memory = undefined;
  }
}

export const deployed: DeployedEngine = {
  describe: () => ({ engine: "simd", runs_on: kernels.name }),
  createSlot: () => new SimdSlot(),
};
