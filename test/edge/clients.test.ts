/** Tasks and models over TCP, with the clients that people have: openai, Hugging Face's, a browser. */
import { existsSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";
import OpenAI from "openai";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { DEMO_TASKS } from "../../src/local/demo.ts";
import { serve } from "../serve.ts";
import { ENDLESS, Kit, makeState } from "./kit.ts";

const START_MS = 120_000;
const CHROMIUM = "/usr/bin/chromium";
const HOUSE = "The house is old.";
const HAUS = "Das Haus ist alt.";
const PACKAGE = "A chess game for two players.";
const IMAGES = DEMO_TASKS.find(({ name }) => name === "summarize")?.example ?? "";
const SUMMARY = "image manipulation tool";
/** No window holds them. */
const LETTER = Array.from({ length: 90 }, (_, i) => `The house number ${i} is old.`).join(" ");
const REPORT = Array.from({ length: 30 }, (_, i) => `Part ${i}: ${IMAGES}`).join("\n\n");

let state: Awaited<ReturnType<typeof makeState>>;
let kit: Kit;
/** The demo tenant's. */
let key: string;
beforeAll(async () => {
  state = await makeState();
  kit = await Kit.start(state.state, ["--demo"]);
  key = /export KEY=(et5_\S+)/.exec(kit.output)?.[1] ?? "";
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await state?.remove();
});

interface Answer {
  output: string;
  scores: { label: string; score: number }[];
  usage: { input_tokens: number; output_tokens: number; total_tokens: number };
}

/** One of the demo's tasks at its own endpoint. */
async function runTask(name: string, input: string): Promise<Answer> {
  const headers = { authorization: `Bearer ${key}` };
  const init = { method: "POST", headers, body: JSON.stringify({ input }) };
  const response = await fetch(`${kit.url}/v1/tasks/${name}`, init);
  return (await response.json()) as Answer;
}

/** One of a tenant of its own. */
async function makeKey(tenant: string, settings: object = {}, limits: object = {}): Promise<string> {
  const { json } = await kit.admin("POST", "/admin/tenants", { id: tenant, name: tenant, ...limits });
  expect(json).toMatchObject({ id: tenant });
  const made = await kit.admin<{ key: string }>("POST", `/admin/tenants/${tenant}/keys`, { name: "k", ...settings });
  return made.json.key;
}

describe("the openai client", () => {
  const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${kit.url}/v1`, apiKey, maxRetries: 0 });

  test("completes with a task's name as with a model's, streams it, and gets a label", async () => {
    const openai = clientOf(key);
    const ofTask = await openai.completions.create({ model: "translate-de", prompt: [HOUSE, HOUSE] });
    expect(ofTask.choices.map(({ text }) => text)).toEqual([HAUS, HAUS]);
    expect(ofTask.usage).toEqual({ prompt_tokens: 14, completion_tokens: 12, total_tokens: 26 });
    const prompt = `translate English to German: ${HOUSE}`;
    expect((await openai.completions.create({ model: "default", prompt })).choices[0]?.text).toBe(HAUS);
    const label = await openai.completions.create({ model: "classify-package", prompt: PACKAGE });
    expect(label.choices[0]?.text).toBe("games");
    const stream = await openai.completions.create({
      ...{ model: "translate-de", prompt: HOUSE, stream: true },
      stream_options: { include_usage: true },
    });
    const pieces: string[] = [];
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      pieces.push(chunk.choices[0]?.text ?? "");
      usage = chunk.usage ?? usage;
    }
    expect(pieces.join("")).toBe(HAUS);
    expect(pieces.length).toBeGreaterThan(3);
    expect(usage?.completion_tokens).toBe(6);
  });

  test("translates a text of any length, alone and among others, whole and streamed", async () => {
    const openai = clientOf(key);
    const { output, usage } = await runTask("translate-de", LETTER);
    const { input_tokens: prompt_tokens, output_tokens: completion_tokens, total_tokens } = usage;
    const whole = await openai.completions.create({ model: "translate-de", prompt: LETTER });
    expect(whole.choices).toEqual([{ text: output, index: 0, logprobs: null, finish_reason: "stop" }]);
    expect(whole.usage).toEqual({ prompt_tokens, completion_tokens, total_tokens });
    const ask = { model: "translate-de", prompt: [HOUSE, LETTER] };
    const both = await openai.completions.create(ask);
    expect(both.choices.map(({ text }) => text)).toEqual([HAUS, output]);
    const texts = ["", ""];
    const stream = await openai.completions.create({ ...ask, stream: true });
    for await (const chunk of stream) for (const { index, text } of chunk.choices) texts[index] += text;
    expect(texts).toEqual([HAUS, output]);
    const summary = await openai.completions.create({ model: "summarize", prompt: REPORT });
    expect(summary.choices[0]?.text).toBe((await runTask("summarize", REPORT)).output);
    const echoed = openai.completions.create({ ...ask, logprobs: 1 });
    await expect(echoed).rejects.toMatchObject({ status: 400, param: "logprobs" });
  });

  test("throws its own errors: 401, 404, 400, 402, 429 with when to come again", async () => {
    const ask = { model: "translate-de", prompt: HOUSE };
    const openai = clientOf(key);
    const stranger = clientOf("et5_0000000000_nobody").completions.create(ask);
    await expect(stranger).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    await expect(stranger).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
    const missing = openai.completions.create({ model: "translate-xx", prompt: HOUSE });
    await expect(missing).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const theirs = clientOf(await makeKey("stranger")).completions.create(ask);
    await expect(theirs).rejects.toMatchObject({ status: 404, code: "model_not_found" });
    const wrong = openai.completions.create({ ...ask, logprobs: 3 });
    await expect(wrong).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(wrong).rejects.toMatchObject({ code: "parameter_not_allowed", param: "logprobs" });

    const hurried = clientOf(await makeKey("hurried", { limits: { requests_per_minute: 1 } }));
    const once = { model: "default", prompt: HOUSE, max_tokens: 1 };
    await hurried.completions.create(once);
    const refused = await hurried.completions.create(once).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    const { code, headers } = refused as InstanceType<typeof OpenAI.APIError>;
    expect(code).toBe("rate_limit_exceeded");
    expect(Number(headers?.get("retry-after"))).toBeGreaterThan(50);

    const poor = clientOf(await makeKey("poor", {}, { limits: { hard_budget: "0.000000001" } }));
    await expect(poor.completions.create(once)).rejects.toMatchObject({ status: 402, code: "budget_exceeded" });
  });
});

describe("Hugging Face's client, as it is", () => {
  const endpointUrl = (name: string) => `${kit.url}/models/${name}`;
  const client = () => new InferenceClient(key);

  test("translates, summarizes and classifies by a task", async () => {
    const hf = client();
    const translated = await hf.translation({ endpointUrl: endpointUrl("translate-de"), inputs: HOUSE });
    expect(translated).toEqual({ translation_text: HAUS });
    const summary = { endpointUrl: endpointUrl("summarize"), inputs: IMAGES };
    expect(await hf.summarization(summary)).toEqual({ summary_text: SUMMARY });
    const parameters = { clean_up_tokenization_spaces: true, generate_parameters: { max_new_tokens: 1 } };
    const short = await hf.summarization({ ...summary, parameters });
    expect(SUMMARY.startsWith(short.summary_text)).toBe(true);
    expect(short.summary_text.length).toBeLessThan(SUMMARY.length);
    const classify = { endpointUrl: endpointUrl("classify-package"), inputs: PACKAGE };
    const labels = await hf.textClassification(classify);
    expect(labels).toHaveLength(38);
    expect(labels[0]).toMatchObject({ label: "games" });
    expect(labels.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 5);
    const best = await hf.textClassification({ ...classify, parameters: { top_k: 2, function_to_apply: "softmax" } });
    expect(best).toEqual(labels.slice(0, 2));
  });

  test("translates, summarizes and classifies texts of any length", async () => {
    const hf = client();
    const translation = await runTask("translate-de", LETTER);
    const translate = { endpointUrl: endpointUrl("translate-de"), inputs: LETTER };
    expect(await hf.translation(translate)).toEqual({ translation_text: translation.output });
    let streamed = "";
    for await (const chunk of hf.textGenerationStream(translate)) {
      streamed += (chunk as unknown as OpenAI.Completion).choices[0]?.text ?? "";
    }
    expect(streamed).toBe(translation.output);
    const summary = { summary_text: (await runTask("summarize", REPORT)).output };
    expect(await hf.summarization({ endpointUrl: endpointUrl("summarize"), inputs: REPORT })).toEqual(summary);
    const classify = { endpointUrl: endpointUrl("classify-package"), inputs: REPORT };
    expect(await hf.textClassification(classify)).toEqual((await runTask("classify-package", REPORT)).scores);
  });

  test("generates text of a model and of a task, whole and streamed, with the parameters of its pipelines", async () => {
    const hf = client();
    const inputs = `translate English to German: ${HOUSE}`;
    const ask = { endpointUrl: endpointUrl("default"), inputs };
    expect(await hf.textGeneration(ask)).toEqual({ generated_text: HAUS });
    const parameters = {
      max_new_tokens: 2,
      do_sample: false,
      return_full_text: false,
      details: false,
      temperature: 0.7,
    };
    expect(await hf.textGeneration({ ...ask, parameters })).toEqual({ generated_text: "Das Haus" });
    const full = await hf.textGeneration({ ...ask, parameters: { return_full_text: true } });
    expect(full.generated_text).toBe(inputs + HAUS);
    const sampled = { ...ask, parameters: { do_sample: true, temperature: 1.5, top_p: 0.9, seed: 3 } };
    expect(await hf.textGeneration(sampled)).toEqual(await hf.textGeneration(sampled));
    const ofTask = { endpointUrl: endpointUrl("translate-de"), inputs: HOUSE };
    expect(await hf.textGeneration(ofTask)).toEqual({ generated_text: HAUS });
    const pieces: string[] = [];
    for await (const chunk of hf.textGenerationStream(ofTask)) {
      // Its types are those of an older server; the path is OpenAI's, and so are the chunks.
      pieces.push((chunk as unknown as OpenAI.Completion).choices[0]?.text ?? "");
    }
    expect(pieces.join("")).toBe(HAUS);
    expect(pieces.length).toBeGreaterThan(3);
  });

  test("shows our messages", async () => {
    const hf = client();
    const missing = hf.translation({ endpointUrl: endpointUrl("translate-xx"), inputs: HOUSE });
    await expect(missing).rejects.toThrow(/Failed to perform inference: .*translate-xx/);
    await expect(missing).rejects.toMatchObject({ httpResponse: { status: 404, body: { code: "model_not_found" } } });
    const wrong = hf.textGeneration({
      ...{ endpointUrl: endpointUrl("default"), inputs: HOUSE },
      parameters: { typical_p: 0.5 },
    });
    await expect(wrong).rejects.toThrow(/typical_p is not a parameter/);
    const many = hf.summarization({
      ...{ endpointUrl: endpointUrl("summarize"), inputs: IMAGES },
      parameters: { generate_parameters: { num_beams: 1000 } },
    });
    await expect(many).rejects.toThrow(/num_beams/);
    const stranger = new InferenceClient("et5_0000000000_nobody");
    const refused = stranger.translation({ endpointUrl: endpointUrl("translate-de"), inputs: HOUSE });
    await expect(refused).rejects.toMatchObject({ httpResponse: { status: 401, body: { code: "invalid_api_key" } } });
  });
});

describe.skipIf(!existsSync(CHROMIUM))("a page in Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
  });
  afterAll(() => browser?.close());

  /** What a page of a new origin gets. */
  async function pageAt() {
    const site = await serve("<!doctype html><title>page</title>", {});
    const page = await browser.newPage();
    await page.goto(site.address);
    onTestFinished(async () => {
      await page.close();
      site.close();
    });
    return { page, origin: site.address };
  }

  /** In the page: the task's stream, and headers that it may read; else the error's name. */
  const ask = async ({ url, key, input }: { url: string; key: string; input: string }) => {
    try {
      const response = await fetch(`${url}/v1/tasks/translate-de`, {
        method: "POST",
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body: JSON.stringify({ input, stream: true }),
      });
      const reader = response.body?.getReader();
      const decoder = new TextDecoder();
      let text = "";
      for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
        text += decoder.decode(next.value, { stream: true });
      }
      return { status: response.status, text, version: response.headers.get("x-model-version"), error: null };
    } catch (error) {
      return { status: 0, text: "", version: null, error: (error as Error).name };
    }
  };

  test("of the key's origin calls and streams; of another it reads nothing, with this key or without one it is told so", async () => {
    const [own, foreign] = [await pageAt(), await pageAt()];
    const limited = await kit.admin<{ key: string }>("POST", "/admin/tenants/demo/keys", {
      ...{ name: "site", allowed_origins: [own.origin] },
    });
    const call = { url: kit.url, key: limited.json.key, input: HOUSE };
    const answer = await own.page.evaluate(ask, call);
    expect(answer).toMatchObject({ status: 200, error: null, version: expect.stringMatching(/^[0-9a-f]{16}/) });
    const events = answer.text
      .trim()
      .split("\n\n")
      .map((event) => event.replace(/^data: /, ""));
    expect(events.pop()).toBe("[DONE]");
    const texts = events.map((event) => (JSON.parse(event) as { text?: string }).text ?? "");
    expect(texts.join("")).toBe(HAUS);
    expect(await foreign.page.evaluate(ask, call)).toMatchObject({ error: "TypeError", text: "" });
    // The first run's key is for any page.
    expect(await foreign.page.evaluate(ask, { ...call, key })).toMatchObject({ status: 200, error: null });
    const nobody = await foreign.page.evaluate(ask, { ...call, key: "et5_0000000000_nobody" });
    expect(nobody).toMatchObject({ status: 401, error: null, text: expect.stringContaining("invalid_api_key") });
  });

  test("asks first: the preflight names methods and headers, for who has no key yet", async () => {
    const preflight = await fetch(`${kit.url}/v1/tasks/translate-de`, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-headers")).toBe("authorization,content-type");
    expect(preflight.headers.get("access-control-allow-methods")).toContain("POST");
  });
});

describe("usage is what the answers said", () => {
  interface Event {
    id: string;
    task: string | null;
    model: string;
    input_tokens: number;
    output_tokens: number;
    outcome: string;
  }

  test("of tasks, lists, samples, streams, labels and Hugging Face's shape; a stream that is left is billed so far; what failed is not", async () => {
    const limits = { limits: { hard_budget: "50" } };
    const own = await makeKey("metered", { scopes: ["tasks:run", "tasks:write", "usage:read"] }, limits);
    const headers = { authorization: `Bearer ${own}` };
    const send = (method: string, path: string, body?: object, signal?: AbortSignal) =>
      fetch(kit.url + path, {
        method,
        headers,
        ...(body && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      });
    const post = async <Json>(path: string, body: object) => (await send("POST", path, body)).json() as Promise<Json>;
    const template = "translate English to German: {input}";
    await send("PUT", "/v1/tasks/german", { model: "default", template, overridable: ["temperature", "n", "seed"] });
    await send("PUT", "/v1/tasks/kind", {
      model: "default",
      template: "classify package: {input}",
      labels: ["net", "games"],
    });

    interface Told {
      id: string;
      usage: { input_tokens: number; output_tokens: number; prompt_tokens: number; completion_tokens: number };
    }
    const told = new Map<string, [input: number, output: number]>();
    for (const [path, body] of [
      ["/v1/tasks/german", { input: HOUSE }],
      ["/v1/tasks/german", { input: [HOUSE, "Where is my book?"] }],
      ["/v1/tasks/german", { input: HOUSE, temperature: 1, n: 3, seed: 1 }],
      ["/v1/tasks/kind", { input: PACKAGE }],
      ["/v1/completions", { model: "german", prompt: HOUSE }],
      ["/v1/completions", { model: "default", prompt: `summarize: ${IMAGES}`, num_beams: 2 }],
    ] as const) {
      const { id, usage } = await post<Told>(path, body);
      told.set(id.replace(/^(run|cmpl)-/, ""), [
        usage.input_tokens ?? usage.prompt_tokens,
        usage.output_tokens ?? usage.completion_tokens,
      ]);
    }
    const streamed = await send("POST", "/v1/completions", {
      ...{ model: "default", prompt: `translate English to German: ${HOUSE}`, stream: true },
      stream_options: { include_usage: true },
    });
    const last = JSON.parse(
      (await streamed.text())
        .trim()
        .split("\n\n")
        .at(-2)
        ?.replace(/^data: /, "") ?? "",
    ) as Told;
    told.set(last.id.replace("cmpl-", ""), [last.usage.prompt_tokens, last.usage.completion_tokens]);
    expect(told.size).toBe(7);

    expect(await post("/models/german", { inputs: HOUSE })).toEqual([{ translation_text: HAUS }]);
    const leaving = new AbortController();
    const endless = { model: ENDLESS, prompt: "hello you", stream: true, max_tokens: 256, prompt_lookup_num_tokens: 0 };
    const left = await send("POST", "/v1/completions", endless, leaving.signal);
    const reader = left.body?.getReader();
    let seen = "";
    while (seen.split("\n\n").length < 4) {
      const { value, done } = (await reader?.read()) ?? { done: true };
      if (done) throw new Error(`The stream ended after ${seen}`);
      seen += new TextDecoder().decode(value);
    }
    leaving.abort();
    const statuses = [
      (await send("POST", "/v1/tasks/german", { input: " " })).status,
      (await send("POST", "/v1/tasks/none", { input: HOUSE })).status,
      (await send("POST", "/v1/tasks/german", { input: "a ".repeat(8000) })).status,
      (await fetch(`${kit.url}/v1/tasks/german`, { method: "POST", body: "{}" })).status,
    ];
    expect(statuses).toEqual([400, 404, 400, 401]);

    const events = async () =>
      ((await (await send("GET", "/v1/usage/events?limit=100")).json()) as { data: Event[] }).data;
    await expect.poll(async () => (await events()).length, { timeout: 30_000 }).toBe(told.size + 2);
    const all = await events();
    const tokens = new Map(all.map((event) => [event.id, [event.input_tokens, event.output_tokens]]));
    for (const [id, usage] of told) expect(tokens.get(id)).toEqual(usage);
    const [inferred] = all.filter(({ id, outcome }) => !told.has(id) && outcome === "ok");
    expect(inferred).toMatchObject({ task: "german", input_tokens: 7, output_tokens: 6 });
    const cut = all.filter(({ outcome }) => outcome === "cut_off");
    expect(cut).toMatchObject([{ model: ENDLESS, task: null }]);
    expect(cut[0]?.output_tokens).toBeGreaterThanOrEqual(3);
    expect(cut[0]?.output_tokens).toBeLessThan(256);

    const sums = (await (await send("GET", "/v1/usage")).json()) as {
      data: {
        requests: number;
        cut_off_requests: number;
        input_tokens: number;
        output_tokens: number;
        amount: string;
      }[];
    };
    const sum = (field: "input_tokens" | "output_tokens") => all.reduce((total, event) => total + event[field], 0);
    expect(sums.data).toMatchObject([
      { requests: 9, cut_off_requests: 1, input_tokens: sum("input_tokens"), output_tokens: sum("output_tokens") },
    ]);
    // $0.0001 and $0.0004 for 1,000 tokens: the first run's price.
    const nano = sum("input_tokens") * 100 + sum("output_tokens") * 400;
    const invoice = await (await send("GET", `/v1/invoices/${new Date().toISOString().slice(0, 7)}`)).json();
    expect(invoice).toMatchObject({ total: (nano / 1e9).toFixed(9).replace(/0+$/, "") });
  });
});
