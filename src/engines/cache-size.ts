/** What a sequence takes beside the weights: keys and values of every layer, and its logits. */
import type { T5Config } from "../t5/config.ts";
import type { CacheShape, DecoderInput, EngineLimits, Room } from "../t5/engine.ts";
import { ALIGNMENT, type Manifest, partIn } from "../t5/manifest.ts";

const F32 = 4;
/** Tokens that int8 keys are kept by. */
const BLOCK_TOKENS = 16;
/** Numbers of a value that int8 values are kept by. */
const TILE = 16;

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

function defaultCacheBits({ quantization }: Manifest): 8 | 32 {
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

/** A stretch of a layer's cache, of one head: bytes of a token, and of how many tokens together. */
interface Stretch {
  tokenBytes: number;
  tokens: number;
}

const FLOATS: Stretch = { tokenBytes: F32, tokens: 1 };

/**
 * A layer's cache, in the order of its stretches. int8 (attention-i8.ts): each head's key scales and sums and keys, then each
 * head's value scales and values. float32 (attention-f32.ts): the keys of all heads, then the values of all.
 */
function stretchesOf({ heads, dKv, bits }: Heads): Stretch[] {
  if (bits === 32) return Array.from({ length: 2 * heads }, () => ({ tokenBytes: dKv * F32, tokens: 1 }));
  const tokenBytes = paddedWidth(dKv);
  const keys = [FLOATS, FLOATS, { tokenBytes, tokens: BLOCK_TOKENS }];
  const tiles = Array.from({ length: Math.ceil(tokenBytes / TILE) }, (_, i) => Math.min(TILE, tokenBytes - i * TILE));
  const values = [FLOATS, ...tiles.map((width) => ({ tokenBytes: width, tokens: 4 }))];
  return [keys, values].flatMap((head) => Array.from({ length: heads }, () => head).flat());
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
  return stretchesOf(shape).map(({ tokenBytes, tokens: together }) => {
    const at = next;
    next += room * tokenBytes;
    return { at, bytes: Math.ceil(used / together) * together * tokenBytes };
  });
}

/** Bytes of an input's cross-attention keys and values of every layer: all sequences of that input share them. */
export function crossBytes(shape: CacheShape, inputTokens: number): number {
  return align(shape.layers * layerBytes(shape, inputTokens));
}

/** Bytes of one sequence's own keys and values of every layer, and its logits. */
export function sequenceBytes(shape: CacheShape, maxNewTokens: number): number {
  return align(shape.layers * layerBytes(shape, maxNewTokens)) + align(shape.logits * F32);
}

/** Whether so many sequences have room at once, beside the adapters that they are decoded with. */
export function fitsIn({ bytes, ...shape }: Room, inputs: readonly DecoderInput[], dModel: number): boolean {
  const taken = inputs.map(
    ({ hidden, maxNewTokens, copies = 1 }) =>
      crossBytes(shape, hidden.length / dModel) + copies * sequenceBytes(shape, maxNewTokens),
  );
  const adapters = new Map(inputs.map(({ adapter }) => [adapter?.id, adapter?.roomBytes ?? 0]));
  return [...taken, ...adapters.values()].reduce((sum, each) => sum + each, 0) <= bytes;
}

export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** For messages. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
