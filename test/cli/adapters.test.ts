/** `--adapter` of generate and eval, and `loadAdapter` of the library: one way in for PEFT's files. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { FolderStore, type LoadedAdapter, T5 } from "../../src/index.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../src/t5/adapter.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { edgeT5 } from "./process.ts";

const ADAPTERS = fileURLToPath(new URL("../fixtures/adapters/", import.meta.url));
const SENTIMENT = join(ADAPTERS, "sentiment");
const SHOUT = join(ADAPTERS, "everywhere");
const LABELS = ["positive", "negative"];

interface Row {
  input: string;
  greedy: string;
  label: string;
  logprobs: number[];
  scores: number[];
}

async function rowsOf(folder: string): Promise<Row[]> {
  const text = await readFile(join(folder, "expected.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);
}

describe("the library", () => {
  test("answers and classifies with an adapter from a folder, a store or its files; without one as ever", async () => {
    const t5 = await T5.fromPretrained();
    const row = (await rowsOf(SENTIMENT)).find(({ greedy, label }) => greedy === label);
    const input = row?.input ?? "";
    const before = await t5.generate(input);
    const files = {
      config: JSON.parse(await readFile(join(SENTIMENT, ADAPTER_CONFIG), "utf8")),
      tensors: await readFile(join(SENTIMENT, ADAPTER_TENSORS)),
    };
    const adapters: LoadedAdapter[] = [];
    for (const source of [SENTIMENT, new FolderStore(SENTIMENT), files]) adapters.push(await t5.loadAdapter(source));
    expect(new Set(adapters.map(({ id }) => id)).size).toBe(1);
    const [adapter] = adapters;
    expect((await t5.generate(input, { adapter })).text).toBe(row?.greedy);
    const pieces = [];
    for await (const piece of t5.stream(input, { adapter })) pieces.push(piece);
    expect(pieces.join("")).toBe(row?.greedy);
    const { label, scores } = await t5.classify(input, LABELS, { adapter });
    expect(label).toBe(row?.label);
    const logprob = scores.find((score) => score.label === "positive")?.logprob ?? 0;
    // Rounding the base's weights moves it a little.
    expect(Math.abs(logprob - (row?.logprobs[0] ?? 0))).toBeLessThan(0.1);
    expect(await t5.generate(input)).toEqual(before);
    expect(before.text).not.toBe(row?.greedy);
  });

  test("answers asked at once with different adapters and with none are those asked one by one", async () => {
    const t5 = await T5.fromPretrained(undefined, { batchSize: 8 });
    const adapters = [undefined, await t5.loadAdapter(SENTIMENT), await t5.loadAdapter(SHOUT)];
    const prompts = (await rowsOf(SHOUT)).slice(0, 3).map(({ input }) => input);
    const alone = [];
    for (const adapter of adapters) alone.push(await t5.generate(prompts, { adapter }));
    expect(await Promise.all(adapters.map((adapter) => t5.generate(prompts, { adapter })))).toEqual(alone);
    expect(alone[0]).not.toEqual(alone[2]);
  });

  test("refuses what is not there, and what does not fit", async () => {
    const t5 = await T5.fromPretrained();
    const folder = await temporaryFolder();
    await expect(t5.loadAdapter(folder)).rejects.toMatchObject({ code: "E_ADAPTER_NOT_FOUND" });
    const tensors = new Uint8Array(8);
    await expect(t5.loadAdapter({ config: {}, tensors })).rejects.toMatchObject({
      code: "E_ADAPTER",
      message: expect.stringContaining("peft_type"),
    });
  });
});

describe("edge-t5", () => {
  test("generate --adapter answers with it, and scores labels with it", async () => {
    const row = (await rowsOf(SENTIMENT)).find(({ greedy, label }) => greedy === label);
    const args = ["generate", row?.input ?? "", "--adapter", SENTIMENT];
    expect(await edgeT5(args)).toMatchObject({ code: 0, stdout: `${row?.greedy}\n`, stderr: "" });
    const { stdout } = await edgeT5([...args, "--labels", LABELS.join(), "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ label: row?.label });
  });

  test("eval --adapter measures with it", async () => {
    const labels = ["--metric", "accuracy", "--labels", LABELS.join(), "--reference-field", "label", "--json"];
    const args = ["eval", fileURLToPath(new URL("../../model-split/default", import.meta.url)), ...labels];
    const accuracy = async (...more: string[]) => {
      const { stdout } = await edgeT5([...args, "--data", join(SENTIMENT, "expected.jsonl"), ...more]);
      return JSON.parse(stdout) as { scores: { accuracy: number }; adapter?: string };
    };
    const adapted = await accuracy("--adapter", SENTIMENT);
    // Hugging Face's float32, of whose hundred labels four may differ.
    const rows = await rowsOf(SENTIMENT);
    const right = rows.filter(({ label, scores }) => LABELS[scores.indexOf(Math.max(...scores))] === label).length;
    expect(Math.abs(adapted.scores.accuracy - right)).toBeLessThanOrEqual(4);
    expect(right).toBeGreaterThan(50);
    expect(adapted.adapter).toBe(SENTIMENT);
    expect(await accuracy()).not.toHaveProperty("adapter");
  });

  test("an adapter that is not there is named", async () => {
    const folder = await temporaryFolder();
    const { code, stderr } = await edgeT5(["generate", "a", "--adapter", folder]);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^E_ADAPTER_NOT_FOUND: ${folder} has no adapter_`, "m"));
  });

  test.each(["generate", "eval", "golden"])("%s --help tells of it, with an example", async (name) => {
    const { stdout } = await edgeT5([name, "--help"]);
    expect(stdout).toMatch(name === "golden" ? /LoRA adapters/ : /--adapter/);
    expect(stdout).toMatch(/edge-t5 \w+ .*(--adapter|--checkpoint) \.\//);
  });
});
