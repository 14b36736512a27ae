/**
 * What the encoder's and the decoder's Worker have in common: models by name, each loaded once an isolate and kept, as
 * many as fit its memory; the one that was not asked for longest makes room for another.
 */
import type { Context } from "hono";
import { errorBody } from "../../src/api/token-stream.ts";
import { Resident } from "../../src/engines/resident.ts";
import type { SimdEngine } from "../../src/engines/simd/index.ts";
import { loadSimdEngine, memoryBytesOf } from "../../src/engines/simd/index.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { kernels } from "../../src/kernels/workerd.ts";
import { modelStore } from "../../src/store/r2.ts";
import type { EngineLimits, Role } from "../../src/t5/engine.ts";
import { readManifest } from "../../src/t5/manifest.ts";

export interface HalfBindings {
  SHARDS: R2Bucket;
  /** Longest input and output in tokens, sequences at once, bytes of WASM memory: memory is planned for them. */
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_WASM_BYTES: number;
}

interface Model<R extends Role> {
  resident: Resident<SimdEngine<R>>;
  /** Kept through failed loads: WASM memory never shrinks, so a second try goes into the memory of the first. */
  memory: WebAssembly.Memory | undefined;
}

export class Half<R extends Role> {
  readonly #role: R;
  readonly #isBusy: (engine: SimdEngine<R>) => boolean;
  /** Least recently asked for first. */
  readonly #models = new Map<string, Model<R>>();

  /** @param isBusy whether an engine holds something that a request comes back to */
  constructor(role: R, isBusy: (engine: SimdEngine<R>) => boolean) {
    this.#role = role;
    this.#isBusy = isBusy;
  }

  /**
   * This half of a model, loaded by the first request that asks for it.
   *
   * @throws EdgeT5Error as {@link loadSimdEngine}; `E_CAPACITY` also while other models are busy in its room
   */
  engine(c: Context<{ Bindings: HalfBindings }>, name: string): Promise<SimdEngine<R>> {
    const model: Model<R> = this.#models.get(name) ?? { resident: new Resident(), memory: undefined };
    this.#models.delete(name);
    this.#models.set(name, model);
    return model.resident.get(
      async ({ signal, touch }) => {
        const store = modelStore(c.env.SHARDS, name);
        const manifest = await readManifest(store);
        touch();
        const roles = [this.#role];
        const limits = limitsOf(c.env);
        this.#makeRoom(model, memoryBytesOf(manifest, roles, limits), c.env.MAX_WASM_BYTES);
        return loadSimdEngine({
          manifest,
          store,
          kernels,
          roles,
          limits,
          memory: model.memory,
          onMemory: (memory) => {
            model.memory = memory;
          },
          onProgress: touch,
          signal,
        });
      },
      (work) => c.executionCtx.waitUntil(work),
    );
  }

  /** Lets go of other models until `bytes` fit. A request that still holds one of them ends on it. */
  #makeRoom(model: Model<R>, bytes: number, limit: number): void {
    const others = [...this.#models].filter(([, other]) => other !== model && other.memory);
    let held = others.reduce((sum, [, { memory }]) => sum + (memory?.buffer.byteLength ?? 0), 0);
    for (const [name, { resident, memory }] of others) {
      if (held + bytes <= limit) return;
      if (resident.state === "loading" || (resident.value && this.#isBusy(resident.value))) continue;
      this.#models.delete(name);
      held -= memory?.buffer.byteLength ?? 0;
    }
    if (held + bytes > limit) {
      throw new EdgeT5Error("E_CAPACITY", "Other models are busy in this model's room. Try again in a moment.");
    }
  }

  /** What is here, for `/healthz`. */
  health(describe: (engine: SimdEngine<R>) => object) {
    const models = [...this.#models].map(([name, { resident, memory }]) => [
      name,
      {
        state: resident.state,
        loads: resident.loads,
        failures: resident.failures,
        wasm_bytes: memory?.buffer.byteLength ?? 0,
        ...(resident.value && describe(resident.value)),
      },
    ]);
    return { kernels: kernels.name, models: Object.fromEntries(models) };
  }
}

function limitsOf(env: HalfBindings): EngineLimits {
  return {
    maxInputTokens: env.MAX_PROMPT_TOKENS,
    maxNewTokens: env.MAX_NEW_TOKENS,
    maxSequences: env.MAX_SEQUENCES,
    memoryBytes: env.MAX_WASM_BYTES,
  };
}

/** One of our errors as it is; anything else as a defect, with its details in the log only. */
export function toEdgeT5Error(error: unknown): EdgeT5Error {
  if (error instanceof EdgeT5Error) return error;
  console.error(error);
  return new EdgeT5Error("E_INTERNAL", "A defect of edge-t5.", { cause: error });
}

/** Answers what a route threw, in the form that the gateway reads. */
export function onError(error: Error): Response {
  const known = toEdgeT5Error(error);
  return Response.json(errorBody(known), { status: known.status });
}
