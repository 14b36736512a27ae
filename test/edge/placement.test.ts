/** Edge or origin, over TCP: the gateway with wrangler's own storage, origins in processes of their own. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { T5 } from "../../src/index.ts";
import { signatureHeaders } from "../../src/jobs/signature.ts";
import { freePort } from "../../src/local/origin.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import { edgeT5 } from "../cli/process.ts";
import { ENDLESS, Kit, makeState } from "./kit.ts";
import { makeLargeModel } from "./large-model.ts";
import { ledgerOf, OriginProcess, originSecret } from "./origin-process.ts";

const START_MS = 120_000;
const ADAPTERS = fileURLToPath(new URL("../fixtures/adapters/", import.meta.url));
const GERMAN = "translate English to German: {input}";
const HOUSE = "The house is old.";
const LARGE = "large";
/** More tokens than the edge takes, and less than the origin. */
const LONG = "It is raining. ".repeat(150);

let state: Awaited<ReturnType<typeof makeState>>;
let kit: Kit;
let secret: string;
let port: number;
beforeAll(async () => {
  state = await makeState();
  port = await freePort();
  kit = await Kit.start(state.state, ["--origin-url", `http://127.0.0.1:${port}`]);
  secret = await originSecret(state.state);
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await state?.remove();
});

async function startOrigin(...more: string[]): Promise<{ origin: OriginProcess; url: string }> {
  const args = ["--cache", join(state.state, "origin-models"), ...more];
  const origin = new OriginProcess(kit.url, secret, { port, args });
  onTestFinished(() => origin.kill());
  return { origin, url: (await origin.event("started")).url ?? "" };
}

interface Answer {
  output?: string;
  label?: string;
  scores?: object[];
  results?: { output: string; notes?: string[] }[];
  notes?: string[];
  choices?: { text: string; finish_reason: string }[];
  usage?: object;
  error?: { code: string; message: string };
}

async function call(method: string, path: string, body: object, key = kit.key) {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(kit.url + path, { method, headers, body: JSON.stringify(body) });
  const json = (await response.json()) as Answer;
  const at = response.headers.get("x-edge-t5-served-by");
  return { status: response.status, at, retryAfter: Number(response.headers.get("retry-after")), json };
}

const complete = (body: object) => call("POST", "/v1/completions", { model: "default", ...body });
const run = (task: string, body: object, key?: string) => call("POST", `/v1/tasks/${task}`, body, key);

async function putTask(name: string, definition: object, key?: string): Promise<void> {
  const { status, json } = await call("PUT", `/v1/tasks/${name}`, { model: "default", ...definition }, key);
  expect([status, json]).toEqual([201, expect.anything()]);
}

/** The origin is asked again: the breaker rests for a second or a few after a test that lost one. */
async function untilOrigin(): Promise<void> {
  while ((await complete({ prompt: LONG, max_tokens: 1 })).status !== 200) await delay(100);
}

describe("with an origin", () => {
  test("what is too long for the edge has the same shape from there, whole and streamed, and is billed so", async () => {
    await startOrigin();
    const short = await complete({ prompt: GERMAN.replace("{input}", HOUSE), max_tokens: 8 });
    const long = await complete({ prompt: LONG, max_tokens: 8 });
    expect([short.at, long.at]).toEqual(["edge", "origin"]);
    expect(shapeOf(long.json)).toEqual(shapeOf(short.json));
    const longAnswer = await complete({ model: ENDLESS, prompt: HOUSE, max_tokens: 300 });
    expect(longAnswer).toMatchObject({ at: "origin", json: { usage: { completion_tokens: 300 } } });
    const tooLong = await complete({ prompt: LONG.repeat(5), max_tokens: 8 });
    expect(tooLong).toMatchObject({ status: 400, json: { error: { code: "context_length_exceeded" } } });

    const body = { model: "default", prompt: LONG, max_tokens: 8, stream: true };
    const streamed = await kit.complete(body);
    expect(streamed.headers.get("x-edge-t5-served-by")).toBe("origin");
    const events = eventsOf(await streamed.text());
    expect(events.at(-1)).toBe("[DONE]");
    const pieces = events.slice(0, -1).map((event) => JSON.parse(event) as Answer);
    const text = pieces.map(({ choices }) => choices?.[0]?.text ?? "").join("");
    expect([text, pieces.at(-1)?.choices?.[0]?.finish_reason]).toEqual([long.json.choices?.[0]?.text, "length"]);

    while ((await ledgerOf(kit, "tests")).length < 4) await delay(50);
    const served = (await ledgerOf(kit, "tests")).map(({ served_by, output_tokens }) => [served_by, output_tokens]);
    expect(served).toEqual(
      expect.arrayContaining([
        ["origin", 300],
        ["origin", 8],
        ["edge", expect.any(Number)],
      ]),
    );
  });

  test("a task's own rule decides; answers are the edge's, to the last digit", async () => {
    await startOrigin();
    await untilOrigin();
    const rules: Record<string, object> = {
      plain: {},
      there: { run: "origin" },
      here: { run: "edge" },
      few: { edge: { inputs: 1 } },
      brief: { edge: { prompt_tokens: 10 } },
      narrow: { edge: { beam_tokens: 100 } },
    };
    for (const [name, placement] of Object.entries(rules)) {
      await putTask(name, { template: GERMAN, placement, overridable: ["num_beams", "max_tokens"] });
    }
    const inputs = [HOUSE, "I am hungry."];
    const asked: [task: string, body: object, at: string][] = [
      ["plain", { input: HOUSE }, "edge"],
      ["there", { input: HOUSE }, "origin"],
      ["few", { input: HOUSE }, "edge"],
      ["few", { input: inputs }, "origin"],
      ["plain", { input: inputs }, "edge"],
      ["brief", { input: HOUSE }, "edge"],
      ["brief", { input: `${HOUSE} ${HOUSE}` }, "origin"],
      ["narrow", { input: HOUSE, max_tokens: 30 }, "edge"],
      ["narrow", { input: HOUSE, max_tokens: 30, num_beams: 4 }, "origin"],
      ["plain", { input: HOUSE, max_tokens: 30, num_beams: 4 }, "edge"],
    ];
    const answers = new Map<string, object>();
    for (const [task, body, at] of asked) {
      const { status, json, ...answer } = await run(task, body);
      expect([task, body, status, answer.at]).toEqual([task, body, 200, at]);
      const { output, results, usage } = json;
      const told = { output, results, usage };
      const before = answers.get(JSON.stringify(body));
      if (before) expect(told).toEqual(before);
      answers.set(JSON.stringify(body), told);
    }
    const { status, json } = await run("here", { input: LONG });
    expect([status, json.error?.code]).toEqual([400, "context_length_exceeded"]);
    const refused = await call("PUT", "/v1/tasks/no", {
      model: "default",
      template: GERMAN,
      placement: { run: "moon" },
    });
    expect([refused.status, refused.json.error?.code]).toEqual([400, "invalid_value"]);

    const labels = { template: "classify package: {input}", labels: ["net", "libs", "games"] };
    await putTask("kind", labels);
    await putTask("kind-there", { ...labels, placement: { run: "origin" } });
    const [edge, origin] = [
      await run("kind", { input: "a chess game" }),
      await run("kind-there", { input: "a chess game" }),
    ];
    expect([edge.at, origin.at]).toEqual(["edge", "origin"]);
    expect([origin.json.scores, origin.json.usage]).toEqual([edge.json.scores, edge.json.usage]);
  });

  test("an answer says that its prompt is longer than the model was trained with", async () => {
    await startOrigin();
    await untilOrigin();
    await putTask("whole", { template: "{input}", overridable: ["max_tokens"] });
    await putTask("sorted", { template: "{input}", labels: ["net", "games"] });
    const note = expect.stringMatching(
      /^The prompt has \d{3,4} tokens, the model was trained with up to 512: the answer may be worse\. Have the task split it: set its long\.$/,
    );
    const list = await run("whole", { input: [LONG, HOUSE], max_tokens: 4 });
    expect(list).toMatchObject({ status: 200, at: "origin" });
    expect(list.json.results?.map(({ notes }) => notes)).toEqual([[note], undefined]);
    expect((await run("sorted", { input: LONG })).json.notes).toEqual([note]);
    const body = JSON.stringify({ input: LONG, max_tokens: 4, stream: true });
    const streamed = await kit.fetch("/v1/tasks/whole", { method: "POST", body });
    expect(JSON.parse(eventsOf(await streamed.text())[0] ?? "")).toEqual({ index: 0, notes: [note] });
  });

  test("a list's texts are as many inputs as they have pieces, in every shape", async () => {
    await startOrigin();
    await untilOrigin();
    await putTask("pieces", { template: GERMAN, long: "sentences", placement: { edge: { inputs: 3 } } });
    const [first, second] = [`${HOUSE} I am hungry.`, `Where is my book? ${HOUSE}`];
    const asked: [prompt: string[], at: string][] = [
      [[first], "edge"],
      [[first, HOUSE], "edge"],
      [[first, second], "origin"],
    ];
    const texts: (string | undefined)[] = [];
    for (const [prompt, at] of asked) {
      const answer = await complete({ model: "pieces", prompt });
      expect([answer.status, answer.at]).toEqual([200, at]);
      texts.push(answer.json.choices?.[0]?.text);
      const inferred = await call("POST", "/models/pieces", { inputs: prompt });
      expect([inferred.status, inferred.at]).toEqual([200, at]);
    }
    expect(new Set(texts).size).toBe(1);
  });

  test("adapters stay their tenant's", async () => {
    const { url } = await startOrigin();
    await untilOrigin();
    await kit.admin("POST", "/admin/tenants", { id: "other", name: "Other" });
    const scopes = ["tasks:run", "tasks:write", "adapters:write"];
    const made = await kit.admin<{ key: string }>("POST", "/admin/tenants/other/keys", { name: "k", scopes });
    const answers: (string | undefined)[] = [];
    // The same name, other files.
    for (const [key, folder] of [
      [kit.key, "sentiment"],
      [made.json.key, "everywhere"],
    ] as const) {
      await putAdapter("mine", folder, key);
      for (const at of ["origin", "edge"]) {
        await putTask(
          `mood-${at}`,
          { template: "sst2 sentence: {input}", adapter: "mine", placement: { run: at } },
          key,
        );
        const answer = await run(`mood-${at}`, { input: "one long string of cliches" }, key);
        expect([answer.status, answer.at]).toEqual([200, at]);
        answers.push(answer.json.output);
      }
    }
    expect([answers[0], answers[2]]).toEqual([answers[1], answers[3]]);
    expect(answers[0]).not.toBe(answers[2]);

    // Signed or not: another's adapter is not read, and nothing of the bucket but models and adapters.
    const { json } = await kit.admin<{ data: { version: string }[] }>("GET", "/admin/tenants/other/adapters");
    const key = `tenants/other/adapters/mine/${json.data[0]?.version}`;
    const id = Object.keys(await modelsAt(url)).find((each) => each.startsWith("default@"));
    const body = JSON.stringify({ input: [1], labels: [[1]], adapter: key, owner: "tests" });
    const stolen = await signed(url, "POST", `/models/${id}/labels`, body);
    expect([stolen.status, await stolen.json()]).toMatchObject([400, { error: { code: "E_INPUT" } }]);
    const unsigned = await fetch(`${url}/models/${id}/labels`, { method: "POST", body });
    expect(unsigned.status).toBe(401);
    const path = `/internal/objects/${key}/adapter_config.json`;
    expect((await signed(kit.url, "GET", path)).status).toBe(200);
    expect((await signed(kit.url, "GET", "/internal/objects/models/default/current.json")).status).toBe(404);
    expect((await fetch(kit.url + path)).status).toBe(401);
  });

  test("on onnxruntime-node it answers the same, adapters included", async () => {
    await startOrigin("--engine", "onnx");
    await untilOrigin();
    // From the tests before, made by the edge's engine and by the origin's other one.
    for (const [task, input] of [
      ["there", HOUSE],
      ["mood-origin", "one long string of cliches"],
    ] as const) {
      const here = task === "there" ? "plain" : "mood-edge";
      const [onnx, simd] = [await run(task, { input }), await run(here, { input })];
      expect([onnx.at, simd.at, onnx.json.output]).toEqual(["origin", "edge", simd.json.output]);
    }
  });

  test("a client that leaves ends the work there", async () => {
    const { url } = await startOrigin();
    await untilOrigin();
    const controller = new AbortController();
    const body = { model: ENDLESS, prompt: HOUSE, max_tokens: 1000, stream: true };
    const response = await kit.complete(body, { signal: controller.signal });
    expect(response.headers.get("x-edge-t5-served-by")).toBe("origin");
    await response.body?.getReader().read();
    controller.abort();
    for (;;) {
      const model = Object.entries(await modelsAt(url)).find(([id]) => id.startsWith(ENDLESS))?.[1];
      if (model?.open_sequences === 0) {
        expect(model.steps).toBeLessThan(1000);
        break;
      }
      await delay(20);
    }
  });
});

test("an origin that is lost: its stream ends with an error, the edge does what it can, and it is found again", async () => {
  const { origin } = await startOrigin();
  await untilOrigin();
  const response = await kit.complete({ model: ENDLESS, prompt: HOUSE, max_tokens: 1000, stream: true });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const chunks = [(await reader.read()).value ?? new Uint8Array()];
  await origin.kill();
  for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
  const text = Buffer.concat(chunks).toString();
  expect(JSON.parse(eventsOf(text).at(-1) ?? "")).toMatchObject({ error: { code: "decoder_lost" } });

  await putTask("wanted-there", { template: GERMAN, placement: { run: "origin" } });
  await putTask("short-list", { template: GERMAN, placement: { edge: { inputs: 1 } } });
  // More of them than it takes to open the breaker.
  for (let i = 0; i < 5; i++) {
    const light = await complete({ prompt: GERMAN.replace("{input}", HOUSE) });
    const wanted = await run("wanted-there", { input: HOUSE });
    const list = await run("short-list", { input: [HOUSE, HOUSE] });
    expect([light, wanted, list].map(({ status, at }) => [status, at])).toEqual(Array(3).fill([200, "edge"]));
    const heavy = await complete({ prompt: LONG });
    expect([heavy.status, heavy.at, heavy.json.error?.code]).toEqual([503, null, "origin_unavailable"]);
    expect(heavy.json.error?.message).toMatch(/prompt_tokens is \d+, the edge takes up to 512/);
    expect(heavy.retryAfter).toBeGreaterThanOrEqual(1);
  }
  expect(kit.output).toContain('"msg":"origin breaker","from":"closed","to":"open"');

  await startOrigin();
  for (let tries = 0; ; tries++) {
    const again = await complete({ prompt: LONG, max_tokens: 1 });
    if (again.status === 200) {
      expect(again.at).toBe("origin");
      break;
    }
    expect([again.json.error?.code, tries < 10]).toEqual(["origin_unavailable", true]);
    await delay(again.retryAfter * 1000);
  }
  expect(kit.output).toContain('"from":"half-open","to":"closed"');
  expect(await run("wanted-there", { input: HOUSE })).toMatchObject({ status: 200, at: "origin" });
});

test("a model that no Worker has room for is answered by the origin alone, as the library answers; without it: 503", {
  timeout: 180_000,
}, async () => {
  const folder = join(state.state, "large");
  await makeLargeModel(folder, LARGE);
  const push = (...more: string[]) =>
    edgeT5(["push", folder, "--url", kit.url, ...more], { env: { EDGE_T5_ADMIN_TOKEN: kit.adminToken } });
  const refused = await push();
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/does not load\. Model large needs [\d.]+ MB/),
  });
  expect((await complete({ model: LARGE, prompt: HOUSE })).status).toBe(404);
  expect(await push("--no-check")).toMatchObject({ code: 0 });

  const prompt = GERMAN.replace("{input}", HOUSE);
  const ask = () => complete({ model: LARGE, prompt, max_tokens: 12 });
  const alone = await ask();
  expect([alone.status, alone.at, alone.json.error?.code]).toEqual([503, null, "origin_unavailable"]);
  expect(alone.json.error?.message).toContain("for the origin (its model asks for it)");
  expect(alone.retryAfter).toBeGreaterThanOrEqual(1);

  const { origin } = await startOrigin();
  await untilOrigin();
  // Fetching and loading it may take longer than a request waits: it goes on, and the client comes again.
  let answer = await ask();
  for (let tries = 0; answer.status === 503 && tries < 20; tries++) {
    await delay(1000 * answer.retryAfter);
    answer = await ask();
  }
  const library = await T5.fromPretrained(folder, { maxNewTokens: 12 });
  const { text } = await library.generate(prompt, { max_new_tokens: 12 });
  expect([answer.status, answer.at, answer.json.choices?.[0]?.text]).toEqual([200, "origin", text]);
  expect(text.length).toBeGreaterThan(10);
  // Beside it, what fits runs at the edge.
  expect((await complete({ prompt })).at).toBe("edge");

  await origin.stop();
  const stopped = await ask();
  expect([stopped.status, stopped.json.error?.code]).toEqual([503, "origin_unavailable"]);
  expect(stopped.retryAfter).toBeGreaterThanOrEqual(1);
});

/** Names of its fields, and of what is in them. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (value === null || typeof value !== "object") return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, shapeOf(part)]));
}

function eventsOf(text: string): string[] {
  return text
    .trim()
    .split("\n\n")
    .map((event) => event.replace(/^data: /, ""));
}

async function putAdapter(name: string, folder: string, key: string): Promise<void> {
  const form = new FormData();
  form.set("model", "default");
  for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
    form.set(file, new Blob([await readFile(join(ADAPTERS, folder, file))]));
  }
  const headers = { authorization: `Bearer ${key}` };
  const { status } = await fetch(`${kit.url}/v1/adapters/${name}`, { method: "PUT", headers, body: form });
  expect(status).toBe(201);
}

/** What an origin has loaded. */
async function modelsAt(url: string): Promise<Record<string, { steps: number; open_sequences: number }>> {
  return (await (await signed(url, "GET", "/models")).json()) as Awaited<ReturnType<typeof modelsAt>>;
}

async function signed(url: string, method: string, path: string, body?: string): Promise<Response> {
  const bodyHash = await sha256Of(new TextEncoder().encode(body ?? ""));
  const headers = await signatureHeaders(secret, { method, path, bodyHash }, Date.now());
  return fetch(url + path, { method, headers, ...(body !== undefined && { body }) });
}
