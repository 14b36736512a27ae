/** The control plane's token. */
import { createMiddleware } from "hono/factory";
import { timingSafeEqual } from "hono/utils/buffer";
import { ApiError } from "../../src/api/errors.ts";
import type { GatewayEnv } from "./bindings.ts";

/** Lets through who sends `Authorization: Bearer ADMIN_TOKEN`. @throws ApiError 401 `invalid_admin_token` */
export const requireAdmin = createMiddleware<GatewayEnv>(async (c, next) => {
  const given = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  // Compares hashes, in constant time. An empty secret opens nothing.
  const isEqual = await timingSafeEqual(given, c.env.ADMIN_TOKEN || "unset");
  if (!isEqual || !c.env.ADMIN_TOKEN) {
    throw new ApiError(401, "invalid_admin_token", "This needs the deployment's admin token: Authorization: Bearer …");
  }
  await next();
});
