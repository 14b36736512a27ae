/** The encoder's Worker, private: token ids in, hidden states out. */
import { Hono } from "hono";
import { EdgeT5Error } from "../../src/errors.ts";
import { Half, type HalfBindings, onError } from "../shared/half.ts";

// An encode runs from start to end in one turn of the event loop.
const half = new Half("encoder", () => false);

const app = new Hono<{ Bindings: HalfBindings }>();
app.onError(onError);

/** Body: ids `[S]` int32. Answer: hidden states `[S, dModel]` float32. */
app.post("/models/:model/encode", async (c) => {
  const { encoder } = await half.engine(c, c.req.param("model"));
  const body = await c.req.arrayBuffer();
  if (body.byteLength % 4 !== 0) throw new EdgeT5Error("E_INPUT", "An encode request's body must be int32 ids.");
  const hidden = await encoder.encode(new Int32Array(body));
  return c.body(hidden.buffer as ArrayBuffer, 200, { "content-type": "application/octet-stream" });
});

app.get("/healthz", (c) => c.json(half.health(() => ({}))));

export default app;
