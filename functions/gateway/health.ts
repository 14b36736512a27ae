/** `GET /healthz`: that all Workers answer; what they hold is the operator's to know. */
import type { Context } from "hono";
import { ApiError } from "../../src/api-error.ts";
import { healthOf } from "../shared/health.ts";
import type { GatewayEnv } from "./bindings.ts";
import { mayReadMetrics } from "./metrics-auth.ts";

const RETRY_SECONDS = 5;

/** @throws ApiError 503 `worker_unavailable`, which names the first one that does not answer */
export async function showHealth(c: Context<GatewayEnv>): Promise<Response> {
  const { ENCODER, DECODER, READER } = c.env;
  const asked = Promise.all([
    healthOf(ENCODER, "encoder"),
    healthOf(DECODER, "decoder"),
    READER && healthOf(READER, "reader"),
    mayReadMetrics(c),
  ]);
  const [encoder, decoder, reader, isTold] = await asked.catch((cause: Error) => {
    throw new ApiError(503, "worker_unavailable", cause.message, { retryAfter: RETRY_SECONDS, cause });
  });
  return c.json({ status: "ok", ...(isTold && { encoder, decoder, reader }) });
}
