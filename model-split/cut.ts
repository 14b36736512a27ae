/** Cuts a model's stacks into shards of a byte budget: which layers and which blobs each one holds. */
import { EdgeT5Error } from "../src/errors.ts";
import { layersIn, type ShardRole, type TensorSpec } from "../src/t5/architecture.ts";
import type { T5Config } from "../src/t5/config.ts";
import type { Role } from "../src/t5/engine.ts";
import { type Bits, layoutBytes } from "./layout.ts";

/** The tensors of one blob. */
export interface PlannedBlob {
  role: ShardRole;
  specs: TensorSpec[];
}

/** A shard: layers `[first, end)` of a stack, and the blobs to load for them, in order; shards share some. */
export interface PlannedShard {
  role: Role;
  layers: [first: number, end: number];
  blobs: PlannedBlob[];
}

/**
 * Bytes of a shard when nobody says: what an isolate of 128 MB holds beside the caches of one stream. T5-base at int8
 * becomes two shards a stack with it, at int4 one. A model whose embedding alone is larger gets shards as small as can be.
 */
export const DEFAULT_SHARD_BYTES = 84e6;

/**
 * As few shards a stack as the budget allows, cut so that the largest is as small as can be. A stack that fits is one
 * shard; of one that is cut, the relative attention bias is a blob of its own, for every shard reads it.
 *
 * @param budget bytes; default {@link DEFAULT_SHARD_BYTES}, or what the largest layer takes
 * @throws EdgeT5Error `E_USAGE` when not even one layer fits
 */
export function planShards(
  specs: readonly TensorSpec[],
  model: { config: T5Config; tiedHead: boolean; bits: Bits },
  budget?: number,
): PlannedShard[] {
  const embedding: PlannedBlob = { role: "embedding", specs: specs.filter(({ role }) => role === "embedding") };
  const stacks = (["encoder", "decoder"] as const).map((role) => planStack(role, specs, embedding, model, budget));
  const least = Math.max(...stacks.map((stack) => stack.least));
  return stacks.flatMap(({ shards }) => {
    if (shards) return shards;
    throw new EdgeT5Error(
      "E_USAGE",
      `A shard of ${(budget ?? DEFAULT_SHARD_BYTES) / 1e6} MB does not hold the largest layer with its embedding, ${megabytesFor(least)} MB. ` +
        "Raise --shard-mb, use fewer --bits, or --trim-vocab.",
    );
  });
}

/** @returns null where not even one layer fits; and what the largest layer takes */
function planStack(
  role: Role,
  specs: readonly TensorSpec[],
  embedding: PlannedBlob,
  { config, tiedHead, bits }: Parameters<typeof planShards>[1],
  budget: number | undefined,
): { shards: PlannedShard[] | null; least: number } {
  const own = specs.filter((spec) => spec.role === role);
  const count = layersIn(config, role);
  const whole: PlannedShard = { role, layers: [0, count], blobs: [embedding, { role, specs: own }] };
  const bytesOf = ({ blobs }: PlannedShard) => blobs.reduce((sum, blob) => sum + layoutBytes(blob.specs, bits), 0);
  if (bytesOf(whole) <= (budget ?? DEFAULT_SHARD_BYTES)) return { shards: [whole], least: 0 };

  const bias: PlannedBlob = { role, specs: own.filter(({ kind }) => kind === "bias") };
  const shardOf = (first: number, end: number): PlannedShard => {
    const isLast = end === count;
    const inRange = own.filter(({ kind, layer }) =>
      layer === null ? isLast : kind !== "bias" && layer >= first && layer < end,
    );
    const embeds = first === 0 || (isLast && role === "decoder" && tiedHead);
    return { role, layers: [first, end], blobs: [...(embeds ? [embedding] : []), bias, { role, specs: inRange }] };
  };
  /** Each shard takes as many layers as fit; null when a layer does not. */
  const fill = (most: number): PlannedShard[] | null => {
    const shards: PlannedShard[] = [];
    for (let first = 0; first < count; ) {
      let end = count;
      while (end > first && bytesOf(shardOf(first, end)) > most) end--;
      if (end === first) return null;
      shards.push(shardOf(first, end));
      first = end;
    }
    return shards;
  };
  const least = Math.max(...Array.from({ length: count }, (_, layer) => bytesOf(shardOf(layer, layer + 1))));
  let best = fill(budget ?? Math.max(DEFAULT_SHARD_BYTES, least));
  while (best) {
    const evener = fill(Math.max(...best.map(bytesOf)) - 1);
    if (evener?.length !== best.length) break;
    best = evener;
  }
  return { shards: best, least };
}

/** Three digits, rounded up: who gives --shard-mb what the message says has given enough. */
function megabytesFor(bytes: number): number {
  const unit = 10 ** (Math.floor(Math.log10(bytes)) - 2);
  return Number(((Math.ceil(bytes / unit) * unit) / 1e6).toPrecision(3));
}
