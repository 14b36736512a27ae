/** The decoder's routes: ids and hidden states in, tokens out, one by one; and for a chain, steps through its first layers. */
import { type Context, Hono } from "hono";
import { RemoteLayers, serveLayers } from "../../src/api/layer-stream.ts";
import { DECODE_HEADER, parseDecodeRequest, writeTokenLines } from "../../src/api/token-stream.ts";
import { ChainedDecoder } from "../../src/engines/chained-decoder.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { AdapterSet, Decoder } from "../../src/t5/engine.ts";
import { type GenerationInput, generate, type TokenEvent } from "../../src/t5/generate.ts";
import { acquireAdapter, type HalfEnv, toEdgeT5Error } from "../shared/half.ts";
import { callUpstream } from "../shared/upstream.ts";

/** What a decoder has done, for `/healthz`: rows ÷ passes is how full its passes were. */
export function decoderHealth({ steps, passes, rows, openSequences }: Decoder) {
  return { steps, passes, rows, open_sequences: openSequences };
}

/** @param engineOf this Worker's part of the model named */
export function decoderRoutes(
  engineOf: (c: Context<HalfEnv>, model: string) => Promise<{ decoder: Decoder; adapters: AdapterSet }>,
): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();

  /** Body: ids `[S]` int32 of all inputs, then their hidden states `[S, dModel]` float32. Answer: a line of JSON a token. */
  app.post("/models/:model/decode", async (c) => {
    const model = c.req.param("model");
    const { decoder: own, adapters } = await engineOf(c, model);
    const body = await c.req.arrayBuffer();
    const { inputs, adapter: key } = parseDecodeRequest(c.req.header(DECODE_HEADER), body, own.config.dModel);
    const adapter = key === undefined ? undefined : await acquireAdapter(c.env, adapters, key);
    const { decoder, end: endLayers } = await wholeDecoder(c, own, model).catch((error) => {
      adapter?.release();
      throw error;
    });
    const end = async () => {
      adapter?.release();
      await endLayers();
    };
    const { signal } = c.req.raw;
    signal.addEventListener("abort", () => void end(), { once: true });
    const adapted = inputs.map((input) => ({ ...input, adapter }));
    const events = generate(decoder, adapted, { signal });
    const lines = writeTokenLines(endedBy(releasing(events, inputs, body), end), toEdgeT5Error);
    return c.body(lines, 200, { "content-type": "application/x-ndjson" });
  });

  /** A chain's later Worker steps through the layers here: one call a request, frames both ways. */
  app.post("/models/:model/layers", async (c) => {
    const model = c.req.param("model");
    const asks = c.req.raw.body;
    if (!asks) throw new EdgeT5Error("E_INPUT", "A layers request needs a body.");
    const { decoder: own, adapters } = await engineOf(c, model);
    const { decoder, end } = await wholeDecoder(c, own, model);
    const served = serveLayers(decoder, asks, toEdgeT5Error, end, (key) => acquireAdapter(c.env, adapters, key));
    return c.body(served, 200, { "content-type": "application/octet-stream" });
  });

  return app;
}

/** This Worker's decoder with the layers before it, wherever they run. */
async function wholeDecoder(
  c: Context<HalfEnv>,
  own: Decoder,
  model: string,
): Promise<{ decoder: Decoder; end: () => Promise<void> }> {
  if (own.isFirst) return { decoder: own, end: async () => {} };
  const before = await RemoteLayers.connect(own.config.dModel, async (asks) => {
    const { body } = await callUpstream(c.env, `/models/${model}/layers`, { body: asks });
    if (!body) throw new EdgeT5Error("E_DECODER_LOST", "A Worker of the decoder's chain gave no answer. Try again.");
    return body;
  });
  return { decoder: new ChainedDecoder(own, before), end: () => before.end() };
}

/** The same events; the hidden states' memory is given back once every input's first token shows that it is done with them. */
async function* releasing(
  events: AsyncGenerator<TokenEvent, void, undefined>,
  inputs: readonly GenerationInput[],
  body: ArrayBuffer,
): AsyncGenerator<TokenEvent, void, undefined> {
  const owners = inputs.flatMap(({ copies = 1, params }, i) =>
    Array<number>(Math.max(copies, params?.num_return_sequences ?? 1)).fill(i),
  );
  const begun = new Set<number | undefined>();
  for await (const event of events) {
    if (begun.size < inputs.length) {
      begun.add(owners[event.index]);
      if (begun.size === inputs.length) body.transfer(0);
    }
    yield event;
  }
}

/** The same events; `end` is called when they end, however they end. */
async function* endedBy<T>(
  events: AsyncGenerator<T, void, undefined>,
  end: () => Promise<void>,
): AsyncGenerator<T, void, undefined> {
  try {
    yield* events;
  } finally {
    await end();
  }
}
