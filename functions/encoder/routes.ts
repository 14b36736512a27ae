/** The encoder's routes: token ids in, hidden states out. */
import { type Context, Hono } from "hono";
import { EdgeT5Error } from "../../src/errors.ts";
import type { Encoder } from "../../src/t5/engine.ts";
import type { HalfEnv, Used } from "../shared/half.ts";
import { callUpstream } from "../shared/upstream.ts";

/** @param encoderOf this Worker's encoder of the model named */
export function encoderRoutes(
  encoderOf: (c: Context<HalfEnv>, model: string) => Promise<Used<Encoder>>,
): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();

  /** Body: ids `[S]` int32. Answer: hidden states `[S, dModel]` float32. */
  app.post("/models/:model/encode", async (c) => {
    const body = await c.req.arrayBuffer();
    if (body.byteLength % 4 !== 0) throw new EdgeT5Error("E_INPUT", "An encode request's body must be int32 ids.");
    const { engine: encoder, end } = await encoderOf(c, c.req.param("model"));
    try {
      const before = encoder.isFirst ? undefined : await callUpstream(c.env, c.req.path, { body });
      const hidden = await encoder.encode(new Int32Array(body), before && new Float32Array(await before.arrayBuffer()));
      return c.body(sentOnce(hidden), 200, { "content-type": "application/octet-stream" });
    } finally {
      end();
    }
  });

  return app;
}

/**
 * Hidden states as a body. Their memory is given back as soon as it is sent: sixteen answers that wait for the garbage
 * collector hold more than JavaScript does otherwise.
 */
function sentOnce(hidden: Float32Array): ReadableStream<Uint8Array> {
  const { readable, writable } = new FixedLengthStream(hidden.byteLength);
  const send = async () => {
    const writer = writable.getWriter();
    await writer.write(new Uint8Array(hidden.buffer, hidden.byteOffset, hidden.byteLength));
    await writer.close();
  };
  send()
    // Who asked has gone.
    .catch(() => {})
    .finally(() => (hidden.buffer as ArrayBuffer).transfer(0));
  return readable;
}
