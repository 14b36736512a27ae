/**
 * What the encoder's and the decoder's Worker have in common: models by name, each loaded once an isolate and kept, as
 * many as fit its memory; the one that was not asked for longest makes room for another.
 */

import { type Context, Hono } from "hono";
import { createMiddleware } from "hono/factory";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { deployed } from "#engine";
import { errorBody } from "../../src/api/token-stream.ts";
import { sharedEngine } from "../../src/engines/batching-decoder.ts";
import { Resident } from "../../src/engines/resident.ts";
import { revocable } from "../../src/engines/revocable.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { Registry, type Sample } from "../../src/observability/metrics.ts";
import { modelStore, R2Store } from "../../src/store/r2.ts";
import { readAdapter } from "../../src/t5/adapter.ts";
import type { AdapterSet, Engine, EngineLimits, HeldAdapter, Role } from "../../src/t5/engine.ts";
import { type Manifest, partOf, readManifest, shardsOf } from "../../src/t5/manifest.ts";
import { toEdgeT5Error } from "./known-error.ts";
import { countLoads, identify, type MetricsAnswer, type ObservedEnv, observe, traced } from "./observe.ts";
import { NoRoomNow, PATIENCE_MS, Room, type Tenant } from "./room.ts";
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

export interface HalfEnv extends ObservedEnv {
  Bindings: HalfBindings;
}

/** An engine while a request uses it. */
export interface Used<T> {
  engine: T;
  /** The request has done with it; called twice, it does nothing more. */
  end(): void;
}

/** How a half's engine says whether requests are in the middle of something. */
export interface Activity {
  /** What requests come back to. */
  open: number;
  /** Moves on while they do. */
  steps: number;
}

export const NOTHING_OPEN: Activity = { open: 0, steps: 0 };

/** A request that did not say that it ended, and left nothing open, is taken for gone after so long. */
const LEASE_MS = 30_000;
/** What is open but was not stepped for so long was left behind: decoders themselves reclaim it. */
const ABANDONED_MS = 60_000;

/** One version of one model. */
class Model<R extends Role> implements Tenant {
  began = 0;
  asked = 0;
  readonly resident = new Resident<Engine<R>>();
  readonly slot = deployed.createSlot();
  /** Has those who still hold what is loaded leave its memory alone. */
  revoke = () => {};
  readonly #activityOf: (engine: Engine<R>) => Activity;
  /** Requests that use it, and when they began, milliseconds since 1970. */
  readonly #leases = new Map<object, number>();
  #steps = -1;
  #stepped = 0;

  constructor(activityOf: (engine: Engine<R>) => Activity) {
    this.#activityOf = activityOf;
  }

  get bytes(): number {
    return this.slot.bytes;
  }

  get isLoading(): boolean {
    return this.resident.state === "loading";
  }

  get isBusy(): boolean {
    const now = Date.now();
    for (const [lease, began] of this.#leases) if (now - began > LEASE_MS) this.#leases.delete(lease);
    const { open, steps } = this.resident.value ? this.#activityOf(this.resident.value) : { open: 0, steps: -1 };
    if (steps !== this.#steps) this.#stepped = now;
    this.#steps = steps;
    return this.#leases.size > 0 || (open > 0 && now - this.#stepped < ABANDONED_MS);
  }

  /** A request begins to use it. @returns called when it has done with it; called twice, it does nothing more */
  lend(): () => void {
    const lease = {};
    this.#leases.set(lease, Date.now());
    return () => void this.#leases.delete(lease);
  }

  release(): void {
    this.revoke();
    this.slot.release();
  }
}

/** Rows of a pass: a decoder takes up to some dozens. */
const ROWS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

export class Half<R extends Role> {
  /** `encoder`, `decoder`, or `model` for both. */
  readonly name: string;
  readonly metrics = new Registry();
  readonly #countLoad = countLoads(this.metrics);
  readonly #batchRows = this.metrics.histogram(
    "edge_t5_batch_rows",
    "Rows of all requests that went through the decoder's weights in one pass.",
    [],
    ROWS,
  );
  readonly #adapterUses = this.metrics.counter(
    "edge_t5_cache_requests_total",
    "What was asked of a cache, and whether it was there.",
    ["cache", "result"],
  );
  readonly #roles: readonly R[];
  /** Models by `NAME@VERSION`. */
  readonly #room: Room<Model<R>>;

  constructor(roles: readonly R[], activityOf: (engine: Engine<R>) => Activity) {
    this.name = roles.length > 1 ? "model" : (roles[0] ?? "none");
    this.#roles = roles;
    this.#room = new Room(() => new Model(activityOf));
    const sum = (count: (model: Model<R>) => number): Sample[] => [
      { labels: {}, value: [...this.#room.models.values()].reduce((sum, model) => sum + count(model), 0) },
    ];
    const { metrics } = this;
    metrics.read("gauge", "edge_t5_wasm_bytes", "WASM memory that models hold.", () => sum(({ bytes }) => bytes));
    metrics.read("gauge", "edge_t5_models", "Models that are loaded.", () =>
      sum(({ resident }) => (resident.state === "loaded" ? 1 : 0)),
    );
    metrics.read("gauge", "edge_t5_open_sequences", "Sequences that are being decoded.", () =>
      sum(({ resident }) => (resident.value ? activityOf(resident.value).open : 0)),
    );
  }

  /**
   * This Worker's part of a model, loaded by the first request that asks for it. Where it does not fit beside others, it
   * waits for them.
   *
   * @param id `NAME@VERSION`
   * @throws EdgeT5Error as {@link EngineSlot.load}; `E_BUSY` after waiting for room for {@link PATIENCE_MS}
   */
  async use(c: Context<HalfEnv>, id: string): Promise<Used<Engine<R>>> {
    for (const started = Date.now(); ; ) {
      try {
        return await this.#tryUse(c, id);
      } catch (error) {
        // Who began the load waited in vain: who came later has patience left.
        if (!(error instanceof NoRoomNow) || Date.now() - started > PATIENCE_MS) throw error;
      }
    }
  }

  async #tryUse(c: Context<HalfEnv>, id: string): Promise<Used<Engine<R>>> {
    const model = await this.#room.enter(id);
    const engine = await model.resident.get(
      async ({ signal, touch }) => {
        const store = modelStore(c.env.SHARDS, id);
        const manifest = partFor(c.env, await readManifest(store), this.#roles);
        touch();
        const roles = this.#roles;
        const limits = limitsOf(c.env);
        const bytes = model.slot.bytesOf(manifest, roles, limits);
        await this.#room.make(id, bytes, c.env.MAX_WASM_BYTES, touch, signal);
        const mayGrow = (bytes: number) => this.#heldBytes() + bytes <= c.env.MAX_WASM_BYTES;
        const request = { manifest, store, roles, limits, onProgress: touch, signal, mayGrow };
        const loaded = revocable(await this.#countLoad(() => model.slot.load(request)));
        model.revoke = loaded.revoke;
        const engine = sharedEngine(loaded.engine, (rows) => this.#batchRows.observe([], rows));
        return { ...engine, adapters: this.#counted(engine.adapters) };
      },
      (work) => c.executionCtx.waitUntil(work),
    );
    return { engine, end: model.lend() };
  }

  /** The same adapters, counted as they are asked for. */
  #counted(adapters: AdapterSet): AdapterSet {
    return {
      get size() {
        return adapters.size;
      },
      acquire: async (id, load, signal) => {
        let result = "hit";
        const loadOnce = () => {
          result = "miss";
          return load();
        };
        try {
          return await adapters.acquire(id, loadOnce, signal);
        } finally {
          this.#adapterUses.add(["adapters", result]);
        }
      },
    };
  }

  #heldBytes(): number {
    return [...this.#room.models.values()].reduce((sum, { slot }) => sum + slot.bytes, 0);
  }

  /** What is here, for `/healthz`. */
  health(describe: (engine: Engine<R>) => object) {
    const models = [...this.#room.models].map(([name, { resident, slot }]) => [
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
    throw new EdgeT5Error(
      "E_CAPACITY",
      `The ${role} of ${manifest.name} has fewer shards than this deployment has Workers for it. Split it with a smaller --shard-mb, or deploy for it.`,
    );
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

/** An app with what every private Worker has: errors as the gateway reads them, loading, and `/healthz`; its chain's included. */
export function halfApp<R extends Role>(half: Half<R>, describe: (engine: Engine<R>) => object): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();
  app.use(identify, observe(half.name, half.metrics), traceUpstream);
  app.onError((error, c) => {
    const known = toEdgeT5Error(error, c.get("requestId"));
    c.get("line").add({ code: known.code });
    return c.json(errorBody(known), known.status as ContentfulStatusCode);
  });
  /** For the gateway, which renders the metrics of all Workers. */
  app.get("/metrics", async (c) => {
    const { UPSTREAM, WORKERS_AFTER = 0 } = c.env;
    const own = WORKERS_AFTER > 0 ? `${half.name}-before-${WORKERS_AFTER}` : half.name;
    const before = UPSTREAM && (await (await UPSTREAM.fetch("http://upstream/metrics")).json<MetricsAnswer>());
    return c.json({ workers: { ...before?.workers, [own]: half.metrics.snapshot() } } satisfies MetricsAnswer);
  });
  app.get("/healthz", async (c) => {
    const { UPSTREAM } = c.env;
    const upstream = UPSTREAM && (await (await UPSTREAM.fetch("http://upstream/healthz")).json<object>());
    return c.json({ ...half.health(describe), ...(upstream && { upstream }) });
  });
  /** Loads a model that will be asked for. */
  app.post("/models/:model/load", async (c) => {
    const upstream = c.env.UPSTREAM && callUpstream(c.env, c.req.path, {});
    const [{ end }] = await Promise.all([half.use(c, c.req.param("model")), upstream]);
    end();
    return c.body(null, 204);
  });
  return app;
}

/** The Worker before this one logs under the same request's id. */
const traceUpstream = createMiddleware<HalfEnv>(async (c, next) => {
  const { UPSTREAM } = c.env;
  if (UPSTREAM) c.env = { ...c.env, UPSTREAM: traced(UPSTREAM, c.get("requestId")) };
  await next();
});
