/** Writes the wrangler configurations of a package's Workers. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { experimental_readRawConfig } from "wrangler";
import type { EngineLimits } from "../t5/engine.ts";
import type { Manifest } from "../t5/manifest.ts";
import { BASES, DEFAULT_NAME, type DeploymentOptions, memoryOf, planDeployment } from "./deployment.ts";

/** A Worker's configuration file, and what its isolate holds. */
export interface DeployedWorker {
  name: string;
  path: string;
  /** What it holds of a stack, or is for, as people say it. */
  holds: string;
  /** Bytes of memory that its engine plans, onnxruntime's own included; 0 for those that hold none of the model. */
  bytes: number;
}

export interface Deployment {
  /** In the order in which they can be deployed: what is bound comes before what binds it; the gateway last. */
  workers: DeployedWorker[];
  limits: EngineLimits;
}

/** Configuration as wrangler reads it, as far as it is changed here. */
type RawConfig = ReturnType<typeof experimental_readRawConfig>["rawConfig"];

/**
 * Writes the Workers' wrangler configurations for a package into `dir`, with limits that its isolates hold.
 *
 * @throws EdgeT5Error `E_CAPACITY` when a shard does not fit an isolate, `E_USAGE` when one Worker cannot hold both halves
 */
export async function writeWorkers(
  manifest: Manifest,
  dir: string,
  options: DeploymentOptions & {
    /** Of the gateway's database in the account. */
    databaseId?: string | undefined;
    /** Where the gateway reaches an origin. */
    originUrl?: string | null | undefined;
  },
): Promise<Deployment> {
  const planned = await planDeployment(manifest, options);
  const { limits } = planned;
  await mkdir(dir, { recursive: true });
  const workers: DeployedWorker[] = [];
  for (const worker of planned.workers) {
    const base = readConfig(options.root, worker.base);
    const from = dirname(join(options.root, worker.base));
    const isGateway = worker.base === BASES.gateway;
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
        ...(isGateway && { PRELOAD: manifest.name }),
        ...(isGateway && options.originUrl && { ORIGIN_URL: options.originUrl }),
        ...((worker.part || isGateway) && {
          MAX_PROMPT_TOKENS: limits.maxInputTokens,
          MAX_NEW_TOKENS: limits.maxNewTokens,
        }),
      },
      // What it is bound to is planned: the file says what a whole deployment has.
      services: worker.services,
      // Wrangler would warn that it does not call them.
      ...(options.isLocal && { triggers: undefined }),
      ...(base.d1_databases && {
        d1_databases: base.d1_databases.map((database: { migrations_dir?: string }) => ({
          ...database,
          ...(options.databaseId && { database_id: options.databaseId }),
          migrations_dir: placed(database.migrations_dir ?? "migrations"),
        })),
      }),
    };
    const named = withName(config, options.name ?? DEFAULT_NAME);
    const path = join(dir, `${worker.name}.json`);
    await writeFile(path, `${JSON.stringify(named, null, 2)}\n`);
    const bytes = memoryOf(worker, options.engine, limits)?.bytes ?? 0;
    workers.push({ name: worker.name, path, holds: worker.holds, bytes });
  }
  return { workers, limits };
}

/** What is shared in an account, by a deployment's own names: buckets, databases and queues. */
const NAMED = ["bucket_name", "database_name", "queue", "dead_letter_queue"];

/** The configuration with the default name at the beginning of what is shared replaced. */
function withName<T>(config: T, name: string): T {
  const rename = (value: string) =>
    value === DEFAULT_NAME || value.startsWith(`${DEFAULT_NAME}-`) ? name + value.slice(DEFAULT_NAME.length) : value;
  return JSON.parse(
    JSON.stringify(config, (key, value: unknown) =>
      NAMED.includes(key) && typeof value === "string" ? rename(value) : value,
    ),
  ) as T;
}

function readConfig(root: string, path: string): RawConfig {
  return experimental_readRawConfig({ config: join(root, path) }).rawConfig;
}
