/** API keys: made once, stored hashed, verified the same way whatever is wrong, ended everywhere within a minute. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { madeKeySchema, rotatedKeySchema } from "../../src/api/control-plane.ts";
import { authenticate, createKeyCache, keyCache } from "../../src/tenancy/authenticate.ts";
import { createKey, findKey, readKeyText, revokeKey, rotateKey } from "../../src/tenancy/keys.ts";
import { updateTenant } from "../../src/tenancy/tenants.ts";
import {
  ADMIN_TOKEN,
  countedDatabase,
  database,
  type ErrorBody,
  KEY_SECRET,
  makeKey,
  putModel,
  send,
  sendAs,
} from "./isolate.ts";

const KEY = /^et5_[0-9A-Za-z]{10}_[0-9A-Za-z_-]{43}$/;
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

interface KeyJson {
  id: string;
  key?: string;
  name: string;
  scopes: string[];
  status: string;
  expires_at: string | null;
  revoked_at: string | null;
  replaces: string | null;
  limits: { requests_per_minute: number | null; tokens_per_minute: number | null };
  allowed_origins: string[];
}

interface KeyList {
  data: KeyJson[];
  has_more: boolean;
  last_id: string | null;
}

const verify = (text: string, now = Date.now(), cache = createKeyCache()) =>
  authenticate(`Bearer ${text}`, { db: database, secret: KEY_SECRET, now, cache });

const NO_LIMITS = { requestsPerMinute: null, tokensPerMinute: null };
const SETTINGS = { name: "k", scopes: ["tasks:run"] as const, allowedOrigins: [], limits: NO_LIMITS, expiresAt: null };

let key: string;
beforeAll(async () => {
  key = await makeKey("keys-tenant");
});
beforeEach(() => keyCache.clear());

describe("what is stored", () => {
  test("is the HMAC of the whole key; its secret part is nowhere in the database", async () => {
    expect(key).toMatch(KEY);
    const { results } = await database.prepare("SELECT * FROM api_keys").all();
    const secretPart = key.slice("et5_".length + 11);
    expect(JSON.stringify(results)).not.toContain(secretPart);
    const { id } = readKeyText(key);
    const row = results.find((each) => each.id === id);
    const hmac = await crypto.subtle.sign(
      "HMAC",
      await crypto.subtle.importKey(
        "raw",
        new TextEncoder().encode(KEY_SECRET),
        { name: "HMAC", hash: "SHA-256" },
        false,
        ["sign"],
      ),
      new TextEncoder().encode(key),
    );
    expect(row?.hash).toEqual([...new Uint8Array(hmac)]);
  });

  test("is of no use under another KEY_SECRET, and none at all is a defect of the deployment, not of the key", async () => {
    const cache = createKeyCache();
    const options = { db: database, now: Date.now(), cache };
    expect(await authenticate(`Bearer ${key}`, { ...options, secret: "another" })).toBeNull();
    await expect(authenticate(`Bearer ${key}`, { ...options, secret: "" })).rejects.toMatchObject({ code: "E_CONFIG" });
  });
});

describe("who is let in", () => {
  test("the owner of a key, with what the key and the tenant may do", async () => {
    const limits = { concurrency: 3, softBudget: 5_000_000_000, hardBudget: 10_000_000_000 };
    const text = await makeKey(
      "limited",
      {
        scopes: ["tasks:run", "usage:read"],
        allowedOrigins: ["https://a.example"],
        limits: { requestsPerMinute: 60, tokensPerMinute: 9000 },
      },
      { models: ["m"], limits },
    );
    expect(await verify(text)).toEqual({
      tenant: "limited",
      key: text.slice(0, 14),
      scopes: ["tasks:run", "usage:read"],
      allowedOrigins: ["https://a.example"],
      models: ["m"],
      keyLimits: { requestsPerMinute: 60, tokensPerMinute: 9000 },
      tenantLimits: limits,
    });
  });

  test("the scheme's case and spaces around do not matter", async () => {
    const options = { db: database, secret: KEY_SECRET, now: Date.now(), cache: createKeyCache() };
    for (const header of [`bearer ${key}`, `BEARER  ${key} `]) {
      expect(await authenticate(header, options)).toMatchObject({ tenant: "keys-tenant" });
    }
    expect(await authenticate(key, options)).toBeNull();
    expect(await authenticate(`Basic ${key}`, options)).toBeNull();
  });
});

describe("who is not", () => {
  const now = Date.now();
  let cases: [what: string, header: string | undefined][];
  beforeAll(async () => {
    const expired = await makeKey("keys-tenant", { expiresAt: now - 1 });
    const revoked = await makeKey("keys-tenant");
    await revokeKey(database, "keys-tenant", readKeyText(revoked).id, now);
    const disabled = await makeKey("disabled-tenant");
    await updateTenant(database, "disabled-tenant", { isDisabled: true }, now);
    const other = key.endsWith("A") ? "B" : "A";
    cases = [
      ["no header", undefined],
      ["an empty one", ""],
      ["no key", "Bearer "],
      ["no key of ours", "Bearer hf_abcdefghijklmnop"],
      ["a key's id alone", `Bearer ${key.slice(0, 14)}`],
      ["an unknown key", `Bearer et5_0123456789_${"A".repeat(43)}`],
      ["a wrong secret", `Bearer ${key.slice(0, -1)}${other}`],
      ["a key and more", `Bearer ${key}A`],
      ["an expired key", `Bearer ${expired}`],
      ["a revoked key", `Bearer ${revoked}`],
      ["a disabled tenant's key", `Bearer ${disabled}`],
    ];
  });

  test("and each costs what a good key costs: one query, the same one, and one HMAC", async () => {
    const verified: string[] = [];
    const { subtle } = crypto;
    const original = subtle.verify.bind(subtle);
    subtle.verify = (...args: Parameters<typeof original>) => {
      verified.push("HMAC");
      return original(...args);
    };
    try {
      for (const [what, header] of [...cases, ["a good key", `Bearer ${key}`] as const]) {
        const { db, statements } = countedDatabase();
        const caller = await authenticate(header, { db, secret: KEY_SECRET, now, cache: createKeyCache() });
        expect(caller === null, what).toBe(what !== "a good key");
        expect(statements, what).toHaveLength(1);
        expect(statements[0], what).toMatch(/^SELECT k\.\*/);
        expect(verified.splice(0), what).toHaveLength(1);
      }
    } finally {
      subtle.verify = original;
    }
  });

  test("and each is answered with the same 401, whatever the path names", async () => {
    const answers = new Set<string>();
    for (const [, header] of cases) {
      for (const path of ["/v1/models", "/v1/models/m", "/v1/completions", "/v1/keys/et5_0123456789", "/v1/nothing"]) {
        const response = await send(path, { headers: { authorization: header ?? "" } });
        expect(response.headers.get("www-authenticate")).toBe("Bearer");
        answers.add(`${response.status} ${await response.text()}`);
      }
    }
    expect(answers.size).toBe(1);
    expect([...answers][0]).toMatch(/^401 .*"code":"invalid_api_key"/);
  });
});

describe("the isolate's memory of rows", () => {
  test("a key is read again after half a minute, one that is unknown as well", async () => {
    const cache = createKeyCache();
    const { db, statements } = countedDatabase();
    const ask = (text: string, now: number) => authenticate(`Bearer ${text}`, { db, secret: KEY_SECRET, now, cache });
    for (const text of [key, `et5_9999999999_${"A".repeat(43)}`]) {
      statements.length = 0;
      for (const now of [0, 1, 29_999]) await ask(text, now);
      expect(statements).toHaveLength(1);
      await ask(text, 30_000);
      expect(statements).toHaveLength(2);
    }
  });

  test("a key revoked through one isolate is refused by all within a minute, and a disabled tenant's too", async () => {
    const start = 1_000_000;
    const [one, another] = [createKeyCache(), createKeyCache()];
    for (const end of [
      (text: string) => revokeKey(database, "ending", readKeyText(text).id, start),
      () => updateTenant(database, "ending", { isDisabled: true }, start),
    ]) {
      const text = await makeKey("ending");
      for (const cache of [one, another]) expect(await verify(text, start, cache)).not.toBeNull();
      await end(text);
      for (const cache of [one, another]) expect(await verify(text, start + MINUTE, cache)).toBeNull();
    }
  });

  test("an expiry needs no reading: it holds to the millisecond", async () => {
    const text = await makeKey("keys-tenant", { expiresAt: 2_000_000 });
    const cache = createKeyCache();
    expect(await verify(text, 1_999_999, cache)).not.toBeNull();
    expect(await verify(text, 2_000_000, cache)).toBeNull();
  });

  test("made-up keys do not fill it: the least recently used rows go", async () => {
    const cache = createKeyCache();
    const now = 1;
    for (let i = 0; i < 2_100; i++) {
      await cache.get(`et5_${String(i).padStart(10, "0")}`, now, async () => null);
      if (i % 100 === 0) await verify(key, now, cache);
    }
    expect(cache.size).toBe(2_000);
    const { db, statements } = countedDatabase();
    await authenticate(`Bearer ${key}`, { db, secret: KEY_SECRET, now, cache });
    expect(statements).toHaveLength(0);
  });
});

describe("rotation", () => {
  const now = 5_000_000_000;
  test("both keys work for the overlap, then the new one alone, with the old one's settings", async () => {
    const settings = { ...SETTINGS, name: "rotated", allowedOrigins: ["https://a.example"] };
    const old = await createKey(database, KEY_SECRET, "keys-tenant", settings, now);
    const made = await rotateKey(database, KEY_SECRET, old.key, DAY, now + 10);
    expect(made.key).toMatchObject({ ...settings, replaces: old.key.id });
    expect(await verify(old.text, now + DAY + 9)).not.toBeNull();
    expect(await verify(old.text, now + DAY + 10)).toBeNull();
    expect(await verify(made.text, now + 2 * DAY)).not.toBeNull();
  });

  test("a key that expires is followed by one with as long a life; a second rotation does not lengthen the overlap", async () => {
    const { key: old } = await createKey(
      database,
      KEY_SECRET,
      "keys-tenant",
      { ...SETTINGS, expiresAt: now + 90 * DAY },
      now,
    );
    const first = await rotateKey(database, KEY_SECRET, old, DAY, now + 80 * DAY);
    expect(first.key.expiresAt).toBe(now + 170 * DAY);
    const again = await findKey(database, "keys-tenant", old.id);
    const second = await rotateKey(database, KEY_SECRET, again!, 3 * DAY, now + 80 * DAY);
    expect(second.replaced.retiresAt).toBe(now + 81 * DAY);
  });

  test("a key that works no more is not rotated", async () => {
    const { key: old } = await createKey(database, KEY_SECRET, "keys-tenant", { ...SETTINGS, expiresAt: now + 1 }, now);
    await expect(rotateKey(database, KEY_SECRET, old, DAY, now + 1)).rejects.toMatchObject({
      status: 409,
      code: "key_not_active",
    });
  });
});

describe("/v1/keys", () => {
  const ask = <Json = KeyJson>(method: string, path: string, body?: object, as = key) =>
    sendAs<Json>(as, method, `/v1/keys${path}`, body);

  test("a key is made, shown once, works, is listed, is revoked, and is refused at once here", async () => {
    const made = await ask("POST", "", { name: "site", allowed_origins: ["https://a.example"] });
    expect(made.status).toBe(201);
    expect(madeKeySchema.strict().parse(made.json)).toEqual(made.json);
    const { key: text, ...shown } = made.json;
    expect(text).toMatch(KEY);
    expect(shown).toMatchObject({ id: text?.slice(0, 14), scopes: ["tasks:run"], status: "active", expires_at: null });
    expect((await ask("GET", `/${shown.id}`)).json).toEqual(shown);
    const list = await ask<KeyList>("GET", "?limit=100");
    expect(list.json.data).toContainEqual(shown);
    expect(JSON.stringify(list.json)).not.toContain(text?.slice(15));

    expect((await sendAs(text!, "GET", "/v1/models")).status).toBe(200);
    const revoked = await ask("DELETE", `/${shown.id}`);
    expect(revoked.json).toMatchObject({ status: "revoked", revoked_at: expect.any(String) });
    expect((await sendAs(text!, "GET", "/v1/models")).status).toBe(401);
    expect((await ask("DELETE", `/${shown.id}`)).json).toEqual(revoked.json);
  });

  test("pages follow each other without gaps", async () => {
    const owner = await makeKey("paging");
    for (let i = 0; i < 4; i++) await ask("POST", "", { name: `key ${i}` }, owner);
    const names: string[] = [];
    let query = "?limit=2";
    for (;;) {
      const { json } = await ask<KeyList>("GET", query, undefined, owner);
      expect(json.data.length).toBeLessThanOrEqual(2);
      names.push(...json.data.map(({ name }) => name));
      if (!json.has_more) break;
      query = `?limit=2&after=${json.last_id}`;
    }
    expect(names).toHaveLength(5);
    expect(names.toSorted()).toEqual(["key 0", "key 1", "key 2", "key 3", "test"]);
  });

  test("is rotated, linked to the key whose place it takes", async () => {
    const made = await ask("POST", "", { name: "turning" });
    const turned = await ask<KeyJson & { replaced: KeyJson }>("POST", `/${made.json.id}/rotate`, {
      overlap_seconds: 0,
    });
    expect(turned.status).toBe(201);
    expect(rotatedKeySchema.strict().parse(turned.json)).toEqual(turned.json);
    expect(turned.json).toMatchObject({ name: "turning", replaces: made.json.id, key: expect.stringMatching(KEY) });
    expect(turned.json.replaced).toMatchObject({ id: made.json.id, status: "expired" });
    expect((await sendAs(made.json.key!, "GET", "/v1/models")).status).toBe(401);
    expect((await sendAs(turned.json.key!, "GET", "/v1/models")).status).toBe(200);
    expect((await ask<ErrorBody>("POST", `/${made.json.id}/rotate`)).json.error.code).toBe("key_not_active");
    const byDefault = await ask<KeyJson & { replaced: KeyJson }>("POST", `/${turned.json.id}/rotate`);
    const end = Date.parse(byDefault.json.replaced.expires_at!);
    expect(end - Date.now()).toBeGreaterThan(DAY - MINUTE);
    expect(end - Date.now()).toBeLessThanOrEqual(DAY);
  });

  test("a key gives no scope that it has not, by making or by rotating", async () => {
    const writer = await makeKey("keys-tenant", { scopes: ["keys:write"] });
    const made = await ask<ErrorBody>("POST", "", { name: "more", scopes: ["usage:read"] }, writer);
    expect([made.status, made.json.error.code]).toEqual([403, "insufficient_scope"]);
    const rotated = await ask<ErrorBody>("POST", `/${key.slice(0, 14)}/rotate`, {}, writer);
    expect([rotated.status, rotated.json.error.code]).toEqual([403, "insufficient_scope"]);
    expect((await ask("POST", "", { name: "less", scopes: ["keys:write"] }, writer)).status).toBe(201);
  });

  test("nor higher limits; left out, they are the tenant's for new keys", async () => {
    const limits = { requestsPerMinute: 60, tokensPerMinute: null };
    const keyLimits = { requestsPerMinute: 30, tokensPerMinute: 500 };
    const owner = await makeKey("defaults", { limits }, { keyLimits });
    const limitsOf = async (given?: object) =>
      (await ask("POST", "", { name: "k", ...(given && { limits: given }) }, owner)).json.limits;
    expect(await limitsOf()).toEqual({ requests_per_minute: 30, tokens_per_minute: 500 });
    expect(await limitsOf({ requests_per_minute: 100 })).toEqual({ requests_per_minute: 60, tokens_per_minute: 500 });
    const none = { requests_per_minute: null, tokens_per_minute: null };
    expect(await limitsOf(none)).toEqual({ requests_per_minute: 60, tokens_per_minute: null });
  });

  test.each([
    ["no name", {}, "missing_required_parameter", "name"],
    ["an unknown field", { name: "k", scope: "tasks:run" }, "unknown_parameter", "scope"],
    ["an unknown scope", { name: "k", scopes: ["everything"] }, "invalid_value", "scopes.0"],
    ["no scopes", { name: "k", scopes: [] }, "invalid_value", "scopes"],
    [
      "an origin with a path",
      { name: "k", allowed_origins: ["https://a.example/x"] },
      "invalid_value",
      "allowed_origins.0",
    ],
    ["a limit of 0", { name: "k", limits: { requests_per_minute: 0 } }, "invalid_value", "limits.requests_per_minute"],
    ["a day that is none", { name: "k", expires_at: "tomorrow" }, "invalid_value", "expires_at"],
    ["a day that is past", { name: "k", expires_at: "2020-01-01T00:00:00Z" }, "invalid_value", "expires_at"],
  ])("refuses %s", async (_, body, code, param) => {
    const { status, json } = await ask<ErrorBody>("POST", "", body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ code, param });
  });

  test("the control plane makes keys for a tenant that is there", async () => {
    const path = "/admin/tenants/keys-tenant/keys";
    const made = await sendAs<KeyJson>(ADMIN_TOKEN, "POST", path, { name: "by admin", scopes: ["usage:read"] });
    expect(made.status).toBe(201);
    expect((await sendAs<ErrorBody>(made.json.key!, "GET", "/v1/models")).json.error.code).toBe("insufficient_scope");
    const nobody = await sendAs<ErrorBody>(ADMIN_TOKEN, "POST", "/admin/tenants/nobody/keys", { name: "k" });
    expect([nobody.status, nobody.json.error.code]).toEqual([404, "tenant_not_found"]);
    const asTenant = await sendAs<ErrorBody>(key, "GET", path);
    expect([asTenant.status, asTenant.json.error.code]).toEqual([401, "invalid_admin_token"]);
  });
});

describe("in a browser", () => {
  const ORIGIN = "https://app.example";
  const from = (origin: string, path: string, authorization: string) =>
    send(path, { headers: { origin, authorization } });
  const readable = (response: Response) => response.headers.get("access-control-allow-origin");

  test("any page may ask beforehand: no key is sent then", async () => {
    const response = await send("/v1/completions", {
      method: "OPTIONS",
      headers: {
        authorization: "",
        origin: ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
      },
    });
    expect(response.status).toBe(204);
    expect(readable(response)).toBe("*");
    expect(response.headers.get("access-control-allow-methods")).toContain("POST");
    expect(response.headers.get("access-control-allow-headers")).toBe("authorization, content-type");
  });

  test("answers are read by pages of the key's origins", async () => {
    const own = `Bearer ${await makeKey("keys-tenant", { allowedOrigins: [ORIGIN] })}`;
    const any = `Bearer ${await makeKey("keys-tenant", { allowedOrigins: ["*"] })}`;
    const allowed = await from(ORIGIN, "/v1/models", own);
    expect(readable(allowed)).toBe(ORIGIN);
    expect(allowed.headers.get("vary")).toContain("origin");
    for (const name of ["x-request-id", "retry-after", "ratelimit", "x-ratelimit-remaining-requests"]) {
      expect(allowed.headers.get("access-control-expose-headers")?.split(", ")).toContain(name);
    }
    expect(readable(await from("https://other.example", "/v1/models", own))).toBeNull();
    expect(readable(await from("https://other.example", "/v1/models/none", own))).toBeNull();
    expect(readable(await from("https://other.example", "/v1/models", any))).toBe("*");
    expect(readable(await from(ORIGIN, "/v1/models", `Bearer ${key}`))).toBeNull();
  });

  test("what is no one's is read by any: a 401, and whether the deployment lives; the control plane's by none", async () => {
    expect(readable(await from(ORIGIN, "/v1/models", ""))).toBe("*");
    expect(readable(await from(ORIGIN, "/healthz", ""))).toBe("*");
    expect(readable(await from(ORIGIN, "/admin/tenants", ""))).toBeNull();
    expect(readable(await from(ORIGIN, "/admin/tenants", `Bearer ${ADMIN_TOKEN}`))).toBeNull();
  });
});

test("a tenant sees and uses the models that it may use; others are answered for like none", async () => {
  await putModel("mine");
  await putModel("theirs");
  const own = await makeKey("one-model", {}, { models: ["mine"] });
  const { json } = await sendAs<{ data: { id: string }[] }>(own, "GET", "/v1/models");
  expect(json.data.map(({ id }) => id)).toEqual(["mine"]);
  const ask = (model: string) => sendAs<ErrorBody>(own, "POST", "/v1/completions", { model, prompt: "hello" });
  const [theirs, nothing] = [await ask("theirs"), await ask("nothing")];
  expect(theirs.status).toBe(404);
  expect(JSON.stringify(theirs.json).replaceAll("theirs", "nothing")).toBe(JSON.stringify(nothing.json));
  expect((await sendAs(own, "GET", "/v1/models/theirs")).status).toBe(404);
  expect((await sendAs(own, "GET", "/v1/models/mine")).status).toBe(200);
});
