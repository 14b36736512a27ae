/** Streams and other requests of one isolate at the same time, over TCP, in every kind of deployment. */
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { blobKey, readManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { type HalfHealth, Kit } from "./kit.ts";

const START_MS = 90_000;
const MODEL = "endless";
const TOKENS = 48;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-batching-"));
  const { model, tokenizer } = await readManifest(new FolderStore(DEFAULT_PACKAGE));
  if (!tokenizer || !("json" in tokenizer)) throw new Error("The packaged model has no tokenizer.json.");
  // Its answers never end by themselves, and a token of it takes about a millisecond.
  const checkpoint = join(dir, "checkpoint");
  await writeRandomCheckpoint(checkpoint, { ...T5_SMALL, num_layers: 1, vocab_size: model.vocabSize });
  await copyFile(join(DEFAULT_PACKAGE, blobKey(tokenizer.json)), join(checkpoint, "tokenizer.json"));
  await splitCheckpoint(checkpoint, join(dir, "whole"), { name: MODEL });
  const { manifest } = await splitCheckpoint(checkpoint, join(dir, "cut"), { name: MODEL, shardBytes: 18_000_000 });
  expect(manifest.shards.map(({ role }) => role)).toEqual(["encoder", "decoder", "decoder"]);
}, START_MS);
afterAll(() => rm(dir, { recursive: true, force: true }));

interface Choice {
  text: string;
  index: number;
}

/** Texts of an answer, streamed or not. */
function textsOf(body: string): string[] {
  const texts: string[] = [];
  const events = body.startsWith("data:") ? body.split("\n\n").filter((event) => event.startsWith("data: {")) : [body];
  for (const event of events) {
    const answer = JSON.parse(event.replace("data: ", "")) as { choices: Choice[] };
    expect(answer, event).toHaveProperty("choices");
    for (const { index, text } of answer.choices) texts[index] = (texts[index] ?? "") + text;
  }
  return texts;
}

const REQUESTS = [
  ...["hello you", "The house is old.", "summarize: a library for sockets"].map((prompt) => ({ prompt, stream: true })),
  { prompt: "not a stream", stream: false },
  { prompt: ["two", "prompts"], stream: true, max_tokens: TOKENS - 9 },
  { prompt: "sampled", stream: true, temperature: 1.5, seed: 4, n: 2 },
  { prompt: "searched", stream: false, num_beams: 3, n: 2, max_tokens: TOKENS - 20 },
  { prompt: "with log-probabilities", stream: true, logprobs: 2 },
].map((body) => ({ model: MODEL, max_tokens: TOKENS, suppress_tokens: [1], ...body }));

describe.each([
  ["three Workers", "whole", []],
  ["one Worker for both halves", "whole", ["--one-worker"]],
  ["a chain of Workers", "cut", []],
  ["onnxruntime-web", "whole", ["--engine", "onnx"]],
])("%s", (engine, model, args) => {
  let kit: Kit;
  // What onnxruntime sums up depends on the batch in the last digits, which a draw may hang on.
  const requests = engine === "onnxruntime-web" ? REQUESTS.filter((body) => !("temperature" in body)) : REQUESTS;
  beforeAll(async () => {
    kit = await Kit.start(await mkdtemp(join(dir, "state-")), ["--model", join(dir, model), ...args]);
  }, START_MS);
  afterAll(async () => void (await kit?.stop()));

  const ask = async (body: object) => {
    const response = await kit.complete(body);
    return textsOf(await response.text());
  };
  /** The decoder's, and those of the Workers before it. */
  const decoders = async () => {
    const all: NonNullable<HalfHealth["models"][string]>[] = [];
    for (let half: HalfHealth | undefined = (await kit.health()).decoder; half; half = half.upstream) {
      all.push(half.models[MODEL]!);
    }
    return all;
  };
  const passes = async () => (await decoders()).map((decoder) => decoder.passes);
  const isIdle = () =>
    expect.poll(async () => (await decoders()).every(({ open_sequences }) => open_sequences === 0)).toBe(true);
  /** A client that sends its request and reads only when it is told to. */
  const unread = (body: object): Socket => {
    const { hostname, port } = new URL(kit.url);
    const json = JSON.stringify(body);
    const head = [
      "POST /v1/completions HTTP/1.1",
      `host: ${hostname}`,
      `authorization: Bearer ${kit.key}`,
      "connection: close",
      `content-length: ${Buffer.byteLength(json)}`,
    ];
    const socket = connect(Number(port), hostname).pause();
    socket.write([...head, "", json].join("\r\n"));
    return socket;
  };

  test("requests at once get what each gets alone, in fewer passes", { timeout: START_MS }, async () => {
    await ask(REQUESTS[0]!);
    const before = await passes();
    const alone: string[][] = [];
    for (const body of requests) alone.push(await ask(body));
    const between = await passes();
    // Each twice: twice the tokens, and yet fewer passes; how many fewer hangs on who comes when.
    expect(await Promise.all([...requests, ...requests].map(ask))).toEqual([...alone, ...alone]);
    const after = await passes();
    for (const i of before.keys()) {
      expect(after[i]! - between[i]!).toBeLessThan(between[i]! - before[i]!);
    }
    await isIdle();
  });

  test("clients that do not read, or leave, take nobody with them", { timeout: START_MS }, async () => {
    const [staying] = REQUESTS;
    const alone = await ask(staying!);
    const slow = unread(staying!);
    const leaving = new AbortController();
    const left = await kit.complete({ ...staying, max_tokens: 250 }, { signal: leaving.signal });
    await left.body?.getReader().read();
    const others = Array.from({ length: 4 }, () => ask(staying!));
    leaving.abort();
    expect(await Promise.all(others)).toEqual(others.map(() => alone));
    const parts: Buffer[] = [];
    for await (const part of slow.resume()) parts.push(part as Buffer);
    expect(Buffer.concat(parts).toString()).toContain("[DONE]");
    await isIdle();
  });
});
