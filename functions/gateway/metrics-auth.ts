/** Who may read the metrics: the operator, and who is given METRICS_TOKEN for that alone. */
import { createMiddleware } from "hono/factory";
import { ApiError } from "../../src/api/errors.ts";
import { isBearer } from "./admin-auth.ts";
import type { GatewayEnv } from "./bindings.ts";

/** @throws ApiError 401 `invalid_metrics_token` */
export const requireMetricsToken = createMiddleware<GatewayEnv>(async (c, next) => {
  const { METRICS_TOKEN, ADMIN_TOKEN } = c.env;
  // Both are always compared: time does not tell which one is set.
  const fits = await Promise.all([METRICS_TOKEN, ADMIN_TOKEN].map((token) => isBearer(c, token)));
  if (!fits.includes(true)) {
    throw new ApiError(
      401,
      "invalid_metrics_token",
      "This needs the secret METRICS_TOKEN, or the admin token: Authorization: Bearer …",
      { headers: { "www-authenticate": "Bearer" } },
    );
  }
  await next();
});
