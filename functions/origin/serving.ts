/** Answers in the edge's place: token ids in, what the decoder's Worker answers out. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { errorBody, generationInputOf, writeLines } from "../../src/api/token-stream.ts";
import { ApiError } from "../../src/api-error.ts";
import { EdgeT5Error, isGivenUp } from "../../src/errors.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import type { OriginModels, UsedModel } from "../../src/placement/origin/models.ts";
import { isOwnAdapter, originDecodeSchema, originLabelsSchema } from "../../src/placement/protocol.ts";
import { generate, type TokenEvent } from "../../src/t5/generate.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import type { Signed } from "./signed.ts";

/** Token ids of the longest inputs, written out. */
const MOST_BYTES = 4 << 20;

export function servingApp(models: OriginModels, signed: Signed): Hono {
  const app = new Hono();
  const tooLarge = () => {
    throw new ApiError(413, "request_too_large", `The body is over ${MOST_BYTES} bytes.`);
  };
  app.use(bodyLimit({ maxSize: MOST_BYTES, onError: tooLarge }));

  /** What is loaded, and what it has done. */
  app.get("/", async (c) => {
    await signed.bytes(c);
    return c.json(await models.health());
  });

  /** Answers when the first token is made: what goes wrong before it has a status of its own. */
  app.post("/:model/decode", async (c) => {
    const { inputs, options } = await signed.json(c, originDecodeSchema);
    const { signal } = c.req.raw;
    const { adapter: key, owner } = options;
    const used = await use(models, c.req.param("model"), key, owner, signal);
    async function* events(): AsyncGenerator<TokenEvent, void, undefined> {
      const { engine, adapter } = used;
      try {
        const hidden = await Promise.all(
          inputs.map((ids) => engine.encoder.encode(ids, undefined, adapter, { owner, signal })),
        );
        const all = inputs.map((ids, i) => ({
          ...generationInputOf({ ids, hidden: hidden[i] as Float32Array }, i, options),
          adapter,
        }));
        yield* generate(engine.decoder, all, { signal });
      } finally {
        used.end();
      }
    }
    const lines = writeLines(await begun(events()), toEdgeT5Error);
    return c.body(lines, 200, { "content-type": "application/x-ndjson" });
  });

  app.post("/:model/labels", async (c) => {
    const { input, labels, adapter: key, owner } = await signed.json(c, originLabelsSchema);
    const { signal } = c.req.raw;
    const { engine, adapter, end } = await use(models, c.req.param("model"), key, owner, signal);
    try {
      const hidden = await engine.encoder.encode(input, undefined, adapter, { owner, signal });
      return c.json(await scoreLabels(engine.decoder, { hidden, adapter, owner }, labels, signal));
    } finally {
      end();
    }
  });

  app.onError((error) => {
    // Who asks is not known yet, or sends what no gateway sends.
    if (error instanceof ApiError) throw error;
    const known = toEdgeT5Error(error);
    return Response.json(errorBody(known), { status: known.status });
  });

  return app;
}

/** @throws EdgeT5Error `E_INPUT` for another tenant's adapter, whoever asks; as {@link OriginModels.use} */
async function use(
  models: OriginModels,
  id: string,
  adapter: string | undefined,
  owner: string | undefined,
  signal: AbortSignal,
): Promise<UsedModel> {
  if (adapter !== undefined && !isOwnAdapter(adapter, owner ?? "")) {
    throw new EdgeT5Error("E_INPUT", "The adapter is another tenant's.");
  }
  return models.use(id, adapter, signal);
}

/** The same events, the first of which is there. */
async function begun<T>(events: AsyncGenerator<T, void, undefined>): Promise<AsyncGenerator<T, void, undefined>> {
  const first = await events.next();
  async function* all(): AsyncGenerator<T, void, undefined> {
    try {
      if (first.done) return;
      yield first.value;
      yield* events;
    } finally {
      await events.return();
    }
  }
  return all();
}

function toEdgeT5Error(error: unknown): EdgeT5Error {
  if (error instanceof EdgeT5Error) return error;
  if (!isGivenUp(error)) log("error", "failed", { error: errorFields(error) });
  return new EdgeT5Error("E_INTERNAL", "A defect of edge-t5.", { cause: error });
}
