/**
 * `npm run quality [-- --checkpoint DIR] [--data DIR] [--rows N]`: what fewer bits cost: scores of each task, bytes,
 * milliseconds a token; and how far weights are apart, with the interval that the choice of rows leaves.
 *
 * With a float checkpoint: split at 32, 8 and 4 bits. Without: the packaged int8 model, and what its weights, taken as
 * they are, give in float32 arithmetic and at 4 bits; beside them, on the rows kept here, the scores of the float checkpoint
 * that it was made of, from the answers in test/fixtures/reference.
 *
 * Exits 1 when int8 is further from float32 (or from that checkpoint), or int8 keys and values from float32 ones, than is
 * allowed of a score or of the loss, whichever rows were chosen; or, on the same weights, when int8 gives the same text in
 * too few rows.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineCommand, renderUsage, runCommand } from "citty";
import { dequantize } from "../../model-split/dequantize.ts";
import { type Bits, splitCheckpoint } from "../../model-split/index.ts";
import { checkArguments, wholeNumber } from "../../src/cli/arguments.ts";
import { engineOption, kernelsOption, loadEngine } from "../../src/cli/engine.ts";
import { formatCount, formatTable, printJson, withErrors } from "../../src/cli/output.ts";
import { createProgress } from "../../src/cli/progress.ts";
import { DEFAULT_PACKAGE } from "../../src/index.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { type Difference, isBeyond } from "./interval.ts";
import {
  agreement,
  LOSS_TOLERANCE,
  type Loss,
  loadSubject,
  lossDifference,
  lossOf,
  metricOf,
  type Subject,
  scoreDifference,
  scoreOf,
  timeTokens,
} from "./measure.ts";
import { readReference, TASKS, type Task } from "./reference.ts";
import { byTask, keptRows, type Row, type Rows, validationRows } from "./rows.ts";

/** Percent. int8 keys and values turn a near tie of two tokens in 2 to 3 % of the rows. */
const LEAST_AGREEMENT = 95;
const MOST_ROWS = 1e6;
const TIMING_ROUNDS = 15;
/** int8 weights with keys and values in float32: what keeping those in int8 costs. */
const EXACT_CACHE = "int8, float32 cache";

/** What weights gave to all rows. */
interface Measured {
  texts: Record<Task, string[]>;
  /** Null for answers that were made elsewhere. */
  losses: Record<Task, Loss[]> | null;
}

interface Line {
  weights: string;
  /** Null for answers that were made elsewhere. */
  bytes: number | null;
  ms_a_token: number | null;
  scores: Record<Task, { metric: string; score: number }>;
  loss: number | null;
  /** Rows with float32's text, in percent. */
  same_text: number;
}

/** Which weights are held to which. */
interface Comparison {
  weights: string;
  to: string;
  /** Whether they may be no further apart than a metric's tolerance. */
  isHeld: boolean;
}

interface Compared extends Comparison {
  scores: Record<Task, Difference>;
  loss: Difference | null;
}

const command = defineCommand({
  meta: { name: "quality", description: "What fewer bits cost: scores of each task, bytes, milliseconds a token" },
  args: {
    checkpoint: { type: "string", valueHint: "dir", description: "Float checkpoint to split at 32, 8 and 4 bits" },
    data: {
      type: "string",
      valueHint: "dir",
      description: "Measure on all validation rows of recipes/default-model/mixture.json, whose files are here",
    },
    rows: { type: "string", valueHint: "n", description: "Most rows of a task; default: all, 200 without --data" },
    engine: engineOption,
    kernels: kernelsOption,
    json: { type: "boolean", description: "Print one JSON object instead of tables" },
  },
  async run({ args: { checkpoint, data, ...args } }) {
    const most = args.rows === undefined ? MOST_ROWS : wholeNumber("--rows", args.rows, 1, MOST_ROWS);
    const rows = data === undefined ? keptRows(most) : await validationRows(data, most);
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
      const measured = new Map<string, Measured>();
      if (!checkpoint && data === undefined) measured.set("checkpoint", kept(most));
      const total = (measured.size + subjects.size) * TASKS.length;
      for (const [weights, subject] of subjects) {
        const before = measured.size * TASKS.length;
        const onTask = (task: Task) => progress?.update(before + TASKS.indexOf(task), total, `${weights}, ${task}`);
        measured.set(weights, await measuredOf(subject, rows, onTask));
      }
      progress?.stop();
      const times = await timeTokens([...subjects.values()], TIMING_ROUNDS);
      const lines = [...measured].map(([weights, own]): Line => {
        const place = [...subjects.keys()].indexOf(weights);
        return {
          weights,
          bytes: subjects.get(weights)?.bytes ?? null,
          ms_a_token: times[place] ?? null,
          scores: byTask((task) => ({
            metric: metricOf(task).name,
            score: scoreOf(task, own.texts[task], rows[task]),
          })),
          loss: own.losses && lossOf(TASKS.flatMap((task) => own.losses?.[task] ?? [])),
          same_text: sameText(own, measured.get("float32") ?? own),
        };
      });
      const compared = COMPARISONS.flatMap((each) => {
        const [ours, theirs] = [measured.get(each.weights), measured.get(each.to)];
        return ours && theirs ? [compare(each, ours, theirs, rows)] : [];
      });
      const problems = problemsOf(lines, compared, !checkpoint);
      const passed = problems.length === 0;
      const counts = byTask((task) => rows[task].length);
      if (args.json)
        printJson({
          passed,
          problems,
          checkpoint: checkpoint ?? null,
          engine: args.engine,
          rows: counts,
          weights: lines,
          differences: compared,
        });
      else
        console.log(
          `${tableOf(lines)}\n\n${differenceTable(compared)}\n\n${explanation(checkpoint, measured.has("checkpoint"), counts)}\n` +
            (passed ? "passed" : `FAILED: ${problems.join("; ")}`),
        );
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

async function measuredOf(subject: Subject, rows: Rows, onTask: (task: Task) => void): Promise<Measured> {
  const measured = { texts: byTask((): string[] => []), losses: byTask((): Loss[] => []) };
  for (const task of TASKS) {
    onTask(task);
    measured.texts[task] = await subject.answer(rows[task]);
    measured.losses[task] = await subject.losses(rows[task]);
  }
  return measured;
}

/** What the packaged model's float checkpoint answered. */
function kept(most: number): Measured {
  const texts = byTask((task) =>
    readReference(task)
      .slice(0, most)
      .map(({ greedy }) => greedy),
  );
  return { texts, losses: null };
}

const COMPARISONS: readonly Comparison[] = [
  { weights: "int8", to: EXACT_CACHE, isHeld: true },
  { weights: "int8", to: "float32", isHeld: true },
  { weights: "int8", to: "checkpoint", isHeld: true },
  { weights: "int4", to: "float32", isHeld: false },
];

function compare(comparison: Comparison, ours: Measured, theirs: Measured, rows: Rows): Compared {
  const { losses: ourLosses } = ours;
  const { losses: theirLosses } = theirs;
  const all = (losses: Record<Task, Loss[]>) => TASKS.flatMap((task) => losses[task]);
  return {
    ...comparison,
    scores: byTask((task) => scoreDifference(task, ours.texts[task], theirs.texts[task], rows[task])),
    loss:
      ourLosses &&
      theirLosses &&
      lossDifference(
        all(ourLosses),
        all(theirLosses),
        TASKS.flatMap((task): readonly Row[] => rows[task]),
      ),
  };
}

function sameText({ texts }: Measured, exact: Measured): number {
  return agreement(
    TASKS.flatMap((task) => texts[task]),
    TASKS.flatMap((task) => exact.texts[task]),
  );
}

/** Where int8 is further off than it may be. @param sameWeights float32 computes with int8's */
function problemsOf(lines: readonly Line[], compared: readonly Compared[], sameWeights: boolean): string[] {
  const int8 = lines.find(({ weights }) => weights === "int8");
  if (!int8 || compared.length === 0) return ["nothing was measured"];
  const problems = compared
    .filter(({ isHeld }) => isHeld)
    .flatMap(({ weights, to, scores, loss }) => {
      const off = TASKS.filter((task) => isBeyond(scores[task], metricOf(task).tolerance)).map(
        (task) => `${weights}'s ${metricOf(task).name} of ${task} is more than ${metricOf(task).tolerance} off ${to}'s`,
      );
      if (!loss || !isBeyond(loss, LOSS_TOLERANCE)) return off;
      return [...off, `${weights}'s loss is more than ${LOSS_TOLERANCE} off ${to}'s`];
    });
  if (sameWeights && int8.same_text < LEAST_AGREEMENT) {
    problems.push(`int8 gives float32's text in less than ${LEAST_AGREEMENT} % of the rows`);
  }
  return problems;
}

function taskHeaders(): string[] {
  return TASKS.map((task) => `${task}, ${metricOf(task).name}`);
}

function tableOf(lines: readonly Line[]): string {
  return formatTable(
    ["WEIGHTS", "BYTES", "MS A TOKEN", ...taskHeaders(), "LOSS", "SAME TEXT"],
    lines.map(({ weights, bytes, ms_a_token, scores, loss, same_text }) => [
      weights,
      bytes === null ? "–" : formatCount(bytes),
      ms_a_token === null ? "–" : ms_a_token.toFixed(3),
      ...TASKS.map((task) => scores[task].score.toFixed(2)),
      loss === null ? "–" : loss.toFixed(4),
      `${same_text.toFixed(2)} %`,
    ]),
  );
}

function differenceTable(compared: readonly Compared[]): string {
  const cell = (difference: Difference | null, digits: number) => {
    if (!difference) return "–";
    const [value, low, high] = [difference.value, difference.low, difference.high].map((each) => signed(each, digits));
    return `${value} [${low}, ${high}]`;
  };
  return formatTable(
    ["DIFFERENCE", ...taskHeaders(), "LOSS"],
    compared.map(({ weights, to, scores, loss }) => [
      `${weights} − ${to}`,
      ...TASKS.map((task) => cell(scores[task], 2)),
      cell(loss, 4),
    ]),
  );
}

function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}

function explanation(checkpoint: string | undefined, hasAnswers: boolean, counts: Record<Task, number>): string {
  const about =
    `${TASKS.map((task) => formatCount(counts[task])).join(" + ")} rows, greedy; a token of one stream; loss: of people's answers, nats a token;\n` +
    "same text: as float32's; differences with their 95 % intervals (paired bootstrap).";
  if (checkpoint) return about;
  const packaged = `${about} float32 and int4 are the packaged int8 weights as\nthey are, computed in float32 and rounded again`;
  return hasAnswers
    ? `${packaged}; checkpoint: the float weights that they were made of, as Hugging Face answered.`
    : `${packaged}.`;
}

const rawArgs = process.argv.slice(2);
await withErrors(rawArgs.includes("--json"), async () => {
  const args = typeof command.args === "function" ? await command.args() : await command.args;
  if (rawArgs.includes("--help")) return console.log(await renderUsage(command));
  checkArguments("npm run quality --", args ?? {}, rawArgs);
  await runCommand(command, { rawArgs });
});
