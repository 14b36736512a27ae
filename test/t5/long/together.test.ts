/** Texts side by side: each comes out as it does alone, and the model is asked as seldom as for the longest of them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  collectText,
  type LongModel,
  summarizeLong,
  together,
  translateLong,
} from "../../../src/t5/text-to-text/long/index.ts";
import { anyText, fake, fill, rot13 } from "./fakes.ts";

/** All that is told of each text. */
async function told(
  model: LongModel,
  texts: readonly ((model: LongModel) => AsyncIterable<string>)[],
): Promise<string[]> {
  const all = texts.map(() => "");
  for await (const { index, value } of together(model, texts)) all[index] += value;
  return all;
}

const translating = (text: string) => (model: LongModel) => translateLong(model, text, { fill });

const firstWords = (text: string) => text.split(" ").slice(0, 12).join(" ");
const SENTENCES = Array.from({ length: 60 }, (_, i) => `Sentence number ${i} tells of a thing that was seen.`);
const summing = (sentences: number, words?: number) => (model: LongModel) =>
  summarizeLong(model, SENTENCES.slice(0, sentences).join(" "), { fill, words });

test("translations of any texts, in any order of pieces, are each text's own", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyText, { maxLength: 5 }), fc.integer(), async (texts, seed) => {
      const model = fake(rot13, { seed, maxInputTokens: 40, maxNewTokens: 40 });
      const own: string[] = [];
      for (const text of texts) {
        const alone = fake(rot13, { seed, maxInputTokens: 40, maxNewTokens: 40 });
        own.push((await collectText(translateLong(alone, text, { fill }))).text);
      }
      expect(await told(model, texts.map(translating))).toEqual(own);
    }),
    { numRuns: 100 },
  );
});

describe("summaries", () => {
  test("of several rounds are each text's own, and a round of all is one list", async () => {
    const ways = [summing(60), summing(3), summing(30), summing(60, 40)];
    const own: string[] = [];
    const rounds: number[] = [];
    for (const way of ways) {
      const alone = fake(firstWords);
      own.push((await told(alone, [way]))[0] ?? "");
      rounds.push(alone.lists.length);
    }
    const model = fake(firstWords);
    expect(await told(model, ways)).toEqual(own);
    expect(own.every((text) => text !== "")).toBe(true);
    expect(rounds[0]).toBeGreaterThan(1);
    // A list for a round, and one more where some ask for fewer tokens than others.
    expect(model.lists.length).toBeLessThanOrEqual(2 * Math.max(...rounds));
    expect(model.lists.length).toBeLessThan(rounds.reduce((sum, each) => sum + each, 0));
  });
});

test("a short text does not wait for the end of a long one", async () => {
  const model = fake(rot13, { seed: 3 });
  const order: number[] = [];
  const texts = [SENTENCES.join(" "), "Short."].map(translating);
  for await (const { index } of together(model, texts)) order.push(index);
  expect(order.indexOf(1)).toBeGreaterThanOrEqual(0);
  expect(order.lastIndexOf(1)).toBeLessThan(order.lastIndexOf(0));
});

test("no text, and a text without anything to ask", async () => {
  expect(await told(fake(rot13), [])).toEqual([]);
  const model = fake(rot13);
  expect(await told(model, [translating("12\n---\n"), translating("")])).toEqual(["12\n---\n", ""]);
  expect(model.lists).toEqual([]);
});

test("what the model throws, and what a text throws, is thrown", async () => {
  const broken: LongModel = {
    ...fake(rot13),
    // biome-ignore lint/correctness/useYield: it fails before it has any.
    async *generate() {
      throw new Error("no model");
    },
  };
  await expect(told(broken, ["A dog.", "A cat."].map(translating))).rejects.toThrow("no model");
  const failing = async function* (model: LongModel): AsyncGenerator<string> {
    for await (const { text } of model.generate([fill("A cow.")], {})) yield text;
    throw new Error("no text");
  };
  await expect(told(fake(rot13), [translating("A dog. A cat."), failing])).rejects.toThrow("no text");
});

test("a model that leaves an answer out is told of", async () => {
  const deaf: LongModel = { ...fake(rot13), async *generate() {} };
  await expect(told(deaf, [translating("A dog.")])).rejects.toMatchObject({ code: "E_INTERNAL" });
});

test("leaving ends the model's list", async () => {
  let ended = false;
  const inner = fake(rot13);
  const model: LongModel = {
    ...inner,
    async *generate(prompts, options) {
      try {
        yield* inner.generate(prompts, options);
      } finally {
        ended = true;
      }
    },
  };
  for await (const _ of together(model, [translating(SENTENCES.join(" "))])) break;
  expect(ended).toBe(true);
});
