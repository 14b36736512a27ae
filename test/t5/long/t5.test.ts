/** The packaged default model over texts longer than its window: what comes out is its own, whatever that is. */
import { beforeAll, expect, test } from "vitest";
import { T5 } from "../../../src/index.ts";
import {
  classifyLong,
  collectText,
  countWords,
  type LongModel,
  longModelOf,
  summarizeLong,
  translateLong,
} from "../../../src/t5/text-to-text/long/index.ts";

let t5: T5;
let model: LongModel;
beforeAll(async () => {
  t5 = await T5.fromPretrained(undefined, { maxInputTokens: 64, maxNewTokens: 32 });
  model = longModelOf(t5);
});

const translation = (text: string) => `translate English to German: ${text}`;
const summary = (text: string) => `summarize: ${text}`;
const PACKAGES = "This package has a library for sockets. It is small and fast. You need it to build a server. ".repeat(
  4,
);

test("translates sentence by sentence as it does each alone, and keeps lines", async () => {
  const sentences = ["The house is old.", "Where is Tom?", "I like that.", "He reads a book.", "Look at us."];
  const [one, two, three, four, five] = (await t5.generate(sentences.map(translation))).map(({ text }) => text.trim());
  const text = "1. The house is old. Where is Tom?\n\n- I like that.\n  He reads a book. Look at us.\n";
  const { text: whole, notes } = await collectText(translateLong(model, text, { fill: translation }));
  expect(whole).toBe(`1. ${one} ${two}\n\n- ${three}\n  ${four} ${five}\n`);
  expect(notes).toEqual([]);
});

test("summarizes what no window holds", async () => {
  expect(model.count(summary(PACKAGES))).toBeGreaterThan(model.maxInputTokens);
  const { text } = await collectText(summarizeLong(model, PACKAGES, { fill: summary }));
  expect(text).not.toBe("");
  const words = 12;
  const asked = await collectText(summarizeLong(model, PACKAGES, { fill: summary, words }));
  const isShort = asked.notes.some((note) => /together/.test(note));
  if (isShort) expect(countWords(asked.text)).toBeLessThan(words);
  else expect(Math.abs(countWords(asked.text) - words)).toBeLessThanOrEqual(words / 10);
});

test("classifies one window as the model does, and several by all of them", async () => {
  const labels = ["games", "libs", "net"];
  const fill = (text: string) => `classify package: ${text}`;
  const { scores } = await t5.classify(fill("a game of cards"), labels);
  const own = await classifyLong(model, "a game of cards", labels, { fill });
  expect(own.scores).toEqual(labels.map((label) => scores.find((each) => each.label === label)?.score));
  const long = await classifyLong(model, PACKAGES, labels, { fill });
  expect(long.windows).toBeGreaterThan(1);
  expect(long.scores.reduce((sum, score) => sum + score, 0)).toBeCloseTo(1, 9);
});

test("a list streams the answers that it gives as a whole", async () => {
  const prompts = ["The house is old.", "Where is Tom?", "I like that."].map(translation);
  const texts = prompts.map(() => "");
  const reasons = prompts.map((): string | null => null);
  for await (const { index, text, finishReason } of t5.streamAll(prompts)) {
    texts[index] += text;
    reasons[index] ??= finishReason;
  }
  const whole = await t5.generate(prompts);
  expect(texts).toEqual(whole.map(({ text }) => text));
  await expect(t5.streamAll(prompts, { do_sample: true, num_return_sequences: 2 }).next()).rejects.toMatchObject({
    code: "E_INPUT",
  });
  expect(reasons).toEqual(whole.map(({ finishReason }) => finishReason));
});
