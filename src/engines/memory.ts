/** What an engine will hold of a package's part, by use: computed from the manifest, before anything is loaded. */
import type { EngineLimits, Role } from "../t5/engine.ts";
import type { Manifest } from "../t5/manifest.ts";
import { cacheShape, crossBytes, sequenceBytes } from "./cache-size.ts";
import { planBytes, RUNTIME_BYTES } from "./onnx/index.ts";
import { type MemoryUse, PAGE, planMemory } from "./simd/plan.ts";

export type EngineName = "simd" | "onnx";

/** Streams of one size, decoded side by side. */
export interface Streams {
  count: number;
  promptTokens: number;
  newTokens: number;
}

/** `crossCaches`, `ownCaches`, `logits`: of the streams; `free`: room for more of them. */
export type ReportedUse =
  | Exclude<MemoryUse, "sequences" | "kernels">
  | "runtime"
  | "crossCaches"
  | "ownCaches"
  | "logits"
  | "free";

export interface MemoryReport {
  /** Together they are {@link bytes}. */
  uses: { use: ReportedUse; bytes: number }[];
  /** All that the engine holds: fixed when it is loaded. */
  bytes: number;
  /** How many streams of that size have room at once; null where none are decoded. */
  fit: number | null;
}

/**
 * @param manifest a package, or the part of it that a Worker holds
 * @throws EdgeT5Error `E_CAPACITY` when it does not fit the limits
 */
export function reportMemory(
  engine: EngineName,
  manifest: Manifest,
  roles: readonly Role[],
  limits: EngineLimits,
  streams: Streams,
): MemoryReport {
  const { bytes, room, fixed, cacheBits } =
    engine === "simd" ? simdMemory(manifest, roles, limits) : onnxMemory(manifest, roles, limits);
  if (!roles.includes("decoder"))
    return { uses: [...fixed, { use: "free", bytes: bytes - sum(fixed) }], bytes, fit: null };
  const shape = cacheShape(manifest, cacheBits);
  const cross = crossBytes(shape, streams.promptTokens);
  const all = sequenceBytes(shape, streams.newTokens);
  const own = sequenceBytes({ ...shape, logits: 0 }, streams.newTokens);
  const fit = Math.floor(room / (cross + all));
  const count = Math.min(streams.count, fit);
  const uses = [
    ...fixed,
    { use: "crossCaches" as const, bytes: count * cross },
    { use: "ownCaches" as const, bytes: count * own },
    { use: "logits" as const, bytes: count * (all - own) },
  ];
  return { uses: [...uses, { use: "free", bytes: bytes - sum(uses) }], bytes, fit };
}

interface EngineMemory {
  bytes: number;
  /** For sequences. */
  room: number;
  fixed: { use: ReportedUse; bytes: number }[];
  cacheBits: EngineLimits["cacheBits"];
}

/** What will be allocated, to the byte. */
function simdMemory(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): EngineMemory {
  const { pages, regions, arena } = planMemory(manifest, roles, limits);
  const uses = new Map<ReportedUse, number>();
  for (const { use, bytes } of regions) {
    if (use === "sequences") continue;
    // The kernels' few constants are part of what they work with.
    const reported = use === "kernels" ? "scratch" : use;
    uses.set(reported, (uses.get(reported) ?? 0) + bytes);
  }
  const fixed = [...uses].map(([use, bytes]) => ({ use, bytes }));
  return { bytes: pages * PAGE, room: arena.bytes, fixed, cacheBits: limits.cacheBits };
}

/** An estimate: onnxruntime's own allocations are not ours to plan. */
function onnxMemory(manifest: Manifest, roles: readonly Role[], limits: EngineLimits): EngineMemory {
  const { weights, caches } = planBytes(manifest, roles, limits);
  const fixed: EngineMemory["fixed"] = [
    { use: "weights", bytes: weights },
    { use: "runtime", bytes: RUNTIME_BYTES },
  ];
  return { bytes: weights + RUNTIME_BYTES + caches, room: caches, fixed, cacheBits: 32 };
}

function sum(uses: readonly { bytes: number }[]): number {
  return uses.reduce((total, { bytes }) => total + bytes, 0);
}
