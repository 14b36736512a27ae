/** A tenant's keys: the same routes below `/v1/keys` for the tenant, and below `/admin/tenants/:tenant/keys`. */
import { type Context, Hono } from "hono";
import {
  keyJson,
  keyLimitsOf,
  listJson,
  newKeySchema,
  parsePage,
  rotationSchema,
} from "../../src/api/control-plane.ts";
import { ApiError } from "../../src/api-error.ts";
import { keyCache } from "../../src/tenancy/authenticate.ts";
import { type KeyLimits, lowerLimits, type Scope } from "../../src/tenancy/caller.ts";
import { createKey, DEFAULT_OVERLAP_MS, findKey, listKeys, revokeKey, rotateKey } from "../../src/tenancy/keys.ts";
import { findTenant } from "../../src/tenancy/tenants.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";

/** Who makes keys, and for whom. */
export interface KeyGiver {
  tenant: string;
  /** What may be given. */
  scopes: readonly Scope[];
  limits: KeyLimits;
}

export function keyRoutes(giverOf: (c: Context<GatewayEnv>) => KeyGiver | Promise<KeyGiver>) {
  const routes = new Hono<GatewayEnv>();

  routes.get("/", async (c) => {
    const { tenant } = await giverOf(c);
    const page = await listKeys(c.env.DB, tenant, parsePage(c.req.query()));
    return c.json(listJson(page, (key) => keyJson(key, Date.now())));
  });

  routes.post("/", async (c) => {
    const giver = await giverOf(c);
    const { name, scopes, allowed_origins, limits, expires_at } = await readBody(c.req.raw, newKeySchema, "a key");
    const now = Date.now();
    if (expires_at !== null && expires_at <= now) {
      throw new ApiError(400, "invalid_value", "expires_at is in the past. Set it later, or leave it out.", {
        param: "expires_at",
      });
    }
    checkScopes(giver, scopes);
    const defaults = (await findTenant(c.env.DB, giver.tenant))?.keyLimits;
    const settings = {
      name,
      scopes: [...new Set(scopes)],
      allowedOrigins: allowed_origins,
      limits: lowerLimits({ ...giver.limits, ...defaults, ...keyLimitsOf(limits) }, giver.limits),
      expiresAt: expires_at,
    };
    const { key, text } = await createKey(c.env.DB, c.env.KEY_SECRET, giver.tenant, settings, now);
    return c.json({ ...keyJson(key, now), key: text }, 201);
  });

  routes.get("/:key", async (c) => {
    const { tenant } = await giverOf(c);
    return c.json(keyJson(await keyOf(c, tenant), Date.now()));
  });

  routes.post("/:key/rotate", async (c) => {
    const giver = await giverOf(c);
    const { overlap_seconds } = await readBody(c.req.raw, rotationSchema, "a rotation");
    const old = await keyOf(c, giver.tenant);
    checkScopes(giver, old.scopes);
    const now = Date.now();
    const overlap = overlap_seconds === undefined ? DEFAULT_OVERLAP_MS : overlap_seconds * 1000;
    const { key, text, replaced } = await rotateKey(c.env.DB, c.env.KEY_SECRET, old, overlap, now);
    keyCache.forget(old.id);
    return c.json({ ...keyJson(key, now), key: text, replaced: keyJson(replaced, now) }, 201);
  });

  routes.delete("/:key", async (c) => {
    const { tenant } = await giverOf(c);
    const now = Date.now();
    const id = c.req.param("key");
    const key = await revokeKey(c.env.DB, tenant, id, now);
    if (!key) throw keyNotFound(id);
    // Other isolates follow within half a minute.
    keyCache.forget(id);
    return c.json(keyJson(key, now));
  });

  return routes;
}

/** @throws ApiError 404 `key_not_found` */
async function keyOf(c: Context<GatewayEnv>, tenant: string) {
  const id = c.req.param("key") ?? "";
  const key = await findKey(c.env.DB, tenant, id);
  if (!key) throw keyNotFound(id);
  return key;
}

function keyNotFound(id: string): ApiError {
  return new ApiError(
    404,
    "key_not_found",
    `There is no key ${JSON.stringify(id)}. GET the list of keys for their ids.`,
  );
}

/** @throws ApiError 403 `insufficient_scope` */
function checkScopes(giver: KeyGiver, scopes: readonly Scope[]): void {
  const missing = scopes.find((scope) => !giver.scopes.includes(scope));
  if (!missing) return;
  throw new ApiError(403, "insufficient_scope", `A key without ${missing} cannot give it. Leave it out.`, {
    param: "scopes",
  });
}
