/** The encoder's routes: token ids in, hidden states out. */
import { type Context, Hono } from "hono";
import { FrameReader } from "../../src/api/frames.ts";
import { readInputs, type StreamedInput, writeEncoded } from "../../src/api/input-stream.ts";
import { ADAPTER_HEADER, OWNER_HEADER } from "../../src/api/token-stream.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { AdapterSet, Encoder } from "../../src/t5/engine.ts";
import { acquireAdapter, errorsOf, type HalfEnv, type Used } from "../shared/half.ts";
import { callUpstream } from "../shared/upstream.ts";

/** @param engineOf this Worker's part of the model named */
export function encoderRoutes(
  engineOf: (c: Context<HalfEnv>, model: string) => Promise<Used<{ encoder: Encoder; adapters: AdapterSet }>>,
): Hono<HalfEnv> {
  const app = new Hono<HalfEnv>();

  /** Body: ids `[S]` int32; headers may name an adapter and an owner. Answer: hidden states `[S, dModel]` float32. */
  app.post("/models/:model/encode", async (c) => {
    const body = await c.req.arrayBuffer();
    if (body.byteLength % 4 !== 0) throw new EdgeT5Error("E_INPUT", "An encode request's body must be int32 ids.");
    const {
      engine: { encoder, adapters },
      end,
    } = await engineOf(c, c.req.param("model"));
    try {
      const { key, owner, headers } = whomOf(c);
      const { signal } = c.req.raw;
      const before = encoder.isFirst ? undefined : await callUpstream(c.env, c.req.path, { body, headers, signal });
      const states = before && new Float32Array(await before.arrayBuffer());
      const adapter = key === undefined ? undefined : await acquireAdapter(c.env, adapters, key);
      const hidden = await encoder
        .encode(new Int32Array(body), states, adapter, { owner, signal })
        .finally(() => adapter?.release());
      return c.body(sentOnce(hidden), 200, { "content-type": "application/octet-stream" });
    } finally {
      end();
    }
  });

  /** Body: frames of ids, of any number of inputs (src/api/input-stream.ts). Answer: frames with their hidden states. */
  app.post("/models/:model/encode-list", async (c) => {
    const asked = c.req.raw.body;
    if (!asked) throw new EdgeT5Error("E_INPUT", "An encode-list request needs a body.");
    // Touched at once: wrangler's development server drains a body that nobody has begun to read when the answer begins.
    const frames = new FrameReader(asked);
    const { engine, end } = await engineOf(c, c.req.param("model"));
    const { signal } = c.req.raw;
    const endLine = c.get("line").hold();
    signal.addEventListener("abort", end, { once: true });
    const encoded = encodeAll(c, engine, frames, () => {
      end();
      endLine();
    });
    return c.body(writeEncoded(encoded, errorsOf(c)), 200, { "content-type": "application/octet-stream" });
  });

  return app;
}

/** One after the other: the last one's hidden states are sent while the next one's are made. */
async function* encodeAll(
  c: Context<HalfEnv>,
  { encoder, adapters }: { encoder: Encoder; adapters: AdapterSet },
  asked: FrameReader,
  end: () => void,
): AsyncGenerator<StreamedInput, void, undefined> {
  const { key, owner, headers } = whomOf(c);
  const { signal } = c.req.raw;
  try {
    const ids = readInputs(asked);
    const inputs = encoder.isFirst ? ids : readInputs(await encodedBefore(c, ids, headers));
    const adapter = key === undefined ? undefined : await acquireAdapter(c.env, adapters, key);
    try {
      for await (const { ids, hidden: before } of inputs) {
        const states = encoder.isFirst ? undefined : before;
        yield { ids, hidden: await encoder.encode(ids, states, adapter, { owner, signal }) };
      }
    } finally {
      adapter?.release();
    }
  } finally {
    end();
  }
}

/** The same inputs with the hidden states of the layers before. */
async function encodedBefore(
  c: Context<HalfEnv>,
  inputs: AsyncGenerator<StreamedInput, void, undefined>,
  headers: HeadersInit,
): Promise<FrameReader> {
  const body = writeEncoded(inputs, errorsOf(c));
  const before = await callUpstream(c.env, c.req.path, { body, headers, signal: c.req.raw.signal });
  if (!before.body) throw new EdgeT5Error("E_INTERNAL", "A Worker of the encoder's chain gave no answer. Try again.");
  return new FrameReader(before.body);
}

function whomOf(c: Context<HalfEnv>) {
  const key = c.req.header(ADAPTER_HEADER);
  const owner = c.req.header(OWNER_HEADER);
  const headers = {
    ...(key !== undefined && { [ADAPTER_HEADER]: key }),
    ...(owner !== undefined && { [OWNER_HEADER]: owner }),
  };
  return { key, owner, headers };
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
