/** Requests that the gateway signed with ORIGIN_SECRET; each signature counts once. */
import type { Context } from "hono";
import type * as z from "zod";
import { parseWith } from "../../src/api/parse.ts";
import { checkBody, checkSignature, ReplayGuard } from "../../src/jobs/signature.ts";

export interface Signed {
  /** @throws ApiError 401 */
  bytes(c: Context): Promise<Uint8Array>;
  /** @throws ApiError 401; 400 */
  json<Schema extends z.ZodType>(c: Context, schema: Schema): Promise<z.output<Schema>>;
}

/** @param started when this process began to take signatures, milliseconds since 1970 */
export function signedRequests(secret: string, started: number): Signed {
  const guard = new ReplayGuard(started);
  const bytes = async (c: Context) => {
    const { pathname, search } = new URL(c.req.url);
    const now = Date.now();
    const signed = { method: c.req.method, path: pathname + search };
    const signature = await checkSignature(secret, signed, c.req.raw.headers, now);
    guard.take(signature, now);
    const body = new Uint8Array(await c.req.arrayBuffer());
    await checkBody(body, signature);
    return body;
  };
  return {
    bytes,
    json: async (c, schema) => parseWith(schema, JSON.parse(new TextDecoder().decode(await bytes(c))), "the body"),
  };
}
