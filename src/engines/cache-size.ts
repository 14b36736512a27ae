/** What a sequence takes beside the weights: keys and values of every layer, and its logits. All float32. */
import type { T5Config } from "../t5/config.ts";
import { ALIGNMENT } from "../t5/manifest.ts";

const F32 = 4;

/** Width of the queries, keys and values of all heads together. */
export function innerDim(config: T5Config): number {
  return config.dKv * config.numHeads;
}

/** Bytes of an input's cross-attention keys and values of every layer: all sequences of that input share them. */
export function crossBytes(config: T5Config, inputTokens: number): number {
  return align(config.numDecoderLayers * 2 * inputTokens * innerDim(config) * F32);
}

/** Bytes of one sequence's own keys and values of every layer, and its logits. */
export function sequenceBytes(config: T5Config, maxNewTokens: number): number {
  return align(config.numDecoderLayers * 2 * maxNewTokens * innerDim(config) * F32) + align(config.vocabSize * F32);
}

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** For messages. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
