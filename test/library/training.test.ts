/** A model that learns in a program: `fit`, `train`, `save`, and answers with what it learned. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { T5 as Anywhere } from "../../src/index.browser.ts";
import { type PairsSource, type RunEvent, T5 } from "../../src/index.ts";
import { loadModel } from "../../src/training/checkpoint.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { rows, tinyBase, writeRows } from "../training/run-kit.ts";

/** The same to everything. */
const PAIRS = rows(40).map(({ input }) => ({ input, target: "q x q" }));
const LEARNING = { steps: 60, learningRate: 2e-2, threads: 1, seed: 1 };
const ALL_LAYERS = { rank: 8, targetModules: ["q", "k", "v", "o", "wi", "wo"] };
const ANSWERING = { num_beams: 1, do_sample: false, max_new_tokens: 8 };

async function last(events: AsyncIterable<RunEvent>): Promise<RunEvent | undefined> {
  let event: RunEvent | undefined;
  for await (event of events);
  return event;
}

test("a checkpoint's folder answers as the package made of it", async () => {
  const checkpoint = await tinyBase();
  const dir = join(await temporaryFolder(), "package");
  await splitCheckpoint(checkpoint, dir, { bits: 32 });
  const [whole, packaged] = [await T5.fromPretrained(checkpoint), await T5.fromPretrained(dir)];
  const answers = await Promise.all([whole, packaged].map((model) => model.generate("a b c", ANSWERING)));
  expect(answers[0]?.ids).toEqual(answers[1]?.ids);
});

describe("fit", () => {
  async function* streamed() {
    yield* PAIRS;
  }
  const SOURCES: [string, () => PairsSource | Promise<PairsSource>][] = [
    ["a file", async () => writeRows(join(await temporaryFolder(), "rows.jsonl"), PAIRS)],
    ["files", async () => [await writeRows(join(await temporaryFolder(), "rows.jsonl"), PAIRS)]],
    ["rows", () => PAIRS],
    ["rows as they come", streamed],
  ];

  test.each(SOURCES)("of %s: it answers with what it learned, and is saved", async (_, source) => {
    const model = await T5.fromPretrained(await tinyBase());
    expect((await model.generate("a b", ANSWERING)).text).not.toBe("q x q");
    const steps: number[] = [];
    for await (const event of model.fit(await source(), LEARNING)) if (event.type === "step") steps.push(event.step);
    expect(steps).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect((await model.generate("a b", ANSWERING)).text).toBe("q x q");
    const dir = join(await temporaryFolder(), "saved");
    await model.save(dir);
    expect((await readdir(dir)).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const again = await T5.fromPretrained(dir);
    expect((await again.generate("c d", ANSWERING)).text).toBe("q x q");
  });

  test("of an adapter: the model beside it stays, and the adapter is what is saved", async () => {
    const base = await tinyBase();
    const packaged = join(await temporaryFolder(), "package");
    await splitCheckpoint(base, packaged, { name: "tiny" });
    const model = await T5.fromPretrained(packaged);
    await last(model.fit(PAIRS, { ...LEARNING, lora: ALL_LAYERS }));
    expect((await model.generate("a b", ANSWERING)).text).toBe("q x q");
    const dir = join(await temporaryFolder(), "adapter");
    await model.save(dir);
    expect((await readdir(dir)).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const config = JSON.parse(await readFile(join(dir, "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ peft_type: "LORA", r: 8, base_model_name_or_path: packaged });
    const fresh = await T5.fromPretrained(packaged);
    const adapter = await fresh.loadAdapter(dir);
    expect((await fresh.generate("a b", ANSWERING)).text).not.toBe("q x q");
    expect((await fresh.generate("a b", { ...ANSWERING, adapter })).text).toBe("q x q");
  });

  test("left in the middle the model is as before; resumed it learns the rest", async () => {
    const base = await tinyBase();
    const run = join(await temporaryFolder(), "run");
    const model = await T5.fromPretrained(base);
    const before = (await model.generate("a b", ANSWERING)).ids;
    for await (const event of model.fit(PAIRS, { ...LEARNING, run })) if (event.type === "checkpoint") break;
    expect((await model.generate("a b", ANSWERING)).ids).toEqual(before);
    const end = await last(model.fit([], { run, resume: true }));
    expect(end).toMatchObject({ type: "end", step: 60 });
    expect((await model.generate("a b", ANSWERING)).text).toBe("q x q");
  });

  test("of what is no pair is refused", async () => {
    const model = await T5.fromPretrained(await tinyBase());
    const wrong = [...PAIRS, { input: "a" }] as unknown as PairsSource;
    await expect(last(model.fit(wrong, LEARNING))).rejects.toMatchObject({
      code: "E_INPUT",
      message: expect.stringMatching(/Pair 41 has no input or no target/),
    });
    await expect(last(model.fit(PAIRS.slice(0, 3), LEARNING))).rejects.toMatchObject({ code: "E_DATA_TOO_SMALL" });
  });
});

test("train: on texts, and then fit", async () => {
  const corpus = join(await temporaryFolder(), "corpus.txt");
  await writeFile(
    corpus,
    rows(300)
      .map(({ input }) => `${input} ${input}\n`)
      .join(""),
  );
  const model = await T5.fromPretrained(await tinyBase());
  const losses: number[] = [];
  for await (const event of model.train(corpus, { ...LEARNING, maxInputTokens: 32 })) {
    if (event.type === "evaluation") losses.push(event.loss);
  }
  expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
  const between = join(await temporaryFolder(), "between");
  await model.save(between);
  await last(model.fit(PAIRS, LEARNING));
  const after = join(await temporaryFolder(), "after");
  await model.save(after);
  const [first, second] = await Promise.all([between, after].map(async (dir) => (await loadModel(dir)).weights));
  expect(first?.get("shared.weight")).not.toEqual(second?.get("shared.weight"));
  expect((await model.generate("a b", ANSWERING)).text).toBe("q x q");
});

test("a model that learned nothing is saved as it was, a package's weights as it serves them", async () => {
  const base = await tinyBase();
  const packaged = join(await temporaryFolder(), "package");
  await splitCheckpoint(base, packaged, { bits: 32, name: "tiny" });
  const weights = (await loadModel(base)).weights;
  for (const source of [base, packaged]) {
    const dir = join(await temporaryFolder(), "saved");
    await (await T5.fromPretrained(source)).save(dir);
    expect((await loadModel(dir)).weights).toEqual(weights);
  }
});

describe("where there is no file system, nothing of it is there", () => {
  test.each(["browser", "workerd"])("%s", async (entry) => {
    const { metafile } = await build({
      entryPoints: [new URL(`../../src/index.${entry}.ts`, import.meta.url).pathname],
      bundle: true,
      write: false,
      metafile: true,
      format: "esm",
      platform: "browser",
      external: ["*.wasm"],
      logLevel: "error",
    });
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.some((path) => path.endsWith("src/from-pretrained.ts"))).toBe(true);
    expect(inputs.filter((path) => /src\/(training|evaluation|trainable)|model-split\//.test(path))).toEqual([]);
    expect("fit" in Anywhere.prototype).toBe(false);
  });
});
