/** The whole way of a request over TCP, through three Workers, with the clients that people have. */
import { setTimeout as delay } from "node:timers/promises";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ENDLESS, Kit, makeState } from "./kit.ts";

const PROMPT = "translate English to German: The house is old.";
const ANSWER = "Das Haus ist alt.";
/** wrangler's start, on a machine that does other things too. */
const START_MS = 90_000;

let state: Awaited<ReturnType<typeof makeState>>;
let kit: Kit;
let openai: OpenAI;

beforeAll(async () => {
  state = await makeState();
  kit = await Kit.start(state.state);
  openai = new OpenAI({ baseURL: `${kit.url}/v1`, apiKey: kit.key, maxRetries: 0 });
}, START_MS);

afterAll(async () => {
  await kit?.stop();
  await state?.remove();
});

describe("first requests, before anything is loaded", () => {
  test("whose client leaves at once: the next client gets its answer, from the same load", async () => {
    const leaving = new AbortController();
    const left = openai.completions
      .create({ model: ENDLESS, prompt: PROMPT, max_tokens: 4 }, { signal: leaving.signal })
      .catch((error: unknown) => error);
    await delay(30);
    leaving.abort();
    expect(await left).toBeInstanceOf(OpenAI.APIUserAbortError);
    const answer = await openai.completions.create({ model: ENDLESS, prompt: PROMPT, max_tokens: 4 });
    expect(answer.usage?.completion_tokens).toBe(4);
    const { encoder, decoder } = await kit.health();
    expect(encoder.models[ENDLESS]).toMatchObject({ state: "loaded", loads: 1, failures: 0 });
    expect(decoder.models[ENDLESS]).toMatchObject({ state: "loaded", loads: 1, failures: 0 });
  });

  test("eight at once share one load", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => openai.completions.create({ model: "default", prompt: PROMPT })),
    );
    expect(answers.map(({ choices: [choice] }) => choice?.text)).toEqual(Array(8).fill(ANSWER));
    const { encoder, decoder } = await kit.health();
    expect(encoder.models.default).toMatchObject({ state: "loaded", loads: 1, failures: 0 });
    expect(decoder.models.default).toMatchObject({ state: "loaded", loads: 1, failures: 0 });
  });
});

describe("the openai client", () => {
  test("completes a prompt", async () => {
    const before = Math.floor(Date.now() / 1000);
    const completion = await openai.completions.create({ model: "default", prompt: PROMPT });
    expect(completion).toMatchObject({
      object: "text_completion",
      model: "default",
      choices: [{ text: ANSWER, index: 0, finish_reason: "stop", logprobs: null }],
      usage: { prompt_tokens: 7, completion_tokens: 6, total_tokens: 13 },
    });
    expect(completion.id).toMatch(/^cmpl-/);
    expect(completion.created).toBeGreaterThanOrEqual(before);
  });

  test("streams a prompt: the pieces are the text", async () => {
    const stream = await openai.completions.create({
      model: "default",
      prompt: PROMPT,
      stream: true,
      stream_options: { include_usage: true },
    });
    const pieces: string[] = [];
    const reasons: (string | null | undefined)[] = [];
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const { choices, usage: last } of stream) {
      if (choices[0]) {
        pieces.push(choices[0].text);
        reasons.push(choices[0].finish_reason);
      } else usage = last;
    }
    expect(pieces.join("")).toBe(ANSWER);
    expect(pieces.length).toBeGreaterThan(3);
    expect(reasons.pop()).toBe("stop");
    expect(reasons.every((reason) => reason === null)).toBe(true);
    expect(usage).toEqual({ prompt_tokens: 7, completion_tokens: 6, total_tokens: 13 });
  });

  test("completes several prompts, each as if alone, more than are decoded side by side", async () => {
    const words = ["house", "dog", "car", "book", "water", "bread", "child"];
    const prompts = words.map((word) => `translate English to German: The ${word} is old.`);
    const alone: string[] = [];
    for (const prompt of prompts) {
      alone.push((await openai.completions.create({ model: "default", prompt })).choices[0]?.text ?? "");
    }
    const together = await openai.completions.create({ model: "default", prompt: prompts });
    expect(together.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(together.choices.map(({ text }) => text)).toEqual(alone);
    expect(new Set(alone).size).toBe(words.length);

    const streamed = Array(words.length).fill("");
    const stream = await openai.completions.create({ model: "default", prompt: prompts, stream: true });
    for await (const { choices } of stream) for (const { index, text } of choices) streamed[index] += text;
    expect(streamed).toEqual(alone);
  });

  test("samples several answers, with log-probabilities, up to a stop text", async () => {
    const ask = { model: "default", prompt: PROMPT, temperature: 1.2, n: 3, seed: 4, logprobs: 2, stop: "." };
    const { choices } = await openai.completions.create(ask);
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    for (const { text, logprobs } of choices) {
      expect(text).not.toContain(".");
      expect(logprobs?.token_logprobs?.length).toBe(logprobs?.tokens?.length);
    }
    const again = await openai.completions.create(ask);
    expect(again.choices).toEqual(choices);
  });

  test("stops at max_tokens", async () => {
    const completion = await openai.completions.create({ model: "default", prompt: PROMPT, max_tokens: 2 });
    expect(completion.choices[0]).toMatchObject({ text: "Das Haus", finish_reason: "length" });
    expect(completion.usage?.completion_tokens).toBe(2);
  });

  test("lists and finds models", async () => {
    const names: string[] = [];
    for await (const { id } of openai.models.list()) names.push(id);
    expect(names.sort()).toEqual(["default", ENDLESS]);
    expect(await openai.models.retrieve("default")).toMatchObject({ id: "default", object: "model" });
    await expect(openai.models.retrieve("nobody")).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });

  test("throws its own errors, with our code and message", async () => {
    const refused = openai.completions.create({ model: "nobody", prompt: PROMPT });
    await expect(refused).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(refused).rejects.toMatchObject({ status: 404, code: "model_not_found", param: "model" });
    const empty = openai.completions.create({ model: "default", prompt: "" });
    await expect(empty).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(empty).rejects.toMatchObject({ code: "empty_prompt", param: "prompt" });
    const early = openai.completions.create({ model: "default", prompt: "a ".repeat(5000), stream: true });
    await expect(early).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
  });
});

describe("streaming", () => {
  const ENDLESS_PROMPT = "hello you";
  const MAX_TOKENS = 256;

  test("sends the first event long before the last step", async () => {
    const before = await kit.idleSteps(ENDLESS);
    const stream = await openai.completions.create({
      model: ENDLESS,
      prompt: ENDLESS_PROMPT,
      max_tokens: MAX_TOKENS,
      // What repeats itself is drafted: here every token is a step.
      ...{ prompt_lookup_num_tokens: 0 },
      stream: true,
    });
    let stepsAtFirst: number | undefined;
    let pieces = 0;
    let reason: string | null | undefined;
    for await (const { choices } of stream) {
      stepsAtFirst ??= (await kit.steps(ENDLESS)) - before;
      if (choices[0]?.text) pieces++;
      reason = choices[0]?.finish_reason;
    }
    expect(reason).toBe("length");
    // Every token has text, so that the first event is the first token's.
    expect(pieces).toBe(MAX_TOKENS);
    expect(stepsAtFirst).toBeGreaterThan(0);
    expect(stepsAtFirst).toBeLessThan((await kit.steps(ENDLESS)) - before);
  });

  test("a client that goes away stops the decoding", async () => {
    const before = await kit.idleSteps(ENDLESS);
    const stream = await openai.completions.create({
      model: ENDLESS,
      prompt: ENDLESS_PROMPT,
      max_tokens: MAX_TOKENS,
      stream: true,
    });
    for await (const _ of stream) break;
    stream.controller.abort();
    expect((await kit.idleSteps(ENDLESS)) - before).toBeLessThan(MAX_TOKENS);
    expect((await kit.health()).decoder.models[ENDLESS]?.open_sequences).toBe(0);
  });
});

test("Ctrl-C ends it without an error", async () => {
  expect(kit.output).toContain("curl http://localhost:");
  expect(await kit.stop()).toBe(0);
  await expect(fetch(kit.url)).rejects.toThrow();
});
