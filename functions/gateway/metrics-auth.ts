/** Who may read the metrics: the operator, and who is given METRICS_TOKEN for that alone. */
import type { Context } from "hono";
import { createMiddleware } from "hono/factory";
import { ApiError } from "../../src/api-error.ts";
import { isBearer } from "./admin-auth.ts";
import type { GatewayEnv } from "./bindings.ts";

/** @throws ApiError 401 `invalid_metrics_token` */
export const requireMetricsToken = createMiddleware<GatewayEnv>(async (c, next) => {
  if (!(await mayReadMetrics(c))) {
    throw new ApiError(
      401,
      "invalid_metrics_token",
      "This needs the secret METRICS_TOKEN, or the admin token: Authorization: Bearer …",
      { headers: { "www-authenticate": "Bearer" } },
    );
  }
  await next();
});

/** Whether a request carries one of the two. */
export async function mayReadMetrics(c: Context<GatewayEnv>): Promise<boolean> {
  const { METRICS_TOKEN, ADMIN_TOKEN } = c.env;
  // Both are always compared: time does not tell which one is set.
  const fits = await Promise.all([METRICS_TOKEN, ADMIN_TOKEN].map((token) => isBearer(c, token)));
  return fits.includes(true);
}
