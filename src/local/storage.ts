/** The gateway's bucket and database as wrangler keeps them on this machine. */
import { execFile } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { experimental_readRawConfig, getPlatformProxy } from "wrangler";
import { EdgeT5Error } from "../errors.ts";
import type { ModelBucket } from "../tenancy/model-versions.ts";

export interface LocalStorage {
  bucket: ModelBucket;
  dispose(): Promise<void>;
}

/**
 * @param root the kit's folder
 * @param state wrangler's folder for local state (`--persist-to`)
 */
export async function openLocalStorage(root: string, state: string): Promise<LocalStorage> {
  const platform = await getPlatformProxy<{ SHARDS: ModelBucket }>({
    configPath: await writeStorageConfig(root, state),
    persist: { path: join(state, "v3") },
    remoteBindings: false,
  });
  return { bucket: platform.env.SHARDS, dispose: platform.dispose };
}

/**
 * Brings the local database up to date, through wrangler.
 *
 * @throws EdgeT5Error `E_IO` when a migration fails
 */
export async function migrateLocal(root: string, state: string): Promise<void> {
  const config = await writeStorageConfig(root, state);
  if (!(await hasNewMigrations(root, state, config))) return;
  const wrangler = join(dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin/wrangler.js");
  const args = [wrangler, "d1", "migrations", "apply", "DB", "--local", "--persist-to", state, "-c", config];
  try {
    await promisify(execFile)(process.execPath, args, {
      cwd: root,
      env: { ...process.env, CI: "true", WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" },
    });
  } catch (cause) {
    const { stdout = "", stderr = "" } = cause as { stdout?: string; stderr?: string };
    throw new EdgeT5Error("E_IO", `The local database could not be brought up to date:\n${stdout}${stderr}`, { cause });
  }
}

interface Database {
  prepare(sql: string): { all<T>(): Promise<{ results: T[] }> };
}

/** Asks the database itself: starting wrangler takes seconds. */
async function hasNewMigrations(root: string, state: string, configPath: string): Promise<boolean> {
  const files = (await readdir(join(root, migrationsDir(root)))).filter((name) => name.endsWith(".sql"));
  const platform = await getPlatformProxy<{ DB: Database }>({
    configPath,
    persist: { path: join(state, "v3") },
    remoteBindings: false,
  });
  try {
    const { results } = await platform.env.DB.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
    const applied = new Set(results.map(({ name }) => name));
    return files.some((name) => !applied.has(name));
  } catch {
    // No table of migrations: none was applied.
    return true;
  } finally {
    await platform.dispose();
  }
}

interface StorageConfig {
  name?: string;
  compatibility_date?: string;
  r2_buckets?: object[];
  d1_databases?: { migrations_dir?: string }[];
}

function rawConfig(root: string): StorageConfig {
  return experimental_readRawConfig({ config: join(root, "wrangler.toml") }).rawConfig as StorageConfig;
}

function migrationsDir(root: string): string {
  return rawConfig(root).d1_databases?.[0]?.migrations_dir ?? "migrations";
}

/** A configuration of storage alone: the gateway's own has what a proxy cannot give. */
async function writeStorageConfig(root: string, state: string): Promise<string> {
  const { name, compatibility_date, r2_buckets, d1_databases = [] } = rawConfig(root);
  const databases = d1_databases.map((database) => ({
    ...database,
    migrations_dir: join(root, database.migrations_dir ?? "migrations"),
  }));
  await mkdir(state, { recursive: true });
  const path = join(state, "storage.json");
  await writeFile(path, JSON.stringify({ name, compatibility_date, r2_buckets, d1_databases: databases }));
  return path;
}
