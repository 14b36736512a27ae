/** Texts of any length in the shapes of OpenAI and Hugging Face: as the task's own endpoint answers them. */
import { beforeAll, describe, expect, test } from "vitest";
import { taskCache } from "../../src/tenancy/tasks.ts";
import { bindingsFor, database, type ErrorBody, makeKey, putModel, send, sendAs } from "./isolate.ts";

const GERMAN = "translate English to German: ";
const SENTENCES = ["The house is old.", "Where is my book?", "I am hungry.", "It is raining.", "Tom sleeps."];
const [HOUSE = "", BOOK = ""] = SENTENCES;
const HAUS = "Das Haus ist alt.";
/** No window holds it. */
const LETTER = Array.from({ length: 150 }, (_, i) => SENTENCES[i % 5]?.replace(".", ` ${i % 40}.`)).join(" ");
const REPORT = Array.from(
  { length: 30 },
  (_, i) => `This package has a tool that lists open files number ${i} of a process. It reads the kernel's tables.`,
).join("\n\n");
const SOCKETS = "A library for sockets of all kinds. ".repeat(120);
const LABELS = ["net", "libs", "games"];

interface Completion {
  id: string;
  choices: { index: number; text: string; finish_reason: string | null }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}

interface Run {
  id: string;
  output: string;
  scores: { label: string; score: number }[];
  usage: { input_tokens: number; output_tokens: number };
}

let key: string;
beforeAll(async () => {
  await putModel("shapes");
  key = await makeKey("shapes");
  const overridable = ["n", "best_of", "logprobs", "echo", "stop", "max_tokens", "temperature", "seed"];
  const put = async (name: string, definition: object) => {
    const whole = { model: "shapes", overridable, ...definition };
    expect((await sendAs(key, "PUT", `/v1/tasks/${name}`, whole)).status).toBe(201);
  };
  await put("letter", { template: `${GERMAN}{input}`, input: "document", long: "sentences" });
  await put("letters", { template: `${GERMAN}{input}`, long: "sentences" });
  await put("report", { template: "summarize: {input}", long: "sections" });
  await put("digest", { template: "summarize: {input}", long: "sections", words: 30 });
  await put("kind", { template: "classify package: {input}", labels: LABELS, long: "windows" });
  await put("strict", { template: `${GERMAN}{input}` });
  taskCache.clear();
});

const run = async (name: string, input: string) =>
  (await sendAs<Run>(key, "POST", `/v1/tasks/${name}`, { input })).json;
const complete = (body: object) => sendAs<Completion & ErrorBody>(key, "POST", "/v1/completions", body);
const infer = <Json>(name: string, body: object) => sendAs<Json>(key, "POST", `/models/${name}`, body);

async function stream(path: string, body: object): Promise<Completion[]> {
  const init = { method: "POST", headers: { authorization: `Bearer ${key}` } };
  const response = await send(path, { ...init, body: JSON.stringify({ ...body, stream: true }) });
  const events = (await response.text())
    .trim()
    .split("\n\n")
    .map((event) => event.replace(/^data: /, ""));
  expect(events.pop()).toBe("[DONE]");
  return events.map((event) => JSON.parse(event) as Completion);
}

interface Row {
  id: string;
  input_tokens: number;
  output_tokens: number;
}

/** The ledger's events of a task, once it has so many. */
async function events(task: string, count: number): Promise<Row[]> {
  for (;;) {
    const query = database.prepare("SELECT * FROM usage_events WHERE tenant = 'shapes' AND task = ?").bind(task);
    const { results } = await query.all<Row & Record<string, unknown>>();
    if (results.length >= count) return results;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("a translation", () => {
  test("is the task's own in each shape, with the usage of what was computed, streamed as it comes", async () => {
    const own = await run("letter", LETTER);
    const { input_tokens, output_tokens } = own.usage;
    const usage = {
      ...{ prompt_tokens: input_tokens, completion_tokens: output_tokens },
      total_tokens: input_tokens + output_tokens,
    };
    const whole = await complete({ model: "letter", prompt: LETTER });
    expect(whole.json.choices).toEqual([{ text: own.output, index: 0, logprobs: null, finish_reason: "stop" }]);
    expect(whole.json.usage).toEqual(usage);
    expect((await infer("letter", { inputs: LETTER })).json).toEqual([{ translation_text: own.output }]);
    const ask = { model: "letter", prompt: LETTER, stream_options: { include_usage: true } };
    for (const path of ["/v1/completions", "/models/letter/v1/completions"]) {
      const chunks = await stream(path, ask);
      expect(chunks.map(({ choices: [choice] }) => choice?.text ?? "").join("")).toBe(own.output);
      expect(chunks.length).toBeGreaterThan(20);
      expect(chunks.at(-1)?.usage).toEqual(usage);
      const reasons = chunks.flatMap(({ choices: [choice] }) => choice?.finish_reason ?? []);
      expect(reasons).toEqual(["stop"]);
    }
  });

  test("of a list of long and short texts: each its own, and one event in the ledger for all of it", async () => {
    const [long, two] = [await run("letters", LETTER), await run("letters", `${HOUSE} ${BOOK}`)];
    const prompt = [LETTER, HOUSE, `${HOUSE} ${BOOK}`, "12:30"];
    const { status, json } = await complete({ model: "letters", prompt });
    expect(status).toBe(200);
    expect(json.choices.map(({ text }) => text)).toEqual([long.output, HAUS, two.output, "12:30"]);
    expect(json.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(json.usage.prompt_tokens).toBe(long.usage.input_tokens + 7 + two.usage.input_tokens);
    expect(json.usage.completion_tokens).toBe(long.usage.output_tokens + 6 + two.usage.output_tokens);
    const told = await infer<{ translation_text: string }[]>("letters", { inputs: prompt });
    expect(told.json.map(({ translation_text }) => translation_text)).toEqual(json.choices.map(({ text }) => text));
    const rows = await events("letters", 4);
    expect(rows).toHaveLength(4);
    const row = rows.find(({ id }) => id === json.id.replace("cmpl-", ""));
    const { prompt_tokens: input_tokens, completion_tokens: output_tokens } = json.usage;
    expect(row).toMatchObject({ input_tokens, output_tokens, outcome: "ok", served_by: "edge" });
  });

  test("a list streams each text under its index, the short one before the long one's end", async () => {
    const chunks = await stream("/v1/completions", { model: "letter", prompt: [LETTER, HOUSE] });
    const choices = chunks.map(({ choices: [choice] }) => choice);
    const text = (index: number) => choices.flatMap((choice) => (choice?.index === index ? choice.text : [])).join("");
    expect([text(0), text(1)]).toEqual([(await run("letter", LETTER)).output, HAUS]);
    const end = (index: number) => choices.findIndex((choice) => choice?.index === index && choice.finish_reason);
    expect(end(1)).toBeLessThan(end(0));
  });
});

test("a summary by sections is the task's own, of one text and among others, with its words where the task has some", async () => {
  const own = await run("report", REPORT);
  const prompt = [REPORT, "It lists open files.", REPORT];
  const { json } = await complete({ model: "report", prompt });
  expect(own.output).not.toBe("");
  expect(json.choices.map(({ text }) => text)).toEqual([
    own.output,
    (await run("report", "It lists open files.")).output,
    own.output,
  ]);
  expect((await infer("report", { inputs: REPORT })).json).toEqual([{ summary_text: own.output }]);
  const digest = await run("digest", REPORT);
  expect((await infer("digest", { inputs: REPORT })).json).toEqual([{ summary_text: digest.output }]);
});

test("labels by windows, in both shapes, among texts of one window", async () => {
  const own = await run("kind", SOCKETS);
  const short = await run("kind", "a chess game");
  const inputs = ["a chess game", SOCKETS];
  const { json } = await infer<{ label: string; score: number }[][]>("kind", { inputs });
  expect(json).toEqual([short.scores, own.scores]);
  const top = await infer("kind", { inputs: SOCKETS, parameters: { top_k: 1 } });
  expect(top.json).toEqual([own.scores.slice(0, 1)]);
  const completion = await complete({ model: "kind", prompt: inputs });
  expect(completion.json.choices.map(({ text }) => text)).toEqual([short.scores[0]?.label, own.scores[0]?.label]);
  expect(completion.json.usage.prompt_tokens).toBe(short.usage.input_tokens + own.usage.input_tokens);
});

describe("what one prompt's answer has alone", () => {
  const BOTH = `${HOUSE} ${BOOK}`;

  test("is had by a text that fits, which goes whole", async () => {
    const strict = await complete({ model: "strict", prompt: BOTH, logprobs: 1 });
    const told = await complete({ model: "letter", prompt: BOTH, logprobs: 1 });
    expect(told.json.choices).toEqual(strict.json.choices);
    const sampled = await complete({ model: "letter", prompt: BOTH, temperature: 1, n: 3, seed: 1 });
    expect(sampled.json.choices).toHaveLength(3);
    const short = await complete({ model: "letter", prompt: BOTH, max_tokens: 2 });
    expect(short.json).toMatchObject({ choices: [{ finish_reason: "length" }], usage: { completion_tokens: 2 } });
  });

  test.each([
    ["n", { n: 2, temperature: 1 }],
    ["best_of", { best_of: 2, temperature: 1 }],
    ["logprobs", { logprobs: 1 }],
    ["echo", { echo: true }],
    ["stop", { stop: ["."] }],
  ])("%s is refused for one that does not, and why", async (name, fields) => {
    const { status, json } = await complete({ model: "letter", prompt: [HOUSE, LETTER], ...fields });
    expect([status, json.error.code, json.error.param]).toEqual([400, "invalid_value", name]);
    expect(json.error.message).toMatch(/^Number 1 of prompt has \d+ tokens; .* one answer, made of many: leave /);
  });

  test("max_tokens holds for each piece of one that does not", async () => {
    const { status, json } = await complete({ model: "letter", prompt: LETTER, max_tokens: 64 });
    expect([status, json.choices[0]?.finish_reason]).toEqual([200, "stop"]);
    expect(json.usage.completion_tokens).toBeGreaterThan(64);
  });
});

describe("a request's pieces are counted together", () => {
  const ask = (prompt: string[], bindings: object) => {
    const body = { model: "letter", prompt };
    return sendAs<Completion & ErrorBody>(key, "POST", "/v1/completions", body, {}, { bindings });
  };
  const told = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => `House ${from + i} is old.`).join(" ");

  test("of texts that the edge takes alone, too many", async () => {
    // A call takes one input, and a request a dozen of calls.
    const slow = { EDGE_CPU_MS: 1 };
    expect((await ask([told(0, 8)], slow)).status).toBe(200);
    const { status, json } = await ask([told(0, 8), told(8, 8)], slow);
    expect([status, json.error.code, json.error.param]).toEqual([413, "content_too_large", "prompt"]);
    expect(json.error.message).toContain("16 pieces");
  });

  test("texts in pieces and whole ones are a list each: Workers may be called so many times", async () => {
    const { ENCODER, DECODER } = bindingsFor();
    const calls: string[] = [];
    const heard = (half: Fetcher) => {
      const fetch = (url: string, request?: RequestInit) => {
        calls.push(url.split("/").at(-1) ?? "");
        return half.fetch(url, request);
      };
      return { fetch } as Fetcher;
    };
    const prompt = [HOUSE, told(0, 2), BOOK, told(2, 3), told(5, 2)];
    const { json } = await ask(prompt, { ENCODER: heard(ENCODER), DECODER: heard(DECODER) });
    expect(json.choices).toHaveLength(5);
    const lists = calls.filter((call) => call !== "load").sort();
    expect(lists).toEqual(["decode-list", "decode-list", "encode-list", "encode-list"]);
  });
});

test("a task that refuses long texts does so still, in both shapes", async () => {
  const completion = await complete({ model: "strict", prompt: LETTER });
  expect([completion.status, completion.json.error.code]).toEqual([400, "context_length_exceeded"]);
  const inferred = await infer<{ error: string; code: string }>("strict", { inputs: [HOUSE, LETTER] });
  expect([inferred.status, inferred.json.code]).toEqual([400, "context_length_exceeded"]);
});
