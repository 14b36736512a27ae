/** A stack cut into parts gives what it gives in one piece: in one process, and over the stream between Workers. */
import { beforeAll, describe, expect, test } from "vitest";
import { RemoteLayers, serveLayers } from "../../src/api/layer-stream.ts";
import { BatchingDecoder } from "../../src/engines/batching-decoder.ts";
import { ChainedDecoder } from "../../src/engines/chained-decoder.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import type { MemoryStore } from "../../src/store/memory.ts";
import type { Decoder, Encoder, EngineLoader } from "../../src/t5/engine.ts";
import { type GenerationInput, generate } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { type Manifest, partOf, shardsOf } from "../../src/t5/manifest.ts";
import { changed, ENGINES, LIMITS, roomsOf, someIds, tinyPackage } from "./tiny.ts";

/** So small that every shard is one layer. */
const SHARD_BYTES = 33_000;
const TOKENS = 12;

interface Package {
  manifest: Manifest;
  store: MemoryStore;
}

let whole: Package;
let cut: Package;
beforeAll(async () => {
  whole = await tinyPackage(8);
  cut = await tinyPackage(8, undefined, SHARD_BYTES);
});

async function load(engine: EngineLoader, { store }: Package, manifest: Manifest) {
  return engine({ manifest, store, roles: ["encoder", "decoder"], limits: LIMITS });
}

/** Encoder and decoder of every shard on its own. */
async function loadParts(engine: EngineLoader, limits = LIMITS): Promise<{ encoders: Encoder[]; decoders: Decoder[] }> {
  const encoders: Encoder[] = [];
  const decoders: Decoder[] = [];
  for (const i of shardsOf(cut.manifest, "encoder").keys()) {
    const manifest = partOf(cut.manifest, "encoder", i, i + 1);
    encoders.push((await engine({ manifest, store: cut.store, roles: ["encoder"], limits })).encoder);
  }
  for (const i of shardsOf(cut.manifest, "decoder").keys()) {
    const manifest = partOf(cut.manifest, "decoder", i, i + 1);
    decoders.push((await engine({ manifest, store: cut.store, roles: ["decoder"], limits })).decoder);
  }
  return { encoders, decoders };
}

async function encodeThrough(encoders: readonly Encoder[], ids: readonly number[]): Promise<Float32Array> {
  let hidden: Float32Array | undefined;
  for (const encoder of encoders) hidden = await encoder.encode(ids, hidden);
  return hidden as Float32Array;
}

/** The decoders as Workers chain them. `calls` counts requests, `errors` has what the parts before took for one. */
async function chain(decoders: readonly Decoder[], calls: string[] = [], errors: unknown[] = []) {
  const ends: (() => Promise<void>)[] = [];
  const wholeOf = async (i: number): Promise<Decoder> => {
    const own = decoders[i] as Decoder;
    if (own.isFirst) return own;
    const before = await RemoteLayers.connect(own.config.dModel, async (asks) => {
      calls.push(`layers of ${i - 1}`);
      return serveLayers(await wholeOf(i - 1), asks, (error) => {
        errors.push(error);
        return error as EdgeT5Error;
      });
    });
    ends.push(() => before.end());
    return new ChainedDecoder(own, before);
  };
  const decoder = await wholeOf(decoders.length - 1);
  return { decoder, end: async () => void (await Promise.all(ends.map((end) => end()))) };
}

/** Decoders that requests share, of a size at which rows are worth a wait for each other. */
function batchingParts(decoders: readonly Decoder[]): Decoder[] {
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  return decoders.map((own) => new BatchingDecoder(changed(own, { rooms: roomsOf(own, 2187) }), turn));
}

async function answers(decoder: Decoder, inputs: readonly GenerationInput[]) {
  const events = [];
  for await (const { index, token, score } of generate(decoder, inputs)) events.push([index, token, score]);
  return events;
}

test("the tiny model is cut into a layer a shard", () => {
  expect(cut.manifest.shards.map(({ role, layers }) => [role, ...layers])).toEqual([
    ["encoder", 0, 1],
    ["encoder", 1, 2],
    ["decoder", 0, 1],
    ["decoder", 1, 2],
    ["decoder", 2, 3],
  ]);
  expect(whole.manifest.shards).toHaveLength(2);
});

describe.each(["simd", "onnx", "onnx-web"] as const)("%s", (name) => {
  const inputsOf = async (encode: (ids: number[]) => Promise<Float32Array>): Promise<GenerationInput[]> => [
    { hidden: await encode(someIds(9, 1)), maxNewTokens: TOKENS },
    { hidden: await encode(someIds(17, 2)), maxNewTokens: TOKENS - 3 },
    {
      hidden: await encode(someIds(5, 3)),
      maxNewTokens: TOKENS,
      params: parseGenerationParams({ num_beams: 3, num_return_sequences: 2 }),
    },
    { hidden: await encode(someIds(7, 4)), maxNewTokens: TOKENS, params: parseGenerationParams({ do_sample: true }) },
  ];

  test("all shards in one process give what the uncut package gives, number for number", async () => {
    const engine = await ENGINES[name]();
    const one = await load(engine, whole, whole.manifest);
    const all = await load(engine, cut, cut.manifest);
    const hidden = await one.encoder.encode(someIds(9, 1));
    expect(await all.encoder.encode(someIds(9, 1))).toEqual(hidden);
    const expected = await answers(one.decoder, await inputsOf((ids) => one.encoder.encode(ids)));
    expect(await answers(all.decoder, await inputsOf((ids) => all.encoder.encode(ids)))).toEqual(expected);
  });

  test("a chain gives it too, with one call to each part for all its steps; beams and batches included", async () => {
    const engine = await ENGINES[name]();
    const one = await load(engine, whole, whole.manifest);
    const { encoders, decoders } = await loadParts(engine);
    const expected = await answers(one.decoder, await inputsOf((ids) => one.encoder.encode(ids)));
    const inputs = await inputsOf((ids) => encodeThrough(encoders, ids));
    const calls: string[] = [];
    const { decoder, end } = await chain(decoders, calls);
    expect(await answers(decoder, inputs)).toEqual(expected);
    await end();
    expect(calls).toEqual(["layers of 1", "layers of 0"]);
    expect(decoders.map(({ openSequences }) => openSequences)).toEqual([0, 0, 0]);
  });
});

describe("a chain", () => {
  test("that many requests use at once gives each its answer, with passes shared in every part", async () => {
    const engine = await ENGINES.simd();
    const one = await load(engine, whole, whole.manifest);
    const { decoders } = await loadParts(engine, { ...LIMITS, maxSequences: 8 });
    const parts = batchingParts(decoders);
    const requests: GenerationInput[][] = [];
    for (const [i, params] of [{}, { num_beams: 2 }, { do_sample: true }, {}, {}].entries()) {
      const hidden = await one.encoder.encode(someIds(4 + 6 * i, i));
      requests.push([{ hidden, maxNewTokens: TOKENS - i, params: parseGenerationParams(params), logprobs: undefined }]);
    }
    const expected = [];
    for (const inputs of requests) expected.push(await answers(one.decoder, inputs));
    const together = await Promise.all(
      requests.map(async (inputs) => {
        const { decoder, end } = await chain(parts);
        const result = await answers(decoder, inputs);
        await end();
        return result;
      }),
    );
    expect(together).toEqual(expected);
    for (const { steps, passes } of parts) expect(passes).toBeLessThan((steps * 3) / 4);
    await expect.poll(() => parts.map(({ openSequences }) => openSequences)).toEqual([0, 0, 0]);
  });

  test("steps far past a hundred tokens in one call", async () => {
    const engine = await ENGINES.simd();
    const limits = { maxInputTokens: 20, maxNewTokens: 300, maxSequences: 1 };
    const decoders: Decoder[] = [];
    for (const i of shardsOf(cut.manifest, "decoder").keys()) {
      const manifest = partOf(cut.manifest, "decoder", i, i + 1);
      decoders.push((await engine({ manifest, store: cut.store, roles: ["decoder"], limits })).decoder);
    }
    const calls: string[] = [];
    const { decoder, end } = await chain(decoders, calls);
    const hidden = new Float32Array(4 * decoder.config.dModel).fill(0.5);
    const params = parseGenerationParams({ suppress_tokens: [decoder.config.eosTokenId] });
    expect(await answers(decoder, [{ hidden, maxNewTokens: 300, params }])).toHaveLength(300);
    await end();
    expect(calls).toHaveLength(2);
  });

  test("leaves no sequence open when its request ends early", async () => {
    const { decoders } = await loadParts(await ENGINES.simd());
    const { decoder, end } = await chain(decoders);
    const hidden = new Float32Array(4 * decoder.config.dModel);
    const [sequence] = await decoder.openAll([{ hidden, maxNewTokens: 5 }]);
    await decoder.step([sequence!], [0]);
    expect(decoders.map(({ openSequences }) => openSequences)).toEqual([1, 1, 1]);
    await end();
    expect(decoders.slice(0, 2).map(({ openSequences }) => openSequences)).toEqual([0, 0]);
  });

  test("takes the end of a request for no error, whether it is closed, cancelled or broken off", async () => {
    const { decoders } = await loadParts(await ENGINES.simd());
    const errors: unknown[] = [];
    const { decoder, end } = await chain(decoders, [], errors);
    await answers(decoder, [{ hidden: new Float32Array(4 * decoder.config.dModel), maxNewTokens: 3 }]);
    await end();
    const serve = (asks: ReadableStream<Uint8Array>) =>
      serveLayers(decoders[0]!, asks, (error) => {
        errors.push(error);
        return error as EdgeT5Error;
      }).getReader();
    const broken = serve(new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) }));
    await broken.read();
    expect(await broken.read()).toEqual({ done: true, value: undefined });
    const cancelled = serve(new ReadableStream());
    await cancelled.read();
    const waiting = cancelled.read();
    await cancelled.cancel();
    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(errors).toEqual([]);
  });

  test("passes on what is refused before it, and knows what fits in all of its rooms", async () => {
    const engine = await ENGINES.simd();
    const roomy = { maxInputTokens: 40, maxNewTokens: 12, maxSequences: 3 };
    const decoders: Decoder[] = [];
    for (const i of shardsOf(cut.manifest, "decoder").keys()) {
      const manifest = partOf(cut.manifest, "decoder", i, i + 1);
      const limits = i === 0 ? { ...roomy, maxSequences: 1, maxNewTokens: 6 } : roomy;
      decoders.push((await engine({ manifest, store: cut.store, roles: ["decoder"], limits })).decoder);
    }
    const { decoder, end } = await chain(decoders);
    const hidden = new Float32Array(40 * decoder.config.dModel);
    expect(decoder.fits([{ hidden, maxNewTokens: 6 }])).toBe(true);
    expect(decoder.fits([{ hidden, maxNewTokens: 6, copies: 3 }])).toBe(false);
    await expect(decoder.openAll([{ hidden, maxNewTokens: 12 }])).rejects.toThrow(
      expect.objectContaining({ code: "E_CONTEXT_LENGTH" }),
    );
    expect(decoders[2]?.openSequences).toBe(0);
    await end();
  });

  test("tells that it broke when what comes before goes away", async () => {
    const { decoders } = await loadParts(await ENGINES.simd());
    const before = await RemoteLayers.connect(decoders[1]!.config.dModel, async () => {
      const served = serveLayers(decoders[0]!, new ReadableStream(), (error) => error as EdgeT5Error);
      const reader = served.getReader();
      const { value } = await reader.read();
      return new ReadableStream({
        start(controller) {
          controller.enqueue(value as Uint8Array);
          controller.close();
        },
      });
    });
    const hidden = new Float32Array(decoders[0]!.config.dModel);
    await expect(before.open([{ hidden, maxNewTokens: 2 }])).rejects.toThrow(
      expect.objectContaining({ code: "E_DECODER_LOST" }),
    );
    await before.end();
  });

  test("a part's hidden states are its caller's, whoever steps before that goes on", async () => {
    const { decoders } = await loadParts(await ENGINES.simd());
    const part = decoders[0] as Decoder;
    const hidden = new Float32Array(4 * part.config.dModel).fill(0.5);
    const open = () => part.openAll([{ hidden, maxNewTokens: 3, copies: 2 }]);
    const alone: (Float32Array | null)[] = [];
    for (const [i, sequence] of (await open()).entries()) alone.push((await part.step([sequence], [7 + i])).hidden);
    const steps = (await open()).map((sequence, i) => part.step([sequence], [7 + i]));
    expect((await Promise.all(steps)).map((output) => output.hidden)).toEqual(alone);
    expect(alone[0]).not.toEqual(alone[1]);
  });

  test("a part is told when it misses its hidden states", async () => {
    const { encoders, decoders } = await loadParts(await ENGINES.simd());
    await expect(encoders[1]!.encode([1])).rejects.toThrow(EdgeT5Error);
    const sequence = await decoders[1]!.open(new Float32Array(decoders[1]!.config.dModel), 2);
    await expect(decoders[1]!.step([sequence], [0])).rejects.toThrow(EdgeT5Error);
  });
});
