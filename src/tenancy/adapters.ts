/**
 * A tenant's adapters: their files lie in the bucket below the hash of their content, which version of a name is in use
 * stands in the database; so a change of it is one write, and who began with a version ends with it.
 */
import { EdgeT5Error } from "../errors.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, type AdapterFiles, parseAdapter } from "../t5/adapter.ts";
import type { T5Config } from "../t5/config.ts";
import { type Database, type Page, type PageOptions, pageOf } from "./database.ts";
import { RecentRows } from "./recent-rows.ts";

export interface Adapter {
  name: string;
  /** SHA-256 of its files. */
  version: string;
  /** The base's name. */
  model: string;
  /** The largest of its modules'. */
  rank: number;
  bytes: number;
  /** Since when this version is in use, in milliseconds since 1970. */
  createdAt: number;
}

interface Row {
  name: string;
  version: string;
  model: string;
  rank: number;
  bytes: number;
  created_at: number;
}

/** The part of an R2 bucket that is used here. */
export interface AdapterBucket {
  put(key: string, value: Uint8Array | string): Promise<unknown>;
}

/** Where an adapter goes. */
export interface AdapterPlaces {
  db: Database;
  bucket: AdapterBucket;
  /** Has the model use the files at a key, before anybody else does. Throws what goes wrong. */
  tryOut(key: string): Promise<void>;
}

/** A change is seen by all isolates after this time. */
const MAX_AGE_MS = 10_000;
/** This isolate's. */
export const adapterCache = new RecentRows<Row | null>(MAX_AGE_MS, 1_000);

const IN_USE = "replaced_at IS NULL AND deleted_at IS NULL";

/** Where a version's files lie: `adapter_config.json` and `adapter_model.safetensors` below it. */
export function adapterKey(tenant: string, name: string, version: string): string {
  return `tenants/${tenant}/adapters/${name}/${version}`;
}

/** Where what a fine-tuned adapter was at a checkpoint lies. It goes with the adapter, and has no days of its own on the bill. */
export function checkpointKey(tenant: string, name: string, step: number): string {
  return adapterKey(tenant, name, `ckpt-step-${step}`);
}

/** The version in use, at most ten seconds old: its base, and where it lies. */
export async function findAdapter(
  db: Database,
  tenant: string,
  name: string,
): Promise<{ name: string; model: string; key: string } | null> {
  const row = await adapterCache.get(`${tenant}/${name}`, Date.now(), () => readRow(db, tenant, name));
  return row && { name, model: row.model, key: adapterKey(tenant, name, row.version) };
}

/** As it is now. */
export async function readAdapterRow(db: Database, tenant: string, name: string): Promise<Adapter | null> {
  const row = await readRow(db, tenant, name);
  return row && toAdapter(row);
}

export async function listAdapters(
  db: Database,
  tenant: string,
  { limit, after }: PageOptions,
): Promise<Page<Adapter>> {
  const { results } = await db
    .prepare(`SELECT * FROM adapters WHERE tenant = ? AND name > ? AND ${IN_USE} ORDER BY name LIMIT ?`)
    .bind(tenant, after ?? "", limit + 1)
    .all<Row>();
  return pageOf(results, limit, toAdapter);
}

/**
 * Checks an adapter against its base, keeps it, and puts it to use in place of the version before. The same files again
 * change nothing.
 *
 * @returns the version in use, and whether there was none of that name before
 * @throws EdgeT5Error `E_ADAPTER` for one that does not fit the base
 */
export async function putAdapter(
  { db, bucket, tryOut }: AdapterPlaces,
  owner: { tenant: string; name: string },
  files: { config: string; tensors: Uint8Array<ArrayBuffer> },
  base: { model: string; config: T5Config },
  now: number,
): Promise<{ adapter: Adapter; isNew: boolean }> {
  const { tenant, name } = owner;
  const parsed = parseAdapter(toFiles(files), base.config);
  const version = await hashOf(files);
  const current = await readRow(db, tenant, name);
  if (current?.version === version && current.model === base.model) {
    return { adapter: toAdapter(current), isNew: false };
  }
  const key = adapterKey(tenant, name, version);
  await bucket.put(`${key}/${ADAPTER_TENSORS}`, files.tensors);
  await bucket.put(`${key}/${ADAPTER_CONFIG}`, files.config);
  await tryOut(key);
  const row: Row = {
    name,
    version,
    model: base.model,
    rank: Math.max(...[...parsed.modules.values()].map(({ rank }) => rank)),
    bytes: files.tensors.byteLength + files.config.length,
    created_at: now,
  };
  await db.batch([
    db
      .prepare(`UPDATE adapters SET replaced_at = ? WHERE tenant = ? AND name = ? AND ${IN_USE}`)
      .bind(now, tenant, name),
    db
      .prepare(
        "INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
      )
      .bind(tenant, name, version, row.model, row.rank, row.bytes, now),
  ]);
  adapterCache.forget(`${tenant}/${name}`);
  return { adapter: toAdapter(row), isNew: current === null };
}

/** Its files stay: bills count its days. @returns whether there was one */
export async function deleteAdapter(db: Database, tenant: string, name: string, now: number): Promise<boolean> {
  const { meta } = await db
    .prepare(`UPDATE adapters SET deleted_at = ? WHERE tenant = ? AND name = ? AND ${IN_USE}`)
    .bind(now, tenant, name)
    .run();
  adapterCache.forget(`${tenant}/${name}`);
  return meta.changes > 0;
}

function readRow(db: Database, tenant: string, name: string): Promise<Row | null> {
  return db
    .prepare(`SELECT * FROM adapters WHERE tenant = ? AND name = ? AND ${IN_USE}`)
    .bind(tenant, name)
    .first<Row>();
}

function toAdapter({ name, version, model, rank, bytes, created_at }: Row): Adapter {
  return { name, version, model, rank, bytes, createdAt: created_at };
}

/** @throws EdgeT5Error `E_ADAPTER` */
function toFiles({ config, tensors }: { config: string; tensors: Uint8Array }): AdapterFiles {
  try {
    return { config: JSON.parse(config), tensors };
  } catch (cause) {
    throw new EdgeT5Error("E_ADAPTER", `${ADAPTER_CONFIG} is not JSON. Send the file that PEFT wrote.`, { cause });
  }
}

async function hashOf({ config, tensors }: { config: string; tensors: Uint8Array }): Promise<string> {
  const text = new TextEncoder().encode(config);
  const all = new Uint8Array(8 + text.length + tensors.length);
  new DataView(all.buffer).setUint32(0, text.length);
  all.set(text, 8);
  all.set(tensors, 8 + text.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
