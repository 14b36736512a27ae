/**
 * Who asks: the key of a request, verified. Whatever is wrong with it, the same is done: one look-up, one HMAC, one
 * comparison; so that neither answer nor time tells which part of a key was right.
 */
import type { Caller } from "./caller.ts";
import type { Database } from "./database.ts";
import { isActive, isHashOf, type Key, type KeyRow, readKeyText, toKey } from "./keys.ts";
import { RecentRows } from "./recent-rows.ts";

interface AuthenticationRow extends KeyRow {
  models: string | null;
  concurrency: number | null;
  soft_budget: number | null;
  hard_budget: number | null;
  disabled_at: number | null;
}

export type KeyCache = RecentRows<AuthenticationRow | null>;

/** What is revoked, or disabled, is refused after this time everywhere. */
const MAX_AGE_MS = 30_000;
/** About a kilobyte each. */
const MOST_ROWS = 2_000;

export function createKeyCache(): KeyCache {
  return new RecentRows(MAX_AGE_MS, MOST_ROWS);
}

/** This isolate's. */
export const keyCache: KeyCache = createKeyCache();

/** Nothing has this HMAC. */
const NO_HASH = new Uint8Array(32);

export interface Authentication {
  db: Database;
  /** KEY_SECRET */
  secret: string;
  /** Milliseconds since 1970. */
  now: number;
  cache?: KeyCache;
}

/**
 * @param authorization the header: `Bearer et5_…`
 * @returns null for no key, one that is none, that is unknown, expired or revoked, or whose tenant is disabled
 */
export async function authenticate(
  authorization: string | undefined,
  { db, secret, now, cache = keyCache }: Authentication,
): Promise<Caller | null> {
  const text = /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1] ?? "";
  const { id, isWellFormed } = readKeyText(text);
  const row = await cache.get(id, now, () => readRow(db, id));
  const isRight = await isHashOf(secret, row ? Uint8Array.from(row.hash) : NO_HASH, text);
  if (!isRight || !isWellFormed || !row || row.disabled_at !== null) return null;
  const key = toKey(row);
  return isActive(key, now) ? toCaller(row, key) : null;
}

function readRow(db: Database, id: string): Promise<AuthenticationRow | null> {
  const tenant = "t.models, t.concurrency, t.soft_budget, t.hard_budget, t.disabled_at";
  return db
    .prepare(`SELECT k.*, ${tenant} FROM api_keys k JOIN tenants t ON t.id = k.tenant WHERE k.id = ?`)
    .bind(id)
    .first<AuthenticationRow>();
}

function toCaller(row: AuthenticationRow, { id, tenant, scopes, allowedOrigins, limits }: Key): Caller {
  return {
    tenant,
    key: id,
    scopes,
    allowedOrigins,
    models: row.models === null ? null : (JSON.parse(row.models) as string[]),
    keyLimits: limits,
    tenantLimits: { concurrency: row.concurrency, softBudget: row.soft_budget, hardBudget: row.hard_budget },
  };
}
