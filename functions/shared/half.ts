/** What the encoder's and the decoder's Worker have in common: models by name, each loaded once an isolate and kept. */
import type { Context } from "hono";
import { errorBody } from "../../src/api/token-stream.ts";
import { Resident } from "../../src/engines/resident.ts";
import type { EngineLimits, Role, SimdEngine } from "../../src/engines/simd/index.ts";
import { loadSimdEngine } from "../../src/engines/simd/index.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { modelStore } from "../../src/store/r2.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { kernels } from "./kernels.ts";

export interface HalfBindings {
  SHARDS: R2Bucket;
  /** Longest input and output in tokens, sequences at once, bytes of WASM memory: memory is planned for them. */
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_WASM_BYTES: number;
}

export class Half<R extends Role> {
  readonly #role: R;
  readonly #models = new Map<string, { resident: Resident<SimdEngine<R>>; memory: WebAssembly.Memory | undefined }>();

  constructor(role: R) {
    this.#role = role;
  }

  /** This half of a model, loaded by the first request that asks for it. */
  engine(c: Context<{ Bindings: HalfBindings }>, name: string): Promise<SimdEngine<R>> {
    let model = this.#models.get(name);
    if (!model) {
      model = { resident: new Resident(), memory: undefined };
      this.#models.set(name, model);
    }
    const kept = model;
    return kept.resident.get(
      async ({ signal, touch }) => {
        const store = modelStore(c.env.SHARDS, name);
        const manifest = await readManifest(store);
        touch();
        return loadSimdEngine({
          manifest,
          store,
          kernels,
          roles: [this.#role],
          limits: limitsOf(c.env),
          // WASM memory never shrinks: a second try goes into the memory of the first.
          memory: kept.memory,
          onMemory: (memory) => {
            kept.memory = memory;
          },
          onProgress: touch,
          signal,
        });
      },
      (work) => c.executionCtx.waitUntil(work),
    );
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
