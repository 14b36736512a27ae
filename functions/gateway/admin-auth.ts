/** The control plane's token. */
import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import { timingSafeEqual } from "hono/utils/buffer";
import { ApiError } from "../../src/api-error.ts";
import type { GatewayEnv } from "./bindings.ts";

/** Lets through who sends `Authorization: Bearer ADMIN_TOKEN`. @throws ApiError 401 `invalid_admin_token` */
export const requireAdmin = createMiddleware<GatewayEnv>(async (c, next) => {
  if (!(await isBearer(c, c.env.ADMIN_TOKEN))) {
    throw new ApiError(401, "invalid_admin_token", "This needs the deployment's admin token: Authorization: Bearer …");
  }
  await next();
});

/** Whether a request carries this token. One that is empty, or not set, is nobody's. */
export async function isBearer(c: Context<GatewayEnv>, token: string | undefined): Promise<boolean> {
  const given = /^Bearer (.+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
  // Compares hashes, in constant time.
  return (await timingSafeEqual(given, token || "unset")) && Boolean(token);
}
