/**
 * Which pages may read answers in a browser: those of the key's origins. A preflight carries no key: any origin may ask. Of
 * an answer to nobody known, such as a 401 or `/healthz`, nothing is secret: any origin may read it. The control plane and
 * the metrics are not for browsers.
 */
import { createMiddleware } from "hono/factory";
import type { GatewayEnv } from "./bindings.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE";
/** Browsers cap it at two hours at most. */
const PREFLIGHT_SECONDS = "7200";
/** What a page may read beside the body; others are hidden unless named. */
const EXPOSED = [
  "etag",
  "ratelimit",
  "ratelimit-policy",
  "retry-after",
  "x-edge-t5-served-by",
  "x-model-version",
  "x-request-id",
  ...["limit", "remaining", "reset"].flatMap((what) => [`x-ratelimit-${what}-requests`, `x-ratelimit-${what}-tokens`]),
].join(", ");

export const cors = createMiddleware<GatewayEnv>(async (c, next) => {
  if (c.req.path.startsWith("/admin/") || c.req.path === "/metrics") return next();
  if (c.req.method === "OPTIONS" && c.req.header("access-control-request-method")) {
    return c.body(null, 204, {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": METHODS,
      "access-control-allow-headers": c.req.header("access-control-request-headers") ?? "*",
      "access-control-max-age": PREFLIGHT_SECONDS,
      vary: "access-control-request-headers",
    });
  }
  await next();
  const allowed = c.get("caller")?.allowedOrigins ?? ["*"];
  const origin = c.req.header("origin");
  const { headers } = c.res;
  if (allowed.includes("*")) headers.set("access-control-allow-origin", "*");
  else {
    headers.append("vary", "origin");
    if (!origin || !allowed.includes(origin)) return;
    headers.set("access-control-allow-origin", origin);
  }
  headers.set("access-control-expose-headers", EXPOSED);
});
