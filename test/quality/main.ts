/**
 * `npm run quality [-- --checkpoint DIR]`: what fewer bits cost: scores of each task, bytes, milliseconds a token.
 *
 * With a float checkpoint: split at 32, 8 and 4 bits. Without: the packaged int8 model, and what its weights, taken as
 * they are, give in float32 arithmetic and at 4 bits; beside them the scores of the float checkpoint that it was made of,
 * from the answers that are kept in test/fixtures/reference.
 *
 * Exits 1 when int8 is further from float32 (or from that checkpoint) than a metric's tolerance, or, on the same weights,
 * gives the same text in fewer than 97 % of the rows.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineCommand, renderUsage, runCommand } from "citty";
import { dequantize } from "../../model-split/dequantize.ts";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { checkArguments } from "../../src/cli/arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "../../src/cli/engine.ts";
import { formatCount, formatTable, printJson, withErrors } from "../../src/cli/output.ts";
import { createProgress } from "../../src/cli/progress.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { agreement, loadSubject, METRICS, type Subject, scoreOf, timeTokens } from "./measure.ts";
import { readReference, TASKS, type Task } from "./reference.ts";

const LEAST_AGREEMENT = 97;
const TIMING_ROUNDS = 15;
/** int8 weights with keys and values in float32: what keeping those in int8 costs. */
const EXACT_CACHE = "int8, float32 cache";

type Texts = Record<Task, string[]>;

interface Row {
  weights: string;
  /** Null for answers that were made elsewhere. */
  bytes: number | null;
  ms_a_token: number | null;
  scores: Record<Task, { metric: string; score: number }>;
  /** Rows with float32's text, in percent. */
  same_text: number;
}

const command = defineCommand({
  meta: { name: "quality", description: "What fewer bits cost: scores of each task, bytes, milliseconds a token" },
  args: {
    checkpoint: { type: "string", valueHint: "dir", description: "Float checkpoint to split at 32, 8 and 4 bits" },
    engine: engineOption,
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object instead of a table" },
  },
  async run({ args: { checkpoint, ...args } }) {
    const work = await mkdtemp(join(tmpdir(), "edge-t5-quality-"));
    const progress = args.json ? null : createProgress(process.stderr, String);
    try {
      const engine = await loadEngine(args);
      const subjects = new Map<string, Subject>();
      const packages = await packagesOf(checkpoint, work);
      for (const [weights, dir] of Object.entries(packages)) {
        subjects.set(weights, await loadSubject(dir, engine));
        // Only the simd engine keeps keys and values in int8.
        if (weights === "int8" && args.engine === "simd") subjects.set(EXACT_CACHE, await loadSubject(dir, engine, 32));
      }
      const total = subjects.size + (checkpoint ? 0 : 1);
      const texts = new Map<string, Texts>(checkpoint ? [] : [["checkpoint", kept()]]);
      for (const [weights, subject] of subjects) {
        texts.set(
          weights,
          await answersOf(subject, (task) => progress?.update(texts.size, total, `${weights}, ${task}`)),
        );
      }
      progress?.stop();
      const times = await timeTokens([...subjects.values()], TIMING_ROUNDS);
      const rows = [...texts].map(([weights, own]): Row => {
        const place = [...subjects.keys()].indexOf(weights);
        return {
          weights,
          bytes: subjects.get(weights)?.bytes ?? null,
          ms_a_token: times[place] ?? null,
          scores: scoresOf(own),
          same_text: sameText(own, texts.get("float32") ?? own),
        };
      });
      const problems = problemsOf(rows);
      const passed = problems.length === 0;
      if (args.json)
        printJson({ passed, problems, checkpoint: checkpoint ?? null, engine: args.engine, weights: rows });
      else console.log(`${tableOf(rows)}\n\n${explanation(checkpoint)}\n${passed ? "passed" : `FAILED: ${problems}`}`);
      process.exitCode = passed ? 0 : 1;
    } finally {
      progress?.stop();
      await rm(work, { recursive: true, force: true });
    }
  },
});

/** Folders of the packages to compare, by their weights. */
async function packagesOf(checkpoint: string | undefined, work: string): Promise<Record<string, string>> {
  const split = async (from: string, bits: Bits) => {
    const out = join(work, `bits-${bits}`);
    await splitCheckpoint(from, out, { bits, name: "quality" });
    return out;
  };
  if (checkpoint) {
    return { float32: await split(checkpoint, 32), int8: await split(checkpoint, 8), int4: await split(checkpoint, 4) };
  }
  const store = new FolderStore(DEFAULT_PACKAGE);
  const dequantized = join(work, "dequantized");
  await dequantize(await readManifest(store), store, dequantized);
  return { float32: await split(dequantized, 32), int8: DEFAULT_PACKAGE, int4: await split(dequantized, 4) };
}

async function answersOf(subject: Subject, onTask: (task: Task) => void): Promise<Texts> {
  const texts: Partial<Texts> = {};
  for (const task of TASKS) {
    onTask(task);
    texts[task] = await subject.answer(readReference(task));
  }
  return texts as Texts;
}

/** What the packaged model's float checkpoint answered. */
function kept(): Texts {
  return byTask((task) => readReference(task).map(({ greedy }) => greedy));
}

function scoresOf(texts: Texts): Row["scores"] {
  return byTask((task) => ({
    metric: METRICS[task].name,
    score: scoreOf(task, texts[task], readReference(task)),
  }));
}

function sameText(texts: Texts, exact: Texts): number {
  return agreement(
    TASKS.flatMap((task) => texts[task]),
    TASKS.flatMap((task) => exact[task]),
  );
}

function byTask<T>(of: (task: Task) => T): Record<Task, T> {
  return Object.fromEntries(TASKS.map((task) => [task, of(task)])) as Record<Task, T>;
}

/** Where int8 is further off than it may be. */
function problemsOf(rows: readonly Row[]): string[] {
  const row = (weights: string) => rows.find((each) => each.weights === weights);
  const int8 = row("int8");
  const base = row("checkpoint") ?? row("float32");
  if (!int8 || !base) return ["nothing was measured"];
  const problems = TASKS.filter(
    (task) => Math.abs(int8.scores[task].score - base.scores[task].score) > METRICS[task].tolerance,
  ).map((task) => `int8's ${METRICS[task].name} of ${task} is more than ${METRICS[task].tolerance} off`);
  if (row("checkpoint") && int8.same_text < LEAST_AGREEMENT) {
    problems.push(`int8 gives float32's text in less than ${LEAST_AGREEMENT} % of the rows`);
  }
  return problems;
}

function tableOf(rows: readonly Row[]): string {
  const header = [
    "WEIGHTS",
    "BYTES",
    "MS A TOKEN",
    ...TASKS.map((task) => `${task}, ${METRICS[task].name}`),
    "SAME TEXT",
  ];
  return formatTable(
    header,
    rows.map(({ weights, bytes, ms_a_token, scores, same_text }) => [
      weights,
      bytes === null ? "–" : formatCount(bytes),
      ms_a_token === null ? "–" : ms_a_token.toFixed(3),
      ...TASKS.map((task) => scores[task].score.toFixed(2)),
      `${same_text.toFixed(2)} %`,
    ]),
  );
}

function explanation(checkpoint: string | undefined): string {
  const total = TASKS.reduce((sum, task) => sum + readReference(task).length, 0);
  const about = `${total} rows, greedy; a token of one stream; same text: as float32's.`;
  if (checkpoint) return about;
  return (
    `${about} float32 and int4 are the packaged int8 weights as they are, computed in float32 and\n` +
    "rounded again; checkpoint: the float weights that they were made of, as Hugging Face answered."
  );
}

const rawArgs = process.argv.slice(2);
await withErrors(rawArgs.includes("--json"), async () => {
  const args = typeof command.args === "function" ? await command.args() : await command.args;
  if (rawArgs.includes("--help")) return console.log(await renderUsage(command));
  checkArguments("npm run quality --", args ?? {}, rawArgs);
  await runCommand(command, { rawArgs });
});
