/**
 * API keys: `et5_` + ten characters that name the key + `_` + 43 that are secret. The text is given out once; what is kept
 * is its HMAC.
 */
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import type { KeyLimits, Scope } from "./caller.ts";
import { type Database, type Page, type PageOptions, pageOf } from "./database.ts";

/** The first part is the key's id. */
const KEY_TEXT = /^(et5_[0-9A-Za-z]{10})_[0-9A-Za-z_-]{43}$/;
const ID_LENGTH = "et5_".length + 10;
const SECRET_BYTES = 32;
const BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** How long a key works on beside the one that takes its place, unless told otherwise. */
export const DEFAULT_OVERLAP_MS = 24 * 3_600_000;

export interface KeySettings {
  name: string;
  scopes: readonly Scope[];
  allowedOrigins: readonly string[];
  limits: KeyLimits;
  expiresAt: number | null;
}

export interface Key extends KeySettings {
  /** The visible part of the key's text. */
  id: string;
  tenant: string;
  createdAt: number;
  /** A key that takes this one's place was made: this one works until then. */
  retiresAt: number | null;
  revokedAt: number | null;
  /** The key whose place it took. */
  replaces: string | null;
}

/** A key's row. */
export interface KeyRow {
  id: string;
  tenant: string;
  name: string;
  /** Bytes, as D1 gives them. */
  hash: number[];
  scopes: string;
  allowed_origins: string;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  created_at: number;
  expires_at: number | null;
  retires_at: number | null;
  revoked_at: number | null;
  replaces: string | null;
}

export interface NewKey {
  key: Key;
  /** The whole key, for its owner: it is kept nowhere. */
  text: string;
}

/** The key's id as its text has it, and whether the text has a key's form at all; made-up text has a made-up id. */
export function readKeyText(text: string): { id: string; isWellFormed: boolean } {
  return { id: text.slice(0, ID_LENGTH), isWellFormed: KEY_TEXT.test(text) };
}

/** @throws EdgeT5Error `E_CONFIG` where the deployment has no KEY_SECRET */
export async function hashKey(secret: string, text: string): Promise<ArrayBuffer> {
  return crypto.subtle.sign("HMAC", await hmacKey(secret), new TextEncoder().encode(text));
}

/** Compares in constant time. @throws EdgeT5Error as {@link hashKey} */
export async function isHashOf(secret: string, hash: Uint8Array<ArrayBuffer>, text: string): Promise<boolean> {
  return crypto.subtle.verify("HMAC", await hmacKey(secret), hash, new TextEncoder().encode(text));
}

function hmacKey(secret: string): Promise<CryptoKey> {
  if (!secret) {
    throw new EdgeT5Error("E_CONFIG", "KEY_SECRET is not set. Set it: npx wrangler secret put KEY_SECRET.");
  }
  const bytes = new TextEncoder().encode(secret);
  return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
}

/** @param now milliseconds since 1970 */
export async function createKey(
  db: Database,
  secret: string,
  tenant: string,
  settings: KeySettings,
  now: number,
): Promise<NewKey> {
  const { key, text } = makeKey(tenant, settings, now, null);
  await insertKey(db, key, await hashKey(secret, text)).run();
  return { key, text };
}

/** Newest last. */
export async function listKeys(db: Database, tenant: string, { limit, after }: PageOptions): Promise<Page<Key>> {
  const from = "AND (created_at, id) > (SELECT created_at, id FROM api_keys WHERE tenant = ?1 AND id = ?3)";
  const sql = `SELECT * FROM api_keys WHERE tenant = ?1 ${after === null ? "" : from} ORDER BY created_at, id LIMIT ?2`;
  const values = [tenant, limit + 1, ...(after === null ? [] : [after])];
  const { results } = await db
    .prepare(sql)
    .bind(...values)
    .all<KeyRow>();
  return pageOf(results, limit, toKey);
}

/** Null where the tenant has no such key. */
export async function findKey(db: Database, tenant: string, id: string): Promise<Key | null> {
  const row = await db.prepare("SELECT * FROM api_keys WHERE id = ? AND tenant = ?").bind(id, tenant).first<KeyRow>();
  return row && toKey(row);
}

/** It works no more, wherever it is sent, within half a minute. Null where the tenant has no such key. */
export async function revokeKey(db: Database, tenant: string, id: string, now: number): Promise<Key | null> {
  const row = await db
    .prepare("UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND tenant = ? RETURNING *")
    .bind(now, id, tenant)
    .first<KeyRow>();
  return row && toKey(row);
}

/**
 * A new key with the old one's settings; one that expires gets as long a life as the old one had. Both work for a while.
 *
 * @param old from {@link findKey}
 * @throws ApiError 409 `key_not_active` for one that works no more
 */
export async function rotateKey(
  db: Database,
  secret: string,
  old: Key,
  overlapMs: number,
  now: number,
): Promise<NewKey & { replaced: Key }> {
  if (!isActive(old, now)) {
    throw new ApiError(409, "key_not_active", `${old.id} works no more. Make a new key instead of rotating it.`);
  }
  const expiresAt = old.expiresAt === null ? null : now + (old.expiresAt - old.createdAt);
  const { key, text } = makeKey(old.tenant, { ...old, expiresAt }, now, old.id);
  const retiresAt = Math.min(old.retiresAt ?? Number.POSITIVE_INFINITY, now + overlapMs);
  const retire = db.prepare("UPDATE api_keys SET retires_at = ? WHERE id = ?").bind(retiresAt, old.id);
  await db.batch([insertKey(db, key, await hashKey(secret, text)), retire]);
  return { key, text, replaced: { ...old, retiresAt } };
}

export function isActive({ expiresAt, retiresAt, revokedAt }: Key, now: number): boolean {
  return revokedAt === null && (expiresAt === null || now < expiresAt) && (retiresAt === null || now < retiresAt);
}

export function toKey(row: KeyRow): Key {
  return {
    id: row.id,
    tenant: row.tenant,
    name: row.name,
    scopes: JSON.parse(row.scopes) as Scope[],
    allowedOrigins: JSON.parse(row.allowed_origins) as string[],
    limits: { requestsPerMinute: row.requests_per_minute, tokensPerMinute: row.tokens_per_minute },
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    retiresAt: row.retires_at,
    revokedAt: row.revoked_at,
    replaces: row.replaces,
  };
}

function makeKey(tenant: string, settings: KeySettings, now: number, replaces: string | null): NewKey {
  const { name, scopes, allowedOrigins, limits, expiresAt } = settings;
  const id = `et5_${randomBase62(10)}`;
  const secret = crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
  const own = { id, tenant, createdAt: now, retiresAt: null, revokedAt: null, replaces };
  return {
    key: { ...own, name, scopes, allowedOrigins, limits, expiresAt },
    text: `${id}_${base64url(secret)}`,
  };
}

function insertKey(db: Database, key: Key, hash: ArrayBuffer) {
  const columns =
    "id, tenant, name, hash, scopes, allowed_origins, requests_per_minute, tokens_per_minute, created_at, expires_at, replaces";
  return db
    .prepare(`INSERT INTO api_keys (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    .bind(
      key.id,
      key.tenant,
      key.name,
      hash,
      JSON.stringify(key.scopes),
      JSON.stringify(key.allowedOrigins),
      key.limits.requestsPerMinute,
      key.limits.tokensPerMinute,
      key.createdAt,
      key.expiresAt,
      key.replaces,
    );
}

function randomBase62(length: number): string {
  // The remainder's preference for some characters is below one in 10^7.
  return Array.from(crypto.getRandomValues(new Uint32Array(length)), (random) => BASE62[random % 62]).join("");
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
