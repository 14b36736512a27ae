/**
 * The package: `manifest.json` (written last, the only mutable name) and blobs named by their SHA-256. What model-split
 * writes and every engine reads.
 */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";
import { readText, type Store } from "../store/store.ts";
import { layersIn } from "./architecture.ts";
import { t5ConfigSchema } from "./config.ts";
import type { Role } from "./engine.ts";

/** The package format that this build reads and writes. */
export const MANIFEST_FORMAT = 2;
export const MANIFEST_KEY = "manifest.json";
/** Tensors and shard data start at multiples of this many bytes. */
export const ALIGNMENT = 64;
/** int4 weights that share a scale. */
export const GROUP = 32;

/** Groups of a row of so many int4 weights; the last one may be short. */
export function groupsOf(columns: number): number {
  return Math.ceil(columns / GROUP);
}

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const offset = z.number().int().nonnegative();

const tensorSchema = z.object({
  blob: sha256,
  offset,
  bytes: offset,
  dtype: z.enum(["int4", "int8", "float32"]),
  shape: z.array(z.number().int().positive()),
  /**
   * `row-major`: one output row after the other, `[out, in]`. int4: two weights a byte, the even one in the low half, each
   * with an offset of 8; a row is filled up with zeros (8) to whole groups of {@link GROUP} weights.
   */
  layout: z.literal("row-major"),
  /**
   * In the same blob. int8: one float32 a row, weight = int8 × scale. int4: one float16 a group, `[rows, groups]`,
   * weight = (nibble − 8) × scale.
   */
  scales: z.object({ offset, bytes: offset }).optional(),
});

/** What every shard has; besides, its ONNX graphs by what they compute, whose external data are its blobs. */
const shardFields = {
  /** Layers `[first, end)` of the stack. */
  layers: z.tuple([offset, offset]),
  /** Blobs to load, in order. */
  blobs: z.array(sha256),
};

export const manifestSchema = z.object({
  format: z.number().int().positive(),
  name: z.string().min(1),
  model: t5ConfigSchema,
  /** True when the output projection is the embedding. */
  tiedHead: z.boolean(),
  /** Pieces of the checkpoint's vocabulary, where the package keeps fewer of them (`model.vocabSize`); else null. */
  trimmedFrom: z.number().int().positive().nullable(),
  quantization: z.object({ bits: z.union([z.literal(4), z.literal(8), z.literal(32)]) }),
  blobs: z.record(
    sha256,
    z.object({ bytes: offset, role: z.enum(["embedding", "encoder", "decoder", "graph", "tokenizer"]) }),
  ),
  shards: z.array(
    z.discriminatedUnion("role", [
      z.object({ role: z.literal("encoder"), ...shardFields, graphs: z.object({ encoder: sha256 }) }),
      z.object({ role: z.literal("decoder"), ...shardFields, graphs: z.object({ cross: sha256, step: sha256 }) }),
    ]),
  ),
  /**
   * `tokenizer.json` and `tokenizer_config.json`, or ByT5's bytes with so many sentinels; null for a model without a
   * tokenizer.
   */
  tokenizer: z
    .union([z.object({ json: sha256, config: sha256.nullable() }), z.object({ sentinels: offset })])
    .nullable(),
  /** The checkpoint's `generation_config.json`, as it stood; null when it had none. */
  generation: z.record(z.string(), z.unknown()).nullable(),
  tensors: z.record(z.string(), tensorSchema),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** All but where the weights are: what the gateway needs. */
const headSchema = manifestSchema.omit({ blobs: true, shards: true, tensors: true });
export type ManifestHead = z.infer<typeof headSchema>;
export type Shard = Manifest["shards"][number];
export type PackagedTensor = z.infer<typeof tensorSchema>;

export function blobKey(hash: string): string {
  return `blobs/${hash}`;
}

/** @throws EdgeT5Error `E_MANIFEST_VERSION` for a newer or an older format, `E_MANIFEST` for a malformed one. */
export function parseManifest(text: string, source = MANIFEST_KEY): Manifest {
  const manifest = parse(manifestSchema, text, source);
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const blob = manifest.blobs[tensor.blob];
    const end = Math.max(tensor.offset + tensor.bytes, (tensor.scales?.offset ?? 0) + (tensor.scales?.bytes ?? 0));
    if (!blob || end > blob.bytes) {
      throw new EdgeT5Error("E_MANIFEST", `${source}: tensor ${name} lies outside its blob. Re-run edge-t5 split.`);
    }
  }
  for (const role of ["encoder", "decoder"] as const) {
    const cuts = [0, ...shardsOf(manifest, role).map(({ layers }) => layers[1])];
    const areJoined = shardsOf(manifest, role).every(({ layers: [first, end] }, i) => first === cuts[i] && end > first);
    if (!areJoined || cuts.at(-1) !== layersIn(manifest.model, role)) {
      throw new EdgeT5Error("E_MANIFEST", `${source}: the ${role}'s shards miss layers. Re-run edge-t5 split.`);
    }
  }
  return manifest;
}

/** Its JSON, of this build's format and by a schema. */
function parse<T>(schema: z.ZodType<T>, text: string, source: string): T {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error("E_MANIFEST", `${source} is not JSON. Re-run edge-t5 split.`, { cause });
  }
  const format = (json as { format?: unknown } | null)?.format;
  if (typeof format === "number" && format !== MANIFEST_FORMAT) {
    const fix = format > MANIFEST_FORMAT ? "Upgrade edge-t5, or re-run edge-t5 split" : "Re-run edge-t5 split";
    throw new EdgeT5Error(
      "E_MANIFEST_VERSION",
      `${source} has format ${format}, this build reads format ${MANIFEST_FORMAT}. ${fix} with this version.`,
    );
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new EdgeT5Error(
    "E_MANIFEST",
    `${source}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}. Re-run edge-t5 split.`,
  );
}

/** A stack's shards, in the order of their layers. */
export function shardsOf<R extends Role>(manifest: Manifest, role: R): Extract<Shard, { role: R }>[] {
  return manifest.shards.filter((shard): shard is Extract<Shard, { role: R }> => shard.role === role);
}

/**
 * What one Worker of a chain loads: a stack's shards `[first, end)` and no others. Engines take it as a manifest whose
 * stack begins and ends where these shards do.
 */
export function partOf(manifest: Manifest, role: Role, first: number, end: number): Manifest {
  return { ...manifest, shards: shardsOf(manifest, role).slice(first, end) };
}

/** The layers `[first, end)` of a stack that a manifest's shards hold, and whether those are the stack's first and last. */
export interface Part {
  first: number;
  end: number;
  isFirst: boolean;
  isLast: boolean;
}

export function partIn(manifest: Manifest, role: Role): Part {
  const shards = shardsOf(manifest, role);
  const first = shards[0]?.layers[0] ?? 0;
  const end = shards.at(-1)?.layers[1] ?? 0;
  return { first, end, isFirst: first === 0, isLast: end === layersIn(manifest.model, role) };
}

/** Reads and checks a package's manifest. @throws EdgeT5Error `E_PACKAGE_NOT_FOUND` when there is none. */
export async function readManifest(store: Store): Promise<Manifest> {
  return parseManifest(await readManifestText(store), `${store.description}/${MANIFEST_KEY}`);
}

/** As {@link readManifest}, but what it says of the weights is not looked at: that takes most of the time. */
export async function readManifestHead(store: Store): Promise<ManifestHead> {
  return parse(headSchema, await readManifestText(store), `${store.description}/${MANIFEST_KEY}`);
}

async function readManifestText(store: Store): Promise<string> {
  const text = await readText(store, MANIFEST_KEY);
  if (text !== null) return text;
  throw new EdgeT5Error(
    "E_PACKAGE_NOT_FOUND",
    `No ${MANIFEST_KEY} in ${store.description}. Make a package with: edge-t5 split CHECKPOINT --out DIR.`,
  );
}
