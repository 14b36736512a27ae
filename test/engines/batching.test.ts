/** Requests of one isolate share passes over the weights; turns of the event loop come when the test says so. */
import fc from "fast-check";
import { beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { BatchingDecoder } from "../../src/engines/batching-decoder.ts";
import type { Decoder, Engine, Sequence } from "../../src/t5/engine.ts";
import { type GenerationInput, generate, type TokenEvent } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import { changed, roomsOf, someIds, tinyEngine } from "./tiny.ts";
import { settled, Turns } from "./turns.ts";

const TOKENS = 12;
const SEQUENCES = 12;

let engine: Engine;
let hidden: Float32Array;
beforeAll(async () => {
  engine = await tinyEngine(8, { maxSequences: SEQUENCES });
  hidden = await engine.encoder.encode(someIds(9, 1));
});

/**
 * The engine's decoder with a note of what each step fed; `changes` replace its members. It takes itself for one of 42
 * million multiply-adds a row, about T5-small's: smaller ones are not worth a wait.
 */
function watched(changes: Partial<Decoder> = {}, own: Decoder = engine.decoder) {
  const steps: Sequence[][] = [];
  const step: Decoder["step"] = (sequences, tokens, before) => {
    steps.push([...sequences]);
    return (changes.step ?? own.step.bind(own))(sequences, tokens, before);
  };
  return { decoder: changed(own, { rooms: roomsOf(own, 2187), ...changes, step }), steps };
}

describe("requests", () => {
  let turns: Turns;
  let steps: Sequence[][];
  let decoder: BatchingDecoder;
  let a: Sequence;
  let b: Sequence;
  let c: Sequence;
  const use = async (changes: Partial<Decoder> = {}) => {
    turns = new Turns();
    const inner = watched(changes);
    steps = inner.steps;
    decoder = new BatchingDecoder(inner.decoder, turns.take);
    const opened = await decoder.openAll([{ hidden, maxNewTokens: TOKENS, copies: 3 }]);
    onTestFinished(() => {
      for (const sequence of opened) decoder.close(sequence);
    });
    [a, b, c] = opened as [Sequence, Sequence, Sequence];
  };
  /** What a request sees of its step. */
  const ask = (...sequences: Sequence[]) => {
    const state: { outcome: "none" | "output" | string } = { outcome: "none" };
    decoder.step(sequences, Array(sequences.length).fill(0)).then(
      () => {
        state.outcome = "output";
      },
      (error: { code: string }) => {
        state.outcome = error.code;
      },
    );
    return state;
  };
  /** One pass of both a and b. */
  const stepTogether = async () => {
    await decoder.step([b], [0]);
    ask(a);
    await settled();
    await decoder.step([b], [0]);
    await turns.fireAll();
    expect(steps.at(-1)).toEqual([a, b]);
  };
  beforeEach(() => use());

  test("one alone makes its passes without a turn", async () => {
    for (let i = 0; i < 5; i++) await decoder.step([a], [0]);
    expect(turns.count).toBe(0);
    expect(steps).toEqual([[a], [a], [a], [a], [a]]);
  });

  test("one that joins is in the next pass, and all are in one from then on", async () => {
    await decoder.step([a], [0]);
    const joining = ask(b);
    await settled();
    expect(joining.outcome).toBe("none");
    // The last one of those who decode makes the pass; the other one finds its outcome in its own turn.
    await decoder.step([a], [0]);
    expect(steps).toEqual([[a], [b, a]]);
    expect(joining.outcome).toBe("none");
    await turns.fire();
    expect(joining.outcome).toBe("output");
    const first = ask(a);
    await decoder.step([b], [0]);
    await turns.fire();
    expect(first.outcome).toBe("output");
    expect(steps.slice(2)).toEqual([[a, b]]);
    expect(decoder.steps).toBe(5);
  });

  test("one whose client reads slowly costs the others a turn, once", async () => {
    await stepTogether();
    const next = ask(b);
    await settled();
    expect(next.outcome).toBe("none");
    await turns.fire();
    expect(next.outcome).toBe("output");
    await decoder.step([b], [0]);
    expect(turns.count).toBe(0);
    // Back again, it shares passes again.
    const back = ask(a);
    await settled();
    await decoder.step([b], [0]);
    await turns.fireAll();
    expect(back.outcome).toBe("output");
    expect(steps.at(-1)).toEqual([a, b]);
  });

  test("one that ends is not waited for", async () => {
    await stepTogether();
    decoder.close(a);
    await decoder.step([b], [0]);
    expect(turns.count).toBe(0);
    expect(steps.at(-1)).toEqual([b]);
  });

  test("one that is gone while it waits is stepped once more, and nobody hangs", async () => {
    await decoder.step([a], [0]);
    const gone = ask(b);
    await settled();
    turns.drop();
    await decoder.step([a], [0]);
    const next = ask(a);
    await turns.fire();
    await settled();
    expect(next.outcome).toBe("output");
    await decoder.step([a], [0]);
    expect(steps).toEqual([[a], [b, a], [a], [a]]);
    expect(gone.outcome).toBe("none");
  });

  test("one that closes its sequence while it waits is told, and is not stepped", async () => {
    await decoder.step([a], [0]);
    const closing = ask(b);
    await settled();
    decoder.close(b);
    await decoder.step([a], [0]);
    await turns.fire();
    expect(closing.outcome).toBe("E_SEQUENCE_CLOSED");
    expect(steps).toEqual([[a], [a]]);
  });

  test.each([
    ["closed", "E_SEQUENCE_CLOSED", async () => engine.decoder.close(b)],
    [
      "full",
      "E_INPUT",
      async () => {
        for (let i = 0; i < TOKENS; i++) await engine.decoder.step([b], [0]);
      },
    ],
  ])("a step of a sequence that is %s fails alone", async (_, code, spoil) => {
    await spoil();
    await decoder.step([a], [0]);
    const [failing, other] = [ask(b), ask(c)];
    await settled();
    await decoder.step([a], [0]);
    await turns.fireAll();
    expect(failing.outcome).toBe(code);
    expect(other.outcome).toBe("output");
    expect(steps.slice(1)).toEqual([[b, c, a], [b], [c], [a]]);
    // The rows of the others were fed once.
    expect([a.position, c.position]).toEqual([2, 1]);
  });

  test.each([
    ["a token outside the vocabulary", (): [Sequence[], number[]] => [[b], [67]]],
    ["fewer tokens than sequences", (): [Sequence[], number[]] => [[b, c], [1]]],
    ["nothing", (): [Sequence[], number[]] => [[], []]],
  ])("%s is refused before it meets others", async (_, wrong) => {
    await decoder.step([a], [0]);
    await expect(decoder.step(...wrong())).rejects.toMatchObject({ code: "E_INPUT" });
    await decoder.step([a], [0]);
    expect(steps).toEqual([[a], [a]]);
  });

  test("more rows than a pass takes: first come, first served", async () => {
    await use({ maxRows: 2 });
    const served: string[] = [];
    const run = async (name: string, ...sequences: Sequence[]) => {
      for (let i = 0; i < 4; i++) {
        await decoder.step(sequences, Array(sequences.length).fill(0));
        served.push(name);
      }
    };
    const all = Promise.all([run("a", a), run("b", b), run("c", c)]);
    await settled();
    while (turns.count > 0) await turns.fireAll();
    await all;
    for (const rows of steps) expect(rows.length).toBeLessThanOrEqual(2);
    // Twelve rows in passes of two: none is empty-handed while another is served twice more.
    expect(steps.length).toBeLessThanOrEqual(8);
    const counts = new Map<string, number>();
    for (const name of served) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const values = ["a", "b", "c"].map((each) => counts.get(each) ?? 0);
      expect(Math.max(...values) - Math.min(...values)).toBeLessThanOrEqual(2);
    }
  });

  test("a step of more rows than a pass takes is not overtaken for ever, and goes by itself", async () => {
    await use({ maxRows: 2 });
    await decoder.step([a], [0]);
    const large = ask(a, b, c);
    await settled();
    expect(large.outcome).toBe("output");
    expect(steps).toEqual([[a], [a, b, c]]);
  });

  test("a pass that went down with its request takes nobody with it", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    let isFirst = true;
    await use({
      step: (...args) => {
        if (!isFirst) return engine.decoder.step(...args);
        isFirst = false;
        return new Promise(() => {});
      },
    });
    const dead = ask(a);
    const behind = ask(b);
    await settled();
    await turns.fireAll();
    expect([dead.outcome, behind.outcome]).toEqual(["none", "none"]);
    vi.advanceTimersByTime(6_000);
    await turns.fireAll();
    expect(behind.outcome).toBe("output");
    await decoder.step([b], [0]);
    expect(b.position).toBe(2);
    expect(a.position).toBe(0);
  });

  test("those who came one by one share passes once they are enough", async () => {
    // 30 million multiply-adds a row: three rows are worth a wait, two are not.
    await use({ rooms: roomsOf(engine.decoder, 1562) });
    await decoder.step([a], [0]);
    await decoder.step([b], [0]);
    const [third, first] = [ask(c), ask(a)];
    await settled();
    expect([third.outcome, first.outcome]).toEqual(["none", "none"]);
    await decoder.step([b], [0]);
    expect(steps).toEqual([[a], [b], [c, a, b]]);
    await turns.fireAll();
    expect([third.outcome, first.outcome]).toEqual(["output", "output"]);
  });

  test("a model that is faster than a turn of the event loop waits for nobody, and still takes its turns", async () => {
    await use({ rooms: roomsOf(engine.decoder, 200) });
    while (turns.count === 0) {
      for (const sequence of [a, b, c]) {
        ask(sequence);
        await settled();
        if (sequence.position === TOKENS) decoder.rewind(sequence, TOKENS);
      }
    }
    expect(steps.slice(0, 4)).toEqual([[a], [b], [c], [a]]);
    expect(steps).toHaveLength(79);
  });

  test("after ten milliseconds' worth of work the event loop gets a turn", async () => {
    const turnsOf = async (...sequences: Sequence[]) => {
      let passes = 0;
      while (turns.count === 0) {
        ask(...sequences);
        await settled();
        passes++;
      }
      await turns.fire();
      return passes - 1;
    };
    expect(await turnsOf(a)).toBe(8);
    decoder.close(a);
    // The pass that waited for the turn counts for the next one.
    expect(await turnsOf(b, c)).toBe(4);
  });
});

describe("answers are those that each request gets alone", () => {
  const parse = parseGenerationParams;
  const inputOf = async (tokens: number, seed: number, more: Partial<GenerationInput> = {}) => {
    const prompt = someIds(tokens, seed);
    return { hidden: await engine.encoder.encode(prompt), prompt, maxNewTokens: TOKENS, ...more };
  };
  const answer = async (decoder: Decoder, inputs: GenerationInput[]) => {
    const events: TokenEvent[] = [];
    for await (const event of generate(decoder, inputs)) events.push(event);
    // Drafts, which depend on who else decodes, bring several tokens at once.
    return events.sort((a, b) => a.index - b.index);
  };
  const immediately = () => new Promise<void>((resolve) => setImmediate(resolve));

  test("greedy, beams, samples, log-probabilities and labels side by side, in fewer passes", async () => {
    const requests: GenerationInput[][] = [
      [await inputOf(9, 1)],
      [await inputOf(30, 2, { maxNewTokens: 5 })],
      [await inputOf(17, 3, { params: parse({ num_beams: 3, num_return_sequences: 2 }) })],
      [await inputOf(4, 4, { params: parse({ do_sample: true, temperature: 2 }), seed: 3, copies: 2 })],
      [await inputOf(12, 5, { logprobs: 2 }), await inputOf(3, 6)],
    ];
    const labels = [[5, 1], [5, 7, 1], [9]];
    const alone = [];
    for (const inputs of requests) alone.push(await answer(engine.decoder, inputs));
    const scores = await scoreLabels(engine.decoder, { hidden }, labels);
    const stepsAlone = engine.decoder.steps;
    const decoder = new BatchingDecoder(watched().decoder, immediately);
    const before = { steps: stepsAlone, passes: engine.decoder.passes };
    const [together, labelsTogether] = await Promise.all([
      Promise.all(requests.map((inputs) => answer(decoder, inputs))),
      scoreLabels(decoder, { hidden }, labels),
    ]);
    expect(together).toEqual(alone);
    expect(labelsTogether).toEqual(scores);
    expect(engine.decoder.steps - before.steps).toBeLessThanOrEqual(2 * TOKENS);
    expect(decoder.steps).toBeGreaterThan(3 * TOKENS);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("whenever each begins, ends or gives up, down to the last bit", async () => {
    const shape = fc.record({
      tokens: fc.integer({ min: 1, max: 40 }),
      maxNewTokens: fc.integer({ min: 1, max: TOKENS }),
      late: fc.integer({ min: 0, max: 8 }),
      /** Events after which the client leaves. */
      leaves: fc.option(fc.integer({ min: 1, max: 6 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(shape, { minLength: 2, maxLength: SEQUENCES }), async (shapes) => {
        const inputs = [];
        for (const [i, { tokens, maxNewTokens }] of shapes.entries()) {
          inputs.push(await inputOf(tokens, i, { maxNewTokens, logprobs: 1 }));
        }
        const alone = [];
        for (const input of inputs) alone.push(await answer(engine.decoder, [input]));
        const decoder = new BatchingDecoder(watched().decoder, immediately);
        const together = await Promise.all(
          inputs.map(async (input, i) => {
            const { late = 0, leaves } = shapes[i] ?? {};
            for (let turn = 0; turn < late; turn++) await immediately();
            const events = [];
            for await (const event of generate(decoder, [input])) {
              events.push(event);
              if (events.length === leaves) break;
            }
            return events;
          }),
        );
        expect(together).toEqual(alone.map((events, i) => events.slice(0, shapes[i]?.leaves ?? undefined)));
        expect(engine.decoder.openSequences).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test("more than there is room for: some wait while others decode, and are let in", async () => {
    const { encoder, decoder } = await tinyEngine(8, { maxSequences: 2 });
    const inputs = await Promise.all(
      Array.from({ length: 7 }, async (_, i) => ({
        hidden: await encoder.encode(someIds(40, i)),
        maxNewTokens: TOKENS,
      })),
    );
    const alone = [];
    for (const input of inputs) alone.push(await answer(decoder, [input]));
    const shared = new BatchingDecoder(watched({}, decoder).decoder, immediately);
    expect(await Promise.all(inputs.map((input) => answer(shared, [input])))).toEqual(alone);
    expect(decoder.openSequences).toBe(0);
  });

  test("an aborted request ends between two steps; the others go on", async () => {
    const decoder = new BatchingDecoder(watched().decoder, immediately);
    const leaving = new AbortController();
    const leaves = async () => {
      for await (const _ of generate(decoder, [await inputOf(9, 1)], { signal: leaving.signal })) {
        leaving.abort(new Error("gone"));
      }
    };
    const stays = await inputOf(9, 2);
    const [left, stayed] = await Promise.allSettled([leaves(), answer(decoder, [stays])]);
    expect(left).toMatchObject({ status: "rejected", reason: expect.objectContaining({ message: "gone" }) });
    expect(stayed).toMatchObject({ status: "fulfilled", value: await answer(engine.decoder, [stays]) });
    expect(engine.decoder.openSequences).toBe(0);
  });

  test.each(["onnx", "onnx-web"] as const)("on %s, whose steps are asynchronous", async (name) => {
    const { encoder, decoder } = await tinyEngine(8, { maxSequences: 6 }, name);
    const inputs = await Promise.all(
      Array.from({ length: 5 }, async (_, i) => ({
        hidden: await encoder.encode(someIds(3 + 7 * i, i)),
        maxNewTokens: TOKENS,
        ...(i === 4 && { params: parse({ num_beams: 2 }) }),
      })),
    );
    const idsOf = async (on: Decoder, input: GenerationInput) => (await answer(on, [input])).map(({ token }) => token);
    const alone = [];
    for (const input of inputs) alone.push(await idsOf(decoder, input));
    const before = decoder.passes;
    const shared = new BatchingDecoder(watched({}, decoder).decoder, immediately);
    expect(await Promise.all(inputs.map((input) => idsOf(shared, input)))).toEqual(alone);
    expect(decoder.passes - before).toBeLessThan((inputs.length * TOKENS) / 2);
  });
});
