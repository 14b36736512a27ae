/** Running tasks: templates, labels, lists, streams, overrides, kept answers; in all three shapes of request. */
import { beforeAll, describe, expect, test } from "vitest";
import { taskCache } from "../../src/tenancy/tasks.ts";
import { database, type ErrorBody, makeKey, putModel, send, sendAs } from "./isolate.ts";

const HOUSE = "The house is old.";
const HAUS = "Das Haus ist alt.";
const LABELS = ["net", "libs", "games"];

interface Result {
  id: string;
  output?: string;
  label?: string;
  score?: number;
  scores?: { label: string; score: number }[];
  finish_reason?: string;
  results?: Result[];
  usage: { input_tokens: number; output_tokens: number; total_tokens: number };
}

let key: string;
beforeAll(async () => {
  await putModel("m");
  key = await makeKey("runner");
  const put = async (name: string, definition: object) => {
    const { status } = await sendAs(key, "PUT", `/v1/tasks/${name}`, { model: "m", ...definition });
    expect(status).toBe(201);
  };
  await put("german", { template: "translate English to German: {input}", overridable: ["max_tokens"] });
  await put("kept", {
    template: "translate English to German: {input}",
    cache: { policy: "answers", ttl_seconds: 60 },
  });
  await put("pair", { template: "translate English to {language}: {text}" });
  await put("package", { template: "classify package: {input}", labels: LABELS });
  await put("short", { template: "translate English to German: {input}", max_input_tokens: 12, max_output_tokens: 3 });
  taskCache.clear();
});

const run = <Json = Result>(name: string, body: object) => sendAs<Json>(key, "POST", `/v1/tasks/${name}`, body);

test("one input, an object of fields, a list", async () => {
  const one = await run("german", { input: HOUSE });
  expect(one).toMatchObject({ status: 200, json: { output: HAUS, finish_reason: "stop", task_version: 1 } });
  expect(one.json.usage).toEqual({ input_tokens: 7, output_tokens: 6, total_tokens: 13, cost: "0" });
  const fields = await run("pair", { input: { language: "German", text: HOUSE } });
  expect(fields.json.output).toBe(HAUS);
  const list = await run("german", { input: [HOUSE, { input: HOUSE }] });
  expect(list.json.results?.map(({ output }) => output)).toEqual([HAUS, HAUS]);
  expect(list.json.usage).toEqual({ input_tokens: 14, output_tokens: 12, total_tokens: 26, cost: "0" });
});

test("labels with scores that sum to one, the most probable first", async () => {
  const { json } = await run("package", { input: "a library for sockets" });
  expect(json.scores?.map(({ label }) => label).sort()).toEqual([...LABELS].sort());
  expect(json.scores?.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 6);
  expect(json).toMatchObject({
    label: json.scores?.[0]?.label,
    score: Math.max(...(json.scores ?? []).map((s) => s.score)),
  });
  const list = await run("package", { input: ["a library for sockets", "a chess game"] });
  expect(list.json.results?.[0]).toEqual({ label: json.label, score: json.score, scores: json.scores });
});

test("streams: pieces, usage, the end", async () => {
  const { lines } = await stream("/v1/tasks/german", { input: [HOUSE, HOUSE], stream: true });
  const events = lines
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { index?: number; text?: string; usage?: object });
  const texts = [0, 1].map((i) => events.flatMap(({ index, text }) => (index === i ? [text] : [])).join(""));
  expect(texts).toEqual([HAUS, HAUS]);
  expect(events.at(-1)).toEqual({
    id: expect.stringMatching(/^run-/),
    usage: { input_tokens: 14, output_tokens: 12, total_tokens: 26, cost: "0" },
  });
  expect(lines.at(-1)).toBe("[DONE]");
  const labels = await stream("/v1/tasks/package", { input: "a chess game", stream: true });
  expect(JSON.parse(labels.lines[0] ?? "")).toMatchObject({ index: 0, label: expect.any(String) });
});

async function stream(path: string, body: object) {
  const init = { method: "POST", headers: { authorization: `Bearer ${key}` }, body: JSON.stringify(body) };
  const response = await send(path, init);
  const text = await response.text();
  return {
    response,
    lines: text
      .trim()
      .split("\n\n")
      .map((event) => event.replace(/^data: /, "")),
  };
}

describe("bad input", () => {
  const cases: [what: string, task: string, body: object, status: number, code: string, param: string | null][] = [
    ["no such task", "nothing", { input: "a" }, 404, "task_not_found", null],
    ["no input", "german", {}, 400, "missing_required_parameter", "input"],
    ["an empty input", "german", { input: " " }, 400, "empty_prompt", "input"],
    ["an empty one among others", "german", { input: ["a", " "] }, 400, "empty_prompt", "input.1"],
    ["a text for several fields", "pair", { input: "a" }, 400, "invalid_type", "input"],
    ["a field that is missing", "pair", { input: { text: "a" } }, 400, "missing_field", "input"],
    ["a field too many", "pair", { input: { text: "a", language: "b", tone: "c" } }, 400, "unknown_field", "input"],
    [
      "a parameter that is the task's own",
      "german",
      { input: "a", temperature: 1 },
      400,
      "parameter_not_allowed",
      "temperature",
    ],
    ["an unknown parameter", "german", { input: "a", max_new: 1 }, 400, "unknown_parameter", "max_new"],
    ["more tokens than the task takes", "short", { input: "a ".repeat(20) }, 400, "context_length_exceeded", "input"],
  ];
  test.each(cases)("%s", async (_, task, body, status, code, param) => {
    const answer = await run<ErrorBody>(task, body);
    expect([answer.status, answer.json.error.code, answer.json.error.param]).toEqual([status, code, param]);
  });
});

test("what a task keeps to itself is refused with what its owner can do", async () => {
  const { json } = await run<ErrorBody>("german", { input: "a", temperature: 1 });
  expect(json.error.message).toBe(
    "The task german keeps temperature to itself: its requests may give max_tokens. Leave it out; or whoever owns the task lets requests give it: PUT /v1/tasks/german with temperature in overridable.",
  );
});

test("a task's limit of tokens ends an answer", async () => {
  const { json } = await run("short", { input: HOUSE });
  expect(json).toMatchObject({ finish_reason: "length", usage: { output_tokens: 3 } });
});

test("an override that the task allows counts", async () => {
  const { json } = await run("german", { input: HOUSE, max_tokens: 2 });
  expect(json.usage.output_tokens).toBe(2);
});

test("a task that keeps answers gives the same again, for no tokens", async () => {
  const first = await run("kept", { input: "Where is Tom?" });
  expect(first.headers.get("x-edge-t5-served-by")).toBe("edge");
  const second = await run("kept", { input: "Where is Tom?" });
  expect(second.json.output).toBe(first.json.output);
  expect(second.headers.get("x-edge-t5-served-by")).toBe("cache");
  expect(second.json.usage.total_tokens).toBe(0);
  expect(second.json.id).not.toBe(first.json.id);
  const other = await makeKey("other-runner");
  await sendAs(other, "PUT", "/v1/tasks/kept", {
    ...{ model: "m", template: "translate English to German: {input}", cache: { policy: "answers", ttl_seconds: 60 } },
  });
  const theirs = await sendAs<Result>(other, "POST", "/v1/tasks/kept", { input: "Where is Tom?" });
  expect(theirs.headers.get("x-edge-t5-served-by")).toBe("edge");
});

describe("as OpenAI's completions", () => {
  const complete = (body: object) =>
    sendAs<{ choices: { text: string }[]; usage: object } & ErrorBody>(key, "POST", "/v1/completions", body);

  test("a task's name is a model's name", async () => {
    const { json } = await complete({ model: "german", prompt: [HOUSE, HOUSE] });
    expect(json.choices.map(({ text }) => text)).toEqual([HAUS, HAUS]);
    const label = await complete({ model: "package", prompt: "a library for sockets" });
    expect(LABELS).toContain(label.json.choices[0]?.text);
  });

  test("what the task keeps to itself is refused", async () => {
    const { status, json } = await complete({ model: "german", prompt: HOUSE, temperature: 1 });
    expect([status, json.error.code]).toEqual([400, "parameter_not_allowed"]);
  });
});

describe("in Hugging Face's shape", () => {
  const infer = <Json>(name: string, body: object) => sendAs<Json>(key, "POST", `/models/${name}`, body);

  test("translations, summaries, other texts, labels", async () => {
    expect((await infer("german", { inputs: HOUSE })).json).toEqual([{ translation_text: HAUS }]);
    expect((await infer("german", { inputs: [HOUSE, HOUSE] })).json).toHaveLength(2);
    const summary = await infer<object[]>("m", {
      inputs: "summarize: It rained all day and all night.",
      parameters: { max_length: 8 },
    });
    expect(summary.json).toEqual([{ summary_text: expect.any(String) }]);
    expect((await infer("m", { inputs: "hello", parameters: { max_new_tokens: 3 } })).json).toEqual([
      { generated_text: expect.any(String) },
    ]);
    const { json } = await infer<{ label: string; score: number }[][]>("package", {
      inputs: "a library for sockets",
      parameters: { top_k: 2 },
    });
    expect(json[0]).toHaveLength(2);
  });

  test("a model's or task's name that is not there", async () => {
    expect((await infer<ErrorBody>("nothing", { inputs: "a" })).status).toBe(404);
  });
});

test("each request is one event, with what it took", async () => {
  const before = Date.now();
  await run("german", { input: HOUSE });
  await run("german", { input: "" });
  const rows = await eventually(async () => {
    const { results } = await database
      .prepare("SELECT * FROM usage_events WHERE tenant = 'runner' AND at >= ? AND task = 'german'")
      .bind(before)
      .all();
    return results.length > 0 ? results : null;
  });
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ model: "m", input_tokens: 7, output_tokens: 6, work_units: 13, outcome: "ok" });
});

async function eventually<T>(look: () => Promise<T | null>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("a field that is named like a method of objects is missing like any other", async () => {
  const { status } = await sendAs(key, "PUT", "/v1/tasks/odd", { model: "m", template: "{constructor} {toString}" });
  expect(status).toBe(201);
  const answer = await run<ErrorBody>("odd", { input: { toString: "a" } });
  expect([answer.status, answer.json.error.code]).toEqual([400, "missing_field"]);
  expect((await run("odd", { input: { constructor: "a", toString: "b" } })).status).toBe(200);
});

test("an adapter that was replaced by one for another model is not used with this one", async () => {
  const sql =
    "INSERT INTO adapters (tenant, name, version, model, rank, bytes, created_at) VALUES ('runner', 'swapped', 'v', 'm', 8, 1, 0)";
  await database.prepare(sql).run();
  const definition = { model: "m", template: "{input}", adapter: "swapped" };
  expect((await sendAs(key, "PUT", "/v1/tasks/swapped", definition)).status).toBe(201);
  await database.prepare("UPDATE adapters SET model = 'another' WHERE tenant = 'runner' AND name = 'swapped'").run();
  const { status, json } = await run<ErrorBody>("swapped", { input: HOUSE });
  expect([status, json.error.code]).toEqual([503, "adapter_unavailable"]);
  expect(json.error.message).toContain("another");
});
