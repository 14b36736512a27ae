/** `/admin/tenants…`: the control plane, for who runs the deployment. */
import { Hono } from "hono";
import {
  listJson,
  newTenantSchema,
  parsePage,
  tenantChange,
  tenantChangeSchema,
  tenantJson,
  tenantSettings,
} from "../../src/api/control-plane.ts";
import { ApiError } from "../../src/api-error.ts";
import { keyCache } from "../../src/tenancy/authenticate.ts";
import { SCOPES, type TenantLimits } from "../../src/tenancy/caller.ts";
import { createTenant, findTenant, listTenants, type Tenant, updateTenant } from "../../src/tenancy/tenants.ts";
import { adapterRoutes, limitUpload } from "./adapters.ts";
import { requireAdmin } from "./admin-auth.ts";
import { billing } from "./billing.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readBody } from "./body.ts";
import { keyRoutes } from "./keys.ts";
import { taskRoutes } from "./tasks.ts";
import { usageRoutes } from "./usage.ts";

export const admin = new Hono<GatewayEnv>();

admin.use(requireAdmin);

admin.post("/tenants", async (c) => {
  const { id, ...fields } = await readBody(c.req.raw, newTenantSchema, "a tenant");
  return c.json(tenantJson(await createTenant(c.env.DB, id, tenantSettings(fields), Date.now())), 201);
});

admin.get("/tenants", async (c) => c.json(listJson(await listTenants(c.env.DB, parsePage(c.req.query())), tenantJson)));

admin.get("/tenants/:tenant", async (c) => c.json(tenantJson(await tenantOf(c.env.DB, c.req.param("tenant")))));

admin.patch("/tenants/:tenant", async (c) => {
  const id = c.req.param("tenant");
  const change = tenantChange(await readBody(c.req.raw, tenantChangeSchema, "a tenant's change"));
  const { limits: before } = await tenantOf(c.env.DB, id);
  const tenant = await updateTenant(c.env.DB, id, change, Date.now());
  if (!tenant) throw tenantNotFound(id);
  // What was used without a budget was not counted: it is read from the ledger.
  if (!hasBudget(before) && hasBudget(tenant.limits)) {
    await c.env.TENANTS.get(c.env.TENANTS.idFromName(id)).forgetMonths();
  }
  // Other isolates follow within half a minute.
  keyCache.clear();
  return c.json(tenantJson(tenant));
});

admin.route(
  "/tenants/:tenant/keys",
  keyRoutes(async (c) => {
    const { id } = await tenantOf(c.env.DB, c.req.param("tenant") ?? "");
    return { tenant: id, scopes: SCOPES, limits: { requestsPerMinute: null, tokensPerMinute: null } };
  }),
);

admin.route(
  "/tenants/:tenant/tasks",
  taskRoutes(async (c) => {
    const { id, models } = await tenantOf(c.env.DB, c.req.param("tenant") ?? "");
    return { tenant: id, models };
  }),
);

admin.use("/tenants/:tenant/adapters/*", limitUpload);
admin.route(
  "/tenants/:tenant/adapters",
  adapterRoutes(async (c) => {
    const { id, models } = await tenantOf(c.env.DB, c.req.param("tenant") ?? "");
    return { tenant: id, models };
  }),
);

admin.route(
  "/tenants/:tenant",
  usageRoutes(async (c) => (await tenantOf(c.env.DB, c.req.param("tenant") ?? "")).id),
);
admin.route("/", billing);

/** @throws ApiError 404 `tenant_not_found` */
async function tenantOf(db: D1Database, id: string): Promise<Tenant> {
  const tenant = await findTenant(db, id);
  if (!tenant) throw tenantNotFound(id);
  return tenant;
}

function hasBudget({ softBudget, hardBudget }: TenantLimits): boolean {
  return softBudget !== null || hardBudget !== null;
}

function tenantNotFound(id: string): ApiError {
  return new ApiError(
    404,
    "tenant_not_found",
    `There is no tenant ${JSON.stringify(id)}. GET /admin/tenants lists them; POST /admin/tenants makes one.`,
  );
}
