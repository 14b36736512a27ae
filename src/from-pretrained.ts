/** Loads a package for use as a library, wherever the program runs: what differs between runtimes is given by the entry. */
import { simdEngine } from "./engines/simd/index.ts";
import { EdgeT5Error } from "./errors.ts";
import type { KernelModule } from "./kernels/index.ts";
import { HttpStore } from "./store/http.ts";
import type { Store } from "./store/store.ts";
import { type AdapterFiles, readAdapter } from "./t5/adapter.ts";
import type { EngineLoader } from "./t5/engine.ts";
import { generationDefaults } from "./t5/generation/config.ts";
import { readManifest } from "./t5/manifest.ts";
import { type LoadedAdapter, TextToText, type TextToTextParts } from "./t5/model.ts";
import { loadTokenizer } from "./t5/tokenizer.ts";

/** What a runtime brings. */
export interface Runtime {
  loadKernels(): Promise<KernelModule>;
  /** Opens a folder of the file system, where there is one. */
  openFolder?: (path: string) => Promise<Store>;
  /** What is loaded when nothing is named. */
  defaultPackage?: string;
}

export interface LoadOptions {
  /** Longest prompt in tokens; memory is planned for it. Default 512. */
  maxInputTokens?: number | undefined;
  /** Longest answer in tokens. Default 256. */
  maxNewTokens?: number | undefined;
  /**
   * How many of the longest sequences (prompts of a list, beams) decode side by side. Default 4, or the beams of the
   * model's `generation_config.json` where those are more.
   */
  batchSize?: number | undefined;
  /** Precision of the keys and values that the simd engine keeps. Default: 8 for quantized weights, 32 for float32 ones. */
  cacheBits?: 8 | 32 | undefined;
  /** Bytes of adapters kept ready at once; none are taken before one is used. Default 16 MB. */
  adapterBytes?: number | undefined;
  /** Default: the simd engine on the kernels that suit the machine. */
  engine?: EngineLoader | undefined;
  onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
  /** Gives the load up; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

let runtime: Runtime | null = null;

/** An entry of the library says where it runs. */
export function useRuntime(entry: Runtime): void {
  runtime = entry;
}

/** What is loaded when nothing is named. @throws EdgeT5Error `E_INPUT` where nothing is packaged */
export function defaultPackage(): string {
  if (runtime?.defaultPackage !== undefined) return runtime.defaultPackage;
  throw new EdgeT5Error("E_INPUT", "No model is packaged here. Give a package's address, or a store.");
}

/** What {@link T5.fromPretrained} makes a model of. @throws EdgeT5Error as that */
export async function loadParts(
  source: string | URL | Store,
  options: LoadOptions,
): Promise<Required<TextToTextParts>> {
  const store = await openStore(source);
  const manifest = await readManifest(store);
  const defaults = generationDefaults(manifest.generation);
  const batchSize = options.batchSize ?? Math.max(4, defaults.num_beams ?? 1);
  const load = options.engine ?? simdEngine(await kernels());
  const [tokenizer, { encoder, decoder, adapters }] = await Promise.all([
    loadTokenizer(manifest, store),
    load({
      manifest,
      store,
      roles: ["encoder", "decoder"],
      limits: {
        maxInputTokens: options.maxInputTokens ?? 512,
        maxNewTokens: options.maxNewTokens ?? 256,
        maxSequences: batchSize,
        cacheBits: options.cacheBits,
        adapterBytes: options.adapterBytes,
      },
      onProgress: options.onProgress,
      signal: options.signal,
    }),
  ]);
  return { encoder, decoder, adapters, tokenizer, defaults, batchSize };
}

export class T5 extends TextToText {
  /**
   * Loads a package that `edge-t5 split` wrote.
   *
   * @param source its folder, its address (`https://…`), or a store that holds it; in Node, Deno and Bun the packaged
   * default model when left out
   * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_MANIFEST_VERSION`, `E_BLOB_MISSING`, `E_BLOB_CORRUPT`,
   * `E_TOKENIZER`, `E_CAPACITY`, `E_INPUT` for a source that this runtime cannot open
   */
  static async fromPretrained(source?: string | URL | Store, options: LoadOptions = {}): Promise<T5> {
    return new T5(await loadParts(source ?? defaultPackage(), options));
  }

  /**
   * Loads a LoRA adapter in PEFT's format: pass what comes back as `adapter` to {@link generate}, {@link stream} and
   * {@link classify}.
   *
   * @param source its folder, its address, a store that holds its two files, or the files themselves
   * @throws EdgeT5Error `E_ADAPTER_NOT_FOUND`, `E_ADAPTER` (what does not fit this model), `E_INPUT` for a source that this
   * runtime cannot open
   */
  override async loadAdapter(source: string | URL | Store | AdapterFiles): Promise<LoadedAdapter> {
    if (typeof source === "object" && "tensors" in source) return super.loadAdapter(source);
    const store = await openStore(source);
    return super.loadAdapter(await readAdapter(store), store.description);
  }
}

function kernels(): Promise<KernelModule> {
  if (!runtime) throw new EdgeT5Error("E_KERNELS", 'No kernels here. Import T5 from "edge-t5".');
  return runtime.loadKernels();
}

/** @throws EdgeT5Error `E_INPUT` */
async function openStore(source: string | URL | Store): Promise<Store> {
  if (typeof source !== "string" && !(source instanceof URL)) return source;
  const address = String(source);
  if (/^https?:\/\//.test(address)) return new HttpStore(address);
  if (!runtime?.openFolder) {
    throw new EdgeT5Error("E_INPUT", `${address}: there is no file system here. Give an http(s) address, or a store.`);
  }
  return runtime.openFolder(address);
}
