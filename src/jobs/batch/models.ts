/** Models that batches of this origin run on: the simd engine, the few that were used last. */
import type { Placement } from "../../api/answers.ts";
import { RecentlyUsed } from "../../engines/recently-used.ts";
import { readAdapter } from "../../t5/adapter.ts";
import type { Engine, EngineLoader, HeldAdapter } from "../../t5/engine.ts";
import { type GenerationParams, generationDefaults } from "../../t5/generation/config.ts";
import { type Manifest, readManifest } from "../../t5/manifest.ts";
import { loadTokenizer, type Tokenizer } from "../../t5/tokenizer.ts";
import { inputStore, type JobStorage } from "../origin/storage.ts";
import type { BatchTarget } from "./spec.ts";

export interface LoadedModel {
  manifest: Manifest;
  tokenizer: Tokenizer;
  defaults: Partial<GenerationParams>;
  engine: Engine;
}

/**
 * Sequences that decode side by side. Rows a second of the packaged model, 200 rows on one thread of a 2-core Xeon: 55 one
 * by one, 64 by fours, 68 by sixteens and by thirty-twos; onnxruntime-node's 35, 46, 54 and 56, and no adapters.
 */
export const ROWS_TOGETHER = 16;
const MOST_MODELS = 2;
/** What WASM can address: of a large model fewer of the longest sequences have room side by side. */
const MOST_BYTES = 2 ** 32;

export class BatchModels {
  readonly #load: EngineLoader;
  /** By what they are and for which lengths. */
  readonly #loaded = new RecentlyUsed<LoadedModel>(MOST_MODELS);

  constructor(load: EngineLoader) {
    this.#load = load;
  }

  /** @throws EdgeT5Error `E_PACKAGE_NOT_FOUND` and others, as the engine's loader */
  get(id: string, { MAX_PROMPT_TOKENS, MAX_NEW_TOKENS }: Placement, storage: JobStorage): Promise<LoadedModel> {
    const key = `${id} ${MAX_PROMPT_TOKENS} ${MAX_NEW_TOKENS}`;
    return this.#loaded.get(key, () => this.#loadModel(id, MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, storage));
  }

  async #loadModel(
    id: string,
    maxInputTokens: number,
    maxNewTokens: number,
    storage: JobStorage,
  ): Promise<LoadedModel> {
    const store = inputStore(storage, `models/${id}`);
    const manifest = await readManifest(store);
    const limits = { maxInputTokens, maxNewTokens, maxSequences: ROWS_TOGETHER, memoryBytes: MOST_BYTES };
    const [tokenizer, engine] = await Promise.all([
      loadTokenizer(manifest, store),
      this.#load({ manifest, store, roles: ["encoder", "decoder"], limits }),
    ]);
    return { manifest, tokenizer, defaults: generationDefaults(manifest.generation), engine };
  }
}

/** Its adapter, while it is used. @throws EdgeT5Error `E_ADAPTER`, `E_ADAPTER_NOT_FOUND` */
export async function holdAdapter(
  { engine }: LoadedModel,
  adapter: BatchTarget["adapter"],
  storage: JobStorage,
  signal: AbortSignal,
): Promise<HeldAdapter | undefined> {
  if (!adapter) return undefined;
  const load = () => readAdapter(inputStore(storage, `adapters/${adapter.name}`));
  return engine.adapters.acquire(adapter.key, load, signal);
}
