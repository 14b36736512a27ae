/** The decoder's Worker, private: hidden states in, tokens out, one by one. */
import { Hono } from "hono";
import { DECODE_HEADER, parseDecodeRequest, writeTokenLines } from "../../src/api/token-stream.ts";
import { generate } from "../../src/t5/generate.ts";
import { Half, type HalfBindings, onError, toEdgeT5Error } from "../shared/half.ts";

const half = new Half("decoder");

const app = new Hono<{ Bindings: HalfBindings }>();
app.onError(onError);

/** Body: hidden states `[S, dModel]` float32, one input after the other. Answer: a line of JSON a token. */
app.post("/models/:model/decode", async (c) => {
  const { decoder } = await half.engine(c, c.req.param("model"));
  const inputs = parseDecodeRequest(c.req.header(DECODE_HEADER), await c.req.arrayBuffer(), decoder.config.dModel);
  const lines = writeTokenLines(generate(decoder, inputs, c.req.raw.signal), toEdgeT5Error);
  return c.body(lines, 200, { "content-type": "application/x-ndjson" });
});

app.get("/healthz", (c) =>
  c.json(half.health(({ decoder }) => ({ steps: decoder.steps, open_sequences: decoder.openSequences }))),
);

export default app;
