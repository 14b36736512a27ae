/** The public routes. */
import { type Context, Hono, type Next } from "hono";
import { bodyLimit } from "hono/body-limit";
import { createMiddleware } from "hono/factory";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { huggingFaceError } from "../../src/api/hugging-face.ts";
import { ApiError, toApiError } from "../../src/api-error.ts";
import { tunedModels } from "../../src/jobs/history.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import { deleteAdapter } from "../../src/tenancy/adapters.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import { parseFineTuned } from "../../src/tenancy/fine-tuned.ts";
import { identify, observe, traced } from "../shared/observe.ts";
import { limitUpload } from "./adapters.ts";
import { admin } from "./admin.ts";
import { adminModels } from "./admin-models.ts";
import { requireKey } from "./auth.ts";
import type { GatewayEnv } from "./bindings.ts";
import { completions } from "./completions.ts";
import { showConsole, showScript } from "./console.ts";
import { cors } from "./cors.ts";
import { showDocument, showReference } from "./docs.ts";
import { showHealth } from "./health.ts";
import { huggingFace } from "./hugging-face.ts";
import { internalJobs } from "./internal-jobs.ts";
import { internalObjects } from "./internal-objects.ts";
import { jobFamilies } from "./job-metrics.ts";
import { metrics, showMetrics } from "./metrics.ts";
import { requireMetricsToken } from "./metrics-auth.ts";
import { findModel, listModels, modelNotFound } from "./models.ts";
import { preload } from "./preload.ts";
import { bringsFile, limitFile } from "./task-input.ts";
import { runTask } from "./task-run.ts";
import { tenantRoutes } from "./tenant-routes.ts";

export const app = new Hono<GatewayEnv>();

/** The private Workers log under the same request's id. */
const traceHalves = createMiddleware<GatewayEnv>(async (c, next) => {
  const { ENCODER, DECODER, READER } = c.env;
  const id = c.get("requestId");
  const halves = { ENCODER: traced(ENCODER, id), DECODER: traced(DECODER, id) };
  c.env = { ...c.env, ...halves, ...(READER && { READER: traced(READER, id) }) };
  await next();
});

app.use(identify, observe("gateway", metrics), traceHalves, cors);
// Whatever the path names: who has no key learns nothing of it, and sends no body.
for (const path of ["/v1/*", "/models/*"]) {
  app.use(path, preload);
  app.use(path, requireKey());
  app.use(path, limitBody);
}

app.route("/admin", admin);
app.route("/v1", tenantRoutes);
app.route("/internal/jobs", internalJobs);
app.route("/internal/objects", internalObjects);

app.post("/v1/completions", requireKey("tasks:run"), completions);
app.post("/v1/tasks/:name", requireKey("tasks:run"), runTask);
app.post("/models/:name", requireKey("tasks:run"), huggingFace);
app.post("/models/:name/v1/completions", requireKey("tasks:run"), completions);

app.get("/v1/models", requireKey("tasks:run"), async (c) => {
  const caller = c.get("caller");
  const [models, tuned] = await Promise.all([listModels(c.env.SHARDS), tunedModels(c.env.DB, caller.tenant)]);
  const data = [
    ...models.filter(({ name }) => mayUse(caller, name)).map(({ name, created }) => describeModel(name, created)),
    ...tuned.map(({ name, created }) => describeModel(name, created, caller.tenant)),
  ];
  return c.json({ object: "list", data });
});

app.get("/v1/models/:model", requireKey("tasks:run"), async (c) => {
  const name = c.req.param("model");
  const caller = c.get("caller");
  if (parseFineTuned(name)) {
    const [tuned] = await tunedModels(c.env.DB, caller.tenant, name);
    if (!tuned) throw modelNotFound(name);
    return c.json(describeModel(name, tuned.created, caller.tenant));
  }
  if (!mayUse(caller, name)) throw modelNotFound(name);
  await findModel(c.env.SHARDS, name, (work) => c.executionCtx.waitUntil(work));
  const models = await listModels(c.env.SHARDS);
  const created = models.find((model) => model.name === name)?.created ?? new Date(0);
  return c.json(describeModel(name, created));
});

/** Of models only those that were tuned for the tenant are theirs to delete. */
app.delete("/v1/models/:model", requireKey("adapters:write"), async (c) => {
  const name = c.req.param("model");
  const { tenant } = c.get("caller");
  const [tuned] = await tunedModels(c.env.DB, tenant, name);
  if (!tuned) throw modelNotFound(name);
  await deleteAdapter(c.env.DB, tenant, tuned.adapter, Date.now());
  return c.json({ id: name, object: "model", deleted: true });
});

app.route("/admin/models", adminModels);

app.get("/healthz", showHealth);
app.get("/metrics", requireMetricsToken, async (c) => showMetrics(c, await jobFamilies(c.env.DB)));
app.get("/openapi.json", showDocument);
app.get("/docs", showReference);
app.get("/", showConsole);
app.get("/console.js", showScript);

app.notFound((c) => {
  const { method, path } = c.req;
  const allowed = methodsOf(path);
  const docs = "/docs has all routes to read, /openapi.json for programs";
  if (allowed.length === 0) throw new ApiError(404, "not_found", `There is no ${method} ${path}. ${docs}.`);
  const headers = { allow: allowed.join(", ") };
  const message = `${path} has no ${method}, but ${allowed.join(" and ")}. ${docs}.`;
  throw new ApiError(405, "method_not_allowed", message, { headers });
});

app.onError((error, c) => {
  const known = toApiError(error);
  c.get("line").add({ code: known.code });
  if (known.status >= 500) log("error", "failed", { request_id: c.get("requestId"), error: errorFields(error) });
  const body = c.req.path.startsWith("/models/") ? huggingFaceError(known) : known.body();
  return c.json(body, known.status as ContentfulStatusCode, known.headers());
});

/** Files of adapters and for tasks may be larger than texts; what is uploaded for jobs is counted as it streams. */
function limitBody(c: Context<GatewayEnv>, next: Next) {
  if (c.req.method === "POST" && c.req.path === "/v1/files") return next();
  if (c.req.path.startsWith("/v1/adapters/")) return limitUpload(c, next);
  if (bringsFile(c)) return limitFile(c, next);
  const maxSize = c.env.MAX_BODY_BYTES;
  const onError = () => {
    // As curl sends a file unless it is told of what type it is.
    const fix = c.req.path.startsWith("/v1/tasks/")
      ? `JSON may have no more; a file may have ${c.env.MAX_DOCUMENT_BYTES}, as a form, -F file=@FILE, or with its content-type`
      : "Send fewer or shorter prompts";
    throw new ApiError(413, "request_too_large", `The body is over ${maxSize} bytes. ${fix}.`);
  };
  return bodyLimit({ maxSize, onError })(c, next);
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** Those that a path has. */
function methodsOf(path: string): string[] {
  // What is for all methods, or all that is below a path, stands before routes.
  const isRoute = (route: { method: string; path: string }) => route.method !== "ALL" && !route.path.includes("*");
  return METHODS.filter((method) => app.router.match(method, path)[0].some(([[, route]]) => isRoute(route)));
}

function describeModel(id: string, created: Date, owner = "edge-t5") {
  return { id, object: "model", created: Math.floor(created.getTime() / 1000), owned_by: owner };
}
