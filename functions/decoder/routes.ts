/** The decoder's routes: ids and hidden states in, tokens out, one by one; and for a chain, steps through its first layers. */
import { type Context, Hono } from "hono";
import { LABELS_HEADER, parseLabelsRequest } from "../../src/api/label-scores.ts";
import { RemoteLayers, serveLayers } from "../../src/api/layer-stream.ts";
import { DECODE_HEADER, parseDecodeRequest, writeTokenLines } from "../../src/api/token-stream.ts";
import { ChainedDecoder } from "../../src/engines/chained-decoder.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { AdapterSet, Decoder } from "../../src/t5/engine.ts";
import { type GenerationInput, generate, type TokenEvent } from "../../src/t5/generate.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import { type Activity, acquireAdapter, type HalfEnv, type Used } from "../shared/half.ts";
import { toEdgeT5Error } from "../shared/known-error.ts";
import { callUpstream } from "../shared/upstream.ts";

/** What a decoder has done, for `/healthz`: rows ÷ passes is how full its passes were. */
export function decoderHealth({ steps, passes, rows, openSequences }: Decoder) {
  return { steps, passes, rows, open_sequences: openSequences };
}

export function decoderActivity({ steps, openSequences }: Decoder): Activity {
  return { open: openSequences, steps };
}

/** @param engineOf this Worker's part of the model named */
export function decoderRoutes(
  engineOf: (c: Context<HalfEnv>, model: string) => Promise<Used<{ decoder: Decoder; adapters: AdapterSet }>>,
): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();

  /** Body: ids `[S]` int32 of all inputs, then their hidden states `[S, dModel]` float32. Answer: a line of JSON a token. */
  app.post("/models/:model/decode", async (c) => {
    const model = c.req.param("model");
    const { engine, end: endUse } = await engineOf(c, model);
    const { body, inputs, adapter } = await unlessItFails(endUse, async () => {
      const body = await c.req.arrayBuffer();
      const { inputs, adapter: key } = parseDecodeRequest(
        c.req.header(DECODE_HEADER),
        body,
        engine.decoder.config.dModel,
      );
      const adapter = key === undefined ? undefined : await acquireAdapter(c.env, engine.adapters, key);
      return { body, inputs, adapter };
    });
    const endOwn = () => {
      adapter?.release();
      endUse();
    };
    const { decoder, end } = await wholeDecoder(c, { engine: engine.decoder, end: endOwn }, model);
    const { signal } = c.req.raw;
    const endLine = c.get("line").hold();
    const endAll = () => end().finally(endLine);
    signal.addEventListener("abort", () => void endAll(), { once: true });
    const adapted = inputs.map((input) => ({ ...input, adapter }));
    const events = generate(decoder, adapted, { signal });
    const lines = writeTokenLines(endedBy(releasing(events, inputs, body), endAll), errorsOf(c));
    return c.body(lines, 200, { "content-type": "application/x-ndjson" });
  });

  /** Body: labels, then an input's hidden states (api/label-scores.ts). Answer: the labels' scores. */
  app.post("/models/:model/labels", async (c) => {
    const model = c.req.param("model");
    const { engine, end: endUse } = await engineOf(c, model);
    const { request, adapter } = await unlessItFails(endUse, async () => {
      const body = await c.req.arrayBuffer();
      const request = parseLabelsRequest(c.req.header(LABELS_HEADER), body, engine.decoder.config.dModel);
      const key = request.adapter;
      const adapter = key === undefined ? undefined : await acquireAdapter(c.env, engine.adapters, key);
      return { request, adapter };
    });
    const endOwn = () => {
      adapter?.release();
      endUse();
    };
    const { decoder, end } = await wholeDecoder(c, { engine: engine.decoder, end: endOwn }, model);
    try {
      const { input, labels } = request;
      return c.json(await scoreLabels(decoder, { ...input, adapter }, labels, c.req.raw.signal));
    } finally {
      await end();
    }
  });

  /** A chain's later Worker steps through the layers here: one call a request, frames both ways. */
  app.post("/models/:model/layers", async (c) => {
    const model = c.req.param("model");
    const asks = c.req.raw.body;
    if (!asks) throw new EdgeT5Error("E_INPUT", "A layers request needs a body.");
    const { engine, end: endUse } = await engineOf(c, model);
    const { decoder, end } = await wholeDecoder(c, { engine: engine.decoder, end: endUse }, model);
    const acquire = (key: string) => acquireAdapter(c.env, engine.adapters, key);
    const served = serveLayers(decoder, asks, errorsOf(c), end, acquire);
    return c.body(served, 200, { "content-type": "application/octet-stream" });
  });

  return app;
}

/** What goes wrong once an answer has begun. */
function errorsOf(c: Context<HalfEnv>): (error: unknown) => EdgeT5Error {
  const requestId = c.get("requestId");
  return (error) => toEdgeT5Error(error, requestId);
}

async function unlessItFails<T>(end: () => void, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    end();
    throw error;
  }
}

/** This Worker's decoder with the layers before it, wherever they run. */
async function wholeDecoder(
  c: Context<HalfEnv>,
  { engine: own, end }: Used<Decoder>,
  model: string,
): Promise<{ decoder: Decoder; end: () => Promise<void> }> {
  if (own.isFirst) return { decoder: own, end: async () => end() };
  const before = await unlessItFails(end, () =>
    RemoteLayers.connect(own.config.dModel, async (asks) => {
      const { body } = await callUpstream(c.env, `/models/${model}/layers`, { body: asks });
      if (!body) throw new EdgeT5Error("E_DECODER_LOST", "A Worker of the decoder's chain gave no answer. Try again.");
      return body;
    }),
  );
  return {
    decoder: new ChainedDecoder(own, before),
    end: () => {
      end();
      return before.end();
    },
  };
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
