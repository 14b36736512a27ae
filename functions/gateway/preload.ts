/**
 * The model that most requests of a deployment are for, loaded from an isolate's first request on: while it is still being
 * looked up who asks, and whether they may. What is loaded is the same whoever asks, and only once.
 */
import { createMiddleware } from "hono/factory";
import type { GatewayEnv } from "./bindings.ts";
import { findModel } from "./models.ts";
import { loadAtEdge } from "./placing.ts";

let hasBegun = false;

export const preload = createMiddleware<GatewayEnv>(async (c, next) => {
  const { PRELOAD, SHARDS } = c.env;
  if (!hasBegun && PRELOAD) {
    hasBegun = true;
    const keepAlive = (work: Promise<unknown>) => c.executionCtx.waitUntil(work);
    // Whoever asks for the model next finds out what went wrong.
    keepAlive(findModel(SHARDS, PRELOAD, keepAlive, (id) => loadAtEdge(c.env, id)).catch(() => {}));
  }
  await next();
});
