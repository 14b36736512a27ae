/**
 * The onnx engine: a package's graphs on onnxruntime. The portable one: slower and larger than the simd engine, and a
 * second opinion on every number.
 */
import { EdgeT5Error } from "../../errors.ts";
import { EMBEDDING } from "../../t5/architecture.ts";
import type { AdapterSet, Engine, EngineLimits, EngineLoader, LoadRequest, Role } from "../../t5/engine.ts";
import { type Manifest, partIn, type Shard, shardsOf } from "../../t5/manifest.ts";
import { cacheShape, crossBytes, megabytes, sequenceBytes } from "../cache-size.ts";
import { blobsOf, loadBlobs } from "../load.ts";
import { noAdapters } from "./adapters.ts";
import { type DecoderShard, OnnxDecoder } from "./decoder.ts";
import { OnnxEncoder } from "./encoder.ts";
import type { ExternalFile, OnnxRuntime, Session } from "./runtime.ts";

export interface OnnxLoadRequest<R extends Role = Role> extends LoadRequest<R> {
  runtime: OnnxRuntime;
}

/** This engine, on the runtime given. */
export function onnxEngine(runtime: OnnxRuntime): EngineLoader {
  return (request) => loadOnnxEngine({ ...request, runtime });
}

/** What onnxruntime's heap holds before any weight. */
export const RUNTIME_BYTES = 20e6;

/**
 * Bytes that a load holds: weights as they are stored (a tied embedding once more, turned over for the head), and keys,
 * values and logits of the sequences, as many of the longest kind as fit.
 *
 * @throws EdgeT5Error `E_CAPACITY` when not even one does
 */
export function planBytes(
  manifest: Manifest,
  roles: readonly Role[],
  limits: EngineLimits,
): { weights: number; caches: number } {
  const blobs = blobsOf(manifest, roles).map((hash) => manifest.blobs[hash]);
  const stored = blobs.reduce((sum, blob) => sum + (blob?.bytes ?? 0), 0);
  if (!roles.includes("decoder")) {
    if (RUNTIME_BYTES + stored > (limits.memoryBytes ?? Number.POSITIVE_INFINITY)) {
      throw new EdgeT5Error(
        "E_CAPACITY",
        `Model ${manifest.name} needs ${megabytes(RUNTIME_BYTES + stored)} on onnxruntime for its weights; the limit is ` +
          `${megabytes(limits.memoryBytes ?? 0)}. Split with fewer bits or a smaller --shard-mb, or use the simd engine.`,
      );
    }
    return { weights: stored, caches: 0 };
  }
  const head = manifest.tiedHead && partIn(manifest, "decoder").isLast ? (manifest.tensors[EMBEDDING]?.bytes ?? 0) : 0;
  const weights = stored + head;
  const shape = cacheShape(manifest, 32);
  const one = crossBytes(shape, limits.maxInputTokens) + sequenceBytes(shape, limits.maxNewTokens);
  const room = (limits.memoryBytes ?? Number.POSITIVE_INFINITY) - RUNTIME_BYTES - weights;
  if (room < one) {
    throw new EdgeT5Error(
      "E_CAPACITY",
      `Model ${manifest.name} needs ${megabytes(RUNTIME_BYTES + weights + one)} on onnxruntime for weights and one sequence of ` +
        `${limits.maxInputTokens} + ${limits.maxNewTokens} tokens; the limit is ${megabytes(limits.memoryBytes ?? 0)}. ` +
        "Lower the token limits, split with fewer bits, or use the simd engine.",
    );
  }
  return { weights, caches: Math.min(one * limits.maxSequences, room) };
}

/**
 * Reads the shards' blobs and opens a session a graph.
 *
 * @throws EdgeT5Error `E_BLOB_MISSING`, `E_BLOB_CORRUPT`, `E_MANIFEST` (a graph that the runtime refuses)
 */
export async function loadOnnxEngine<R extends Role>(request: OnnxLoadRequest<R>): Promise<Engine<R>> {
  const { manifest, limits, runtime } = request;
  const { caches } = planBytes(manifest, request.roles, limits);
  const blobs = await readBlobs(request);
  const open = async (shard: Shard, graph: string) => {
    const files = shard.blobs.map((path) => ({ path, data: bytesOf(blobs, path) }));
    return openSession(runtime, manifest, bytesOf(blobs, graph), files);
  };
  const { model } = manifest;
  const wanted = new Set<Role>(request.roles);
  const parts: { encoder: OnnxEncoder | undefined; decoder: OnnxDecoder | undefined; adapters: AdapterSet } = {
    encoder: undefined,
    decoder: undefined,
    adapters: noAdapters,
  };
  // One after the other: a session is done with its copies before the next one makes its own.
  if (wanted.has("encoder")) {
    const sessions: Session[] = [];
    for (const shard of shardsOf(manifest, "encoder")) sessions.push(await open(shard, shard.graphs.encoder));
    parts.encoder = new OnnxEncoder(runtime, model, partIn(manifest, "encoder"), sessions, limits.maxInputTokens);
  }
  if (wanted.has("decoder")) {
    const shards: DecoderShard[] = [];
    for (const shard of shardsOf(manifest, "decoder")) {
      const cross = await open(shard, shard.graphs.cross);
      shards.push({ layers: shard.layers, cross, step: await open(shard, shard.graphs.step) });
    }
    parts.decoder = new OnnxDecoder(runtime, model, partIn(manifest, "decoder"), shards, limits, {
      shape: cacheShape(manifest, 32),
      bytes: caches,
    });
  }
  return parts as unknown as Engine<R>;
}

/** Every blob and graph of the roles, each with its bytes. */
async function readBlobs({
  manifest,
  store,
  roles,
  onProgress,
  signal,
}: OnnxLoadRequest): Promise<Map<string, Uint8Array>> {
  const graphs = manifest.shards.filter(({ role }) => roles.includes(role)).flatMap(graphsOf);
  const hashes = [...blobsOf(manifest, roles), ...graphs];
  const blobs = new Map(hashes.map((hash) => [hash, new Uint8Array(manifest.blobs[hash]?.bytes ?? 0)]));
  const total = [...blobs.values()].reduce((sum, { length }) => sum + length, 0);
  let done = 0;
  const onBytes = (bytes: number) => {
    done += bytes;
    onProgress?.(done, total);
  };
  const targets = [...blobs].map(([hash, memory]) => ({ hash, bytes: memory.length, at: 0, memory }));
  await loadBlobs(store, targets, onBytes, signal);
  return blobs;
}

function graphsOf(shard: Shard): string[] {
  return Object.values(shard.graphs);
}

function bytesOf(blobs: ReadonlyMap<string, Uint8Array>, hash: string): Uint8Array {
  const bytes = blobs.get(hash);
  if (!bytes) throw new EdgeT5Error("E_MANIFEST", `The manifest has no blob ${hash}. Re-run edge-t5 split.`);
  return bytes;
}

async function openSession(
  runtime: OnnxRuntime,
  { name }: Manifest,
  graph: Uint8Array,
  files: readonly ExternalFile[],
): Promise<Session> {
  try {
    return await runtime.createSession(graph, files);
  } catch (cause) {
    throw new EdgeT5Error(
      "E_MANIFEST",
      `${runtime.name} refuses a graph of package ${name}: ${(cause as Error).message}. Re-run edge-t5 split, or use the simd engine.`,
      { cause },
    );
  }
}
