/** What a sequence takes beside the weights: keys and values of every layer, and its logits. */
import type { T5Config } from "../t5/config.ts";
import type { CacheShape, DecoderInput, EngineLimits, Room } from "../t5/engine.ts";
import { ALIGNMENT, type Manifest, partIn } from "../t5/manifest.ts";

const F32 = 4;
/** Tokens that int8 keys are kept by. */
const BLOCK_TOKENS = 16;

/** @param bits of keys and values; default: what suits the weights */
export function cacheShape(manifest: Manifest, bits: EngineLimits["cacheBits"]): CacheShape {
  const { first, end, isLast } = partIn(manifest, "decoder");
  const { model } = manifest;
  return {
    layers: end - first,
    heads: model.numHeads,
    dKv: model.dKv,
    bits: bits ?? defaultCacheBits(manifest),
    logits: isLast ? model.vocabSize : 0,
  };
}

export function defaultCacheBits({ quantization }: Manifest): 8 | 32 {
  return quantization.bits === 32 ? 32 : 8;
}

/** Width of the queries, keys and values of all heads together. */
export function innerDim(config: T5Config): number {
  return config.dKv * config.numHeads;
}

type Heads = Pick<CacheShape, "heads" | "dKv" | "bits">;

/** Tokens that a cache of at least so many has room for. */
export function roomFor({ bits }: Heads, tokens: number): number {
  return bits === 8 ? Math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS : tokens;
}

/** A stretch of a layer's cache that holds something of every head: bytes of a token, and of how many tokens together. */
interface Stretch {
  tokenBytes: number;
  tokens: number;
}

/**
 * A layer's cache, in the order of its stretches (attention-i8.ts, attention-f32.ts): keys, values; for int8 the keys'
 * scales and sums and the values' scales.
 */
function stretchesOf({ dKv, bits }: Heads): Stretch[] {
  if (bits === 32) return [0, 1].map(() => ({ tokenBytes: dKv * F32, tokens: 1 }));
  return [
    { tokenBytes: paddedWidth(dKv), tokens: BLOCK_TOKENS },
    { tokenBytes: paddedWidth(dKv), tokens: 4 },
    ...[0, 1, 2].map(() => ({ tokenBytes: F32, tokens: 1 })),
  ];
}

/** Bytes of one layer's keys and values. Nothing is allocated: it is asked for each layer of each sequence of each step. */
export function layerBytes(shape: Heads, tokens: number): number {
  const { heads, dKv, bits } = shape;
  const tokenBytes = bits === 32 ? 2 * dKv * F32 : 2 * paddedWidth(dKv) + 3 * F32;
  return heads * roomFor(shape, tokens) * tokenBytes;
}

/** Bytes of an int8 key or value. */
function paddedWidth(dKv: number): number {
  return Math.ceil(dKv / 4) * 4;
}

/** What of a layer's cache the first `used` tokens lie in: offsets and bytes. */
export function usedBytes(shape: Heads, tokens: number, used: number): { at: number; bytes: number }[] {
  const room = roomFor(shape, tokens);
  let next = 0;
  return stretchesOf(shape).flatMap(({ tokenBytes, tokens: together }) =>
    Array.from({ length: shape.heads }, () => {
      const at = next;
      next += room * tokenBytes;
      return { at, bytes: Math.ceil(used / together) * together * tokenBytes };
    }),
  );
}

/** Bytes of an input's cross-attention keys and values of every layer: all sequences of that input share them. */
export function crossBytes(shape: CacheShape, inputTokens: number): number {
  return align(shape.layers * layerBytes(shape, inputTokens));
}

/** Bytes of one sequence's own keys and values of every layer, and its logits. */
export function sequenceBytes(shape: CacheShape, maxNewTokens: number): number {
  return align(shape.layers * layerBytes(shape, maxNewTokens)) + align(shape.logits * F32);
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
