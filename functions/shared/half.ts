/**
 * What the encoder's and the decoder's Worker have in common: models by name, each loaded once an isolate and kept, as
 * many as fit its memory; the one that was not asked for longest makes room for another.
 */

import { type Context, Hono } from "hono";
import { deployed } from "#engine";
import { errorBody } from "../../src/api/token-stream.ts";
import { batching } from "../../src/engines/batching-decoder.ts";
import { Resident } from "../../src/engines/resident.ts";
import type { EngineSlot } from "../../src/engines/slot.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { modelStore, R2Store } from "../../src/store/r2.ts";
import { readAdapter } from "../../src/t5/adapter.ts";
import type { AdapterSet, Engine, EngineLimits, HeldAdapter, Role } from "../../src/t5/engine.ts";
import { type Manifest, partOf, readManifest, shardsOf } from "../../src/t5/manifest.ts";
import { callUpstream } from "./upstream.ts";

export interface HalfBindings {
  SHARDS: R2Bucket;
  /** Longest input and output in tokens, sequences at once, bytes of WASM memory: memory is planned for them. */
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
  MAX_WASM_BYTES: number;
  /** Precision of keys and values: 8 or 32. Default: 8 for quantized weights. */
  CACHE_BITS?: 8 | 32;
  /** Of a chain: Workers that hold later layers of the same stack. Default: 0. */
  WORKERS_AFTER?: number;
  /** Of a chain: the Worker that holds the layers before. Without one, this Worker holds the first layers. */
  UPSTREAM?: Fetcher;
}

export interface HalfEnv {
  Bindings: HalfBindings;
}

interface Model<R extends Role> {
  resident: Resident<Engine<R>>;
  slot: EngineSlot;
}

export class Half<R extends Role> {
  readonly #roles: readonly R[];
  readonly #isBusy: (engine: Engine<R>) => boolean;
  /** Least recently asked for first. */
  readonly #models = new Map<string, Model<R>>();

  /** @param isBusy whether an engine holds something that a request comes back to */
  constructor(roles: readonly R[], isBusy: (engine: Engine<R>) => boolean) {
    this.#roles = roles;
    this.#isBusy = isBusy;
  }

  /**
   * This Worker's part of a model, loaded by the first request that asks for it.
   *
   * @throws EdgeT5Error as {@link EngineSlot.load}; `E_CAPACITY` also while other models are busy in its room
   */
  engine(c: Context<HalfEnv>, name: string): Promise<Engine<R>> {
    const model: Model<R> = this.#models.get(name) ?? { resident: new Resident(), slot: deployed.createSlot() };
    this.#models.delete(name);
    this.#models.set(name, model);
    return model.resident.get(
      async ({ signal, touch }) => {
        const store = modelStore(c.env.SHARDS, name);
        const manifest = partFor(c.env, await readManifest(store), this.#roles);
        touch();
        const roles = this.#roles;
        const limits = limitsOf(c.env);
        this.#makeRoom(model, model.slot.bytesOf(manifest, roles, limits), c.env.MAX_WASM_BYTES);
        const mayGrow = (bytes: number) => this.#heldBytes() + bytes <= c.env.MAX_WASM_BYTES;
        const request = { manifest, store, roles, limits, onProgress: touch, signal, mayGrow };
        return batching(await model.slot.load(request));
      },
      (work) => c.executionCtx.waitUntil(work),
    );
  }

  /** Lets go of other models until `bytes` fit. A request that still holds one of them ends on it. */
  #makeRoom(model: Model<R>, bytes: number, limit: number): void {
    const others = [...this.#models].filter(([, other]) => other !== model && other.slot.bytes > 0);
    let held = others.reduce((sum, [, { slot }]) => sum + slot.bytes, 0);
    for (const [name, { resident, slot }] of others) {
      if (held + bytes <= limit) return;
      if (resident.state === "loading" || (resident.value && this.#isBusy(resident.value))) continue;
      this.#models.delete(name);
      held -= slot.bytes;
      slot.release();
    }
    if (held + bytes > limit) {
      throw new EdgeT5Error("E_CAPACITY", "Other models are busy in this model's room. Try again in a moment.");
    }
  }

  #heldBytes(): number {
    return [...this.#models.values()].reduce((sum, { slot }) => sum + slot.bytes, 0);
  }

  /** What is here, for `/healthz`. */
  health(describe: (engine: Engine<R>) => object) {
    const models = [...this.#models].map(([name, { resident, slot }]) => [
      name,
      {
        state: resident.state,
        loads: resident.loads,
        failures: resident.failures,
        wasm_bytes: slot.bytes,
        adapters: resident.value?.adapters.size ?? 0,
        ...(resident.value && describe(resident.value)),
      },
    ]);
    return { ...deployed.describe(), models: Object.fromEntries(models) };
  }
}

/** What a Worker's place in its chain leaves to it: a package may have more shards than the chain has Workers, or fewer. */
function partFor({ WORKERS_AFTER = 0, UPSTREAM }: HalfBindings, manifest: Manifest, roles: readonly Role[]): Manifest {
  const [role] = roles;
  if (roles.length > 1 || !role) return manifest;
  const end = shardsOf(manifest, role).length - WORKERS_AFTER;
  if (end < 1) {
    throw new EdgeT5Error("E_INTERNAL", `The ${role} of ${manifest.name} has no shard for this Worker of its chain.`);
  }
  return partOf(manifest, role, UPSTREAM ? end - 1 : 0, end);
}

function limitsOf(env: HalfBindings): EngineLimits {
  return {
    maxInputTokens: env.MAX_PROMPT_TOKENS,
    maxNewTokens: env.MAX_NEW_TOKENS,
    maxSequences: env.MAX_SEQUENCES,
    memoryBytes: env.MAX_WASM_BYTES,
    cacheBits: env.CACHE_BITS,
  };
}

/**
 * An adapter of the bucket, loaded by who first asks for it; release it when the request is over.
 *
 * @param key its folder; see `ADAPTER_HEADER` in api/token-stream.ts
 * @throws EdgeT5Error `E_ADAPTER_NOT_FOUND` when nothing lies there; as {@link AdapterSet.acquire}
 */
export function acquireAdapter({ SHARDS }: HalfBindings, adapters: AdapterSet, key: string): Promise<HeldAdapter> {
  return adapters.acquire(key, () => readAdapter(new R2Store(SHARDS, `${key}/`)));
}

/** One of our errors as it is; anything else as a defect, with its details in the log only. */
export function toEdgeT5Error(error: unknown): EdgeT5Error {
  if (error instanceof EdgeT5Error) return error;
  console.error(error);
  return new EdgeT5Error("E_INTERNAL", "A defect of edge-t5.", { cause: error });
}

/** An app with what every private Worker has: errors as the gateway reads them, loading, and `/healthz`; its chain's included. */
export function halfApp<R extends Role>(half: Half<R>, describe: (engine: Engine<R>) => object): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();
  app.onError(onError);
  app.get("/healthz", async (c) => {
    const { UPSTREAM } = c.env;
    const upstream = UPSTREAM && (await (await UPSTREAM.fetch("http://upstream/healthz")).json<object>());
    return c.json({ ...half.health(describe), ...(upstream && { upstream }) });
  });
  /** Loads a model that will be asked for. */
  app.post("/models/:model/load", async (c) => {
    const upstream = c.env.UPSTREAM && callUpstream(c.env, c.req.path, {});
    await Promise.all([half.engine(c, c.req.param("model")), upstream]);
    return c.body(null, 204);
  });
  return app;
}

/** Answers what a route threw, in the form that the gateway reads. */
function onError(error: Error): Response {
  const known = toEdgeT5Error(error);
  return Response.json(errorBody(known), { status: known.status });
}
