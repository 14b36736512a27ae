/** The origin's routes: what the gateway tells it, signed with ORIGIN_SECRET; each signature counts once. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import * as z from "zod";
import { ApiError, toApiError } from "../../src/api-error.ts";
import type { Origin } from "../../src/jobs/origin/origin.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import type { OriginModels } from "../../src/placement/origin/models.ts";
import { servingApp } from "./serving.ts";
import { signedRequests } from "./signed.ts";

const MOST_BYTES = 64 << 10;

const jobsSchema = z.strictObject({ jobs: z.array(z.string()) });
const cancelSchema = z.strictObject({ job: z.string() });

/** @param started when this process began to take signatures, milliseconds since 1970 */
export function originApp(origin: Origin, models: OriginModels, secret: string, started: number): Hono {
  const app = new Hono();
  const signed = signedRequests(secret, started);

  app.route("/models", servingApp(models, signed));

  const tooLarge = () => {
    throw new ApiError(413, "request_too_large", `The body is over ${MOST_BYTES} bytes.`);
  };
  app.use(bodyLimit({ maxSize: MOST_BYTES, onError: tooLarge }));

  /** There are jobs: they are claimed at the gateway, by whoever comes first. */
  app.post("/jobs", async (c) => {
    await signed.json(c, jobsSchema);
    origin.wake();
    return c.json({ job: origin.job }, 202);
  });

  app.post("/jobs/cancel", async (c) => {
    const { job } = await signed.json(c, cancelSchema);
    return c.json({ cancelled: origin.cancel(job) });
  });

  app.get("/healthz", (c) => c.json({ status: "ok", job: origin.job }));

  app.notFound((c) => {
    throw new ApiError(
      404,
      "not_found",
      `There is no ${c.req.method} ${c.req.path}. Jobs are asked for at the gateway.`,
    );
  });

  app.onError((error, c) => {
    const known = toApiError(error);
    if (known.status >= 500) log("error", "failed", { error: errorFields(error) });
    return c.json(known.body(), known.status as ContentfulStatusCode, known.headers());
  });

  return app;
}
