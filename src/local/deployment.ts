/**
 * Which Workers a package needs, what each holds, and the limits that all of them have room for: a chain a stack where it
 * is cut into shards, or one Worker for both halves. Writing their configurations is workers.ts's.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type EngineName, type MemoryReport, reportMemory, type Streams } from "../engines/memory.ts";
import { EdgeT5Error } from "../errors.ts";
import type { EngineLimits, Role } from "../t5/engine.ts";
import { type Manifest, partOf, shardsOf } from "../t5/manifest.ts";

export interface DeploymentOptions {
  /** The kit's folder, with wrangler.toml and functions/. */
  root: string;
  engine: EngineName;
  /** Encoder and decoder in one Worker, for a model that fits one isolate. */
  oneWorker: boolean;
  /** What the gateway is called, and what the names of all else begin with; default: `edge-t5`. */
  name?: string | undefined;
  /** To run on this machine, where nothing is called by the clock. */
  isLocal?: boolean;
  /** Workers that read what tasks are given: documents and images, documents alone, or neither. Default: `all`. */
  readers?: Readers | undefined;
}

export const READERS = ["all", "documents", "none"] as const;
export type Readers = (typeof READERS)[number];

/** The configuration that a Worker's is made of, by what the Worker is for. */
export const BASES = {
  gateway: "wrangler.toml",
  encoder: "functions/encoder/wrangler.toml",
  decoder: "functions/decoder/wrangler.toml",
  model: "functions/model/wrangler.toml",
  reader: "functions/reader/wrangler.toml",
  ocr: "functions/ocr/wrangler.toml",
} as const;

export interface PlannedWorker {
  name: string;
  base: (typeof BASES)[keyof typeof BASES];
  /** What it holds of a stack, or is for, as people say it. */
  holds: string;
  roles: Role[];
  /** Null for those that hold none of the model. */
  part: Manifest | null;
  services: { binding: string; service: string }[];
  vars: Record<string, number>;
}

export interface PlannedDeployment {
  /** In the order in which they can be deployed: what is bound comes before what binds it; the gateway last. */
  workers: PlannedWorker[];
  limits: EngineLimits;
}

/** The name in the configurations as they stand. */
export const DEFAULT_NAME = "edge-t5";
/** Shorter prompts and answers are not worth a deployment. */
const LEAST_TOKENS = 16;

/**
 * The Workers of a package, with limits that their isolates hold.
 *
 * @throws EdgeT5Error `E_CAPACITY` when a shard does not fit an isolate, `E_USAGE` when one Worker cannot hold both halves
 */
export async function planDeployment(manifest: Manifest, options: DeploymentOptions): Promise<PlannedDeployment> {
  const workers = planWorkers(manifest, options);
  const base = options.oneWorker ? BASES.model : BASES.decoder;
  return { workers, limits: fitLimits(workers, options, await deployedLimits(options.root, base)) };
}

/**
 * What a Worker's isolate holds with so many streams; null for those that hold none of the model.
 *
 * @throws EdgeT5Error `E_CAPACITY` when it does not fit the limits
 */
export function memoryOf(
  { part, roles }: PlannedWorker,
  engine: EngineName,
  limits: EngineLimits,
  streams: Streams = { count: 0, promptTokens: limits.maxInputTokens, newTokens: limits.maxNewTokens },
): MemoryReport | null {
  return part && reportMemory(engine, part, roles, limits, streams);
}

/** The limits that a Worker's configuration begins with. */
async function deployedLimits(root: string, base: string): Promise<EngineLimits> {
  const toml = await readFile(join(root, base), "utf8");
  const numberOf = (name: string) => {
    const value = new RegExp(`^${name} *= *([0-9_]+)`, "m").exec(toml)?.[1];
    if (value === undefined) throw new EdgeT5Error("E_CONFIG", `${base} has no number ${name}. Add it.`);
    return Number(value.replaceAll("_", ""));
  };
  return {
    maxInputTokens: numberOf("MAX_PROMPT_TOKENS"),
    maxNewTokens: numberOf("MAX_NEW_TOKENS"),
    maxSequences: numberOf("MAX_SEQUENCES"),
    memoryBytes: numberOf("MAX_WASM_BYTES"),
  };
}

function planWorkers(
  manifest: Manifest,
  { oneWorker, name: prefix = DEFAULT_NAME, readers: wanted = "all" }: DeploymentOptions,
): PlannedWorker[] {
  const readers = planReaders(prefix, wanted);
  const reader = readers.at(-1);
  const gateway = (encoder: string, decoder: string): PlannedWorker => ({
    name: prefix,
    base: BASES.gateway,
    holds: "gateway",
    roles: [],
    part: null,
    services: [
      { binding: "ENCODER", service: encoder },
      { binding: "DECODER", service: decoder },
      ...(reader ? [{ binding: "READER", service: reader.name }] : []),
    ],
    vars: {},
  });
  if (oneWorker) {
    const name = `${prefix}-model`;
    const model: PlannedWorker = {
      name,
      base: BASES.model,
      holds: "encoder and decoder",
      roles: ["encoder", "decoder"],
      part: manifest,
      services: [],
      vars: {},
    };
    return [model, ...readers, gateway(name, name)];
  }
  const encoder = planChain(manifest, "encoder", prefix);
  const decoder = planChain(manifest, "decoder", prefix);
  const ends = [encoder, decoder].map((chain) => chain.at(-1)?.name ?? "") as [string, string];
  return [...encoder, ...decoder, ...readers, gateway(...ends)];
}

/** The one that the gateway calls last. */
function planReaders(prefix: string, wanted: Readers): PlannedWorker[] {
  if (wanted === "none") return [];
  if (wanted === "documents") return [planApart(prefix, "reader", "reads documents")];
  const ocr = planApart(prefix, "ocr", "reads images");
  return [ocr, planApart(prefix, "reader", "reads documents", [{ binding: "OCR", service: ocr.name }])];
}

/** A Worker that holds none of the model. */
function planApart(
  prefix: string,
  what: "reader" | "ocr",
  holds: string,
  services: PlannedWorker["services"] = [],
): PlannedWorker {
  return { name: `${prefix}-${what}`, base: BASES[what], holds, roles: [], part: null, services, vars: {} };
}

/** A stack's Workers, the one with the first layers first; the last one is what the gateway calls. */
function planChain(manifest: Manifest, role: Role, prefix: string): PlannedWorker[] {
  const shards = shardsOf(manifest, role);
  const nameOf = (i: number) => `${prefix}-${role}${i === shards.length - 1 ? "" : `-${i}`}`;
  return shards.map(({ layers }, i) => ({
    name: nameOf(i),
    base: BASES[role],
    holds: `${role}, ${layersText(layers)}`,
    roles: [role],
    part: partOf(manifest, role, i, i + 1),
    services: i === 0 ? [] : [{ binding: "UPSTREAM", service: nameOf(i - 1) }],
    vars: { WORKERS_AFTER: shards.length - 1 - i },
  }));
}

function layersText([first, end]: readonly [number, number]): string {
  return end - first === 1 ? `layer ${first}` : `layers ${first} to ${end - 1}`;
}

/** The longest prompts and answers that every Worker has room for beside its weights: the longer one is halved until they fit. */
function fitLimits(
  workers: readonly PlannedWorker[],
  { engine, oneWorker }: DeploymentOptions,
  wanted: EngineLimits,
): EngineLimits {
  const limits = { ...wanted };
  for (;;) {
    try {
      for (const worker of workers) memoryOf(worker, engine, limits);
      return limits;
    } catch (error) {
      if (!(error instanceof EdgeT5Error && error.code === "E_CAPACITY")) throw error;
      const longer = limits.maxInputTokens >= limits.maxNewTokens ? "maxInputTokens" : "maxNewTokens";
      limits[longer] = Math.floor(limits[longer] / 2);
      if (limits[longer] >= LEAST_TOKENS) continue;
      if (!oneWorker) throw error;
      throw new EdgeT5Error("E_USAGE", `One Worker cannot hold both halves. ${error.message}`, { cause: error });
    }
  }
}
