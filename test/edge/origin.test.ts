/** Jobs end to end: the gateway with wrangler's own R2, D1 and queues, origins in processes of their own, OpenAI's client. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import type OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { checkBody, checkSignature, signatureHeaders } from "../../src/jobs/signature.ts";
import { freePort } from "../../src/local/origin.ts";
import { sha256Of } from "../../src/store/sha256.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";
import {
  batchRows,
  batchWhen,
  kill9Rounds,
  ledgerOf,
  OriginProcess,
  openAi,
  originSecret,
  outputOf,
  randomOf,
  startBatch,
  uploadBatch,
} from "./origin-process.ts";

const START_MS = 90_000;

let dir: string;
let kit: Kit;
let openai: OpenAI;
let secret: string;
/** Where the gateway tells of jobs. */
let port: number;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-origin-"));
  const state = join(dir, "state");
  port = await freePort();
  kit = await Kit.start(state, ["--origin-url", `http://127.0.0.1:${port}`]);
  openai = openAi(kit.url, kit.key);
  secret = await originSecret(state);
}, START_MS);
afterAll(async () => {
  await kit?.stop();
  await rm(dir, { recursive: true, force: true });
});

function startOrigin(options: { port?: number; lease?: number; poll?: number } = {}): OriginProcess {
  const origin = new OriginProcess(kit.url, secret, options);
  onTestFinished(() => origin.kill());
  return origin;
}

/** A client of a tenant of its own. */
async function tenantClient(tenant: string): Promise<OpenAI> {
  await kit.admin("POST", "/admin/tenants", { id: tenant, name: tenant });
  const scopes = ["files:write", "jobs:write", "usage:read", "tasks:run", "adapters:write"];
  const { json } = await kit.admin<{ key: string }>("POST", `/admin/tenants/${tenant}/keys`, { name: "k", scopes });
  return openAi(kit.url, json.key);
}

/** Tasks that take texts of any length, of a tenant. */
async function putLongTasks(tenant: string): Promise<void> {
  const translate = "translate English to German: {input}";
  const common = { model: "default", overridable: ["n", "temperature", "seed", "max_tokens"] };
  const tasks = {
    letters: { template: translate, long: "sentences" },
    reports: { template: "summarize: {input}", long: "sections" },
    digests: { template: "summarize: {input}", long: "sections", words: 30 },
    kinds: { template: "classify package: {input}", labels: ["net", "libs", "games"], long: "windows" },
  };
  for (const [name, task] of Object.entries(tasks)) {
    const { status } = await kit.admin("PUT", `/admin/tenants/${tenant}/tasks/${name}`, { ...common, ...task });
    expect(status).toBe(201);
  }
}

/** No window holds so many of them. */
function sentences(count: number): string {
  const all = ["The house is old.", "Where is my book?", "I am hungry.", "It is raining.", "Tom sleeps."];
  return Array.from({ length: count }, (_, i) => all[i % 5]?.replace(".", ` ${i}.`)).join(" ");
}

function rowsOf(bodies: readonly object[]): string {
  return bodies
    .map((body, i) => JSON.stringify({ custom_id: `row-${i}`, method: "POST", url: "/v1/completions", body }))
    .join("\n");
}

interface Line {
  custom_id: string;
  response: { status_code: number; body: { choices: { text: string }[]; usage: OpenAI.CompletionUsage } & Failed };
}
interface Failed {
  error: { code: string };
}

describe("a batch, by OpenAI's client", () => {
  test("is answered row by row as completions are, broken rows apart, and billed by the row", async () => {
    const acme = await tenantClient("acme");
    const file = await uploadBatch(acme, batchRows(40));
    expect(file).toMatchObject({ object: "file", filename: "rows.jsonl", purpose: "batch", bytes: expect.any(Number) });
    const made = await startBatch(acme, file.id);
    expect(made).toMatchObject({ status: "validating", model: "default", request_counts: { total: 40, completed: 0 } });
    await expect(acme.files.delete(file.id)).rejects.toMatchObject({ status: 409, code: "file_in_use" });

    // Told by the gateway's queue, or by its own look.
    startOrigin({ port });
    const done = await batchWhen(acme, made.id);
    const { in_progress_at, finalizing_at, completed_at } = done;
    expect(done).toMatchObject({ status: "completed", request_counts: { total: 40, completed: 35, failed: 5 } });
    expect([in_progress_at, finalizing_at, completed_at].every((time) => (time ?? 0) >= made.created_at)).toBe(true);
    const linesOf = async (which: "output" | "error") =>
      (await outputOf(acme, done, which))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Line);
    const output = await linesOf("output");
    expect(output.map(({ custom_id }) => custom_id)).toEqual(
      Array.from({ length: 40 }, (_, i) => i)
        .filter((i) => i % 7 !== 6)
        .map((i) => `row-${i}`),
    );
    const error = await linesOf("error");
    expect(error.map(({ response }) => [response.status_code, response.body.error.code])).toEqual(
      Array.from({ length: 5 }, () => [400, "context_length_exceeded"]),
    );
    // Greedy, sampled with a seed, and searched: the edge answers the same.
    const asked = batchRows(40)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { custom_id: string; body: OpenAI.CompletionCreateParamsNonStreaming });
    for (const id of ["row-0", "row-1", "row-2", "row-3"]) {
      const body = asked.find(({ custom_id }) => custom_id === id)?.body;
      const { choices, usage } = await acme.completions.create(body as OpenAI.CompletionCreateParamsNonStreaming);
      const line = output.find(({ custom_id }) => custom_id === id)?.response.body;
      expect([id, line?.choices, line?.usage]).toEqual([id, choices, usage]);
    }
    const ledger = (await ledgerOf(kit, "acme")).filter(({ served_by }) => served_by === "origin");
    expect(ledger).toHaveLength(35);
    const sum = ledger.reduce((all, { input_tokens, output_tokens }) => all + input_tokens + output_tokens, 0);
    expect(sum).toBe(done.usage?.total_tokens);

    const ids = async (pages: AsyncIterable<{ id: string }>) => {
      const found: string[] = [];
      for await (const { id } of pages) found.push(id);
      return found;
    };
    const files = [done.error_file_id, done.output_file_id, file.id];
    expect((await ids(acme.files.list({ limit: 1 }))).sort()).toEqual([...files].sort());
    expect(await ids(acme.files.list({ purpose: "batch" }))).toEqual([file.id]);
    expect(await ids(acme.batches.list())).toEqual([made.id]);
    expect(await acme.files.delete(file.id)).toEqual({ id: file.id, object: "file", deleted: true });
    await expect(acme.files.content(file.id)).rejects.toMatchObject({ status: 404, code: "file_not_found" });
    await expect(acme.batches.cancel(made.id)).rejects.toMatchObject({ status: 409, code: "job_finished" });
  });

  test("takes prompts and answers as long as completions do, which go to an origin too", async () => {
    const acme = await tenantClient("lengthy");
    startOrigin({ port });
    const prompt = `translate English to German: ${"The house is old. ".repeat(250)}`;
    const bodies = [
      { model: "default", prompt, max_tokens: 300 },
      { model: "default", prompt: "translate English to German: The house is old.", max_tokens: 300 },
    ];
    const rows = rowsOf(bodies);
    const done = await batchWhen(acme, (await startBatch(acme, (await uploadBatch(acme, rows)).id)).id);
    expect(done).toMatchObject({ status: "completed", request_counts: { total: 2, completed: 2, failed: 0 } });
    const lines = (await outputOf(acme, done, "output")).trim().split("\n");
    for (const [i, line] of lines.entries()) {
      const { response } = JSON.parse(line) as Line;
      const { choices, usage } = await acme.completions.create(bodies[i]!);
      expect([response.body.choices, response.body.usage]).toEqual([choices, usage]);
    }
    expect(done.usage?.input_tokens).toBeGreaterThan(1000);
    const over = rows.replace('"max_tokens":300', '"max_tokens":1025');
    const refused = await startBatch(acme, (await uploadBatch(acme, over)).id).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 400, message: expect.stringMatching(/up to 1024 here/) });
  });

  test("takes texts of any length, in their rows' places, as completions do", async () => {
    const acme = await tenantClient("prolix");
    await putLongTasks("prolix");
    startOrigin({ port });
    const report = Array.from({ length: 30 }, (_, i) => `This package has tool ${i}, which lists open files.`);
    const letter = sentences(150);
    const bodies = [
      { model: "letters", prompt: "The house is old." },
      { model: "letters", prompt: letter },
      { model: "default", prompt: "translate English to German: It is raining.", max_tokens: 24 },
      { model: "letters", prompt: ["I am hungry.", letter, "12:30", "Tom sleeps. It is raining."] },
      { model: "letters", prompt: letter, temperature: 1, seed: 5, max_tokens: 40 },
      { model: "reports", prompt: report.join("\n\n").repeat(2) },
      { model: "digests", prompt: report.join("\n\n").repeat(2) },
      { model: "kinds", prompt: ["a chess game", "A library for sockets of all kinds. ".repeat(120)] },
      { model: "letters", prompt: "...\n" },
    ];
    const refused = [
      { model: "letters", prompt: [letter.repeat(4)], n: 2, temperature: 1 },
      { model: "default", prompt: letter.repeat(4) },
    ];
    const rows = rowsOf([...bodies, ...refused]);
    const done = await batchWhen(acme, (await startBatch(acme, (await uploadBatch(acme, rows)).id)).id);
    const counts = { total: 11, completed: 9, failed: 2 };
    expect(done).toMatchObject({ status: "completed", request_counts: counts });
    const read = async (which: "output" | "error") => {
      const lines = (await outputOf(acme, done, which)).trim().split("\n");
      return lines.map((line) => JSON.parse(line) as Line);
    };
    const output = await read("output");
    expect(output.map(({ custom_id }) => custom_id)).toEqual(bodies.map((_, i) => `row-${i}`));
    for (const [i, { response }] of output.entries()) {
      const { choices, usage } = await acme.completions.create(bodies[i] as OpenAI.CompletionCreateParamsNonStreaming);
      expect([i, response.body.choices, response.body.usage]).toEqual([i, choices, usage]);
    }
    expect((await read("error")).map(({ response: { status_code, body } }) => [status_code, body.error.code])).toEqual([
      [400, "invalid_value"],
      [400, "context_length_exceeded"],
    ]);
    const ledger = (await ledgerOf(kit, "prolix")).filter(({ id }) => id.startsWith(done.id));
    expect(ledger).toHaveLength(9);
    const sum = ledger.reduce((all, { input_tokens, output_tokens }) => all + input_tokens + output_tokens, 0);
    expect(sum).toBe(done.usage?.total_tokens);
  });

  test("whose file is broken is refused when it is made: file, line, reason", async () => {
    const acme = await tenantClient("broken");
    const [first = "", second = ""] = batchRows(2).split("\n");
    const row = JSON.parse(second) as { body: object };
    const broken: [lines: string[], line: number, message: RegExp][] = [
      [[first, "{"], 2, /no JSON/],
      [[first, "", JSON.stringify({ ...row, url: "/v1/chat" })], 3, /url/],
      [[first, first], 2, /custom_id "row-0" is another row's/],
      [[JSON.stringify({ ...row, body: { ...row.body, model: "none" } })], 1, /no model "none"/],
      [[JSON.stringify({ ...row, body: { ...row.body, num_beams: 2 } })], 1, /num_beams/],
      [[JSON.stringify({ ...row, body: { ...row.body, max_tokens: 1e6 } })], 1, /max_tokens/],
      [[JSON.stringify({ ...row, body: { ...row.body, stream: true } })], 1, /stream/],
    ];
    for (const [lines, line, message] of broken) {
      const file = await uploadBatch(acme, lines.join("\n"));
      const refused = await startBatch(acme, file.id).catch((error: unknown) => error);
      expect(refused).toMatchObject({ status: 400, code: "invalid_file" });
      const { message: text, error } = refused as InstanceType<typeof OpenAI.APIError> & {
        error: { errors: { line: number }[] };
      };
      expect(text).toMatch(message);
      expect([text.includes(`rows.jsonl, line ${line}:`), error.errors[0]?.line]).toEqual([true, line]);
    }
    const empty = await uploadBatch(acme, "\n\n");
    await expect(startBatch(acme, empty.id)).rejects.toMatchObject({ status: 400, code: "empty_file" });
    await expect(startBatch(openai, empty.id)).rejects.toMatchObject({ status: 404, code: "file_not_found" });
    const page = await acme.batches.list();
    expect(page.data).toEqual([]);
  });

  test("is cancelled within a step: what was done is there, and nothing more is", async () => {
    const acme = await tenantClient("hasty");
    const file = await uploadBatch(acme, batchRows(400));
    const waiting = await startBatch(acme, file.id);
    expect(await acme.batches.cancel(waiting.id)).toMatchObject({ status: "cancelled", output_file_id: null });
    const running = await startBatch(acme, file.id);
    // Not told by the gateway, and with beats far apart: it hears of it with its next commit.
    const origin = startOrigin();
    await batchWhen(acme, running.id, ({ request_counts }) => (request_counts?.completed ?? 0) > 0);
    const asked = await acme.batches.cancel(running.id);
    expect(asked.status).toBe("cancelling");
    const done = await batchWhen(acme, running.id);
    await origin.event("cancelled", running.id);
    const { completed = 0, failed = 0 } = done.request_counts ?? {};
    expect(done.status).toBe("cancelled");
    expect(completed + failed).toBeLessThan(400);
    const lines = (await outputOf(acme, done, "output")).trim().split("\n");
    expect(lines).toHaveLength(completed);
    expect(await ledgerOf(kit, "hasty")).toHaveLength(completed);
  });

  test("is cancelled inside a row that takes minutes", async () => {
    const acme = await tenantClient("restless");
    await putLongTasks("restless");
    const file = await uploadBatch(acme, rowsOf([{ model: "letters", prompt: sentences(15_000) }]));
    const origin = startOrigin({ port, lease: 20 });
    const { id } = await startBatch(acme, file.id);
    await origin.event("claimed", id);
    await delay(2_000);
    expect(await acme.batches.cancel(id)).toMatchObject({ status: "cancelling" });
    const began = performance.now();
    const done = await batchWhen(acme, id);
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(done).toMatchObject({ status: "cancelled", request_counts: { completed: 0, failed: 0 } });
    expect(await ledgerOf(kit, "restless")).toEqual([]);
  });
});

test("kill -9 at random moments, a restart after each: output and ledger are those of a run that was let be", {
  timeout: 120_000,
}, async () => {
  const seed = Number(process.env.SEED) || Math.floor(Math.random() * 1e9);
  console.log(`SEED=${seed} repeats these kills`);
  await putLongTasks("tests");
  const long = [
    { model: "letters", prompt: sentences(60) },
    { model: "letters", prompt: [sentences(20), "I am hungry."], temperature: 1, seed: 3 },
    { model: "reports", prompt: sentences(120) },
  ].map((body, i) => JSON.stringify({ custom_id: `long-${i}`, method: "POST", url: "/v1/completions", body }));
  const [first = "", ...others] = batchRows(128).split("\n");
  const rows = [first, ...long, ...others].join("\n");
  const { calm, disturbed, kills } = await kill9Rounds({ kit, secret, rows, rounds: 3, random: randomOf(seed) });
  expect(kills).toBeGreaterThan(0);
  expect(disturbed.batch).toMatchObject({ status: "completed", request_counts: calm.batch.request_counts });
  expect(disturbed.output === calm.output && disturbed.error === calm.error).toBe(true);
  expect(disturbed.ledger).toEqual(calm.ledger);
});

test("two origins on one queue: each job is done once, and tenants take turns", async () => {
  const [one, two] = [await tenantClient("first"), await tenantClient("second")];
  const file = { one: await uploadBatch(one, batchRows(6)), two: await uploadBatch(two, batchRows(6)) };
  const jobs: string[] = [];
  for (let i = 0; i < 4; i++) jobs.push((await startBatch(one, file.one.id)).id);
  jobs.push((await startBatch(two, file.two.id)).id);
  const last = jobs[4] as string;
  const urgent = await one.batches.create({
    ...{ input_file_id: file.one.id, endpoint: "/v1/completions", completion_window: "24h" },
    // Ours: OpenAI's types do not know it.
    ...{ priority: "high" },
  } as OpenAI.BatchCreateParams);
  jobs.push(urgent.id);
  const origins = [startOrigin({ port }), startOrigin()];
  for (const id of jobs) await batchWhen(id === last ? two : one, id);
  await Promise.all(jobs.map((id) => Promise.race(origins.map((origin) => origin.event("finished", id)))));
  const claims = origins.flatMap(({ events }) => events.filter(({ event }) => event === "claimed"));
  expect(claims.map(({ job }) => job).sort()).toEqual([...jobs].sort());
  const started = new Map<string, number>();
  for (const id of jobs) {
    const { in_progress_at } = await (id === last ? two : one).batches.retrieve(id);
    started.set(id, in_progress_at ?? 0);
  }
  const [first = 0, second = 0, , fourth = 0] = jobs.map((id) => started.get(id));
  expect(Math.max(started.get(last) ?? 0, started.get(urgent.id) ?? 0)).toBeLessThanOrEqual(Math.max(second, fourth));
  expect(started.get(urgent.id)).toBeLessThanOrEqual(first);
  expect(await ledgerOf(kit, "first")).toHaveLength(5 * 6);
});

describe("a fine-tuning, by OpenAI's client", () => {
  const question = (i: number) => `answer politely: request number ${i}`;
  const ANSWER = "Gerne.";
  const rows = Array.from({ length: 16 }, (_, i) => ({ prompt: question(i), completion: ANSWER }));
  const upload = (client: OpenAI, all: readonly object[]) =>
    client.files.create({
      file: new File([all.map((row) => JSON.stringify(row)).join("\n")], "pairs.jsonl"),
      purpose: "fine-tune",
    });
  const endOf = async (client: OpenAI, id: string) => {
    for (;;) {
      const job = await client.fineTuning.jobs.retrieve(id);
      if (job.finished_at) return job;
      await delay(100);
    }
  };
  const hyperparameters = { n_epochs: 5, batch_size: 8, learning_rate_multiplier: 12 };

  test("ends, killed in the middle or not, with the same adapter, which the edge answers with by its name", {
    timeout: 90_000,
  }, async () => {
    const acme = await tenantClient("tuner");
    const [file, valid] = [await upload(acme, rows), await upload(acme, rows.slice(0, 4))];
    const settings = {
      ...{ model: "default", training_file: file.id, validation_file: valid.id, seed: 7, suffix: "polite" },
      hyperparameters,
    };
    const [calm, killed] = [
      await acme.fineTuning.jobs.create(settings),
      await acme.fineTuning.jobs.create({ ...settings, suffix: null }),
    ];
    expect(calm).toMatchObject({ status: "queued", fine_tuned_model: null, hyperparameters, seed: 7 });
    const first = startOrigin({ port });
    await first.event("finished", calm.id);
    await first.event("claimed", killed.id);
    for (;;) {
      const { data } = await acme.fineTuning.jobs.checkpoints.list(killed.id);
      if (data.length > 1) break;
      await delay(20);
    }
    await first.kill();
    startOrigin({ port });
    const done = [await endOf(acme, calm.id), await endOf(acme, killed.id)];
    expect(done.map(({ status, error }) => [status, error])).toEqual([
      ["succeeded", null],
      ["succeeded", null],
    ]);
    // Killed or not, each is billed once, what it trained on.
    const billed = (await ledgerOf(kit, "tuner")).map(({ id, training_tokens }) => [id, training_tokens]);
    expect(billed).toEqual(done.map(({ id, trained_tokens }) => [id, trained_tokens]));
    expect(billed[0]?.[1]).toBe(billed[1]?.[1]);
    const [model = "", other = ""] = done.map(({ fine_tuned_model }) => fine_tuned_model ?? "");
    expect(model).toMatch(/^ft:default:tuner:polite:\w{20}$/);
    const prompt = question(3);
    const answers = await Promise.all(
      [model, other, "default"].map(async (name) => {
        const { choices } = await acme.completions.create({ model: name, prompt, max_tokens: 12 });
        return choices[0]?.text;
      }),
    );
    expect(answers.slice(0, 2)).toEqual([ANSWER, ANSWER]);
    expect(answers[2]).not.toBe(ANSWER);
    // A rest of exactly the same weights, as their hash tells.
    const { json } = await kit.admin<{ data: { id: string; version: string; model: string }[] }>(
      "GET",
      "/admin/tenants/tuner/adapters",
    );
    expect(json.data).toHaveLength(2);
    expect(new Set(json.data.map(({ version }) => version)).size).toBe(1);

    const events: OpenAI.FineTuning.FineTuningJobEvent[] = [];
    for await (const event of acme.fineTuning.jobs.listEvents(killed.id, { limit: 10 })) events.unshift(event);
    const told = events.flatMap(({ type, data }) => (type === "metrics" ? (data as { step: number }).step : []));
    // Each step once, though some were made twice.
    expect(told).toEqual(Array.from({ length: 10 }, (_, i) => i + 1));
    expect(events[0]?.message).toContain("16 rows, 4 to validate with");
    expect(events.at(-1)?.message).toBe("The job has been successfully completed");
    const [checkpoint] = (await acme.fineTuning.jobs.checkpoints.list(calm.id)).data;
    expect(checkpoint).toMatchObject({ step_number: 10, metrics: { step: 10, train_loss: expect.any(Number) } });
    // The last three can be called, the last one of which is the model; and a batch may ask for several.
    const named = (step: number) => `${model}:ckpt-step-${step}`;
    expect(checkpoint?.fine_tuned_model_checkpoint).toBe(named(10));
    const at = async (step: number) => {
      const { choices } = await acme.completions.create({ model: named(step), prompt, max_tokens: 12, logprobs: 1 });
      return choices[0];
    };
    const [eighth, tenth, whole] = [
      await at(8),
      await at(10),
      (await acme.completions.create({ model, prompt, max_tokens: 12, logprobs: 1 })).choices[0],
    ];
    expect(tenth).toEqual(whole);
    expect(eighth).not.toEqual(whole);
    await expect(at(7)).rejects.toMatchObject({ status: 404, code: "model_not_found" });
    const csv = await (await acme.files.content(done[0]?.result_files[0] ?? "")).text();
    expect(csv.split("\n")[0]).toBe("step,train_loss,learning_rate");
    expect(csv.trim().split("\n")).toHaveLength(11);

    // Nobody else's, whatever the name says.
    const stranger = await tenantClient("stranger");
    for (const name of [model, model.replace("tuner", "stranger"), named(10)]) {
      const asked = stranger.completions.create({ model: name, prompt });
      await expect(asked).rejects.toMatchObject({ status: 404, code: "model_not_found" });
    }
    const mine = async () => (await acme.models.list()).data.flatMap(({ id }) => (id.startsWith("ft:") ? [id] : []));
    expect((await mine()).sort()).toEqual([model, other].sort());
    expect((await stranger.models.list()).data.map(({ id }) => id)).toEqual(["default"]);
    await expect(stranger.models.delete(model)).rejects.toMatchObject({ status: 404 });
    expect(await acme.models.delete(other)).toEqual({ id: other, object: "model", deleted: true });
    expect(await mine()).toEqual([model]);
    expect(await acme.models.retrieve(model)).toMatchObject({ id: model, owned_by: "tuner" });
    // And in a batch, beside the base.
    const both = [model, "default", named(8)].map((name, i) =>
      JSON.stringify({
        ...{ custom_id: `${i}`, method: "POST", url: "/v1/completions" },
        body: { model: name, prompt, max_tokens: 12 },
      }),
    );
    const batch = await startBatch(acme, (await uploadBatch(acme, both.join("\n"))).id);
    const lines = (await outputOf(acme, await batchWhen(acme, batch.id), "output")).trim().split("\n");
    const texts = lines.map((line) => (JSON.parse(line) as Line).response.body.choices[0]?.text);
    expect(texts).toEqual([ANSWER, answers[2], eighth?.text]);
    // They go with it.
    await acme.models.delete(model);
    await expect.poll(() => at(10).catch(({ status }) => status), { timeout: 15_000 }).toBe(404);
  });

  test("is cancelled within a step, and leaves no model", async () => {
    const acme = await tenantClient("wavering");
    const { id: training_file } = await upload(acme, rows);
    const settings = { model: "default", training_file, hyperparameters: { n_epochs: 100, batch_size: 2 } };
    const { id } = await acme.fineTuning.jobs.create(settings);
    startOrigin({ port, lease: 1 });
    const steps = async () =>
      ((await acme.fineTuning.jobs.listEvents(id)).data[0]?.data as { step?: number })?.step ?? 0;
    await expect.poll(steps, { timeout: 20_000 }).toBeGreaterThan(0);
    await acme.fineTuning.jobs.cancel(id);
    expect(await endOf(acme, id)).toMatchObject({ status: "cancelled", fine_tuned_model: null });
    // Of 800.
    expect(await steps()).toBeLessThan(400);
    expect((await acme.models.list()).data.map((model) => model.id)).toEqual(["default"]);
  });

  test("whose rows are broken is refused when it is made, and says where", async () => {
    const acme = await tenantClient("untuned");
    const broken: [row: object, message: RegExp][] = [
      [{ prompt: "a" }, /needs prompt and completion/],
      [{ prompt: "a", completion: " " }, /completion: it is empty/],
      [{ messages: [{ role: "user", content: "a" }] }, /messages/],
    ];
    for (const [row, message] of broken) {
      const { id } = await upload(acme, [rows[0] as object, row]);
      const refused = acme.fineTuning.jobs.create({ model: "default", training_file: id });
      await expect(refused).rejects.toMatchObject({ status: 400, code: "invalid_file" });
      await expect(refused).rejects.toThrow(/pairs\.jsonl, line 2: /);
      await expect(refused).rejects.toThrow(message);
    }
    const wrong = await uploadBatch(acme, batchRows(1));
    const refused = acme.fineTuning.jobs.create({ model: "default", training_file: wrong.id });
    await expect(refused).rejects.toMatchObject({ status: 400, code: "invalid_purpose" });
    // What only the tokens tell is told before the first step.
    const long = await upload(acme, [rows[0] as object, { prompt: "word ".repeat(600), completion: "a" }]);
    const job = await acme.fineTuning.jobs.create({ model: "default", training_file: long.id });
    startOrigin({ port });
    expect(await endOf(acme, job.id)).toMatchObject({
      status: "failed",
      error: {
        code: "context_length",
        message: expect.stringMatching(/^pairs\.jsonl, line 2: its input has \d+ tokens/),
      },
    });
  });
});

test("an origin that is down is told again later", async () => {
  const acme = await tenantClient("patient");
  // The gateway may tell of it before its maker knows its id.
  const made = Promise.withResolvers<string>();
  const nonces: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    const headers = new Headers(request.headers as Record<string, string>);
    const signature = await checkSignature(secret, { method: "POST", path: request.url ?? "" }, headers, Date.now());
    await checkBody(body, signature);
    const isOurs = (JSON.parse(body.toString()) as { jobs: string[] }).jobs.includes(await made.promise);
    if (isOurs) nonces.push(signature.nonce);
    response.writeHead(isOurs && nonces.length === 1 ? 503 : 202).end();
  }).listen(port, "127.0.0.1");
  onTestFinished(() => void server.close());
  const { id } = await startBatch(acme, (await uploadBatch(acme, batchRows(1))).id);
  made.resolve(id);
  await expect.poll(() => nonces.length, { timeout: 20_000 }).toBe(2);
  // Signed anew.
  expect(nonces[0]).not.toBe(nonces[1]);
  expect((await acme.batches.retrieve(id)).status).toBe("validating");
  expect(await acme.batches.cancel(id)).toMatchObject({ status: "cancelled" });
});

describe("signatures", () => {
  const sign = async (url: string, path: string, body: string, change: { secret?: string; time?: number } = {}) => {
    const bodyHash = await sha256Of(new TextEncoder().encode(body));
    const request = { method: "POST", path, bodyHash };
    const headers = await signatureHeaders(change.secret ?? secret, request, change.time ?? Date.now());
    return (sent = body, at = path) =>
      fetch(url + at, { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: sent });
  };
  const codeOf = async (response: Response) => {
    const json = (await response.json()) as Partial<Failed>;
    return [response.status, json.error?.code];
  };

  test.each(["origin", "gateway"])("forged, replayed and stale ones are refused at the %s", async (side) => {
    const origin = startOrigin();
    const url = side === "origin" ? ((await origin.event("started")).url ?? "") : kit.url;
    const [path, body] =
      side === "origin"
        ? ["/jobs", '{"jobs":[]}']
        : ["/internal/jobs/claim", '{"owner":"o","lease_seconds":1,"kinds":["fine_tuning"]}'];
    const right = await sign(url, path, body);
    expect((await right()).ok).toBe(true);
    expect(await codeOf(await right())).toEqual([401, "replayed_signature"]);
    const forged = [
      await (await sign(url, path, body, { secret: "another" }))(),
      await (await sign(url, path, body))(`${body} `),
      await (await sign(url, path, body))(body, `${path}?fence=1`),
      await fetch(url + path, { method: "POST", body }),
    ];
    for (const response of forged) expect(await codeOf(response)).toEqual([401, "invalid_signature"]);
    for (const apart of [-61_000, 61_000]) {
      const stale = await sign(url, path, body, { time: Date.now() + apart });
      expect(await codeOf(await stale())).toEqual([401, "stale_signature"]);
    }
    if (side === "gateway") return;
    // Another process remembers nothing of what this one took.
    const before = await sign(url, path, body);
    await before();
    await origin.kill();
    await delay(5);
    const again = startOrigin();
    const restarted = (await again.event("started")).url ?? "";
    const { headers } = {
      headers: await signatureHeaders(
        secret,
        { method: "POST", path, bodyHash: await sha256Of(new TextEncoder().encode(body)) },
        Date.now() - 30_000,
      ),
    };
    const replayed = await fetch(restarted + path, { method: "POST", headers, body });
    expect(await codeOf(replayed)).toEqual([401, "replayed_signature"]);
  });
});

test("from the command line: a file, a batch of it, and what came of it", async () => {
  const env = { EDGE_T5_URL: kit.url, EDGE_T5_KEY: kit.key };
  const run = (...args: string[]) => edgeT5(args, { env });
  const path = join(dir, "mine.jsonl");
  await writeFile(path, batchRows(3));
  const put = await run("file", "put", path, "--purpose", "batch", "--json");
  expect(put).toMatchObject({ code: 0, stderr: "" });
  const { id } = JSON.parse(put.stdout) as { id: string };
  expect((await run("file", "list")).stdout).toContain(id);
  // It asks for nothing by itself: the gateway's queue tells it.
  await startOrigin({ port, poll: 3600 }).event("started");
  const out = join(dir, "answers.jsonl");
  const done = await run("batch", "run", id, "--out", out);
  expect(done).toMatchObject({ code: 0 });
  expect(done.stdout).toMatch(/^batch_\w+ has completed: 3 of 3 rows, 0 failed\.\n/m);
  expect(done.stdout).toContain(`answers: ${out} (edge-t5 file get file-`);
  if (existsSync("/dev/full")) {
    const full = await run("batch", "run", id, "--out", "/dev/full");
    expect([full.code, full.stderr]).toEqual([
      1,
      expect.stringMatching(/E_IO: \/dev\/full .*\n.*\nanswers: edge-t5 file get/),
    ]);
  }
  const again = await run("batch", "run", path, "--json");
  expect(JSON.parse(again.stdout)).toMatchObject({ status: "completed", request_counts: { completed: 3 } });
  expect((await run("batch", "list")).stdout).toMatch(/completed +3 of 3/);
  // The seventh row is too long.
  const seven = batchRows(7);
  await writeFile(path, seven);
  const partial = await run("batch", "run", path);
  expect([partial.code, partial.stdout]).toEqual([0, expect.stringContaining(": 7 of 7 rows, 1 failed.")]);
  await writeFile(path, seven.split("\n")[6] ?? "");
  const none = await run("batch", "run", path, "--json");
  expect(none.code).toBe(1);
  expect(JSON.parse(none.stdout)).toMatchObject({ status: "completed", request_counts: { completed: 0, failed: 1 } });

  const pairs = join(dir, "pairs.jsonl");
  await writeFile(pairs, '{"prompt":"a","completion":"b"}\n'.repeat(8));
  const tuned = await run(
    "job",
    "tune",
    pairs,
    "--epochs",
    "1",
    "--batch-size",
    "8",
    "--rank",
    "2",
    "--suffix",
    "mine",
  );
  expect(tuned).toMatchObject({ code: 0, stderr: "" });
  expect(tuned.stdout).toMatch(/Step 1\/1: training loss=[\d.]+\n/);
  const model = /: ask for the model (ft:default:tests:mine:\w+)\.\n$/.exec(tuned.stdout)?.[1] ?? "";
  expect((await run("job", "list")).stdout).toContain(`succeeded  default  ${model}`);

  const broken = join(dir, "broken.jsonl");
  await writeFile(broken, "{}\n");
  const refused = await run("batch", "run", broken);
  expect(refused).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^E_INPUT: .*broken\.jsonl, line 1: custom_id/),
  });
});
