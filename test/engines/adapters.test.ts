/** LoRA adapters beside the weights: what they compute, who shares a batch with whom, and what room they take. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { RemoteLayers, serveLayers } from "../../src/api/layer-stream.ts";
import { ChainedDecoder } from "../../src/engines/chained-decoder.ts";
import { loadSimdEngine, type SimdLoadRequest } from "../../src/engines/simd/index.ts";
import { planMemory } from "../../src/engines/simd/plan.ts";
import type { EdgeT5Error } from "../../src/errors.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import type { AdapterFiles } from "../../src/t5/adapter.ts";
import type { Decoder, DecoderInput, Engine, EngineLimits, HeldAdapter, Sequence } from "../../src/t5/engine.ts";
import { generate } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import { type Manifest, partOf, shardsOf } from "../../src/t5/manifest.ts";
import { type LoraOptions, loraFiles, mergeInto } from "./lora.ts";
import { ENGINES, LIMITS, someIds, TINY, tinyPackage } from "./tiny.ts";

const ROLES = ["encoder", "decoder"] as const;
const STEPS = 5;

type Loaded = Awaited<ReturnType<typeof load>>;

async function load(
  { manifest, store }: Awaited<ReturnType<typeof tinyPackage>>,
  limits: Partial<EngineLimits> = {},
  options: Partial<SimdLoadRequest> = {},
) {
  return loadSimdEngine({
    manifest,
    store,
    kernels: await loadKernels(),
    roles: ROLES,
    limits: { ...LIMITS, ...limits },
    ...options,
  });
}

/** Adapters by name; `loads` says which were loaded, in order. */
function adaptersOf(engine: Engine, files: Record<string, AdapterFiles>) {
  const loads: string[] = [];
  const acquire = (name: string, signal?: AbortSignal) =>
    engine.adapters.acquire(
      name,
      async () => {
        loads.push(name);
        return files[name] as AdapterFiles;
      },
      signal,
    );
  return { loads, acquire };
}

interface Row {
  ids: number[];
  adapter?: HeldAdapter | undefined;
}

/** Fixed tokens fed to every row, all rows in one batch. @returns each row's hidden states and logits after every step */
async function run({ encoder, decoder }: Engine, rows: readonly Row[]) {
  const inputs: DecoderInput[] = [];
  for (const { ids, adapter } of rows) {
    inputs.push({ hidden: await encoder.encode(ids, undefined, adapter), maxNewTokens: STEPS, adapter });
  }
  const sequences = await decoder.openAll(inputs);
  const logits: Float32Array[][] = rows.map(() => []);
  for (let step = 0; step < STEPS; step++) {
    const output = await decoder.step(
      sequences,
      sequences.map(() => (step * 13) % 60),
    );
    for (const [i, of] of logits.entries()) of.push(output.logits(i).slice());
  }
  for (const sequence of sequences) decoder.close(sequence);
  return rows.map((_, i) => ({ hidden: inputs[i]?.hidden, logits: logits[i] ?? [] }));
}

/** Largest difference as part of the largest magnitude. */
function distance(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let difference = 0;
  let largest = 0;
  for (const [i, row] of expected.entries()) {
    for (const [k, value] of row.entries()) {
      largest = Math.max(largest, Math.abs(value));
      difference = Math.max(difference, Math.abs((actual[i]?.[k] ?? Number.NaN) - value));
    }
  }
  return difference / largest;
}

describe("an adapter beside the base is the base with the adapter merged into its weights", () => {
  const GATED = { ...TINY, feed_forward_proj: "gated-gelu" };
  const ASYMMETRIC = {
    ...TINY,
    feed_forward_proj: "gated-silu",
    num_layers: 1,
    d_kv: 16,
    scale_decoder_outputs: false,
  };
  const LONG = 130;
  test.each([
    ["every layer, relu", TINY, { rank: 3, fields: { use_rslora: true } }],
    ["every layer, gated-gelu", GATED, { rank: 5, fields: { lora_alpha: 2 } }],
    ["every layer, gated-silu, another depth and inner width", ASYMMETRIC, { rank: 1 }],
    ["queries and values", TINY, { modules: /\.[qv]$/ }],
    ["the feed-forward's output", TINY, { modules: /wo$/ }],
    ["the feed-forward's inputs", GATED, { modules: /wi_\d$/ }],
    ["cross-attention's keys and values", TINY, { modules: /EncDecAttention\.[kv]$/ }],
    ["the encoder", TINY, { modules: /^encoder/ }],
  ] as [string, object, LoraOptions][])("%s", async (_, config, options) => {
    const limits = { maxInputTokens: LONG };
    const files = loraFiles(config, options);
    const engine = await load(await tinyPackage(32, config), limits);
    const merged = await load(await tinyPackage(32, config, undefined, (dir) => mergeInto(dir, files)), limits);
    const adapter = await adaptersOf(engine, { lora: files }).acquire("lora");
    // Longer than the blocks that the encoder works through.
    for (const ids of [someIds(7, 3), someIds(LONG, 4)]) {
      const [[own], [expected], [base]] = [
        await run(engine, [{ ids, adapter }]),
        await run(merged, [{ ids }]),
        await run(engine, [{ ids }]),
      ];
      expect(distance([own!.hidden!], [expected!.hidden!])).toBeLessThan(1e-5);
      expect(distance(own!.logits, expected!.logits)).toBeLessThan(1e-5);
      expect(distance(base!.logits, expected!.logits)).toBeGreaterThan(1e-2);
    }
  });

  test("for beams, samples and labels too", async () => {
    const files = loraFiles(TINY);
    const engine = await load(await tinyPackage(32));
    const merged = await load(await tinyPackage(32, TINY, undefined, (dir) => mergeInto(dir, files)));
    const adapter = await adaptersOf(engine, { lora: files }).acquire("lora");
    const answers = async ({ encoder, decoder }: Engine, held?: HeldAdapter) => {
      const hidden = await encoder.encode(someIds(9, 2), undefined, held);
      const all: number[] = [];
      for (const fields of [{ num_beams: 3, num_return_sequences: 2 }, { do_sample: true, temperature: 2 }, {}]) {
        const input = { hidden, maxNewTokens: 12, params: parseGenerationParams(fields), adapter: held };
        for await (const { token } of generate(decoder, [input])) all.push(token);
      }
      const { logprobs } = await scoreLabels(decoder, { hidden, adapter: held }, [
        [5, 1],
        [6, 7, 1],
        [6, 8],
      ]);
      return { all, logprobs };
    };
    const [own, expected] = [await answers(engine, adapter), await answers(merged)];
    expect(own.all).toEqual(expected.all);
    expect(own.all).not.toEqual((await answers(engine)).all);
    for (const [i, logprob] of own.logprobs.entries()) expect(logprob).toBeCloseTo(expected.logprobs[i]!, 3);
  });
});

describe.each([8, 4, 32] as const)("requests of one batch, %i bits", (bits) => {
  test("with different adapters and with none, give what each gives alone, bit for bit", async () => {
    const source = await tinyPackage(bits);
    const engine = await load(source, { maxSequences: 12 });
    const untouched = await load(source, { maxSequences: 12 });
    const { acquire } = adaptersOf(engine, {
      everywhere: loraFiles(TINY, { seed: 5 }),
      attention: loraFiles(TINY, { seed: 6, rank: 2, modules: /\.[qv]$/ }),
    });
    const everywhere = await acquire("everywhere");
    const attention = await acquire("attention");
    const rows: Row[] = [undefined, everywhere, everywhere, attention, undefined, everywhere, attention].map(
      (adapter, i) => ({ ids: someIds(4 + 5 * i, i), adapter }),
    );
    const together = await run(engine, rows);
    for (const [i, row] of rows.entries()) {
      expect(together[i]).toEqual((await run(engine, [row]))[0]);
      // Nobody's answer has changed for there being adapters.
      if (!row.adapter) expect(together[i]).toEqual((await run(untouched, [row]))[0]);
    }
    const alike = await run(
      engine,
      [undefined, everywhere, attention].map((adapter) => ({ ids: someIds(9, 1), adapter })),
    );
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      expect(distance(alike[a]!.logits, alike[b]!.logits)).toBeGreaterThan(1e-3);
    }
  });

  test("both kernels give an adapter's answers alike", async () => {
    const source = await tinyPackage(bits);
    const results = [];
    for (const name of ["relaxed", "plain"] as const) {
      const engine = await load(source, {}, { kernels: await loadKernels(name) });
      const adapter = await adaptersOf(engine, { lora: loraFiles(TINY) }).acquire("lora");
      results.push(await run(engine, [{ ids: someIds(9, 1), adapter }]));
    }
    expect(results[0]).toEqual(results[1]);
  });
});

test("a draft of several tokens is checked in one pass with its adapter", async () => {
  const engine = await load(await tinyPackage(8));
  const adapter = await adaptersOf(engine, { lora: loraFiles(TINY) }).acquire("lora");
  const hidden = await engine.encoder.encode(someIds(9, 1), undefined, adapter);
  const [one, other] = await engine.decoder.openAll([{ hidden, maxNewTokens: 4, copies: 2, adapter }]);
  const tokens = [0, 7, 9];
  const together = await engine.decoder.step([one!, one!, one!], tokens);
  const best = tokens.map((_, i) => together.argmax(i));
  const last = together.logits(2).slice();
  for (const [i, token] of tokens.entries()) {
    const alone = await engine.decoder.step([other!], [token]);
    expect(alone.argmax(0)).toBe(best[i]);
    if (i === 2) expect(alone.logits(0)).toEqual(last);
  }
});

/** So many bytes each of these adapters takes of the tiny model's two halves. */
async function bytesOfOne(files: AdapterFiles): Promise<number> {
  const engine = await load(await tinyPackage(8), {}, { mayGrow: () => false });
  const wide = await load(await tinyPackage(8), { maxSequences: 60 }, { mayGrow: () => false });
  expect(engine.memory.buffer.byteLength).toBeLessThan(wide.memory.buffer.byteLength);
  return (await adaptersOf(wide, { lora: files }).acquire("lora")).roomBytes;
}

const SMALL: LoraOptions = { rank: 2, modules: /\.[qv]$/ };
const FILES = Object.fromEntries(
  ["a", "b", "c", "d"].map((name, i) => [name, loraFiles(TINY, { ...SMALL, seed: i + 1 })]),
);

describe("the adapters kept", () => {
  let bytes: number;
  const two = async () => {
    bytes ??= await bytesOfOne(FILES.a!);
    const engine = await load(await tinyPackage(8), { adapterBytes: 2 * bytes, maxSequences: 6 });
    return { engine, ...adaptersOf(engine, FILES) };
  };
  const open = async ({ encoder, decoder }: Engine, adapter: HeldAdapter): Promise<Sequence> => {
    const hidden = await encoder.encode(someIds(5, 1), undefined, adapter);
    const [sequence] = await decoder.openAll([{ hidden, maxNewTokens: 3, adapter }]);
    return sequence!;
  };
  afterEach(() => void vi.useRealTimers());

  test("are loaded once; the one not used for longest makes room", async () => {
    const { engine, loads, acquire } = await two();
    for (const name of ["a", "b", "a", "c", "a", "b"]) (await acquire(name)).release();
    // c took b's place, as a had been used since; then b took c's.
    expect(loads).toEqual(["a", "b", "c", "b"]);
    expect(engine.adapters.size).toBe(2);
  });

  test("take no memory before one is used, and never more than their bound", async () => {
    const { engine, acquire } = await two();
    const { pages } = planMemory((await tinyPackage(8)).manifest, ROLES, { ...LIMITS, maxSequences: 6 });
    expect(engine.memory.buffer.byteLength).toBe(pages * 65536);
    for (let i = 0; i < 5; i++) for (const name of ["a", "b", "c", "d"]) (await acquire(name)).release();
    const grown = engine.memory.buffer.byteLength - pages * 65536;
    expect(grown).toBeGreaterThan(0);
    expect(grown).toBeLessThanOrEqual(Math.ceil((2 * bytes) / 65536) * 65536);
  });

  test("of other sizes take the place of those before them, to the last byte", async () => {
    const of = (rank: number) => loraFiles(TINY, { rank });
    const roomy = await load(await tinyPackage(8), { maxSequences: 60 }, { mayGrow: () => false });
    const size = (await roomy.adapters.acquire("large", async () => of(12))).roomBytes;
    const tight = await load(await tinyPackage(8), { adapterBytes: size });
    for (const rank of [1, 12, 5, 12, 2, 3, 12]) {
      (await tight.adapters.acquire(`rank ${rank}`, async () => of(rank))).release();
    }
    expect(tight.adapters.size).toBe(1);
    // Of several pages, so that growing had to begin where the last one ended.
    expect(size).toBeGreaterThan(2 * 65536);
  });

  test("stay while a sequence is decoded with them: another one waits, and comes when it is closed", async () => {
    const { engine, loads, acquire } = await two();
    const [a, b] = [await acquire("a"), await acquire("b")];
    const alone = await run(engine, [{ ids: someIds(5, 1), adapter: a }]);
    const sequence = await open(engine, a);
    a.release();
    a.release();
    let arrived = false;
    const waiting = acquire("c").then((held) => {
      arrived = true;
      return held;
    });
    await new Promise(setImmediate);
    expect(arrived).toBe(false);
    const { logits } = await engine.decoder.step([sequence], [0]);
    expect(logits(0)).toEqual(alone[0]?.logits[0]);
    engine.decoder.close(sequence);
    const c = await waiting;
    expect(loads).toEqual(["a", "b", "c"]);
    // It is a's place that was taken.
    (await acquire("b")).release();
    expect(loads).toEqual(["a", "b", "c"]);
    b.release();
    c.release();
  });

  test("a request that waits too long, or goes away, is told so", async () => {
    const { acquire } = await two();
    await acquire("a");
    await acquire("b");
    const leaving = new AbortController();
    const gone = acquire("c", leaving.signal);
    await new Promise(setImmediate);
    leaving.abort(new Error("gone"));
    await expect(gone).rejects.toThrow("gone");
    vi.useFakeTimers();
    const refused = expect(acquire("c")).rejects.toMatchObject({
      code: "E_CAPACITY",
      status: 503,
      message: expect.stringContaining("Adapters in use leave no room"),
    });
    await vi.advanceTimersByTimeAsync(21_000);
    await refused;
  });

  test("one whose request died without a word is given up after a minute, and is missed by none but it", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { engine, acquire } = await two();
    const sequence = await open(engine, await acquire("a"));
    const b = await acquire("b");
    vi.setSystemTime(Date.now() + 61_000);
    // Used just now: a is the one that nobody missed.
    await engine.encoder.encode(someIds(5, 1), undefined, b);
    (await acquire("c")).release();
    await expect(engine.decoder.step([sequence], [0])).rejects.toMatchObject({ code: "E_SEQUENCE_CLOSED" });
    await engine.encoder.encode(someIds(5, 1), undefined, b);
    engine.decoder.close(sequence);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("are swapped between requests, not within one: who runs ends on what it began with", async () => {
    const { engine, acquire } = await two();
    const old = await acquire("a");
    const before = await run(engine, [{ ids: someIds(5, 1), adapter: old }]);
    const hidden = await engine.encoder.encode(someIds(5, 1), undefined, old);
    const [running] = await engine.decoder.openAll([{ hidden, maxNewTokens: STEPS, adapter: old }]);
    old.release();
    for (let step = 0; step < STEPS; step++) {
      // The new version arrives, with all that is done for it, between every two steps of the old one.
      const next = await acquire("b");
      const [fresh] = await run(engine, [{ ids: someIds(5, 1), adapter: next }]);
      next.release();
      const { logits } = await engine.decoder.step([running!], [(step * 13) % 60]);
      expect(logits(0)).toEqual(before[0]?.logits[step]);
      expect(fresh?.logits[step]).not.toEqual(before[0]?.logits[step]);
    }
    engine.decoder.close(running!);
  });

  test("one that could never fit is refused at once, with what to do", async () => {
    const { acquire, engine } = await two();
    const large = engine.adapters.acquire("large", async () => loraFiles(TINY, { rank: 40 }));
    await expect(large).rejects.toMatchObject({
      code: "E_ADAPTER",
      message: expect.stringMatching(/Adapter large takes .* MB here; this placement keeps .*Lower its rank/),
    });
    (await acquire("a")).release();
  });

  test("one that does not fit the base leaves nothing behind; a load that failed is tried again", async () => {
    const { engine, acquire } = await two();
    const other = loraFiles({ ...TINY, d_model: 64 }, SMALL);
    await expect(engine.adapters.acquire("a", async () => other)).rejects.toMatchObject({ code: "E_ADAPTER" });
    const lost = engine.adapters.acquire("a", () => Promise.reject(new Error("storage")));
    await expect(lost).rejects.toThrow("storage");
    expect(engine.adapters.size).toBe(0);
    (await acquire("a")).release();
    expect(engine.adapters.size).toBe(1);
  });

  test("requests at once for one adapter end with one copy", async () => {
    const { engine, acquire } = await two();
    const held = await Promise.all(["a", "a", "a"].map((name) => acquire(name)));
    expect(engine.adapters.size).toBe(1);
    const rows = held.map((adapter) => ({ ids: someIds(5, 1), adapter }));
    const [first, ...others] = await run(engine, rows);
    for (const other of others) expect(other).toEqual(first);
  });

  test("one of another engine is refused", async () => {
    const [{ engine }, other] = [await two(), await ENGINES.onnx()];
    const adapter = { id: "a", roomBytes: 0, isGone: false, hold: () => adapter, release() {} };
    await expect(engine.encoder.encode([5, 1], undefined, adapter)).rejects.toMatchObject({ code: "E_ADAPTER" });
    const { manifest, store } = await tinyPackage(8);
    const { encoder, decoder, adapters } = await other({ manifest, store, roles: ROLES, limits: LIMITS });
    const refusal = { code: "E_ADAPTER", message: expect.stringContaining("Use the simd engine") };
    await expect(adapters.acquire("a", async () => FILES.a!)).rejects.toMatchObject(refusal);
    await expect(encoder.encode([5, 1], undefined, adapter)).rejects.toMatchObject(refusal);
    const hidden = new Float32Array(2 * TINY.d_model);
    await expect(decoder.openAll([{ hidden, maxNewTokens: 3, adapter }])).rejects.toMatchObject(refusal);
    expect(decoder.openSequences).toBe(0);
  });
});

describe("where the memory may not grow", () => {
  const packed = async () => {
    const engine = await load(await tinyPackage(8), { maxSequences: 4 }, { mayGrow: () => false });
    return { engine, ...adaptersOf(engine, FILES) };
  };
  const full = (engine: Engine) => {
    const input = { hidden: new Float32Array(LIMITS.maxInputTokens * TINY.d_model).fill(0.5), maxNewTokens: 12 };
    return { engine, input };
  };

  test("adapters lie in the sequences' room, and give it up when it is needed", async () => {
    const { engine, loads, acquire } = await packed();
    const size = engine.memory.buffer.byteLength;
    const held = await acquire("a");
    expect(held.roomBytes).toBeGreaterThan(0);
    const { input } = full(engine);
    expect(engine.decoder.fits([{ ...input, copies: 1 }])).toBe(true);
    held.release();
    const inputs = Array.from({ length: 4 }, () => input);
    const sequences = await engine.decoder.openAll(inputs);
    expect(engine.adapters.size).toBe(0);
    expect(engine.memory.buffer.byteLength).toBe(size);
    for (const sequence of sequences) engine.decoder.close(sequence);
    (await acquire("a")).release();
    expect(loads).toEqual(["a", "a"]);
  });

  test("one in use stays: what fits is counted beside it, and answers are the same", async () => {
    const { engine, acquire } = await packed();
    const roomy = await load(await tinyPackage(8));
    const adapter = await acquire("a");
    const { input } = full(engine);
    const inputs = Array.from({ length: 4 }, () => ({ ...input, adapter }));
    expect(engine.decoder.fits(inputs.map(({ adapter: _, ...rest }) => rest))).toBe(true);
    expect(engine.decoder.fits(inputs)).toBe(false);
    await expect(engine.decoder.openAll(inputs)).rejects.toMatchObject({ code: "E_CAPACITY" });
    const rows = Array.from({ length: 6 }, (_, i) => ({ ids: someIds(3 + i, i), adapter }));
    const expected = await adaptersOf(roomy, FILES).acquire("a");
    for (const row of rows) {
      expect(await run(engine, [row])).toEqual(await run(roomy, [{ ...row, adapter: expected }]));
    }
    // More inputs than fit are decoded one group after the other.
    const events = [];
    for await (const event of generate(engine.decoder, [...inputs, ...inputs])) events.push(event);
    expect(new Set(events.map(({ index }) => index)).size).toBe(8);
    expect(engine.adapters.size).toBe(1);
  });

  test("an adapter waits for sequences to be closed", async () => {
    const { engine, acquire } = await packed();
    const { input } = full(engine);
    const sequences = await engine.decoder.openAll([input, input, input, input]);
    let arrived = false;
    const waiting = acquire("a").then((held) => {
      arrived = true;
      return held;
    });
    await new Promise(setImmediate);
    expect(arrived).toBe(false);
    for (const sequence of sequences) engine.decoder.close(sequence);
    (await waiting).release();
  });
});

test("an encoder alone keeps adapters too, in memory that it takes for them", async () => {
  const source = await tinyPackage(8);
  const whole = await load(source);
  const alone = await load(source, {}, { roles: ["encoder"] });
  const size = alone.memory.buffer.byteLength;
  const [a, b] = [await adaptersOf(whole, FILES).acquire("a"), await adaptersOf(alone, FILES).acquire("a")];
  expect(alone.memory.buffer.byteLength).toBeGreaterThan(size);
  const ids = someIds(9, 2);
  expect(await alone.encoder.encode(ids, undefined, b)).toEqual(await whole.encoder.encode(ids, undefined, a));
});

describe("a chain", () => {
  /** So small that every shard is one layer. */
  const SHARD_BYTES = 33_000;

  /** Two parts of the decoder as Workers chain them, each with its own engine. */
  async function chained(engines: readonly Loaded[], acquire: (engine: Loaded, key: string) => Promise<HeldAdapter>) {
    const errors: unknown[] = [];
    const ends: (() => Promise<void>)[] = [];
    const wholeOf = async (i: number): Promise<Decoder> => {
      const own = engines[i]!.decoder;
      if (own.isFirst) return own;
      const before = await RemoteLayers.connect(own.config.dModel, async (asks) =>
        serveLayers(
          await wholeOf(i - 1),
          asks,
          (error) => {
            errors.push(error);
            return error as EdgeT5Error;
          },
          undefined,
          (key) => acquire(engines[i - 1]!, key),
        ),
      );
      ends.push(() => before.end());
      return new ChainedDecoder(own, before);
    };
    const decoder = await wholeOf(engines.length - 1);
    return { decoder, errors, end: async () => void (await Promise.all(ends.map((end) => end()))) };
  }

  async function partsOf(
    manifest: Manifest,
    source: Awaited<ReturnType<typeof tinyPackage>>,
    role: "encoder" | "decoder",
  ) {
    const parts = [];
    for (const i of shardsOf(manifest, role).keys()) {
      parts.push(await load({ ...source, manifest: partOf(manifest, role, i, i + 1) }, {}, { roles: [role] }));
    }
    return parts;
  }

  test("every part has its own layers' share of an adapter, and answers are the whole's", async () => {
    const source = await tinyPackage(8, TINY, SHARD_BYTES);
    const files = loraFiles(TINY, { rank: 3 });
    const whole = await load(source);
    const [encoders, decoders] = [
      await partsOf(source.manifest, source, "encoder"),
      await partsOf(source.manifest, source, "decoder"),
    ];
    expect([encoders.length, decoders.length]).toEqual([2, 3]);
    const keys: string[] = [];
    const acquire = (engine: Loaded, key: string) => {
      keys.push(key);
      return engine.adapters.acquire(key, async () => files);
    };
    const ids = someIds(9, 1);
    let hidden: Float32Array | undefined;
    for (const engine of encoders) hidden = await engine.encoder.encode(ids, hidden, await acquire(engine, "k"));
    const held = await whole.adapters.acquire("k", async () => files);
    expect(hidden).toEqual(await whole.encoder.encode(ids, undefined, held));

    const { decoder, errors, end } = await chained(decoders, acquire);
    const last = await acquire(decoders[2]!, "k");
    keys.length = 0;
    const answers = async (of: Decoder, adapter: HeldAdapter) => {
      const states = hidden as Float32Array;
      const tokens: (readonly [number, number])[] = [];
      const inputs = [
        { hidden: states, maxNewTokens: 12, adapter },
        { hidden: states, maxNewTokens: 12 },
        { hidden: states, maxNewTokens: 9, params: parseGenerationParams({ num_beams: 2 }), adapter },
      ];
      for await (const { index, token } of generate(of, inputs)) tokens.push([index, token]);
      return tokens;
    };
    expect(await answers(decoder, last)).toEqual(await answers(whole.decoder, held));
    expect(errors).toEqual([]);
    // One call to each part for the batch, one for the search.
    expect(keys).toEqual(["k", "k", "k", "k"]);
    await end();
    await expect.poll(() => decoders.map((engine) => engine.decoder.openSequences)).toEqual([0, 0, 0]);
  });

  test("a part that cannot have the adapter refuses the request, and stays as it was", async () => {
    const source = await tinyPackage(8, TINY, SHARD_BYTES);
    const decoders = await partsOf(source.manifest, source, "decoder");
    const { decoder, end } = await chained(decoders, (engine, key) =>
      engine.adapters.acquire(key, async () => loraFiles({ ...TINY, d_model: 64 })),
    );
    const adapter = await decoders[2]!.adapters.acquire("k", async () => loraFiles(TINY));
    const hidden = new Float32Array(4 * TINY.d_model);
    await expect(decoder.openAll([{ hidden, maxNewTokens: 5, adapter }])).rejects.toMatchObject({ code: "E_ADAPTER" });
    expect(decoders.map((engine) => engine.decoder.openSequences)).toEqual([0, 0, 0]);
    await end();
  });
});
