/** The public routes. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { requestId } from "hono/request-id";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { ApiError, toApiError } from "../../src/api/errors.ts";
import { adminModels } from "./admin-models.ts";
import type { GatewayEnv } from "./bindings.ts";
import { completions } from "./completions.ts";
import { health } from "./halves.ts";
import { findModel, listModels } from "./models.ts";

export const app = new Hono<GatewayEnv>();

app.use(requestId());
app.use(cors({ origin: "*", exposeHeaders: ["x-request-id", "x-model-version", "retry-after"] }));
app.use("/v1/*", (c, next) =>
  bodyLimit({
    maxSize: c.env.MAX_BODY_BYTES,
    onError: () => {
      throw new ApiError(
        413,
        "request_too_large",
        `The body is over ${c.env.MAX_BODY_BYTES} bytes. Send fewer or shorter prompts.`,
      );
    },
  })(c, next),
);

app.post("/v1/completions", completions);

app.get("/v1/models", async (c) => {
  const models = await listModels(c.env.SHARDS);
  return c.json({ object: "list", data: models.map(({ name, created }) => describeModel(name, created)) });
});

app.get("/v1/models/:model", async (c) => {
  const name = c.req.param("model");
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
  return c.json(known.body(), known.status as ContentfulStatusCode, known.headers());
});

function describeModel(id: string, created: Date) {
  return { id, object: "model", created: Math.floor(created.getTime() / 1000), owned_by: "edge-t5" };
}
