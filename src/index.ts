/** The kit as a library, for Node: a package's folder in, a T5 that answers out. */
import { fileURLToPath } from "node:url";
import { loadSimdEngine } from "./engines/simd/index.ts";
import type { KernelModule } from "./kernels/index.ts";
import { loadKernels } from "./kernels/node.ts";
import { FolderStore } from "./store/folder.ts";
import { readManifest } from "./t5/manifest.ts";
import { T5 } from "./t5/text-to-text.ts";
import { loadTokenizer } from "./t5/tokenizer.ts";

export { EdgeT5Error, type ErrorCode } from "./errors.ts";
export { type FinishReason, generate, type TokenEvent } from "./t5/generate.ts";
export { type GenerationParams, parseGenerationParams } from "./t5/generation/config.ts";
export { type GenerateOptions, type Generation, T5 } from "./t5/text-to-text.ts";

/** The packaged default model: translation, summaries and classification, small enough to come with the kit. */
export const DEFAULT_PACKAGE = fileURLToPath(new URL("../model-split/default", import.meta.url));

export interface LoadOptions {
  /** Longest prompt in tokens; memory is planned for it. Default 512. */
  maxInputTokens?: number | undefined;
  /** Longest answer in tokens. Default 256. */
  maxNewTokens?: number | undefined;
  /** How many of the longest sequences decode at once. Default 1. */
  maxSequences?: number | undefined;
  /** Which kernels; default: what suits the machine. */
  kernels?: KernelModule | undefined;
  onProgress?: ((bytesDone: number, bytesTotal: number) => void) | undefined;
}

/**
 * Loads a package, as `edge-t5 split` writes it, into one WASM memory of this process.
 *
 * @param dir the package's folder; default: the packaged model
 * @throws EdgeT5Error `E_PACKAGE_NOT_FOUND`, `E_MANIFEST`, `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_TOKENIZER`, `E_CAPACITY`
 */
export async function loadT5(dir: string = DEFAULT_PACKAGE, options: LoadOptions = {}): Promise<T5> {
  const store = new FolderStore(dir);
  const manifest = await readManifest(store);
  const [tokenizer, { encoder, decoder }] = await Promise.all([
    loadTokenizer(manifest, store),
    loadSimdEngine({
      manifest,
      store,
      kernels: options.kernels ?? (await loadKernels()),
      roles: ["encoder", "decoder"],
      limits: {
        maxInputTokens: options.maxInputTokens ?? 512,
        maxNewTokens: options.maxNewTokens ?? 256,
        maxSequences: options.maxSequences ?? 1,
      },
      onProgress: options.onProgress,
    }),
  ]);
  return new T5({ encoder, decoder, tokenizer });
}
