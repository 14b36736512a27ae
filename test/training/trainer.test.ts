/** Runs of the trainer on the reference models: what they learn, write, survive and refuse. */
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Checkpoint } from "../../model-split/checkpoint.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { parseAdapter, readAdapter } from "../../src/t5/adapter.ts";
import { collate } from "../../src/training/batch.ts";
import { loadModel } from "../../src/training/checkpoint.ts";
import { Learner, type LearnerOptions } from "../../src/training/learner.ts";
import type { StepEvent, TrainEvent, TrainOptions } from "../../src/training/trainer.ts";
import { train } from "../../src/training/trainer.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { BASE, eventsOf, ToySource, toyExample, toyOptions } from "./toy.ts";

const steps = (events: readonly TrainEvent[]) => events.filter((event): event is StepEvent => event.type === "step");

async function filesOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  const read = async (name: string) => [name, (await readFile(join(folder, name))).toString("base64")];
  return Object.fromEntries(await Promise.all(names.map(read)));
}

test("a run learns, and tells step by step how", async () => {
  const run = join(await temporaryFolder(), "run");
  const events = await eventsOf(toyOptions(run, { steps: 60, checkpointEvery: 25 }));
  expect(events[0]).toMatchObject({ type: "start", step: 0, steps: 60, provider: "cpu", resumedFrom: null });
  const all = steps(events);
  expect(all.map(({ step }) => step)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  const mean = (part: StepEvent[]) => part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
  expect(mean(all.slice(-5))).toBeLessThan(0.8 * mean(all.slice(0, 5)));
  for (const { tokens, tokensPerSecond, secondsLeft, gradientNorm, learningRate, crossEntropy, loss } of all) {
    expect(tokens).toBeGreaterThan(50);
    expect(tokensPerSecond).toBeGreaterThan(0);
    expect(secondsLeft).toBeGreaterThanOrEqual(0);
    expect(gradientNorm).toBeGreaterThan(0);
    expect(learningRate).toBeGreaterThan(0);
    expect(crossEntropy).toBeCloseTo(loss, 6);
  }
  expect(all.at(-1)?.secondsLeft).toBe(0);
  expect(events.flatMap((event) => (event.type === "checkpoint" ? [event.step] : []))).toEqual([25, 50, 60]);
  expect(events.at(-1)).toEqual({ type: "end", step: 60, path: join(run, "step-00000060") });
  expect((await readdir(run)).sort()).toEqual(["step-00000050", "step-00000060"]);
});

test("a checkpoint is a Hugging Face directory of the base's architecture", async () => {
  const run = await temporaryFolder();
  await eventsOf(toyOptions(run, { steps: 2 }));
  const path = join(run, "step-00000002");
  expect(await readFile(join(path, "config.json"), "utf8")).toBe(await readFile(join(BASE, "config.json"), "utf8"));
  const checkpoint = await Checkpoint.open(path);
  try {
    const { tiedHead } = await checkpoint.plan();
    expect(tiedHead).toBe(true);
    expect(checkpoint.unknownTensors()).toEqual([]);
  } finally {
    await checkpoint.close();
  }
});

describe("a run that goes on ends with the same bits", () => {
  const CASES: [string, Partial<TrainOptions>][] = [
    ["AdamW", {}],
    ["AdamW with steps scaled by RMS", { optimizer: { name: "adamw", scaleByRms: true } }],
    ["Adafactor", { optimizer: { name: "adafactor", scaleParameter: true, relativeStep: true } }],
    ["LoRA with dropout", { lora: { rank: 4, dropout: 0.2 } }],
    ["the model's own dropout", { dropout: "config" }],
  ];

  test.each(CASES)("%s: stopped after a step, then resumed", async (_, more) => {
    const [whole, parts] = [await temporaryFolder(), await temporaryFolder()];
    await eventsOf(toyOptions(whole, more));
    const controller = new AbortController();
    const stopped: TrainEvent[] = [];
    const running = async () => {
      for await (const event of train(toyOptions(parts, { ...more, signal: controller.signal }))) {
        stopped.push(event);
        if (event.type === "step" && event.step === 7) controller.abort(new Error("enough"));
      }
    };
    await expect(running()).rejects.toThrow("enough");
    expect(stopped.at(-1)).toMatchObject({ type: "checkpoint", step: 7 });
    const resumed = await eventsOf(toyOptions(parts, { ...more, resume: true }));
    expect(steps(resumed).map(({ step }) => step)).toEqual([8, 9, 10, 11, 12]);
    expect(await filesOf(join(parts, "step-00000012"))).toEqual(await filesOf(join(whole, "step-00000012")));
  });

  test("killed at any moment, again and again", async () => {
    const [whole, parts] = [await temporaryFolder(), await temporaryFolder()];
    const more = { steps: 40, checkpointEvery: 2 };
    await eventsOf(toyOptions(whole, more));
    const script = fileURLToPath(new URL("./child.ts", import.meta.url));
    let [kills, ended] = [0, false];
    while (!ended) {
      const child = spawn(process.execPath, [script, JSON.stringify({ run: parts, ...more })], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      // Counted in lines that it wrote, and then some: a checkpoint that is being written, or a step.
      const lines = 1 + Math.floor(Math.random() * 12);
      let seen = 0;
      child.stdout.on("data", (data: Buffer) => {
        seen += data.toString().split("\n").length - 1;
        if (seen >= lines && kills < 6) setTimeout(() => child.kill("SIGKILL"), Math.random() * 15);
      });
      const signal = await new Promise((done) => child.on("exit", (_, by) => done(by)));
      if (signal === "SIGKILL") kills++;
      else ended = true;
    }
    expect(kills).toBeGreaterThan(0);
    const last = "step-00000040";
    expect(await filesOf(join(parts, last))).toEqual(await filesOf(join(whole, last)));
    expect((await readdir(parts)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

test("dropout changes what is learned from, not what a batch is measured by", async () => {
  const { config, tiedHead, weights } = await loadModel(BASE);
  const batch = collate(
    Array.from({ length: 8 }, (_, i) => toyExample(i)),
    config,
  );
  const losses = async (options: Partial<LearnerOptions>) => {
    const learner = await Learner.open(config, weights, { tiedHead, optimizer: { name: "adamw" }, ...options });
    try {
      const seen: number[] = [];
      for (let i = 0; i < 2; i++) {
        await learner.accumulate(batch);
        seen.push(learner.losses.total);
      }
      return { first: seen[0]!, second: seen[1]! - seen[0]!, evaluated: (await learner.evaluate([batch])).total };
    } finally {
      await learner.close();
    }
  };
  const [none, some, again, other] = await Promise.all([
    losses({}),
    losses({ dropout: 0.3 }),
    losses({ dropout: 0.3 }),
    losses({ dropout: 0.3, seed: 1 }),
  ]);
  expect(some.evaluated).toBe(none.evaluated);
  expect(again).toEqual(some);
  expect(new Set([none.first, some.first, some.second, other.first]).size).toBe(4);
});

test("an adapter is one that PEFT's format has, for the base that it was trained on", async () => {
  const run = await temporaryFolder();
  const lora = { rank: 4, alpha: 12, targetModules: ["SelfAttention.q", "wo"], rslora: true };
  await eventsOf(toyOptions(run, { steps: 3, lora }));
  const files = await readAdapter(new FolderStore(join(run, "step-00000003")));
  expect(files.config).toMatchObject({
    peft_type: "LORA",
    r: 4,
    lora_alpha: 12,
    use_rslora: true,
    target_modules: lora.targetModules,
  });
  const { config } = await loadModel(BASE);
  const { modules } = parseAdapter(files, config);
  expect(modules.size).toBe(2 * (config.numLayers + config.numDecoderLayers));
  for (const { rank, scale, b } of modules.values()) {
    expect(rank).toBe(4);
    expect(scale).toBe(6);
    expect(b.some((value) => value !== 0)).toBe(true);
  }
});

describe("what cannot go on is a clear error", () => {
  test("a loss that is no number: the last good checkpoint stays, and is named", async () => {
    const run = await temporaryFolder();
    const options = toyOptions(run, {
      steps: 200,
      schedule: { peak: 1e30 },
      maxGradientNorm: 1e30,
      checkpointEvery: 1,
    });
    const error = await eventsOf(options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "E_DIVERGED",
      message: expect.stringMatching(/last good checkpoint is .*step-0000000\d/),
    });
    const [path = ""] = /\S*step-\d{8}/.exec((error as Error).message) ?? [];
    const { weights } = await loadModel(path);
    for (const values of weights.values()) expect(values.every(Number.isFinite)).toBe(true);
  });

  test.each<[string, Partial<TrainOptions>, RegExp]>([
    ["data that end", { data: new ToySource(30), steps: 50 }, /data ended before step \d+/],
    ["a learning rate of nothing", { schedule: { peak: 0 } }, /learning rate is 0/],
    ["no steps", { steps: 0 }, /steps is 0/],
    ["a dropout of everything", { dropout: 1 }, /dropout is 1/],
    [
      "an adapter for a layer that is not there",
      { lora: { targetModules: ["wi_0"] } },
      /no linear layer is called wi_0.*wi/,
    ],
  ])("%s", async (_, more, message) => {
    const run = await temporaryFolder();
    await expect(eventsOf(toyOptions(run, more))).rejects.toMatchObject({
      code: "E_INPUT",
      message: expect.stringMatching(message),
    });
  });

  test("token ids that the model does not have", async () => {
    const data = {
      async *read() {
        for (;;) yield { example: { input: Int32Array.of(9999, 1), target: Int32Array.of(5, 1) }, position: 0 };
      },
    };
    await expect(eventsOf(toyOptions(await temporaryFolder(), { data }))).rejects.toMatchObject({
      code: "E_INPUT",
      message: expect.stringMatching(/token 9999/),
    });
  });

  test("a run that is there already, without resume; and resume with other settings", async () => {
    const run = await temporaryFolder();
    await eventsOf(toyOptions(run, { steps: 2 }));
    await expect(eventsOf(toyOptions(run, { steps: 2 }))).rejects.toThrow(/has a run's checkpoints/);
    await expect(eventsOf(toyOptions(run, { steps: 2, seed: 6, resume: true }))).rejects.toThrow(
      /begun with seed 5, not 6/,
    );
  });

  test("resume with another dropout; a run of before there was dropout has none", async () => {
    const run = await temporaryFolder();
    await eventsOf(toyOptions(run, { steps: 2 }));
    const path = join(run, "step-00000002", "trainer_state.json");
    const state = JSON.parse(await readFile(path, "utf8"));
    expect(state.settings.dropout).toBe(0);
    delete state.settings.dropout;
    await writeFile(path, JSON.stringify(state));
    await expect(eventsOf(toyOptions(run, { steps: 2, dropout: 0.1, resume: true }))).rejects.toThrow(
      /begun with dropout 0, not 0\.1/,
    );
    await eventsOf(toyOptions(run, { steps: 2, resume: true }));
  });

  test("a folder that cannot be written", async () => {
    const run = join(await temporaryFolder(), "run");
    await mkdir(run);
    await writeFile(join(run, ".step-00000002.tmp"), "");
    await writeFile(join(run, "step-00000002"), "");
    await expect(eventsOf(toyOptions(run, { steps: 2, resume: true }))).rejects.toMatchObject({
      code: expect.stringMatching(/^E_/),
    });
  });

  test("a provider that is not here", async () => {
    await expect(eventsOf(toyOptions(await temporaryFolder(), { provider: "cuda" }))).rejects.toMatchObject({
      code: "E_PROVIDER",
    });
  });
});
