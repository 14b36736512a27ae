/** What tenants manage themselves, with a key: their keys, tasks, files and jobs; and what they used. */
import { Hono } from "hono";
import { adapterRoutes } from "./adapters.ts";
import { requireKey } from "./auth.ts";
import { batches } from "./batches.ts";
import type { GatewayEnv } from "./bindings.ts";
import { files } from "./files.ts";
import { fineTuning } from "./fine-tuning.ts";
import { keyRoutes } from "./keys.ts";
import { taskRoutes } from "./tasks.ts";
import { usageRoutes } from "./usage.ts";

export const tenantRoutes = new Hono<GatewayEnv>();

const ownKeys = keyRoutes((c) => {
  const { tenant, scopes, keyLimits: limits } = c.get("caller");
  return { tenant, scopes, limits };
});

tenantRoutes.use("/keys/*", requireKey("keys:write"));
tenantRoutes.route("/keys", ownKeys);

tenantRoutes.get("/tasks/*", requireKey("tasks:run", "tasks:write"));
tenantRoutes.put("/tasks/*", requireKey("tasks:write"));
tenantRoutes.delete("/tasks/*", requireKey("tasks:write"));
tenantRoutes.route(
  "/tasks",
  taskRoutes((c) => c.get("caller")),
);

tenantRoutes.get("/adapters/*", requireKey("tasks:run", "adapters:write"));
tenantRoutes.put("/adapters/*", requireKey("adapters:write"));
tenantRoutes.delete("/adapters/*", requireKey("adapters:write"));
tenantRoutes.route(
  "/adapters",
  adapterRoutes((c) => c.get("caller")),
);

tenantRoutes.use("/files/*", requireKey("files:write"));
tenantRoutes.route("/files", files);

tenantRoutes.use("/batches/*", requireKey("jobs:write"));
tenantRoutes.route("/batches", batches);

tenantRoutes.use("/fine_tuning/*", requireKey("jobs:write"));
tenantRoutes.route("/fine_tuning/jobs", fineTuning);

tenantRoutes.use("/usage/*", requireKey("usage:read"));
tenantRoutes.use("/invoices/*", requireKey("usage:read"));
tenantRoutes.route(
  "/",
  usageRoutes((c) => c.get("caller").tenant),
);
