/** The public routes. */
import { type Context, Hono, type Next } from "hono";
import { bodyLimit } from "hono/body-limit";
import { requestId } from "hono/request-id";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ApiError, toApiError } from "../../src/api/errors.ts";
import { huggingFaceError } from "../../src/api/hugging-face.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import { limitUpload } from "./adapters.ts";
import { admin } from "./admin.ts";
import { adminModels } from "./admin-models.ts";
import { requireKey } from "./auth.ts";
import type { GatewayEnv } from "./bindings.ts";
import { completions } from "./completions.ts";
import { cors } from "./cors.ts";
import { health } from "./halves.ts";
import { huggingFace } from "./hugging-face.ts";
import { internalJobs } from "./internal-jobs.ts";
import { internalObjects } from "./internal-objects.ts";
import { findModel, listModels, modelNotFound } from "./models.ts";
import { preload } from "./preload.ts";
import { runTask } from "./task-run.ts";
import { tenantRoutes } from "./tenant-routes.ts";

export const app = new Hono<GatewayEnv>();

app.use(requestId());
app.use(cors);
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
  const models = (await listModels(c.env.SHARDS)).filter(({ name }) => mayUse(c.get("caller"), name));
  return c.json({ object: "list", data: models.map(({ name, created }) => describeModel(name, created)) });
});

app.get("/v1/models/:model", requireKey("tasks:run"), async (c) => {
  const name = c.req.param("model");
  if (!mayUse(c.get("caller"), name)) throw modelNotFound(name);
  await findModel(c.env.SHARDS, name, (work) => c.executionCtx.waitUntil(work));
  const models = await listModels(c.env.SHARDS);
  const created = models.find((model) => model.name === name)?.created ?? new Date(0);
  return c.json(describeModel(name, created));
});

app.route("/admin/models", adminModels);

app.get("/healthz", async (c) => c.json({ status: "ok", ...(await health(c.env)) }));

app.notFound((c) => {
  throw new ApiError(404, "not_found", `There is no ${c.req.method} ${c.req.path}. POST /v1/completions is here.`);
});

app.onError((error, c) => {
  const known = toApiError(error);
  if (known.code === "internal_error") console.error(c.get("requestId"), error);
  const body = c.req.path.startsWith("/models/") ? huggingFaceError(known) : known.body();
  return c.json(body, known.status as ContentfulStatusCode, known.headers());
});

/** An adapter's files may be larger than texts; what is uploaded for jobs is counted as it streams. */
function limitBody(c: Context<GatewayEnv>, next: Next) {
  if (c.req.method === "POST" && c.req.path === "/v1/files") return next();
  if (c.req.path.startsWith("/v1/adapters/")) return limitUpload(c, next);
  const maxSize = c.env.MAX_BODY_BYTES;
  const onError = () => {
    throw new ApiError(413, "request_too_large", `The body is over ${maxSize} bytes. Send fewer or shorter prompts.`);
  };
  return bodyLimit({ maxSize, onError })(c, next);
}

function describeModel(id: string, created: Date) {
  return { id, object: "model", created: Math.floor(created.getTime() / 1000), owned_by: "edge-t5" };
}
