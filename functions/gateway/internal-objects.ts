/** `/internal/objects/KEY`: models and adapters for an origin that does not reach the bucket by itself. Signed. */
import { Hono } from "hono";
import { ApiError } from "../../src/api-error.ts";
import { isServable } from "../../src/placement/protocol.ts";
import { type InternalEnv, requireOrigin } from "./internal-jobs.ts";

export const internalObjects = new Hono<InternalEnv>();

internalObjects.use(requireOrigin);

internalObjects.get("/:key{.+}", async (c) => {
  const key = c.req.param("key");
  const object = isServable(key) ? await c.env.SHARDS.get(key) : null;
  if (!object) throw new ApiError(404, "not_found", "There is no such model or adapter.");
  const headers = { "content-type": "application/octet-stream", "content-length": String(object.size) };
  return c.body(object.body, 200, headers);
});
