/** The decoder's Worker, private: hidden states in, tokens out, one by one. */
import { Hono } from "hono";
import { DECODE_HEADER, parseDecodeRequest, writeTokenLines } from "../../src/api/token-stream.ts";
import { generate } from "../../src/t5/generate.ts";
import { Half, type HalfBindings, onError, toEdgeT5Error } from "../shared/half.ts";

const half = new Half("decoder", ({ decoder }) => decoder.openSequences > 0);

const app = new Hono<{ Bindings: HalfBindings }>();
app.onError(onError);

/** Steps between two turns of the event loop when nobody waits for single tokens: other requests wait for so many. */
const STEPS_A_TURN = 8;

/**
 * Only a timer makes workerd look at its sockets (a microtask or a message port does not): what was written leaves, who
 * left is seen, other requests get their turn. Costs about 1.1 ms.
 */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Body: hidden states `[S, dModel]` float32, one input after the other. Answer: a line of JSON a token. */
app.post("/models/:model/decode", async (c) => {
  const { decoder } = await half.engine(c, c.req.param("model"));
  const { inputs, stream } = parseDecodeRequest(
    c.req.header(DECODE_HEADER),
    await c.req.arrayBuffer(),
    decoder.config.dModel,
  );
  const events = generate(decoder, inputs, {
    signal: c.req.raw.signal,
    turn: (step) => (stream || step % STEPS_A_TURN === 0 ? eventLoopTurn() : undefined),
  });
  const lines = writeTokenLines(events, toEdgeT5Error);
  return c.body(lines, 200, { "content-type": "application/x-ndjson" });
});

app.get("/healthz", (c) =>
  c.json(half.health(({ decoder }) => ({ steps: decoder.steps, open_sequences: decoder.openSequences }))),
);

export default app;
