/** The decoder's routes: ids and hidden states in, tokens out, one by one; and for a chain, steps through its first layers. */
import { type Context, Hono } from "hono";
import { FrameReader } from "../../src/api/frames.ts";
import { parseDecodeList, parseScoreList, readInputs, type StreamedInput } from "../../src/api/input-stream.ts";
import { LABELS_HEADER, parseLabelsRequest } from "../../src/api/label-scores.ts";
import { RemoteLayers, serveLayers } from "../../src/api/layer-stream.ts";
import { DECODE_HEADER, generationInputOf, parseDecodeRequest, writeLines } from "../../src/api/token-stream.ts";
import { ChainedDecoder } from "../../src/engines/chained-decoder.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { AdapterSet, Decoder } from "../../src/t5/engine.ts";
import { type GenerationInput, generate, type TokenEvent } from "../../src/t5/generate.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import { type Activity, acquireAdapter, errorsOf, type HalfEnv, type Used } from "../shared/half.ts";
import { callUpstream } from "../shared/upstream.ts";

/** What a decoder has done, for `/healthz`: rows ÷ passes is how full its passes were. */
export function decoderHealth({ steps, passes, rows, openSequences }: Decoder) {
  return { steps, passes, rows, open_sequences: openSequences };
}

export function decoderActivity({ steps, openSequences }: Decoder): Activity {
  return { open: openSequences, steps };
}

type EngineOf = (c: Context<HalfEnv>, model: string) => Promise<Used<{ decoder: Decoder; adapters: AdapterSet }>>;

/** @param engineOf this Worker's part of the model named */
export function decoderRoutes(engineOf: EngineOf): Hono<HalfEnv> {
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
    const lines = writeLines(endedBy(releasing(events, inputs, body), endAll), errorsOf(c));
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

  /**
   * Body: frames of inputs with their hidden states (src/api/input-stream.ts). Answer: as `decode`'s; some of the inputs at
   * a time are decoded side by side.
   */
  app.post("/models/:model/decode-list", async (c) => {
    const options = parseDecodeList(c.req.header(DECODE_HEADER));
    const list = await listOf(c, engineOf, options.adapter);
    const sequencesEach = Math.max(options.copies, options.params.num_return_sequences);
    async function* events(): AsyncGenerator<TokenEvent, void, undefined> {
      let first = 0;
      for await (const group of groupsOf(list.inputs, LIST_ROWS / sequencesEach)) {
        const { adapter, decoder } = list;
        const inputs = group.map((input, i) => ({ ...generationInputOf(input, first + i, options), adapter }));
        for await (const event of generate(decoder, inputs, { signal: c.req.raw.signal })) {
          yield { ...event, index: first * sequencesEach + event.index };
        }
        first += group.length;
      }
      if (first < options.inputs) throw encoderLost();
    }
    const lines = writeLines(endedBy(events(), list.end), errorsOf(c));
    return c.body(lines, 200, { "content-type": "application/x-ndjson" });
  });

  /** Body: as `decode-list`'s. Answer: a line of JSON with the labels' scores an input, in order. */
  app.post("/models/:model/label-list", async (c) => {
    const options = parseScoreList(c.req.header(LABELS_HEADER));
    const list = await listOf(c, engineOf, options.adapter);
    async function* scores(): AsyncGenerator<object, void, undefined> {
      let scored = 0;
      for await (const { hidden } of list.inputs) {
        const input = { hidden, adapter: list.adapter, owner: options.owner };
        yield await scoreLabels(list.decoder, input, options.labels, c.req.raw.signal);
        scored++;
      }
      if (scored < options.inputs) throw encoderLost();
    }
    const lines = writeLines(endedBy(scores(), list.end), errorsOf(c));
    return c.body(lines, 200, { "content-type": "application/x-ndjson" });
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

/** Sequences of a list that are decoded side by side, if they fit: more rows of a pass gain little. */
const LIST_ROWS = 16;

/** A list on its way in, and what it is decoded with. */
async function listOf(c: Context<HalfEnv>, engineOf: EngineOf, key: string | undefined) {
  if (!c.req.raw.body) throw new EdgeT5Error("E_INPUT", "A list needs a body.");
  const frames = new FrameReader(c.req.raw.body);
  const model = c.req.param("model") ?? "";
  const { engine, end: endUse } = await engineOf(c, model);
  const adapter = await unlessItFails(endUse, async () =>
    key === undefined ? undefined : acquireAdapter(c.env, engine.adapters, key),
  );
  const endOwn = () => {
    adapter?.release();
    endUse();
  };
  const { decoder, end } = await wholeDecoder(c, { engine: engine.decoder, end: endOwn }, model);
  const endLine = c.get("line").hold();
  const endAll = () => end().finally(endLine);
  c.req.raw.signal.addEventListener("abort", () => void endAll(), { once: true });
  return { decoder, adapter, inputs: readInputs(frames), end: endAll };
}

/** Of a list's hidden states, at a time. */
const LIST_BYTES = 8 << 20;

/** What comes of a list, so many at a time. */
async function* groupsOf(
  inputs: AsyncIterable<StreamedInput>,
  most: number,
): AsyncGenerator<StreamedInput[], void, undefined> {
  let group: StreamedInput[] = [];
  let bytes = 0;
  for await (const input of inputs) {
    group.push(input);
    bytes += input.hidden.byteLength;
    if (group.length + 1 <= most && bytes < LIST_BYTES) continue;
    yield group;
    group = [];
    bytes = 0;
  }
  if (group.length > 0) yield group;
}

function encoderLost(): EdgeT5Error {
  return new EdgeT5Error("E_DECODER_LOST", "The encoder went away before it was done. Try again.");
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
