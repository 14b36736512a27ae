/** Models larger than an isolate, and smaller than one: chains of Workers, and one Worker for both halves. */
import { copyFile, cp, mkdtemp, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { DEFAULT_PACKAGE, T5 } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { blobKey, readManifest } from "../../src/t5/manifest.ts";
import { T5_SMALL, writeRandomCheckpoint } from "../bench/checkpoint.ts";
import { edgeT5 } from "../cli/process.ts";
import { Kit } from "./kit.ts";

const START_MS = 90_000;
const PROMPTS = ["translate English to German: The house is old.", "summarize: a library for sockets"];
/** More than the Worker invocations that a request may make. */
const TOKENS = 150;

let dir: string;
let model: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-chain-"));
  const { model: of, tokenizer } = await readManifest(new FolderStore(DEFAULT_PACKAGE));
  const checkpoint = join(dir, "checkpoint");
  const size = { d_model: 64, d_kv: 16, d_ff: 128, num_heads: 4, num_layers: 3, num_decoder_layers: 3 };
  await writeRandomCheckpoint(checkpoint, { ...T5_SMALL, ...size, vocab_size: of.vocabSize });
  if (!tokenizer || !("json" in tokenizer)) throw new Error("The packaged model has no tokenizer.json.");
  await copyFile(join(DEFAULT_PACKAGE, blobKey(tokenizer.json)), join(checkpoint, "tokenizer.json"));
  model = join(dir, "package");
  const { manifest } = await splitCheckpoint(checkpoint, model, { name: "long", shardBytes: 645_000 });
  expect(manifest.shards.map(({ role, layers }) => `${role} ${layers}`)).toEqual([
    "encoder 0,1",
    "encoder 1,3",
    "decoder 0,1",
    "decoder 1,2",
    "decoder 2,3",
  ]);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

interface Answer {
  choices: { text: string }[];
  usage: { completion_tokens: number };
}

async function complete(kit: Kit, body: object): Promise<Answer> {
  const response = await kit.complete(body);
  const answer = (await response.json()) as Answer;
  expect(answer, JSON.stringify(answer)).toHaveProperty("choices");
  return answer;
}

async function start(args: readonly string[]): Promise<Kit> {
  const kit = await Kit.start(await mkdtemp(join(dir, "state-")), args);
  onTestFinished(async () => void (await kit.stop()));
  return kit;
}

describe("a package of five shards, a Worker each", () => {
  test("answers as the whole does in Node, past a hundred tokens, for batches, beams and samples", {
    timeout: START_MS,
  }, async () => {
    const t5 = await T5.fromPretrained(model);
    const kit = await start(["--model", model]);
    const endless = { max_tokens: TOKENS, suppress_tokens: [1] };
    const greedy = await complete(kit, { model: "long", prompt: PROMPTS, ...endless });
    expect(greedy.usage.completion_tokens).toBe(2 * TOKENS);
    const options = { max_new_tokens: TOKENS, suppress_tokens: [1] };
    const expected = await t5.generate(PROMPTS, options);
    expect(greedy.choices.map(({ text }) => text)).toEqual(expected.map(({ text }) => text));

    const [prompt = ""] = PROMPTS;
    const beams = await complete(kit, { model: "long", prompt, num_beams: 4, n: 2, ...endless, max_tokens: 20 });
    const found = await t5.generate(prompt, { ...options, max_new_tokens: 20, num_beams: 4, num_return_sequences: 2 });
    expect(beams.choices.map(({ text }) => text)).toEqual(found.sequences.map(({ text }) => text));

    const sampled = await complete(kit, { model: "long", prompt, temperature: 1, seed: 5, ...endless });
    const drawn = await t5.generate(prompt, { ...options, do_sample: true, seed: 5 });
    expect(sampled.choices[0]?.text).toBe(drawn.text);

    const { encoder, decoder } = await kit.health();
    expect(decoder.upstream?.upstream?.models.long).toMatchObject({ state: "loaded", open_sequences: 0 });
    expect(encoder.upstream?.models.long?.state).toBe("loaded");
    expect(kit.output).not.toContain("ERROR");
  });

  test("a client that goes away leaves no sequence open in any of them", { timeout: START_MS }, async () => {
    const kit = await start(["--model", model]);
    const leaving = new AbortController();
    const body = { model: "long", prompt: PROMPTS[0], stream: true, max_tokens: 256, suppress_tokens: [1] };
    const response = await kit.complete(body, { signal: leaving.signal });
    const reader = response.body?.getReader();
    await reader?.read();
    leaving.abort();
    await expect(reader?.read()).rejects.toThrow();
    const open = async () => {
      const { decoder } = await kit.health();
      return [decoder, decoder.upstream, decoder.upstream?.upstream].map((half) => half?.models.long?.open_sequences);
    };
    await expect.poll(open, { timeout: 20_000 }).toEqual([0, 0, 0]);
    expect(kit.output).not.toContain("ERROR");
  });
});

test("a second server, of another model on the same state, leaves the first one's Workers as they are", {
  timeout: START_MS,
}, async () => {
  const state = relative(tmpdir(), await mkdtemp(join(dir, "state-")));
  const first = await Kit.start(state);
  onTestFinished(async () => void (await first.stop()));
  const second = await Kit.start(state, ["--model", model]);
  onTestFinished(async () => void (await second.stop()));
  const { port } = new URL(first.url);
  const third = await edgeT5(["start", "--model", model, "--state", join(tmpdir(), state), "--port", port]);
  expect(third).toMatchObject({ code: 1, stderr: expect.stringMatching(/^E_IO: Port \d+ on 127.0.0.1 is in use/) });
  expect(JSON.stringify(await second.health())).toContain("upstream");
  expect(JSON.stringify(await first.health())).not.toContain("upstream");
  const { choices } = await complete(first, { model: "default", prompt: PROMPTS[0] });
  expect(choices[0]?.text).toBe("Das Haus ist alt.");
});

test("edge-t5 start --one-worker holds both halves in one isolate", { timeout: START_MS }, async () => {
  const kit = await start(["--one-worker"]);
  const { choices } = await complete(kit, { model: "default", prompt: PROMPTS[0] });
  expect(choices[0]?.text).toBe("Das Haus ist alt.");
  const { encoder, decoder } = await kit.health();
  expect(encoder).toEqual(decoder);
  expect(decoder).toMatchObject({ models: { default: { loads: 1, steps: 6 } } });
});

test("edge-t5 start names a damaged blob", { timeout: START_MS }, async () => {
  const damaged = join(dir, "damaged");
  await cp(model, damaged, { recursive: true });
  const { tokenizer } = await readManifest(new FolderStore(damaged));
  const hash = tokenizer && "json" in tokenizer ? tokenizer.json : "";
  await truncate(join(damaged, blobKey(hash)), 1000);
  const state = await mkdtemp(join(dir, "state-"));
  const { code, stderr } = await edgeT5(["start", "--model", damaged, "--state", state, "--port", "49151"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(new RegExp(`^E_BLOB_CORRUPT: .*${hash}`, "m"));
});

describe("edge-t5 workers", () => {
  test("writes a configuration a Worker, in the order of deployment, bound to each other", async () => {
    const out = join(dir, "deploy");
    const { stdout } = await edgeT5(["workers", model, "--readers", "none", "--out", out, "--json"]);
    const { workers } = JSON.parse(stdout) as {
      workers: { name: string; path: string; holds: string; bytes: number }[];
    };
    expect(workers.map(({ name }) => name)).toEqual([
      "edge-t5-encoder-0",
      "edge-t5-encoder",
      "edge-t5-decoder-0",
      "edge-t5-decoder-1",
      "edge-t5-decoder",
      "edge-t5",
    ]);
    const configs = await Promise.all(
      workers.map(async ({ path }) => JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>),
    );
    expect(configs.map(({ services }) => services)).toEqual([
      [],
      [{ binding: "UPSTREAM", service: "edge-t5-encoder-0" }],
      [],
      [{ binding: "UPSTREAM", service: "edge-t5-decoder-0" }],
      [{ binding: "UPSTREAM", service: "edge-t5-decoder-1" }],
      [
        { binding: "ENCODER", service: "edge-t5-encoder" },
        { binding: "DECODER", service: "edge-t5-decoder" },
      ],
    ]);
    for (const { bytes } of workers.slice(0, -1)) expect(bytes).toBeGreaterThan(500_000);
    expect(workers.map(({ holds }) => holds).slice(0, 2)).toEqual(["encoder, layer 0", "encoder, layers 1 to 2"]);
  });

  test("prints what to deploy; refuses a folder without a package", async () => {
    const { stdout } = await edgeT5(["workers", model, "--out", join(dir, "printed"), "--one-worker"]);
    expect(stdout).toContain("encoder and decoder");
    expect(stdout.match(/npx wrangler deploy -c \S+/g)).toHaveLength(4);
    const refused = await edgeT5(["workers", dir, "--out", join(dir, "none")]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("E_PACKAGE_NOT_FOUND") });
  });
});
