/** A deployment's Workers for one package: a chain a stack where it is cut into shards, or one Worker for both halves. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { experimental_readRawConfig } from "wrangler";
import { planBytes, RUNTIME_BYTES } from "../engines/onnx/index.ts";
import { memoryBytesOf } from "../engines/simd/index.ts";
import { EdgeT5Error } from "../errors.ts";
import type { EngineLimits, Role } from "../t5/engine.ts";
import { type Manifest, partOf, shardsOf } from "../t5/manifest.ts";

export interface DeploymentOptions {
  /** The kit's folder, with wrangler.toml and functions/. */
  root: string;
  engine: "simd" | "onnx";
  /** Encoder and decoder in one Worker, for a model that fits one isolate. */
  oneWorker: boolean;
}

/** A Worker's configuration file, and what its isolate holds. */
export interface DeployedWorker {
  name: string;
  path: string;
  /** What it holds of a stack, as people say it. */
  holds: string;
  /** Bytes of memory that its engine plans, onnxruntime's own included; 0 for the gateway. */
  bytes: number;
}

export interface Deployment {
  /** In the order in which they can be deployed: what is bound comes before what binds it; the gateway last. */
  workers: DeployedWorker[];
  limits: EngineLimits;
}

/** Configuration as wrangler reads it, as far as it is changed here. */
type RawConfig = ReturnType<typeof experimental_readRawConfig>["rawConfig"];

interface PlannedWorker {
  name: string;
  base: string;
  holds: string;
  roles: Role[];
  part: Manifest | null;
  services: { binding: string; service: string }[];
  vars: Record<string, number>;
}

const GATEWAY = "edge-t5";
/** Shorter prompts and answers are not worth a deployment. */
const LEAST_TOKENS = 16;

/**
 * Writes the Workers' wrangler configurations for a package into `dir`, with limits that its isolates hold.
 *
 * @throws EdgeT5Error `E_CAPACITY` when a shard does not fit an isolate, `E_USAGE` when one Worker cannot hold both halves
 */
export async function writeWorkers(manifest: Manifest, dir: string, options: DeploymentOptions): Promise<Deployment> {
  const planned = planWorkers(manifest, options.oneWorker);
  const { vars = {} } = readConfig(options.root, "functions/decoder/wrangler.toml");
  const limits = fitLimits(planned, options, {
    maxInputTokens: Number(vars.MAX_PROMPT_TOKENS),
    maxNewTokens: Number(vars.MAX_NEW_TOKENS),
    maxSequences: Number(vars.MAX_SEQUENCES),
    memoryBytes: Number(vars.MAX_WASM_BYTES),
  });
  await mkdir(dir, { recursive: true });
  const workers: DeployedWorker[] = [];
  for (const worker of planned) {
    const base = readConfig(options.root, worker.base);
    const from = dirname(join(options.root, worker.base));
    const placed = (path: string) => relative(resolve(dir), resolve(from, path));
    const config = {
      ...base,
      name: worker.name,
      main: placed(base.main ?? ""),
      ...(worker.part && {
        alias: { "#engine": placed(join(options.root, "src/engines", options.engine, "worker.ts")) },
      }),
      vars: {
        ...base.vars,
        ...worker.vars,
        MAX_PROMPT_TOKENS: limits.maxInputTokens,
        MAX_NEW_TOKENS: limits.maxNewTokens,
      },
      ...(worker.services.length > 0 && { services: worker.services }),
    };
    const path = join(dir, `${worker.name}.json`);
    await writeFile(path, `${JSON.stringify(config, null, 2)}\n`);
    const bytes = worker.part ? bytesOf(worker, options.engine, limits) : 0;
    workers.push({ name: worker.name, path, holds: worker.holds, bytes });
  }
  return { workers, limits };
}

function planWorkers(manifest: Manifest, oneWorker: boolean): PlannedWorker[] {
  const gateway = (encoder: string, decoder: string): PlannedWorker => ({
    name: GATEWAY,
    base: "wrangler.toml",
    holds: "gateway",
    roles: [],
    part: null,
    services: [
      { binding: "ENCODER", service: encoder },
      { binding: "DECODER", service: decoder },
    ],
    vars: {},
  });
  if (oneWorker) {
    const name = `${GATEWAY}-model`;
    const base = "functions/model/wrangler.toml";
    const model: PlannedWorker = {
      name,
      base,
      holds: "encoder and decoder",
      roles: ["encoder", "decoder"],
      part: manifest,
      services: [],
      vars: {},
    };
    return [model, gateway(name, name)];
  }
  const encoder = planChain(manifest, "encoder");
  const decoder = planChain(manifest, "decoder");
  return [...encoder, ...decoder, gateway(encoder.at(-1)?.name ?? "", decoder.at(-1)?.name ?? "")];
}

/** A stack's Workers, the one with the first layers first; the last one is what the gateway calls. */
function planChain(manifest: Manifest, role: Role): PlannedWorker[] {
  const shards = shardsOf(manifest, role);
  const nameOf = (i: number) => `${GATEWAY}-${role}${i === shards.length - 1 ? "" : `-${i}`}`;
  return shards.map(({ layers }, i) => ({
    name: nameOf(i),
    base: `functions/${role}/wrangler.toml`,
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

function bytesOf({ part, roles }: PlannedWorker, engine: "simd" | "onnx", limits: EngineLimits): number {
  if (!part) return 0;
  if (engine === "simd") return memoryBytesOf(part, roles, limits);
  const { weights, caches } = planBytes(part, roles, limits);
  return RUNTIME_BYTES + weights + caches;
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
      for (const worker of workers) bytesOf(worker, engine, limits);
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

function readConfig(root: string, path: string): RawConfig {
  return experimental_readRawConfig({ config: join(root, path) }).rawConfig;
}
