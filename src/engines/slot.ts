/** A place for one model's half in an isolate, as a deployment's engine offers it. */
import type { Engine, EngineLimits, LoadRequest, Role } from "../t5/engine.ts";
import type { Manifest } from "../t5/manifest.ts";

export interface EngineSlot {
  /** Bytes of memory that it holds. */
  readonly bytes: number;
  /**
   * Bytes that a load would hold.
   *
   * @throws EdgeT5Error `E_CAPACITY` when it does not fit the limits
   */
  bytesOf(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): number;
  /** May be called again after it failed. @throws EdgeT5Error as {@link EngineLoader} */
  load<R extends Role>(request: LoadRequest<R>): Promise<Engine<R>>;
  /** Gives the memory back, to be used by another load: nobody may touch what was loaded into it any more. */
  release(): void;
}

/**
 * The engine of a deployment: what a module that `#engine` stands for gives out. `#engine` is set where a Worker is
 * built (`[alias]` of its wrangler.toml), so that the other engine is not in its bundle.
 */
export interface DeployedEngine {
  /** For `/healthz`: the engine, and on which kernels or runtime it runs. */
  describe(): { engine: "simd" | "onnx"; runs_on: string };
  createSlot(): EngineSlot;
}
