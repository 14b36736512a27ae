/** The control plane's tenants: who may ask, what is kept, what a change does to their keys. */
import { describe, expect, test } from "vitest";
import { tenantSchema } from "../../src/api/control-plane.ts";
import { ADMIN_TOKEN, type ErrorBody, makeKey, send, sendAs } from "./isolate.ts";

interface TenantJson {
  id: string;
  name: string;
  models: string[] | null;
  limits: { concurrency: number | null; soft_budget: string | null; hard_budget: string | null };
  key_limits: { requests_per_minute: number | null; tokens_per_minute: number | null };
  created_at: string;
  updated_at: string;
  disabled_at: string | null;
}

const ask = <Json = TenantJson>(method: string, path: string, body?: object) =>
  sendAs<Json>(ADMIN_TOKEN, method, `/admin/tenants${path}`, body);
const errorOf = async (method: string, path: string, body?: object) => {
  const { status, json } = await ask<ErrorBody>(method, path, body);
  return [status, json.error.code, json.error.param];
};

describe("who may ask", () => {
  test.each([
    ["nobody", ""],
    ["a wrong token", "Bearer wrong"],
    ["half of it", `Bearer ${ADMIN_TOKEN.slice(0, -1)}`],
    ["the token without its scheme", ADMIN_TOKEN],
  ])("not %s, whatever the path names", async (_, authorization) => {
    for (const path of ["/admin/tenants", "/admin/tenants/tests", "/admin/nothing"]) {
      const response = await send(path, { headers: { authorization } });
      expect(response.status).toBe(401);
      expect((await response.json<ErrorBody>()).error.code).toBe("invalid_admin_token");
    }
  });

  test("not a tenant with its key", async () => {
    expect((await send("/admin/tenants")).status).toBe(401);
  });

  test("not an empty token where the deployment has none", async () => {
    const placement = { bindings: { ADMIN_TOKEN: "" } };
    for (const token of ["", "unset"]) {
      const response = await send("/admin/tenants", { headers: { authorization: `Bearer ${token}` } }, placement);
      expect(response.status).toBe(401);
    }
  });
});

test("a tenant is made, found, listed and changed; what a change leaves out stays", async () => {
  const made = await ask("POST", "", {
    id: "acme",
    name: "Acme",
    limits: { concurrency: 8, soft_budget: "10", hard_budget: "12.000000001" },
    key_limits: { requests_per_minute: 60 },
    quotas: { jobs_running: 3, file_bytes: 5e9 },
  });
  expect(made.status).toBe(201);
  expect(made.json).toEqual({
    id: "acme",
    object: "tenant",
    name: "Acme",
    models: null,
    limits: { concurrency: 8, soft_budget: "10", hard_budget: "12.000000001" },
    key_limits: { requests_per_minute: 60, tokens_per_minute: null },
    quotas: { jobs_running: 3, jobs_waiting: null, file_bytes: 5e9 },
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    updated_at: made.json.created_at,
    disabled_at: null,
  });
  expect(tenantSchema.strict().parse(made.json)).toEqual(made.json);
  expect((await ask("GET", "/acme")).json).toEqual(made.json);
  const { json } = await ask<{ data: TenantJson[] }>("GET", "?limit=100");
  expect(json.data).toContainEqual(made.json);

  const changed = await ask("PATCH", "/acme", { models: ["m"], limits: { concurrency: null, hard_budget: "20" } });
  expect(changed.json).toEqual({
    ...made.json,
    models: ["m"],
    limits: { concurrency: null, soft_budget: "10", hard_budget: "20" },
    updated_at: expect.any(String),
  });
  expect((await ask("PATCH", "/acme", {})).json).toMatchObject({ models: ["m"], name: "Acme" });
  const quotas = { jobs_running: null, jobs_waiting: 7, file_bytes: 5e9 };
  const requota = await ask("PATCH", "/acme", { quotas: { jobs_running: null, jobs_waiting: 7 } });
  expect(requota.json).toMatchObject({ quotas, models: ["m"] });
});

test("two changes at once of different things are both made", async () => {
  await ask("POST", "", { id: "both", name: "Both" });
  await Promise.all([
    ask("PATCH", "/both", { name: "Renamed" }),
    ask("PATCH", "/both", { limits: { concurrency: 5 } }),
  ]);
  expect((await ask("GET", "/both")).json).toMatchObject({ name: "Renamed", limits: { concurrency: 5 } });
});

test("a disabled tenant's keys open nothing, at once here, until it is enabled", async () => {
  const key = await makeKey("paused");
  const status = async () => (await sendAs(key, "GET", "/v1/models")).status;
  expect(await status()).toBe(200);
  const { json } = await ask("PATCH", "/paused", { disabled: true });
  expect(json.disabled_at).toMatch(/Z$/);
  expect(await status()).toBe(401);
  expect((await ask("PATCH", "/paused", { disabled: true })).json.disabled_at).toBe(json.disabled_at);
  expect((await ask("PATCH", "/paused", { disabled: false })).json.disabled_at).toBeNull();
  expect(await status()).toBe(200);
});

test("lists come in pages, by id", async () => {
  for (const id of ["page-c", "page-a", "page-b"]) await ask("POST", "", { id, name: id });
  const first = await ask<{ data: TenantJson[]; has_more: boolean; last_id: string }>("GET", "?after=page&limit=2");
  expect(first.json.data.map(({ id }) => id)).toEqual(["page-a", "page-b"]);
  expect(first.json).toMatchObject({ object: "list", has_more: true, last_id: "page-b" });
  const rest = await ask<{ data: TenantJson[] }>("GET", "?after=page-b&limit=1");
  expect(rest.json.data.map(({ id }) => id)).toEqual(["page-c"]);
  expect(await errorOf("GET", "?limit=0")).toEqual([400, "invalid_value", "limit"]);
  expect(await errorOf("GET", "?limit=1000")).toEqual([400, "invalid_value", "limit"]);
});

describe("what is refused, and how", () => {
  const good = { id: "refused", name: "Refused" };
  test.each([
    ["no id", { name: "x" }, "missing_required_parameter", "id"],
    ["an id that is no slug", { ...good, id: "Acme Inc" }, "invalid_value", "id"],
    ["an id that is a path", { ...good, id: "../x" }, "invalid_value", "id"],
    ["a name of spaces", { ...good, name: " " }, "invalid_value", "name"],
    ["an unknown field", { ...good, plan: "gold" }, "unknown_parameter", "plan"],
    ["a budget as a number", { ...good, limits: { hard_budget: 5 } }, "invalid_type", "limits.hard_budget"],
    [
      "a budget of ten decimals",
      { ...good, limits: { hard_budget: "0.0000000001" } },
      "invalid_value",
      "limits.hard_budget",
    ],
    ["a budget below nothing", { ...good, limits: { hard_budget: "-1" } }, "invalid_value", "limits.hard_budget"],
    [
      "a soft budget above the hard one",
      { ...good, limits: { soft_budget: "2", hard_budget: "1" } },
      "invalid_value",
      "limits.soft_budget",
    ],
    ["no one at once", { ...good, limits: { concurrency: 0 } }, "invalid_value", "limits.concurrency"],
  ])("%s", async (_, body, code, param) => {
    expect(await errorOf("POST", "", body)).toEqual([400, code, param]);
    expect(await errorOf("GET", "/refused")).toEqual([404, "tenant_not_found", null]);
  });

  test("an id that is taken, a tenant that is not there, a change that contradicts what stays", async () => {
    await ask("POST", "", { id: "taken", name: "Taken", limits: { soft_budget: "5" } });
    expect(await errorOf("POST", "", { id: "taken", name: "Other" })).toEqual([409, "tenant_exists", "id"]);
    expect((await ask("GET", "/taken")).json.name).toBe("Taken");
    expect(await errorOf("PATCH", "/nobody", { name: "x" })).toEqual([404, "tenant_not_found", null]);
    const lower = { limits: { hard_budget: "4" } };
    expect(await errorOf("PATCH", "/taken", lower)).toEqual([400, "invalid_value", "limits.soft_budget"]);
  });
});
