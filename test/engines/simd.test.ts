import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { loadSimdEngine, type SimdEngine } from "../../src/engines/simd/index.ts";
import { blobsOf, planMemory } from "../../src/engines/simd/plan.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import type { Sequence } from "../../src/t5/engine.ts";
import { generate, type TokenEvent } from "../../src/t5/generate.ts";
import { blobKey } from "../../src/t5/manifest.ts";
import { LIMITS, someIds, tinyEngine, tinyPackage } from "./tiny.ts";

const ROLES = ["encoder", "decoder"] as const;

describe("the memory plan", () => {
  test("has every blob, one after the other, and an arena for all sequences", async () => {
    const { manifest } = await tinyPackage(8);
    const plan = planMemory(manifest, ROLES, LIMITS);
    const blobs = [...plan.blobs].map(([hash, at]) => ({ at, end: at + manifest.blobs[hash]!.bytes }));
    expect(blobs).toHaveLength(3);
    for (const [i, { at }] of blobs.entries()) {
      expect(at % 64).toBe(0);
      if (i > 0) expect(at).toBeGreaterThanOrEqual(blobs[i - 1]!.end);
    }
    expect(plan.pages * 65536).toBeGreaterThanOrEqual(plan.arena.at + plan.arena.bytes);
  });

  test("takes the embedding once, and each half only what it needs", async () => {
    const { manifest } = await tinyPackage(8);
    const roles = (wanted: readonly ("encoder" | "decoder")[]) =>
      blobsOf(manifest, wanted).map((hash) => manifest.blobs[hash]?.role);
    expect(roles(["encoder"])).toEqual(["embedding", "encoder"]);
    expect(roles(["decoder"])).toEqual(["embedding", "decoder"]);
    expect(roles(ROLES)).toEqual(["embedding", "encoder", "decoder"]);
  });

  test("shrinks the arena to the memory, and refuses one without room for a sequence", async () => {
    const { manifest } = await tinyPackage(8);
    const whole = planMemory(manifest, ROLES, LIMITS);
    const memoryBytes = whole.arena.at + Math.floor(whole.arena.bytes / 2);
    expect(planMemory(manifest, ROLES, { ...LIMITS, memoryBytes }).arena.bytes).toBeLessThan(whole.arena.bytes);
    expect(() => planMemory(manifest, ROLES, { ...LIMITS, memoryBytes: whole.arena.at })).toThrow(
      expect.objectContaining({ code: "E_CAPACITY", message: expect.stringContaining("Lower the token limits") }),
    );
  });
});

describe("loading", () => {
  test.each([
    ["missing", null, "E_BLOB_MISSING"],
    ["one bit off", (bytes: Uint8Array) => bytes.with(99, bytes[99]! ^ 4), "E_BLOB_CORRUPT"],
    ["too short", (bytes: Uint8Array) => bytes.slice(1), "E_BLOB_CORRUPT"],
    ["too long", (bytes: Uint8Array) => new Uint8Array([...bytes, 0]), "E_BLOB_CORRUPT"],
  ] as const)("refuses a blob that is %s, and loads into the same memory once it is mended", async (_, spoil, code) => {
    const { manifest, store } = await tinyPackage(8);
    const hash = blobsOf(manifest, ["decoder"])[1]!;
    const good = new Uint8Array(await new Response(await store.get(blobKey(hash))).arrayBuffer());
    store.delete(blobKey(hash));
    if (spoil) await store.put(blobKey(hash), spoil(good));
    let memory: WebAssembly.Memory | undefined;
    const load = async () =>
      loadSimdEngine({
        manifest,
        store,
        kernels: await loadKernels(),
        roles: ROLES,
        limits: LIMITS,
        memory,
        onMemory: (each) => {
          memory = each;
        },
      });
    await expect(load()).rejects.toMatchObject({ code, message: expect.stringContaining(hash) });
    const first = memory;
    await store.put(blobKey(hash), good);
    const engine = await load();
    expect(engine.memory).toBe(first);
    const fresh = await tinyEngine(8);
    expect(await greedy(engine, [someIds(9, 1)], 12)).toEqual(await greedy(fresh, [someIds(9, 1)], 12));
  });

  test("stops when it is aborted", async () => {
    const { manifest, store } = await tinyPackage(8);
    const controller = new AbortController();
    const loading = loadSimdEngine({
      manifest,
      store,
      kernels: await loadKernels(),
      roles: ROLES,
      limits: LIMITS,
      onProgress: () => controller.abort(new Error("enough")),
      signal: controller.signal,
    });
    await expect(loading).rejects.toThrow("enough");
  });
});

type Engine = SimdEngine;

/** Ids of each input's answer. */
async function greedy(engine: Engine, inputs: number[][], maxNewTokens: number): Promise<number[][]> {
  const answers: number[][] = inputs.map(() => []);
  const encoded = [];
  for (const ids of inputs) encoded.push({ hidden: await engine.encoder.encode(ids), maxNewTokens });
  for await (const { index, token } of generate(engine.decoder, encoded)) answers[index]!.push(token);
  return answers;
}

describe.each([8, 32] as const)("at %i bits", (bits) => {
  let engine: Engine;
  beforeEach(async () => {
    engine = await tinyEngine(bits);
  });

  test("a batch gives each sequence the logits that it has alone, to the bit", async () => {
    const inputs = [someIds(3, 1), someIds(40, 2), someIds(17, 3)];
    const tokens = inputs.map((_, i) => [0, 5 + i, 9 + 3 * i, 20 + i]);
    const hidden = [];
    for (const ids of inputs) hidden.push(await engine.encoder.encode(ids));
    const alone: Float32Array[][] = [];
    for (const [i, states] of hidden.entries()) {
      const sequence = await engine.decoder.open(states, 12);
      const logits = [];
      for (const token of tokens[i]!) logits.push((await engine.decoder.step([sequence], [token])).logits(0).slice());
      engine.decoder.close(sequence);
      alone.push(logits);
    }
    const sequences = await engine.decoder.openAll(hidden.map((states) => ({ hidden: states, maxNewTokens: 12 })));
    for (let step = 0; step < 4; step++) {
      const output = await engine.decoder.step(
        sequences,
        tokens.map((each) => each[step]!),
      );
      for (const i of inputs.keys()) expect(output.logits(i)).toEqual(alone[i]![step]);
    }
  });

  test("the argmax is the largest logit's lowest index", async () => {
    const sequence = await engine.decoder.open(await engine.encoder.encode(someIds(8, 4)), 12);
    for (const token of [0, 7, 8, 9]) {
      const output = await engine.decoder.step([sequence], [token]);
      const logits = [...output.logits(0)];
      expect(output.argmax(0)).toBe(logits.indexOf(Math.max(...logits)));
    }
  });

  test("encoding again gives the same states, owned by the caller", async () => {
    const first = await engine.encoder.encode(someIds(30, 5));
    const copy = first.slice();
    await engine.encoder.encode(someIds(40, 6));
    expect(first).toEqual(copy);
    expect(await engine.encoder.encode(someIds(30, 5))).toEqual(copy);
  });
});

describe("limits", () => {
  let engine: Engine;
  let hidden: Float32Array;
  beforeEach(async () => {
    engine = await tinyEngine(8);
    hidden = await engine.encoder.encode(someIds(40, 1));
  });

  test("an input or an output beyond the placement's is refused with both numbers", async () => {
    await expect(engine.encoder.encode(someIds(41, 1))).rejects.toMatchObject({
      code: "E_CONTEXT_LENGTH",
      message: expect.stringMatching(/41.*40/),
    });
    await expect(engine.decoder.open(hidden, 13)).rejects.toMatchObject({ code: "E_CONTEXT_LENGTH" });
  });

  test.each([
    ["no token", []],
    ["a negative id", [-1]],
    ["an id outside the vocabulary", [67]],
    ["a fraction", [1.5]],
  ])("%s cannot be encoded", async (_, ids) => {
    await expect(engine.encoder.encode(ids)).rejects.toMatchObject({ code: "E_INPUT" });
  });

  test("a closed or full sequence cannot be stepped; closing twice is nothing", async () => {
    const sequence = await engine.decoder.open(hidden, 1);
    await engine.decoder.step([sequence], [0]);
    await expect(engine.decoder.step([sequence], [0])).rejects.toMatchObject({ code: "E_INPUT" });
    engine.decoder.close(sequence);
    engine.decoder.close(sequence);
    await expect(engine.decoder.step([sequence], [0])).rejects.toMatchObject({ code: "E_SEQUENCE_CLOSED" });
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("who finds no room waits, first come first served, until some is given back", async () => {
    const open = await Promise.all([0, 1, 2].map(() => engine.decoder.open(hidden, 12)));
    const order: string[] = [];
    const waiting = ["a", "b"].map(async (name) => {
      const sequence = await engine.decoder.open(hidden, 12);
      order.push(name);
      return sequence;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(order).toEqual([]);
    engine.decoder.close(open[1] as Sequence);
    await waiting[0];
    expect(order).toEqual(["a"]);
    engine.decoder.close(open[0] as Sequence);
    await waiting[1];
    expect(order).toEqual(["a", "b"]);
  });

  test("who waits may leave the line, and those behind move up", async () => {
    const open = await Promise.all([0, 1, 2].map(() => engine.decoder.open(hidden, 12)));
    const leaving = new AbortController();
    const left = engine.decoder.openAll([{ hidden, maxNewTokens: 12 }], leaving.signal);
    const behind = engine.decoder.open(hidden, 12);
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    engine.decoder.close(open[0] as Sequence);
    await behind;
    expect(engine.decoder.openSequences).toBe(3);
  });

  test("after twenty seconds without room: E_CAPACITY", async () => {
    await Promise.all([0, 1, 2].map(() => engine.decoder.open(hidden, 12)));
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const refused = expect(engine.decoder.open(hidden, 12)).rejects.toMatchObject({ code: "E_CAPACITY" });
    await vi.advanceTimersByTimeAsync(21_000);
    await refused;
  });

  test("a sequence that nobody stepped for a minute gives way", async () => {
    vi.useFakeTimers();
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const [left] = await Promise.all([0, 1, 2].map(() => engine.decoder.open(hidden, 12)));
    await vi.advanceTimersByTimeAsync(61_000);
    await engine.decoder.open(hidden, 12);
    await expect(engine.decoder.step([left as Sequence], [0])).rejects.toMatchObject({ code: "E_SEQUENCE_CLOSED" });
  });
});

describe("generate", () => {
  test("more inputs than there is room for: in groups, each as if alone", async () => {
    const engine = await tinyEngine(8);
    const inputs = Array.from({ length: 8 }, (_, i) => someIds(5 + 4 * i, i));
    const alone = [];
    for (const ids of inputs) alone.push(...(await greedy(engine, [ids], 12)));
    expect(await greedy(engine, inputs, 12)).toEqual(alone);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("a token leaves before the next step, and a caller that stops gives the room back", async () => {
    const engine = await tinyEngine(8);
    const inputs = [{ hidden: await engine.encoder.encode(someIds(8, 1)), maxNewTokens: 12 }];
    for await (const _ of generate(engine.decoder, inputs)) break;
    expect(engine.decoder.steps).toBe(1);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("an aborted signal ends it between two steps", async () => {
    const engine = await tinyEngine(8);
    const inputs = [{ hidden: await engine.encoder.encode(someIds(8, 1)), maxNewTokens: 12 }];
    const controller = new AbortController();
    const events: TokenEvent[] = [];
    const run = async () => {
      for await (const event of generate(engine.decoder, inputs, { signal: controller.signal })) {
        events.push(event);
        if (events.length === 3) controller.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect(events).toHaveLength(3);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("the event loop gets its turn between steps, not before the first", async () => {
    const engine = await tinyEngine(8);
    const inputs = [{ hidden: await engine.encoder.encode(someIds(8, 1)), maxNewTokens: 4 }];
    const turns: [step: number, steps: number][] = [];
    const turn = async (step: number) => {
      turns.push([step, engine.decoder.steps]);
    };
    for await (const _ of generate(engine.decoder, inputs, { turn }));
    expect(turns).toEqual(turns.map((_, i) => [i + 1, i + 1]));
    expect(turns.length).toBe(engine.decoder.steps - 1);
  });
});
