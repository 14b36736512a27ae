/** Adapters of the bucket on their way through the private Workers, inside workerd. */
import { createExecutionContext, env } from "cloudflare:test";
import type { Hono } from "hono";
import { beforeAll, describe, expect, test } from "vitest";
import { decoderRoutes } from "../../functions/decoder/routes.ts";
import { encoderRoutes } from "../../functions/encoder/routes.ts";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { decode, encode } from "../../functions/gateway/halves.ts";
import { Half, type HalfBindings, type HalfEnv, halfApp, NOTHING_OPEN } from "../../functions/shared/half.ts";
import { planMemory } from "../../src/engines/simd/plan.ts";
import { EdgeT5Error } from "../../src/errors.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { AS_ADMIN, bindingsFor, bucket, putModel, send } from "./isolate.ts";

const MODEL = "adapted";
const SHOUT = "tenants/acme/adapters/shout/1";
const SENTIMENT = "tenants/acme/adapters/sentiment/1";

const { ADAPTERS } = env as unknown as { ADAPTERS: Fetcher };

/** One of test/fixtures/adapters. */
async function fixture(name: string, file: string): Promise<ArrayBuffer> {
  return (await ADAPTERS.fetch(`http://adapters/${name}/${file}`)).arrayBuffer();
}

async function putAdapter(key: string, name: string): Promise<void> {
  for (const file of [ADAPTER_CONFIG, ADAPTER_TENSORS]) await bucket.put(`${key}/${file}`, await fixture(name, file));
}

interface Expected {
  input_ids: number[];
  greedy_ids: number[];
}

async function expectedOf(name: string): Promise<Expected[]> {
  const text = new TextDecoder().decode(await fixture(name, "expected.jsonl"));
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Expected);
}

/** Reads of an adapter's tensors. */
const reads: string[] = [];
const watched = new Proxy(bucket, {
  get(target, name) {
    if (name !== "get") return Reflect.get(target, name);
    return (key: string) => {
      if (key.endsWith(ADAPTER_TENSORS)) reads.push(key);
      return target.get(key);
    };
  },
});

async function answer(
  ids: readonly number[],
  adapter?: string,
  bindings = bindingsFor({ shards: watched }),
  model = MODEL,
): Promise<number[]> {
  const options = {
    maxNewTokens: 24,
    stream: false,
    params: parseGenerationParams({}),
    copies: 1,
    seed: 0,
    logprobs: null,
  };
  const use = { env: bindings, model, adapter, owner: "acme" };
  const { signal } = new AbortController();
  const encoded = await encode(use, ids, signal);
  const tokens: number[] = [];
  for await (const { token } of decode(use, [encoded], options, signal)) {
    tokens.push(token);
  }
  return tokens;
}

interface Health {
  decoder: { models: Record<string, { adapters: number; open_sequences: number }> };
  encoder: { models: Record<string, { adapters: number }> };
}

async function health() {
  const { encoder, decoder } = await (await send("/healthz", AS_ADMIN)).json<Health>();
  return { encoder: encoder.models[MODEL], decoder: decoder.models[MODEL] };
}

beforeAll(async () => {
  await putModel(MODEL);
  await putAdapter(SHOUT, "everywhere");
  await putAdapter(SENTIMENT, "sentiment");
});

test("nothing is read of an adapter that nobody asks for", async () => {
  const [row] = await expectedOf("sentiment");
  await answer(row?.input_ids ?? []);
  expect(await health()).toMatchObject({ encoder: { adapters: 0 }, decoder: { adapters: 0 } });
  expect(reads).toEqual([]);
});

test("requests at once with different adapters and with none each get what they get alone; each half reads one once", async () => {
  const [shouted, judged] = [await expectedOf("everywhere"), await expectedOf("sentiment")];
  const requests = [0, 1, 2, 3].flatMap((i) => [
    { ids: shouted[10 * i]?.input_ids ?? [], adapter: SHOUT },
    { ids: judged[10 * i]?.input_ids ?? [], adapter: SENTIMENT },
    { ids: judged[10 * i]?.input_ids ?? [], adapter: undefined },
  ]);
  const alone: number[][] = [];
  for (const { ids, adapter } of requests) alone.push(await answer(ids, adapter));
  expect(reads.toSorted()).toEqual([SENTIMENT, SENTIMENT, SHOUT, SHOUT].map((key) => `${key}/${ADAPTER_TENSORS}`));
  const together = await Promise.all(requests.map(({ ids, adapter }) => answer(ids, adapter)));
  expect(together).toEqual(alone);
  expect(reads).toHaveLength(4);
  for (const [i, { adapter }] of requests.entries()) {
    if (adapter === SENTIMENT) expect(alone[i]).not.toEqual(alone[i + 1]);
  }
  // Hugging Face's answers, for what rounding the base's weights leaves as it is.
  for (const i of [0, 1, 2, 3]) expect(alone[3 * i + 1]).toEqual(judged[10 * i]?.greedy_ids);
  expect(await health()).toMatchObject({ encoder: { adapters: 2 }, decoder: { adapters: 2, open_sequences: 0 } });
});

describe("an adapter that cannot be had", () => {
  const refusal = async (key: string) => {
    const error = await answer([10, 1], key).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(EdgeT5Error);
    return error as EdgeT5Error;
  };

  test("is missed by its key, with status 503, until it is there", async () => {
    const key = "tenants/acme/adapters/late/1";
    const { code, status, message } = await refusal(key);
    expect({ code, status }).toEqual({ code: "E_ADAPTER_NOT_FOUND", status: 503 });
    expect(message).toContain(`r2:${key} has no adapter_`);
    await putAdapter(key, "sentiment");
    expect(await answer([10, 1], key)).toEqual(await answer([10, 1], SENTIMENT));
  });

  test("does not fit: refused with its key and the reason, as a 400", async () => {
    const key = "tenants/acme/adapters/dora/1";
    await putAdapter(key, "sentiment");
    const config = JSON.parse(new TextDecoder().decode(await fixture("sentiment", ADAPTER_CONFIG)));
    await bucket.put(`${key}/${ADAPTER_CONFIG}`, JSON.stringify({ ...config, use_dora: true }));
    const { code, status, message } = await refusal(key);
    expect({ code, status }).toEqual({ code: "E_ADAPTER", status: 400 });
    expect(message).toMatch(new RegExp(`^Adapter ${key}: adapter_config.json: use_dora is true`));
  });

  test("is refused by a decoder of its own, before its first token", async () => {
    const bindings = bindingsFor();
    const use = { env: bindings, model: MODEL, adapter: undefined, owner: "acme" };
    const { signal } = new AbortController();
    const encoded = await encode(use, [10, 1], signal);
    const options = {
      maxNewTokens: 5,
      stream: true,
      params: parseGenerationParams({}),
      copies: 1,
      seed: 0,
      logprobs: null,
    };
    const missing = { ...use, adapter: "tenants/acme/adapters/none/1" };
    const events = decode(missing, [encoded], options, new AbortController().signal);
    await expect(events.next()).rejects.toMatchObject({ code: "E_ADAPTER_NOT_FOUND" });
    expect((await health()).decoder).toMatchObject({ open_sequences: 0 });
  });
});

describe("a chain of Workers", () => {
  const CHAIN = "adapted-chain";

  /** The same packaged model, cut in two: every stack's halves are Workers of their own. */
  async function putCut(): Promise<void> {
    const { shards } = await putModel(CHAIN);
    const cut = shards.flatMap((shard) => {
      const [first, end] = shard.layers;
      const middle = Math.floor((first + end) / 2);
      return [
        { ...shard, layers: [first, middle] as [number, number] },
        { ...shard, layers: [middle, end] as [number, number] },
      ];
    });
    await putModel(CHAIN, { shards: cut });
  }

  /** A Worker bound as a service. */
  function service(app: Hono<HalfEnv>, more: Partial<HalfBindings>): Fetcher {
    const { MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, MAX_SEQUENCES } = bindingsFor();
    const limits = { MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, MAX_SEQUENCES, MAX_WASM_BYTES: 2 ** 30 };
    const bindings: HalfBindings = { ...limits, SHARDS: watched, ...more };
    const context = createExecutionContext();
    return { fetch: (url: string, init?: RequestInit) => app.request(url, init, bindings, context) } as Fetcher;
  }

  function encoderWorker(): Hono<HalfEnv> {
    const half = new Half(["encoder"], () => NOTHING_OPEN);
    return halfApp(half, () => ({})).route(
      "/",
      encoderRoutes((c, model) => half.use(c, model)),
    );
  }

  function decoderWorker(): Hono<HalfEnv> {
    const half = new Half(["decoder"], () => NOTHING_OPEN);
    return halfApp(half, () => ({})).route(
      "/",
      decoderRoutes((c, model) => half.use(c, model)),
    );
  }

  test("answers with an adapter as the whole does; every Worker reads it once, for its own layers", async () => {
    await putCut();
    const before = service(encoderWorker(), { WORKERS_AFTER: 1 });
    const beforeDecoder = service(decoderWorker(), { WORKERS_AFTER: 1 });
    const chained: GatewayBindings = {
      ...bindingsFor(),
      ENCODER: service(encoderWorker(), { UPSTREAM: before }),
      DECODER: service(decoderWorker(), { UPSTREAM: beforeDecoder }),
    };
    const [row] = await expectedOf("everywhere");
    const ids = row?.input_ids ?? [];
    const expected = await answer(ids, SHOUT);
    expect(expected).not.toEqual(await answer(ids));
    reads.length = 0;
    expect(await answer(ids, SHOUT, chained, CHAIN)).toEqual(expected);
    expect(await answer(ids, undefined, chained, CHAIN)).toEqual(await answer(ids));
    expect(await answer(ids, SHOUT, chained, CHAIN)).toEqual(expected);
    expect(reads).toHaveLength(4);
  });
});

test("a Worker that is full of models keeps its bound: adapters go into the sequences' room", async () => {
  const names = ["full-1", "full-2"];
  const [manifest] = [await putModel(names[0] ?? ""), await putModel(names[1] ?? "")];
  const { MAX_PROMPT_TOKENS, MAX_NEW_TOKENS, MAX_SEQUENCES } = bindingsFor();
  const size = { maxInputTokens: MAX_PROMPT_TOKENS, maxNewTokens: MAX_NEW_TOKENS, maxSequences: MAX_SEQUENCES };
  const limit = names.length * planMemory(manifest, ["decoder"], size).pages * 65536;
  const bindings = bindingsFor({ limits: { MAX_WASM_BYTES: limit } });
  const [row] = await expectedOf("everywhere");
  const ids = row?.input_ids ?? [];
  const expected = await answer(ids, SHOUT);
  for (const name of names) await answer(ids, undefined, bindings, name);
  for (const name of names) expect(await answer(ids, SHOUT, bindings, name)).toEqual(expected);
  const { decoder } = await (await send("/healthz", AS_ADMIN)).json<{
    decoder: { models: Record<string, { wasm_bytes: number; adapters: number }> };
  }>();
  const held = names.map((name) => decoder.models[name]);
  expect(held.map((model) => model?.adapters)).toEqual([1, 1]);
  expect(held.reduce((sum, model) => sum + (model?.wasm_bytes ?? 0), 0)).toBe(limit);
});
