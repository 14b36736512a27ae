/** The models that an origin answers with: loaded whole, shared by all requests, the few that were used last. */
import { sharedEngine } from "../../engines/batching-decoder.ts";
import { RecentlyUsed } from "../../engines/recently-used.ts";
import { EdgeT5Error } from "../../errors.ts";
import { modelKey, modelStore, R2Store } from "../../store/r2.ts";
import { readAdapter } from "../../t5/adapter.ts";
import type { Engine, EngineLimits, EngineLoader, HeldAdapter } from "../../t5/engine.ts";
import { blobKey, type Manifest, readManifest } from "../../t5/manifest.ts";
import type { ObjectCache } from "./object-cache.ts";

const MOST_MODELS = 3;

export interface OriginModelsOptions {
  objects: ObjectCache;
  /** Answers without an adapter. */
  load: EngineLoader;
  /** Takes adapters: the simd engine, beside another one. */
  loadForAdapters: EngineLoader;
  limits: EngineLimits;
}

/** A model while a request uses it. */
export interface UsedModel {
  engine: Engine;
  adapter: HeldAdapter | undefined;
  /** Lets the adapter go; again is nothing. */
  end(): void;
}

export class OriginModels {
  readonly #options: OriginModelsOptions;
  /** By loader and `NAME@VERSION`. */
  readonly #loaded = new RecentlyUsed<Engine>(MOST_MODELS);

  constructor(options: OriginModelsOptions) {
    this.#options = options;
  }

  /**
   * @param id `NAME@VERSION`
   * @param adapter its key in the bucket
   * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_ADAPTER_NOT_FOUND`, and as the engine's loader
   */
  async use(id: string, adapter: string | undefined, signal: AbortSignal): Promise<UsedModel> {
    const { objects, load, loadForAdapters } = this.#options;
    const engine = await this.#get(id, adapter === undefined ? load : loadForAdapters);
    const read = () => readAdapter(new R2Store(objects, `${adapter}/`));
    const held = adapter === undefined ? undefined : await engine.adapters.acquire(adapter, read, signal);
    return { engine, adapter: held, end: () => held?.release() };
  }

  /** What each has done. */
  async health() {
    const states = [...this.#loaded.entries()].map(async ([id, loaded]) => {
      const engine = await loaded.catch(() => null);
      return [id, engine && { steps: engine.decoder.steps, open_sequences: engine.decoder.openSequences }] as const;
    });
    return Object.fromEntries(await Promise.all(states));
  }

  #get(id: string, load: EngineLoader): Promise<Engine> {
    const key = load === this.#options.load ? id : `${id} for adapters`;
    return this.#loaded.get(key, () => this.#load(id, load));
  }

  async #load(id: string, load: EngineLoader): Promise<Engine> {
    const { objects, limits } = this.#options;
    const store = modelStore(objects, id);
    const manifest = await readManifest(store);
    const request = { manifest, store, roles: ["encoder", "decoder"], limits } as const;
    try {
      return sharedEngine(await load(request));
    } catch (error) {
      if (!(error instanceof EdgeT5Error && error.code === "E_BLOB_CORRUPT")) throw error;
      // What was right when it was fetched has been damaged in the folder.
      await this.#forget(id, manifest);
      return sharedEngine(await load(request));
    }
  }

  async #forget(id: string, { blobs }: Manifest): Promise<void> {
    const [name = ""] = id.split("@");
    await Promise.all(Object.keys(blobs).map((hash) => this.#options.objects.forget(modelKey(name, blobKey(hash)))));
  }
}
