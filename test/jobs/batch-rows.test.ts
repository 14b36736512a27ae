/** What rows of a batch ask of the packaged model, before anything runs. */
import { beforeAll, describe, expect, test } from "vitest";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { askRow, parseBatchRow, planRow } from "../../src/jobs/batch/spec.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { loadTokenizer } from "../../src/t5/tokenizer.ts";
import type { LongTarget } from "../../src/tenancy/long-texts.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";

const LENGTHS = {
  edge: { MAX_PROMPT_TOKENS: 512, MAX_NEW_TOKENS: 256, MAX_SEQUENCES: 4 },
  longest: { MAX_PROMPT_TOKENS: 2048, MAX_NEW_TOKENS: 1024, MAX_SEQUENCES: 4 },
};

let model: LongTarget["model"];
beforeAll(async () => {
  const store = new FolderStore(DEFAULT_PACKAGE);
  const manifest = await readManifest(store);
  model = { manifest, tokenizer: await loadTokenizer(manifest, store) };
});

function plan(body: object, definition: object | null = null) {
  const task = definition && {
    ...{ name: "t", version: 1 },
    definition: taskDefinitionSchema.parse({ model: "default", overridable: ["max_tokens"], ...definition }),
  };
  const json = { custom_id: "a", method: "POST", url: "/v1/completions", body: { model: "t", ...body } };
  const row = parseBatchRow(json);
  const asked = askRow(row, task, {}, LENGTHS);
  return { ...planRow(row, asked, { task, model, lengths: LENGTHS }), maxNewTokens: asked.maxNewTokens };
}

const GERMAN = { template: "translate English to German: {input}" };
const LETTER = "The house is old. Where is my book? The house is old. Tom sleeps.";

describe("a prompt that goes whole", () => {
  test("may be as long as an origin takes it, unless its task is for the edge alone", () => {
    const prompt = "word ".repeat(600);
    expect(plan({ prompt }).size.longest).toBeGreaterThan(512);
    expect(plan({ prompt }, { ...GERMAN, placement: { run: "origin" } }).size.longest).toBeGreaterThan(512);
    const atEdge = { ...GERMAN, placement: { run: "edge" } };
    expect(() => plan({ prompt }, atEdge)).toThrow(/up to 512 are taken/);
    expect(() => plan({ prompt: "word ".repeat(2100) })).toThrow(/up to 2048 are taken/);
  });

  test("has the edge's answers by default, and longer ones where they are asked for", () => {
    expect(plan({ prompt: "a" }, { ...GERMAN, generation: { max_new_tokens: 900 } }).maxNewTokens).toBe(900);
    expect(plan({ prompt: "a", max_tokens: 1024 }).maxNewTokens).toBe(1024);
    expect(plan({ prompt: "a" }).maxNewTokens).toBeLessThanOrEqual(256);
    expect(() => plan({ prompt: "a", max_tokens: 1024 }, { ...GERMAN, placement: { run: "edge" } })).toThrow(
      /up to 256/,
    );
  });
});

describe("a text in pieces", () => {
  const SENTENCES = { ...GERMAN, long: "sentences" };

  test("is as many prompts as it has sentences that differ; with max_tokens it goes whole where it fits", () => {
    const { size, pieces, prompts } = plan({ prompt: [LETTER, "12:30"] }, SENTENCES);
    expect([size.prompts, prompts, pieces?.prompts.length]).toEqual([3, [], 3]);
    const counts = pieces?.prompts.map((prompt) => model.tokenizer.encode(prompt).length) ?? [];
    expect(size.promptTokens).toBe(counts.reduce((sum, count) => sum + count, 0));
    const whole = plan({ prompt: LETTER, max_tokens: 64 }, SENTENCES);
    expect([whole.pieces, whole.prompts.length]).toEqual([null, 1]);
    expect(plan({ prompt: "The house is old." }, SENTENCES).pieces).toBeNull();
  });

  test("is labelled by windows", () => {
    const labels = { template: "classify package: {input}", labels: ["net", "libs"], long: "windows" };
    const { size, windows } = plan({ prompt: ["a game", "A library for sockets. ".repeat(200)] }, labels);
    expect(windows?.map(({ prompts }) => prompts.length)[0]).toBe(1);
    expect(size.prompts).toBeGreaterThan(3);
    expect(size.longest).toBeLessThanOrEqual(512);
  });

  test("may not come to more of them than a request's", () => {
    const prompt = Array.from({ length: 20_001 }, (_, i) => `Look ${i}.`).join("\n");
    expect(() => plan({ prompt }, SENTENCES)).toThrow(/20001 pieces .* up to 20000/);
  });
});
