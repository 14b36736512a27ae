/** What a sequence takes beside the weights: keys and values of every layer, and its logits. All float32. */
import type { T5Config } from "../t5/config.ts";
import type { CacheShape, DecoderInput, Room } from "../t5/engine.ts";
import { ALIGNMENT, type Manifest, partIn } from "../t5/manifest.ts";

const F32 = 4;

export function cacheShape(manifest: Manifest): CacheShape {
  const { first, end, isLast } = partIn(manifest, "decoder");
  const { model } = manifest;
  return { layers: end - first, inner: innerDim(model), logits: isLast ? model.vocabSize : 0 };
}

/** Width of the queries, keys and values of all heads together. */
export function innerDim(config: T5Config): number {
  return config.dKv * config.numHeads;
}

/** Bytes of an input's cross-attention keys and values of every layer: all sequences of that input share them. */
export function crossBytes({ layers, inner }: CacheShape, inputTokens: number): number {
  return align(layers * 2 * inputTokens * inner * F32);
}

/** Bytes of one sequence's own keys and values of every layer, and its logits. */
export function sequenceBytes({ layers, inner, logits }: CacheShape, maxNewTokens: number): number {
  return align(layers * 2 * maxNewTokens * inner * F32) + align(logits * F32);
}

/** Whether so many sequences have room at once. */
export function fitsIn({ bytes, ...shape }: Room, inputs: readonly DecoderInput[], dModel: number): boolean {
  const taken = inputs.map(
    ({ hidden, maxNewTokens, copies = 1 }) =>
      crossBytes(shape, hidden.length / dModel) + copies * sequenceBytes(shape, maxNewTokens),
  );
  return taken.reduce((sum, each) => sum + each, 0) <= bytes;
}

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** For messages. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
