/** The library's face: what it refuses, and why. What it answers is tested where it runs (test/library, test/cli). */
import { beforeAll, describe, expect, test } from "vitest";
import { T5 } from "../../src/index.ts";
import type { ClassifyOptions, GenerateOptions } from "../../src/t5/model.ts";

const PROMPT = "translate English to German: The house is old.";

let model: T5;
beforeAll(async () => {
  model = await T5.fromPretrained();
});

const refused = (message: RegExp) => ({ code: "E_INPUT", message: expect.stringMatching(message) });

test.each<[string, object, RegExp]>([
  ["beams below return sequences", { num_beams: 2, num_return_sequences: 3 }, /3.*2.*no more sequences/],
  ["beams that sample", { num_beams: 2, do_sample: true }, /contradict/],
  ["an unknown parameter", { num_beam: 2 }, /^num_beam is no parameter/],
  ["labels", { labels: ["a", "b"] }, /^labels .*Use classify/],
  ["log-probabilities of beams", { num_beams: 2, logprobs: 1 }, /logprobs/],
  ["less than no log-probabilities", { logprobs: -1 }, /logprobs is -1/],
  ["an empty stop string", { stop: ["a", ""] }, /stop string is empty/],
  ["a forced token of no vocabulary", { forced_bos_token_id: 8064 }, /^forced_bos_token_id has 8064.* 8063/],
  ["a suppressed token of no vocabulary", { suppress_tokens: [5, 9000] }, /^suppress_tokens has 9000/],
  ["a word of no vocabulary", { bad_words_ids: [[5], [6, 8064]] }, /^bad_words_ids has 8064/],
])("generate refuses %s with the reason", async (_, options, message) => {
  await expect(model.generate(PROMPT, options as GenerateOptions)).rejects.toMatchObject(refused(message));
});

test.each<[unknown, RegExp]>([
  [5, /^number is no text/],
  [null, /^object is no text/],
  [undefined, /^undefined is no text/],
  [{ length: 1, 0: PROMPT }, /^object is no text/],
  [[PROMPT, 5], /^Text 2 is none, but number/],
])("%j is no prompt", async (given, message) => {
  const prompts = given as string[];
  await expect(model.generate(prompts)).rejects.toMatchObject(refused(message));
  await expect(model.classify(prompts, ["a", "b"])).rejects.toMatchObject(refused(message));
  await expect(model.streamAll(prompts).next()).rejects.toMatchObject(refused(message));
  await expect(model.stream(given as string).next()).rejects.toMatchObject(refused(/^Text 1 is none/));
});

test("what is of sampling changes nothing without do_sample", async () => {
  const { ids } = await model.generate(PROMPT);
  expect((await model.generate(PROMPT, { temperature: 9, top_k: 50, top_p: 0.9, seed: 7 })).ids).toEqual(ids);
});

describe("classify", () => {
  test.each<[string, string[], object, RegExp]>([
    ["labels with sampling", ["a", "b"], { do_sample: true }, /^Labels and do_sample contradict each other/],
    ["labels with a temperature", ["a", "b"], { temperature: 1 }, /^Labels and temperature contradict each other/],
    ["no labels", [], {}, /no labels/],
    ["an empty one", ["a", " "], {}, /^Label 2 is empty/],
    ["one twice", ["a", "b", "a"], {}, /^Label "a" is given twice/],
    ["two that the tokenizer takes for one", ["漢", "字"], {}, /^Labels "漢" and "字" have the same tokens/],
  ])("refuses %s with the reason", async (_, labels, options, message) => {
    await expect(model.classify(PROMPT, labels, options as ClassifyOptions)).rejects.toMatchObject(refused(message));
  });

  test("scores a list as it scores each", async () => {
    const texts = ["classify package: a library for sockets", "classify package: a game of cards"];
    const labels = ["games", "libs", "net"];
    const together = await model.classify(texts, labels);
    expect(together).toEqual([await model.classify(texts[0]!, labels), await model.classify(texts[1]!, labels)]);
    expect(together[0]?.scores.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 12);
  });
});

test("the same seed gives the same texts, of lists and of several answers", async () => {
  const options = { do_sample: true, num_return_sequences: 2, seed: 3 };
  const texts = async (more = {}) =>
    (await model.generate([PROMPT, PROMPT], { ...options, ...more })).flatMap(({ sequences }) =>
      sequences.map(({ text }) => text),
    );
  const first = await texts();
  expect(first).toHaveLength(4);
  expect(await texts()).toEqual(first);
  expect(await texts({ seed: 4_000 })).not.toEqual(first);
});

test("a stream is the text of the whole, cut at a stop string", async () => {
  const pieces = async (stop: string[]) => {
    const given: string[] = [];
    for await (const piece of model.stream(PROMPT, { stop })) given.push(piece);
    return given.join("");
  };
  expect(await pieces([])).toBe("Das Haus ist alt.");
  expect(await pieces(["t al", "zz"])).toBe("Das Haus is");
});

describe("what else waits in the process has its turns: a signal by time ends", () => {
  const prompts = Array.from({ length: 2000 }, (_, i) => `${PROMPT} It has ${i} rooms.`);
  const signal = () => AbortSignal.timeout(200);
  test.each<[string, () => Promise<unknown>]>([
    ["a list", () => model.generate(prompts, { min_new_tokens: 100, signal: signal() })],
    ["beams", () => model.generate(prompts, { num_beams: 4, min_new_tokens: 100, signal: signal() })],
    ["a stream", () => collected(model.streamAll(prompts, { min_new_tokens: 100, signal: signal() }))],
    ["labels", () => model.classify(prompts, ["games", "libs"], { signal: signal() })],
  ])("%s", async (_, answer) => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 20);
    try {
      await expect(answer()).rejects.toMatchObject({ name: "TimeoutError" });
    } finally {
      clearInterval(timer);
    }
    expect(ticks).toBeGreaterThan(0);
  });
});

async function collected(pieces: AsyncIterable<{ text: string }>): Promise<string> {
  let text = "";
  for await (const piece of pieces) text += piece.text;
  return text;
}
