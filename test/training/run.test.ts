/** Runs: what their folder holds, and that it holds the same whatever happens on the way. */
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { bucketed } from "../../src/training/buckets.ts";
import { mixture, mixtureRates, preparePairs } from "../../src/training/data/index.ts";
import type { ExampleSource } from "../../src/training/example.ts";
import { loadBase } from "../../src/training/run/base.ts";
import { openData } from "../../src/training/run/data.ts";
import {
  type DataSettings,
  type RunEvent,
  type RunRequest,
  readMixture,
  resumeRun,
  startRun,
} from "../../src/training/run/index.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { filesOf, outcomeOf, rows, tinyBase, writeRows } from "./run-kit.ts";
import { take } from "./tokenizer.ts";

type Asked = RunRequest & { data: DataSettings };

async function request(more: Partial<RunRequest["training"]> = {}): Promise<Asked> {
  const dir = await temporaryFolder();
  const train = await writeRows(join(dir, "train.jsonl"), rows(60));
  const valid = await writeRows(join(dir, "valid.jsonl"), rows(20, 8));
  return {
    run: join(dir, "run"),
    kind: "fit",
    base: { from: await tinyBase() },
    data: {
      ...{ kind: "pairs", maxInputTokens: 64, maxTargetTokens: 16, truncate: false, holdOut: 0.1 },
      tasks: [{ name: "first", train: [train], valid: [valid] }],
    },
    training: { steps: 12, checkpointEvery: 4, learningRate: 1e-2, threads: 1, seed: 3, ...more },
  };
}

async function eventsOf(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const all: RunEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const task = (data: DataSettings) => (data.kind === "pairs" ? data.tasks : [])[0]!;

test("a run's folder has its settings, metrics, plot, checkpoints and the best of them", async () => {
  const asked = await request();
  const events = await eventsOf(startRun(asked));
  const { run } = asked;
  expect((await readdir(run)).sort()).toEqual(["best", "checkpoints", "data", "loss.svg", "metrics.jsonl", "run.json"]);
  expect((await readdir(join(run, "checkpoints"))).sort()).toEqual(["step-00000008", "step-00000012"]);
  const { metrics } = await outcomeOf(run, 12);
  expect(metrics.flatMap(({ loss, step }) => (loss === undefined ? [] : [step]))).toEqual(
    Array.from({ length: 12 }, (_, i) => i + 1),
  );
  const evaluations = metrics.filter(({ evaluation }) => evaluation);
  expect(evaluations.map(({ step }) => step)).toEqual([4, 8, 12]);
  const losses = evaluations.map(({ evaluation }) => evaluation.loss);
  const best = evaluations[losses.indexOf(Math.min(...losses))];
  expect(JSON.parse(await readFile(join(run, "best/trainer_state.json"), "utf8")).step).toBe(best.step);
  expect(events.at(-1)).toMatchObject({ type: "end", step: 12, early: false, best: { step: best.step, score: null } });
  const svg = await readFile(join(run, "loss.svg"), "utf8");
  expect(svg.match(/<circle/g)).toHaveLength(3 + 1);
  expect(svg).toContain(">step</text>");
});

test("what it measures changes nothing of what is trained", async () => {
  const measured = await request({ evaluateEvery: 1 });
  await eventsOf(startRun(measured));
  const blind = { ...(await request()), data: structuredClone(measured.data) };
  const { valid: _, ...first } = task(blind.data);
  blind.data = { ...blind.data, holdOut: 0, tasks: [{ ...first, valid: [] }] } as DataSettings;
  const events = await eventsOf(startRun(blind));
  expect(events.some(({ type }) => type === "evaluation")).toBe(false);
  const last = "checkpoints/step-00000012/model.safetensors";
  expect(await readFile(join(blind.run, last))).toEqual(await readFile(join(measured.run, last)));
});

test("stopped, then resumed by its folder alone, it ends as one that was not", async () => {
  const asked = await request({ evaluateEvery: 3, checkpointEvery: 5 });
  await eventsOf(startRun(asked));
  const whole = await outcomeOf(asked.run, 12);
  for (const stop of [1, 3, 5, 11]) {
    const run = join(await temporaryFolder(), "run");
    const controller = new AbortController();
    const running = async () => {
      for await (const event of startRun({ ...asked, run }, { signal: controller.signal })) {
        if (event.type === "step" && event.step === stop) controller.abort(new Error("enough"));
      }
    };
    await expect(running()).rejects.toThrow("enough");
    await eventsOf(resumeRun(run));
    expect(await outcomeOf(run, 12)).toEqual(whole);
  }
});

test("left between a checkpoint and its evaluation, it makes that up", async () => {
  const asked = await request();
  await eventsOf(startRun(asked));
  const whole = await outcomeOf(asked.run, 12);
  const run = join(await temporaryFolder(), "run");
  for await (const event of startRun({ ...asked, run })) if (event.type === "checkpoint" && event.step === 8) break;
  // Half a line, as a process leaves it that is killed while it writes.
  await writeFile(join(run, "metrics.jsonl"), '{"step":9,"lo', { flag: "a" });
  await eventsOf(resumeRun(run));
  expect(await outcomeOf(run, 12)).toEqual(whole);
});

test("it ends when it has lost patience, and has then ended for good", async () => {
  const asked = await request({ steps: 40, evaluateEvery: 1, patience: 2, learningRate: 3e-1 });
  const events = await eventsOf(startRun(asked));
  const end = events.at(-1);
  expect(end).toMatchObject({ type: "end", early: true });
  const evaluations = events.filter((event) => event.type === "evaluation");
  expect(evaluations.slice(-2).map(({ best }) => best)).toEqual([false, false]);
  expect(evaluations.at(-3)?.best).toBe(true);
  expect(await eventsOf(resumeRun(asked.run))).toEqual([end]);
});

describe("by a metric", () => {
  test.each([
    ["a model", undefined],
    ["an adapter", { rank: 8, targetModules: ["q", "k", "v", "o", "wi", "wo"] }],
  ])("the answers of %s say which checkpoint is best", async (_, lora) => {
    const asked = await request({ steps: 60, checkpointEvery: 20, lora, learningRate: 2e-2 });
    asked.data = { ...asked.data, tasks: [{ ...task(asked.data), metric: "accuracy" }] } as DataSettings;
    // What random weights never answer: the same word to everything.
    for (const [path = ""] of [task(asked.data).train, task(asked.data).valid]) {
      await writeRows(
        path,
        rows(30).map(({ input }) => ({ input, target: "q x q" })),
      );
    }
    const events = await eventsOf(startRun(asked));
    const evaluations = events.filter((event) => event.type === "evaluation");
    const scores = evaluations.map(({ score }) => score ?? Number.NaN);
    expect(evaluations.map(({ tasks }) => tasks.first?.accuracy)).toEqual(scores);
    expect(Math.max(...scores)).toBe(100);
    expect(events.at(-1)).toMatchObject({ type: "end", best: { score: Math.max(...scores) } });
    expect(existsSync(join(asked.run, "best", lora ? "adapter_model.safetensors" : "model.safetensors"))).toBe(true);
    expect((await readdir(asked.run)).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

describe("a mixture", () => {
  async function mixtureFile(change: (tasks: Record<string, unknown>[]) => object = (tasks) => ({ tasks })) {
    const dir = await temporaryFolder();
    await writeRows(join(dir, "a.jsonl"), rows(30, 1));
    await writeRows(join(dir, "b.jsonl"), rows(90, 2));
    await writeRows(join(dir, "v.jsonl"), rows(10, 3));
    const tasks = [
      { name: "a", train: ["a.jsonl"], valid: ["v.jsonl"], template: "a {input}", rate: 0.42 },
      { name: "b", train: ["b.jsonl"], valid: ["v.jsonl"], template: "b {input}", cut: { input: 5 }, rate: 0.07 },
    ];
    const path = join(dir, "mixture.json");
    await writeFile(path, JSON.stringify(change(tasks)));
    return { path, dir };
  }
  const LIMITS = { maxInputTokens: 12, maxTargetTokens: 4, truncate: true, holdOut: 0 };

  async function sourceOf(path: string): Promise<{ source: ExampleSource; base: string; dir: string }> {
    const base = await tinyBase();
    const dir = await temporaryFolder();
    const data = { kind: "pairs" as const, ...LIMITS, ...(await readMixture(path)) };
    const { source } = await openData(data, { dir, ...(await loadBase(base)), seed: 1, evaluationRows: 5 });
    return { source, base, dir };
  }

  test("gives the batches that its parts give by hand: same seeds, same order", async () => {
    const { path, dir } = await mixtureFile();
    const { source, base } = await sourceOf(path);
    const { config, tokenizer } = await loadBase(base);
    const of = async (name: string, format: object) => {
      const common = { tokenizer, vocabSize: config.vocabSize, ...LIMITS, dir: join(await temporaryFolder(), name) };
      return (await preparePairs({ files: [join(dir, `${name}.jsonl`)], ...format, ...common })).train(1);
    };
    const parts = [
      await of("a", { template: "a {input}" }),
      await of("b", { template: "b {input}", cut: { input: 5 } }),
    ];
    const options = { batchTokens: 60, poolExamples: 50, seed: 1 };
    const [batches, byHand] = await Promise.all(
      [source, mixture(parts, [0.42, 0.07], 1)].map((each) => take(bucketed(each, options, null), 40)),
    );
    expect(batches).toEqual(byHand);
  });

  test("without rates of the tasks goes by their sizes, and by what is said for all", async () => {
    const { path, dir } = await mixtureFile((tasks) => ({
      tasks: tasks.map(({ rate: _, ...each }) => each),
      rates: { temperature: 2 },
    }));
    const { source, base } = await sourceOf(path);
    const { config, tokenizer } = await loadBase(base);
    const of = async (name: string, format: object) => {
      const common = { tokenizer, vocabSize: config.vocabSize, ...LIMITS, dir: join(await temporaryFolder(), name) };
      return (await preparePairs({ files: [join(dir, `${name}.jsonl`)], ...format, ...common })).train(1);
    };
    const parts = [
      await of("a", { template: "a {input}" }),
      await of("b", { template: "b {input}", cut: { input: 5 } }),
    ];
    const rates = mixtureRates([30, 90], { temperature: 2 });
    expect(await take(source.read(null), 50)).toEqual(await take(mixture(parts, rates, 1).read(null), 50));
  });

  test("is what the default model's recipe has", async () => {
    const { tasks } = await readMixture(
      fileURLToPath(new URL("../../recipes/default-model/mixture.json", import.meta.url)),
      "/data",
    );
    expect(tasks.map(({ rate }) => rate)).toEqual([0.42, 0.42, 0.09, 0.07]);
    expect(tasks[0]).toMatchObject({ train: ["/data/tatoeba.en-de.train.tsv.gz"], metric: "bleu" });
  });

  test("is measured task by task, on rows that are read once", async () => {
    const { path } = await mixtureFile();
    const asked = await request({ steps: 2 });
    asked.data = { kind: "pairs", ...LIMITS, ...(await readMixture(path)) };
    const events = await eventsOf(startRun(asked));
    const evaluated = events.find((event) => event.type === "evaluation");
    expect(Object.keys(evaluated?.tasks ?? {})).toEqual(["a", "b"]);
    const losses = Object.values(evaluated?.tasks ?? {}).map(({ loss = Number.NaN }) => loss);
    expect(evaluated?.loss).toBeCloseTo(losses.reduce((sum, loss) => sum + loss, 0) / 2, 10);
  });

  test.each<[string, (tasks: Record<string, unknown>[]) => object, RegExp]>([
    ["a rate for some of the tasks", ([a, b]) => ({ tasks: [a, { ...b, rate: undefined }] }), /some tasks have a rate/],
    ["rates twice", (tasks) => ({ tasks, rates: { equal: true } }), /"rates" for all/],
    ["two of a name", ([a]) => ({ tasks: [a, a] }), /two tasks are called a/],
    ["an unknown field", ([a]) => ({ tasks: [{ ...a, prefix: "x" }] }), /tasks\.0: .*prefix/],
  ])("with %s is refused", async (_, change, message) => {
    const { path } = await mixtureFile(change);
    await expect(readMixture(path)).rejects.toMatchObject({ code: "E_INPUT", message: expect.stringMatching(message) });
  });
});

describe("what cannot be is refused, and nothing is lost", () => {
  const broken = (line: string) => async (asked: Asked) => {
    const [file = ""] = task(asked.data).train;
    await writeFile(file, `${line}\n`, { flag: "a" });
  };

  test.each<[string, (asked: Asked) => unknown, string, RegExp]>([
    ["a broken row", broken('{"input": "a b", "targ'), "E_DATA_ROW", /train\.jsonl:61: it is not JSON/],
    ["a target outside of the labels", broken('{"input":"a","target":"z"}'), "E_DATA_LABEL", /train\.jsonl:61: .*"z"/],
    [
      "a row over the limit",
      broken(`{"input":"${"a ".repeat(80)}","target":"a"}`),
      "E_DATA_LENGTH",
      /train\.jsonl:61: it has 81 tokens.*limits are 64 and 16/,
    ],
    [
      "too few rows",
      (asked) => writeRows(task(asked.data).train[0] ?? "", rows(3)),
      "E_DATA_TOO_SMALL",
      /has 3 rows, 8 are needed/,
    ],
  ])("%s: before any training, and mended it goes", async (_, spoil, code, message) => {
    const asked = await request({ steps: 2 });
    const [file = ""] = task(asked.data).train;
    asked.data = { ...asked.data, tasks: [{ ...task(asked.data), labels: ["a", "b", "c", "d"] }] } as DataSettings;
    const good = await readFile(file);
    await spoil(asked);
    await expect(eventsOf(startRun(asked))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    expect(existsSync(join(asked.run, "run.json"))).toBe(false);
    await writeFile(file, good);
    expect((await eventsOf(startRun(asked))).at(-1)).toMatchObject({ type: "end", step: 2 });
  });

  test("a loss that is no number ends the run; the best and the last good checkpoint stay", async () => {
    const asked = await request({ learningRate: 1e6, checkpointEvery: 1, steps: 400, warmup: 300 });
    const error = await eventsOf(startRun(asked)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: "E_DIVERGED",
      message: expect.stringMatching(/last good checkpoint is \S+step-/),
    });
    const [path = ""] = /\S*step-\d{8}/.exec((error as Error).message) ?? [];
    expect(Object.keys(await filesOf(path))).toContain("model.safetensors");
    expect(existsSync(join(asked.run, "best/model.safetensors"))).toBe(true);
    expect(existsSync(join(asked.run, "lock"))).toBe(false);
  });

  test("a folder that has a run, or other files", async () => {
    const asked = await request({ steps: 1 });
    await eventsOf(startRun(asked));
    const before = await outcomeOf(asked.run, 1);
    await expect(eventsOf(startRun(asked))).rejects.toMatchObject({
      code: "E_INPUT",
      message: expect.stringMatching(/has a run already.*--resume/),
    });
    expect(await outcomeOf(asked.run, 1)).toEqual(before);
    const run = await temporaryFolder();
    await writeFile(join(run, "thesis.txt"), "years of work");
    await expect(eventsOf(startRun({ ...asked, run }))).rejects.toThrow(/is not empty: it has thesis\.txt/);
    expect(await readdir(run)).toEqual(["thesis.txt"]);
    await expect(eventsOf(resumeRun(run))).rejects.toThrow(/is not the folder of a run/);
  });

  test("two at once; the lock of a process that is gone counts for nothing", async () => {
    const asked = await request({ steps: 3 });
    const first = startRun(asked);
    await first.next();
    await expect(eventsOf(resumeRun(asked.run))).rejects.toMatchObject({
      code: "E_BUSY",
      message: expect.stringContaining(`in use by process ${process.pid}`),
    });
    await first.return();
    for (const stale of [JSON.stringify({ pid: process.pid, host: hostname(), began: "1" }), "", '{"pid":4194999']) {
      await writeFile(join(asked.run, "lock"), stale);
      expect((await eventsOf(resumeRun(asked.run))).at(-1)).toMatchObject({ type: "end", step: 3 });
    }
  });

  test("an adapter's run is not resumed with another base, nor one that was changed", async () => {
    const asked = await request({ steps: 3, lora: { rank: 2 } });
    await eventsOf(startRun(asked));
    const { from } = asked.base as { from: string };
    const before = await outcomeOf(asked.run, 3);
    const refusal = { code: "E_INPUT", message: expect.stringMatching(/is not the model that the run began from/) };
    await expect(eventsOf(resumeRun(asked.run, { base: await tinyBase(2) }))).rejects.toMatchObject(refusal);
    await eventsOf(resumeRun(asked.run, { base: from }));
    await rm(from, { recursive: true });
    await cp(await tinyBase(2), from, { recursive: true });
    await expect(eventsOf(resumeRun(asked.run))).rejects.toMatchObject(refusal);
    expect(await outcomeOf(asked.run, 3)).toEqual(before);
  });

  test("data that changed while the run was left", async () => {
    const asked = await request();
    for await (const event of startRun(asked)) if (event.type === "checkpoint") break;
    const [file = ""] = task(asked.data).train;
    await writeRows(file, rows(61));
    await expect(eventsOf(resumeRun(asked.run))).rejects.toMatchObject({ code: "E_DATA_CHANGED" });
  });

  test("a best checkpoint that was being replaced when the process was killed", async () => {
    const asked = await request();
    for await (const event of startRun(asked)) if (event.type === "evaluation") break;
    const best = await filesOf(join(asked.run, "best"));
    await mkdir(join(asked.run, ".best.tmp"));
    await cp(join(asked.run, "best"), join(asked.run, ".best.old"), { recursive: true });
    await rm(join(asked.run, "best"), { recursive: true });
    const run = resumeRun(asked.run);
    await run.next();
    expect(await filesOf(join(asked.run, "best"))).toEqual(best);
    await run.return();
    expect((await readdir(asked.run)).filter((name) => name.startsWith("."))).toEqual([]);
  });
});
