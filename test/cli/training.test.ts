/** `edge-t5 fit` and `edge-t5 train` as a person runs them: in a process of their own, that is stopped and killed. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { splitCheckpoint } from "../../model-split/index.ts";
import { loadModel } from "../../src/training/checkpoint.ts";
import { temporaryFolder } from "../model-split/checkpoints.ts";
import { filesOf as filesOfCheckpoint, HubServer, REPOSITORY } from "../model-split/hub-server.ts";
import { serve } from "../serve.ts";
import { CONFIG, outcomeOf, rows, tinyBase, writeRows, writeTokenizer } from "../training/run-kit.ts";
import { edgeT5, type Finished, startEdgeT5 } from "./process.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const LONG = 120_000;

/** A folder with rows and a model, and the command that trains on them. */
async function fitting(...more: string[]): Promise<{ dir: string; run: string; args: string[] }> {
  const dir = await temporaryFolder();
  const data = await writeRows(join(dir, "rows.jsonl"), rows(60));
  const run = join(dir, "run");
  const base = await tinyBase();
  const args = ["fit", data, "--base", base, "--run", run, "--steps", "30", "--checkpoint-every", "4"];
  return { dir, run, args: [...args, "--learning-rate", "1e-2", "--threads", "1", "--metric", "accuracy", ...more] };
}

describe("fit", () => {
  test("shows how it goes, and where what came of it lies", async () => {
    const { args } = await fitting();
    const { code, stdout, stderr } = await edgeT5(args);
    expect(code).toBe(0);
    expect(stderr).toMatch(/Training [\d,]+ parameters for 30 steps on cpu\./);
    expect(stderr).toMatch(/step 30 of 30: loss \d\.\d+, [\d,]+ tokens a second, 0 s left/);
    expect(stderr).toMatch(/step 28: task loss \d\.\d+, accuracy \d+\.\d+/);
    expect(stdout).toMatch(/Done, at step 30: .*step-00000030\n/);
    expect(stdout).toMatch(/Best: step \d+, validation loss \d\.\d+, score \d+\.\d+: .*best\n/);
  });

  test("killed at any moment, and resumed by its folder alone, it ends as one that was not", {
    timeout: LONG,
  }, async () => {
    const { dir, run, args } = await fitting(
      "--json",
      "--lora",
      "--lora-dropout",
      "0.1",
      "--dropout",
      "0.1",
      "--eval-every",
      "3",
    );
    expect((await edgeT5(args)).code).toBe(0);
    const whole = await outcomeOf(run, 30);
    const parts = join(dir, "parts");
    const begin = args.map((arg) => (arg === run ? parts : arg));
    let [kills, ended] = [0, false];
    while (!ended) {
      const again = existsSync(join(parts, "run.json")) ? ["fit", "--resume", parts, "--json"] : begin;
      const { child, ended: end } = startEdgeT5(again);
      const lines = 1 + Math.floor(Math.random() * 14);
      let seen = 0;
      child.stdout?.on("data", (data: string) => {
        seen += data.split("\n").length - 1;
        if (seen >= lines && kills < 6) setTimeout(() => child.kill("SIGKILL"), Math.random() * 30);
      });
      const { code, signal, stderr } = await end;
      if (signal === "SIGKILL") kills++;
      else {
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
        ended = true;
      }
    }
    expect(kills).toBeGreaterThan(0);
    expect(await outcomeOf(parts, 30)).toEqual(whole);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s: the step is finished, a checkpoint written, and how to go on is said", async (name, exit) => {
    const { dir, run, args } = await fitting("--checkpoint-every=1000");
    // Steps enough that the signal comes before the last one.
    const plain = args
      .filter((arg, i) => arg !== "--checkpoint-every" && args[i - 1] !== "--checkpoint-every")
      .map((arg) => (arg === "30" ? "400" : arg));
    await edgeT5(plain);
    const whole = await outcomeOf(run, 400);
    const parts = join(dir, "parts");
    const { child, ended } = startEdgeT5(plain.map((arg) => (arg === run ? parts : arg)));
    child.stderr?.on("data", (text: string) => {
      if (text.includes("step 1 of")) child.kill(name);
    });
    const { code, stderr } = await ended;
    expect(code).toBe(exit);
    expect(stderr).toContain(`Go on with: edge-t5 fit --resume ${parts}`);
    expect(await readdir(join(parts, "checkpoints"))).toHaveLength(1);
    expect(existsSync(join(parts, "lock"))).toBe(false);
    expect((await edgeT5(["fit", "--resume", parts])).code).toBe(0);
    expect(await outcomeOf(parts, 400)).toEqual(whole);
  });

  test("a folder that another process uses is refused, until that one is gone", async () => {
    const { run, args } = await fitting("--eval-every", "100000");
    const { child, ended } = startEdgeT5(args.map((arg) => (arg === "30" ? "100000" : arg)));
    const second = new Promise<Finished>((resolve) => {
      child.stderr?.on("data", (text: string) => {
        if (text.includes("step 1 of")) resolve(edgeT5(["fit", "--resume", run]));
      });
    });
    const { code, stderr } = await second;
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(new RegExp(`^E_BUSY: .* is in use by process ${child.pid}\\. Stop it first`)),
    });
    child.kill("SIGKILL");
    await ended;
    const { child: third, ended: end } = startEdgeT5(["fit", "--resume", run]);
    third.stderr?.on("data", (text: string) => {
      if (text.includes("Training")) third.kill("SIGINT");
    });
    expect((await end).code).toBe(130);
  });

  test("a disk that is full: an error that says so, nothing lost, and room made it goes on", {
    timeout: LONG,
  }, async () => {
    const { dir, run, args } = await fitting();
    await edgeT5(args);
    const whole = await outcomeOf(run, 30);
    const parts = join(dir, "parts");
    const begin = args.map((arg) => (arg === run ? parts : arg));
    expect((await limited(begin, 0)).stderr).toMatch(/^E_IO: .*could not be written/m);
    // Enough for metrics and settings, not for a model's weights.
    const { code, stderr } = await limited(begin, 20);
    expect(code).toBe(1);
    expect(stderr).toMatch(/E_IO: The checkpoint .*step-00000004 could not be written: .*make room and resume/s);
    expect(await readdir(join(parts, "checkpoints"))).toEqual([]);
    expect((await edgeT5(["fit", "--resume", parts])).code).toBe(0);
    expect(await outcomeOf(parts, 30)).toEqual(whole);
  });

  test("a package as the base: the weights that it serves are what is trained on", async () => {
    const { dir, run, args } = await fitting("--lora", "--lora-rank", "2", "--lora-targets", "q,wo");
    const from = join(dir, "package");
    await splitCheckpoint(await tinyBase(), from, { name: "tiny" });
    const packaged = args.map((arg, i) => (args[i - 1] === "--base" ? from : arg));
    expect((await edgeT5(packaged)).code).toBe(0);
    const config = JSON.parse(await readFile(join(run, "best/adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ r: 2, target_modules: ["q", "wo"], base_model_name_or_path: join(run, "base") });
    const answered = await edgeT5([
      "generate",
      "a b",
      "--model",
      from,
      "--adapter",
      join(run, "best"),
      "--max-tokens",
      "3",
    ]);
    expect(answered.code).toBe(0);
  });

  test("a package's address, and a repository of the hub, as the base", async () => {
    const { dir, run, args } = await fitting("--lora");
    const from = join(dir, "package");
    await splitCheckpoint(await tinyBase(), from, { name: "tiny" });
    const server = await serve("", { package: from });
    try {
      const address = `${server.address}/package`;
      expect((await edgeT5(args.map((arg, i) => (args[i - 1] === "--base" ? address : arg)))).code).toBe(0);
      expect(JSON.parse(await readFile(join(run, "run.json"), "utf8")).base).toMatchObject({
        source: address,
        dir: "base",
      });
    } finally {
      server.close();
    }
    const hub = await HubServer.serve(await filesOfCheckpoint(await tinyBase()));
    const env = {
      HF_ENDPOINT: hub.endpoint,
      HF_HOME: dir,
      HF_HUB_CACHE: join(dir, "hub"),
      HF_TOKEN: "",
      HF_HUB_OFFLINE: "",
    };
    const fromHub = args.map((arg, i) => (args[i - 1] === "--base" ? REPOSITORY : arg === run ? `${run}-hub` : arg));
    const { code, stderr } = await edgeT5(fromHub, { env });
    expect(stderr).toContain(`No directory ${REPOSITORY} here: taking it from`);
    expect(code).toBe(0);
  });

  test("a task's definition says what rows are", async () => {
    const { dir, run, args } = await fitting("--task", "task.json");
    const definition = { model: "m", template: "x {input}", labels: ["a", "b", "c", "d"], max_input_tokens: 40 };
    await writeFile(join(dir, "task.json"), JSON.stringify(definition));
    const { code } = await edgeT5(args.map((arg) => (arg === "task.json" ? join(dir, arg) : arg)));
    expect(code).toBe(0);
    const { data } = JSON.parse(await readFile(join(run, "run.json"), "utf8"));
    expect(data).toMatchObject({
      maxInputTokens: 40,
      tasks: [{ template: "x {input}", labels: ["a", "b", "c", "d"] }],
    });
  });

  test("a mixture, with the recipe of the default model", async () => {
    const { dir, run } = await fitting();
    const base = await tinyBase();
    await mkdir(join(dir, "data"));
    await writeRows(join(dir, "data/rows.jsonl"), rows(40));
    const tasks = [
      { name: "a", train: ["rows.jsonl"], template: "a {input}", rate: 0.9 },
      { name: "b", train: ["rows.jsonl"], template: "b {input}", rate: 0.1 },
    ];
    await writeFile(join(dir, "mixture.json"), JSON.stringify({ tasks }));
    const recipe =
      "--batch-tokens 4096 --pool-examples 32768 --label-smoothing 0.1 --optimizer adamw-scaled --betas 0.9,0.98 --max-input-tokens 256 --max-target-tokens 64 --truncate --schedule constant --learning-rate 5e-3 --warmup 2 --seed 1 --threads 2 --steps 4 --checkpoint-every 2 --keep-checkpoints 3 --hold-out 0";
    const mixed = ["fit", "--mixture", join(dir, "mixture.json"), "--data", join(dir, "data")];
    const { code, stderr } = await edgeT5([...mixed, "--base", base, "--run", run, ...recipe.split(" ")]);
    expect({ code, failure: /E_.*/.exec(stderr) }).toEqual({ code: 0, failure: null });
    expect(JSON.parse(await readFile(join(run, "run.json"), "utf8")).training).toEqual({
      steps: 4,
      batchTokens: 4096,
      poolExamples: 32768,
      accumulate: 1,
      schedule: { kind: "constant", peak: 0.005, warmup: 2 },
      optimizer: { name: "adamw", scaleByRms: true, betas: [0.9, 0.98] },
      dropout: 0,
      labelSmoothing: 0.1,
      zLoss: 0,
      maxGradientNorm: 1,
      lora: null,
      seed: 1,
      threads: 2,
      provider: "cpu",
    });
  });

  test.each<[string, string[], RegExp]>([
    ["no folder", ["a.tsv"], /--run is missing/],
    ["no rows", ["--run", "r"], /FILES are missing/],
    ["more than a run resumes with", ["--resume", "r", "--steps", "3"], /--steps beside --resume/],
    ["rows beside a resumed run", ["a.tsv", "--resume", "r"], /Files beside --resume/],
    ["a task beside a mixture", ["--mixture", "m.json", "--task", "t", "--run", "r"], /--task beside --mixture/],
    [
      "an adapter's rank without an adapter",
      ["a.tsv", "--run", "r", "--lora-rank", "4"],
      /--lora-rank belongs to --lora/,
    ],
    ["a rate that is none", ["a.tsv", "--run", "r", "--learning-rate", "fast"], /--learning-rate is "fast"/],
  ])("%s is a mistake that is told", async (_, args, message) => {
    const { code, stderr } = await edgeT5(["fit", ...args], { cwd: await temporaryFolder() });
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^E_USAGE: /);
  });
});

describe("train", () => {
  async function corpus(dir: string): Promise<string> {
    const path = join(dir, "corpus.txt");
    await writeFile(
      path,
      rows(500)
        .map(({ input }) => `${input} ${input}\n`)
        .join(""),
    );
    return path;
  }

  test("a model from nothing: a configuration, a tokenizer, a text", async () => {
    const dir = await temporaryFolder();
    await writeTokenizer(join(dir, "tokenizer"));
    const { vocab_size: size, ...config } = CONFIG;
    await writeFile(join(dir, "config.json"), JSON.stringify(config));
    const given = ["--config", join(dir, "config.json"), "--tokenizer", join(dir, "tokenizer")];
    const sizes = ["--max-input-tokens", "32", "--steps", "60", "--threads", "1", "--json"];
    const run = join(dir, "run");
    const { code, stdout } = await edgeT5(["train", await corpus(dir), ...given, "--run", run, ...sizes]);
    expect(code).toBe(0);
    const events = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const losses = events.filter(({ type }) => type === "evaluation").map(({ loss }) => loss);
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]);
    const { config: trained } = await loadModel(join(run, "best"));
    expect(trained.vocabSize).toBe(size);
  });

  test("goes on from a checkpoint, with another way to take away", async () => {
    const dir = await temporaryFolder();
    const run = join(dir, "run");
    const args = ["--base", await tinyBase(), "--denoiser", "ul2", "--max-input-tokens", "64", "--steps", "3"];
    expect((await edgeT5(["train", await corpus(dir), ...args, "--run", run])).code).toBe(0);
    expect(await readdir(join(run, "checkpoints"))).toContain("step-00000003");
  });

  test("too small a corpus, too small a vocabulary, nothing to begin from", async () => {
    const dir = await temporaryFolder();
    const run = ["--run", join(dir, "run")];
    await writeFile(join(dir, "little.txt"), "a b c\n");
    await writeTokenizer(join(dir, "tokenizer"));
    await writeFile(join(dir, "config.json"), JSON.stringify({ ...CONFIG, vocab_size: 40 }));
    const little = await edgeT5(["train", join(dir, "little.txt"), "--base", await tinyBase(), ...run]);
    expect(little.stderr).toMatch(/^E_DATA_TOO_SMALL: /m);
    const given = ["--config", join(dir, "config.json"), "--tokenizer", join(dir, "tokenizer")];
    const narrow = await edgeT5(["train", await corpus(dir), ...given, ...run]);
    expect(narrow.stderr).toMatch(/vocab_size of 40, but the tokenizer has \d+ tokens/);
    expect((await edgeT5(["train", await corpus(dir), ...run])).stderr).toMatch(/Give a model to go on from/);
  });
});

/** The command, in a process whose files may not grow beyond so many blocks of 1024 bytes. */
function limited(args: readonly string[], blocks: number): Promise<{ code: number | null; stderr: string }> {
  const child = spawn("bash", ["-c", `ulimit -f ${blocks}; exec "$@"`, "bash", process.execPath, MAIN, ...args]);
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stderr })));
}
