/** What holds for every engine, on a small model with random weights. */
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { PROMPT_ROWS } from "../../src/engines/simd/plan.ts";
import type { Engine, Sequence } from "../../src/t5/engine.ts";
import { generate, type TokenEvent } from "../../src/t5/generate.ts";
import { greedy, someIds, TINY, tinyEngine } from "./tiny.ts";

const NAMES = ["simd", "onnx", "onnx-web"] as const;

/** Equal to the bit on our kernels; elsewhere a product's order of sums may depend on the batch. */
function expectSame(name: (typeof NAMES)[number], actual: Float32Array, expected: Float32Array): void {
  if (name === "simd") expect(actual).toEqual(expected);
  else for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 3);
}

describe.each(NAMES.flatMap((name) => ([4, 8, 32] as const).map((bits) => ({ name, bits }))))(
  "$name at $bits bits",
  ({ name, bits }) => {
    let engine: Engine;
    beforeEach(async () => {
      engine = await tinyEngine(bits, {}, name);
    });

    test("a batch gives each sequence the logits that it has alone", async () => {
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
        for (const i of inputs.keys()) expectSame(name, output.logits(i), alone[i]![step]!);
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
  },
);

test.each([4, 8, 32] as const)(
  "a prompt of several blocks has the same states on every engine, at %d bits",
  async (bits) => {
    const ids = someIds(2 * PROMPT_ROWS + 5, 7);
    const limits = { maxInputTokens: ids.length };
    const expected = await (await tinyEngine(bits, limits, "onnx")).encoder.encode(ids);
    const states = await (await tinyEngine(bits, limits)).encoder.encode(ids);
    // Activations of 14 bits, keys and values of 8.
    for (const [i, value] of expected.entries()) expect(states[i]).toBeCloseTo(value, bits === 32 ? 3 : 1);
  },
);

describe.each(NAMES)("limits of %s", (name) => {
  let engine: Engine;
  let hidden: Float32Array;
  beforeEach(async () => {
    engine = await tinyEngine(8, {}, name);
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
    // onnxruntime-node goes on by setImmediate, which stays real.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const refused = expect(engine.decoder.open(hidden, 12)).rejects.toMatchObject({ code: "E_CAPACITY" });
    await vi.advanceTimersByTimeAsync(21_000);
    await refused;
  });

  test("a sequence that nobody stepped for a minute gives way", async () => {
    // onnxruntime-node goes on by setImmediate, which stays real.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "Date"] });
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
});

describe.each([4, 8, 32] as const)("at %i bits", (bits) => {
  const someTokens = [0, 7, 19, 33];
  const logitsOf = async (name: (typeof NAMES)[number], cacheBits: 8 | 32, config: object = TINY) => {
    const { encoder, decoder } = await tinyEngine(bits, { cacheBits }, name, config);
    const sequence = await decoder.open(await encoder.encode(someIds(23, 9)), 12);
    const logits: Float32Array[] = [];
    for (const token of someTokens) logits.push((await decoder.step([sequence], [token])).logits(0).slice());
    return logits;
  };
  const expectClose = (logits: readonly Float32Array[], expected: readonly Float32Array[], tolerance: number) => {
    for (const [step, values] of expected.entries()) {
      const largest = Math.max(...values.map(Math.abs));
      for (const [i, value] of (logits[step] ?? []).entries()) {
        expect(Math.abs(value - (values[i] ?? 0))).toBeLessThan(largest * tolerance);
      }
    }
  };

  test("keys and values in int8 change logits by less than 2 %", async () => {
    expectClose(await logitsOf("simd", 8), await logitsOf("simd", 32), 0.02);
  });

  test.each(["relu", "gated-gelu", "gated-silu"])(
    "the engines give the same logits with %s, within the rounding of activations",
    async (activation) => {
      const config = { ...TINY, feed_forward_proj: activation };
      const expected = await logitsOf("simd", 32, config);
      for (const name of NAMES) expectClose(await logitsOf(name, 32, config), expected, bits === 32 ? 1e-5 : 2e-3);
    },
  );
});
