/** The origin's routes: what the gateway tells it, signed with ORIGIN_SECRET; each signature counts once. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import * as z from "zod";
import { ApiError, toApiError } from "../../src/api/errors.ts";
import { parseWith } from "../../src/api/parse.ts";
import type { Origin } from "../../src/jobs/origin/origin.ts";
import { checkBody, checkSignature, ReplayGuard } from "../../src/jobs/signature.ts";

const MOST_BYTES = 64 << 10;

const jobsSchema = z.strictObject({ jobs: z.array(z.string()) });
const cancelSchema = z.strictObject({ job: z.string() });

/** @param started when this process began to take signatures, milliseconds since 1970 */
export function originApp(origin: Origin, secret: string, started: number): Hono {
  const app = new Hono();
  const guard = new ReplayGuard(started);

  const tooLarge = () => {
    throw new ApiError(413, "request_too_large", `The body is over ${MOST_BYTES} bytes.`);
  };
  app.use(bodyLimit({ maxSize: MOST_BYTES, onError: tooLarge }));

  /** @throws ApiError 401 */
  const signedBody = async <Schema extends z.ZodType>(c: Context, schema: Schema): Promise<z.output<Schema>> => {
    const { pathname, search } = new URL(c.req.url);
    const now = Date.now();
    const signed = { method: c.req.method, path: pathname + search };
    const signature = await checkSignature(secret, signed, c.req.raw.headers, now);
    guard.take(signature, now);
    const body = new Uint8Array(await c.req.arrayBuffer());
    await checkBody(body, signature);
    return parseWith(schema, JSON.parse(new TextDecoder().decode(body)), "the body");
  };

  /** There are jobs: they are claimed at the gateway, by whoever comes first. */
  app.post("/jobs", async (c) => {
    await signedBody(c, jobsSchema);
    origin.wake();
    return c.json({ job: origin.job }, 202);
  });

  app.post("/jobs/cancel", async (c) => {
    const { job } = await signedBody(c, cancelSchema);
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
    if (known.code === "internal_error") console.error(error);
    return c.json(known.body(), known.status as ContentfulStatusCode, known.headers());
  });

  return app;
}
