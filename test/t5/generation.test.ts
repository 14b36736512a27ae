/** Generation above a real engine with a small random model; equality with Hugging Face is test/golden-runner's. */
import fc from "fast-check";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Engine } from "../../src/t5/engine.ts";
import { generate } from "../../src/t5/generate.ts";
import { beamSearch } from "../../src/t5/generation/beam-search.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { scoreLabels } from "../../src/t5/generation/labels.ts";
import { randomOf, sample } from "../../src/t5/generation/sampling.ts";
import { argmax, logSumExp, topIndices } from "../../src/t5/generation/scores.ts";
import { someIds, tinyEngine } from "../engines/tiny.ts";

let engine: Engine;
let hidden: Float32Array;
beforeAll(async () => {
  engine = await tinyEngine(8, { maxSequences: 8 });
  hidden = await engine.encoder.encode(someIds(20, 3));
});

async function idsOf(params: object, seed?: number): Promise<number[]> {
  const ids: number[] = [];
  const input = { hidden, maxNewTokens: 12, params: parseGenerationParams(params), seed };
  for await (const { token } of generate(engine.decoder, [input])) ids.push(token);
  return ids;
}

describe("parameters", () => {
  test("have Hugging Face's defaults", () => {
    expect(parseGenerationParams({})).toEqual({
      num_beams: 1,
      num_return_sequences: 1,
      length_penalty: 1,
      early_stopping: false,
      do_sample: false,
      temperature: 1,
      top_k: 0,
      top_p: 1,
      repetition_penalty: 1,
      no_repeat_ngram_size: 0,
    });
  });

  test.each([
    ["beams below return sequences", { num_beams: 2, num_return_sequences: 3 }, /3.*2.*no more sequences/],
    ["several greedy answers", { num_return_sequences: 2 }, /set do_sample/],
    ["beams that sample", { num_beams: 2, do_sample: true }, /contradict/],
    ["at least more than at most", { min_new_tokens: 9, max_new_tokens: 8 }, /9.*8/],
    ["no temperature", { temperature: 0 }, /temperature/],
    ["a probability above one", { top_p: 1.1 }, /top_p/],
    ["no beam", { num_beams: 0 }, /num_beams/],
    ["an unknown way to stop early", { early_stopping: "sometimes" }, /early_stopping/],
  ])("%s: refused with the reason", (_, params, message) => {
    expect(() => parseGenerationParams(params)).toThrow(
      expect.objectContaining({ code: "E_INPUT", message: expect.stringMatching(message) }),
    );
  });
});

describe("beam search", () => {
  const search = (params: object) =>
    beamSearch(engine.decoder, { hidden, maxNewTokens: 12 }, parseGenerationParams(params));

  test("gives its best first, all different, each with the score of its own tokens", async () => {
    const found = await search({ num_beams: 6, num_return_sequences: 6, length_penalty: 0 });
    expect(found.length).toBe(6);
    expect(found.map(({ score }) => score)).toEqual(found.map(({ score }) => score).toSorted((a, b) => b - a));
    expect(new Set(found.map(({ ids }) => ids.join())).size).toBe(6);
    for (const { ids, score } of found) {
      // Each alone, from its beginning: a beam that took another's place must have taken its keys and values too.
      const sequence = await engine.decoder.open(hidden, 12);
      let sum = 0;
      for (const [i, id] of ids.entries()) {
        const logits = (await engine.decoder.step([sequence], [i === 0 ? 0 : ids[i - 1]!])).logits(0);
        sum += logits[id]! - logSumExp(logits);
      }
      engine.decoder.close(sequence);
      expect(score).toBeCloseTo(sum, 4);
    }
  });

  test("finds nothing worse than greedy decoding, and gives its room back", async () => {
    const greedy = await scoreLabels(engine.decoder, { hidden }, [await idsOf({})]);
    const [best] = await search({ num_beams: 6, length_penalty: 0 });
    expect(best!.score).toBeGreaterThanOrEqual(greedy.logprobs[0]! - 1e-4);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("stops when it is aborted", async () => {
    const controller = new AbortController();
    const params = parseGenerationParams({ num_beams: 3 });
    const { signal } = controller;
    const step = engine.decoder.step.bind(engine.decoder);
    const stepping = vi.spyOn(engine.decoder, "step").mockImplementation((...args) => {
      controller.abort(new Error("enough"));
      return step(...args);
    });
    onTestFinished(() => stepping.mockRestore());
    await expect(beamSearch(engine.decoder, { hidden, maxNewTokens: 12 }, params, { signal })).rejects.toThrow(
      "enough",
    );
    expect(stepping).toHaveBeenCalledOnce();
    expect(engine.decoder.openSequences).toBe(0);
  });

  test("sequences of different inputs cannot take each other's place", async () => {
    const [a, b] = await engine.decoder.openAll([
      { hidden, maxNewTokens: 4 },
      { hidden, maxNewTokens: 4 },
    ]);
    expect(() => engine.decoder.reorder([a!, b!], [1, 1])).toThrow(expect.objectContaining({ code: "E_INPUT" }));
    engine.decoder.close(a!);
    engine.decoder.close(b!);
  });
});

describe("sampling", () => {
  test("the same seed gives the same tokens, other seeds give others", async () => {
    const params = { do_sample: true, temperature: 2 };
    const first = await idsOf(params, 7);
    expect(await idsOf(params, 7)).toEqual(first);
    const others = await Promise.all([1, 2, 3, 4].map((seed) => idsOf(params, seed)));
    expect(new Set([first, ...others].map((ids) => ids.join())).size).toBeGreaterThan(3);
  });

  test("with only the most probable token left it is greedy decoding", async () => {
    expect(await idsOf({ do_sample: true, top_k: 1 }, 5)).toEqual(await idsOf({}));
    expect(await idsOf({ do_sample: true, top_p: 1e-9 }, 5)).toEqual(await idsOf({}));
    expect(await idsOf({ do_sample: true, temperature: 1e-300 }, 5)).toEqual(await idsOf({}));
  });

  test("draws each token as often as it is probable", () => {
    const scores = Float32Array.of(Math.log(0.5), Number.NEGATIVE_INFINITY, Math.log(0.2), Math.log(0.3));
    const random = randomOf(1);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 20_000; i++) counts[sample(scores, random)]!++;
    // Four standard deviations are 0.014.
    for (const [i, share] of [0.5, 0, 0.2, 0.3].entries())
      expect(Math.abs(counts[i]! / 20_000 - share)).toBeLessThan(0.015);
    expect(counts[1]).toBe(0);
  });
});

describe("labels", () => {
  test("in one batch each has the score that it has alone, prefixes of each other included", async () => {
    const labels = [
      [5, 1],
      [5, 9, 1],
      [5, 9, 12, 1],
      [5, 9],
      [7, 1],
      [9, 5, 5, 5, 1],
    ];
    const together = await scoreLabels(engine.decoder, { hidden }, labels);
    for (const [i, label] of labels.entries()) {
      const alone = await scoreLabels(engine.decoder, { hidden }, [label]);
      expect(together.logprobs[i]).toBeCloseTo(alone.logprobs[0]!, 10);
    }
    expect(together.scores.reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 12);
    expect(engine.decoder.openSequences).toBe(0);
  });

  test.each([
    ["none", []],
    ["an empty one", [[5], []]],
    ["one twice", [[5, 1], [7], [5, 1]]],
  ])("%s: refused", async (_, labels) => {
    await expect(scoreLabels(engine.decoder, { hidden }, labels)).rejects.toMatchObject({ code: "E_INPUT" });
  });
});

test("the logarithm of a sum of exponentials, whatever the scores", () => {
  const score = fc.oneof(
    fc.float({ min: -200, max: 200, noNaN: true }),
    fc.float({ min: -4, max: 4, noNaN: true }),
    fc.constant(Number.NEGATIVE_INFINITY),
  );
  fc.assert(
    fc.property(fc.array(score, { minLength: 1, maxLength: 300 }), (list) => {
      const scores = Float32Array.from([...list, 0]);
      const largest = Math.max(...scores);
      const sum = scores.reduce((total, each) => total + Math.exp(each - largest), 0);
      expect(logSumExp(scores)).toBeCloseTo(largest + Math.log(sum), 8);
    }),
  );
});

test("the largest scores, the lower index of equals first", () => {
  const score = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constant(Number.NEGATIVE_INFINITY));
  fc.assert(
    fc.property(fc.array(score, { minLength: 1, maxLength: 30 }), fc.integer({ min: 1, max: 12 }), (list, k) => {
      const scores = Float32Array.from(list);
      const sorted = [...list.keys()].sort((a, b) => (scores[a] === scores[b] ? a - b : scores[b]! - scores[a]!));
      expect(topIndices(scores, k)).toEqual(sorted.slice(0, k));
      expect(argmax(scores)).toBe(sorted[0]);
    }),
  );
});
