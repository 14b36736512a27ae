/** What `fit` and `train` share: the options of a run, and what of it is shown. */
import { relative } from "node:path";
import type { ArgsDef } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { OPTIMIZERS, type RunContext, type RunEvent, type TrainingRequest } from "../training/run/index.ts";
import { SCHEDULES } from "../training/schedule.ts";
import type { StepEvent } from "../training/trainer.ts";
import { decimal, wholeNumber } from "./arguments.ts";
import { abortOnSignals, formatBytes, formatCount, Interrupted, printJson } from "./output.ts";
import { createProgress, type Progress } from "./progress.ts";

const MOST = 1_000_000_000;
const PROVIDERS = ["cpu", "auto", "cuda", "webgpu"] as const;

export const runOptions = {
  run: { type: "string", valueHint: "dir", description: "Folder of the run: settings, metrics, plot, checkpoints" },
  resume: { type: "string", valueHint: "dir", description: "Go on with the run in this folder; it needs nothing else" },
  steps: { type: "string", valueHint: "n", description: "Updates; or" },
  epochs: { type: "string", valueHint: "n", description: "Passes over the data" },
  "batch-tokens": {
    type: "string",
    valueHint: "n",
    description: "Most tokens of a batch, padding included; default: 4096, less of little data",
  },
  "pool-examples": {
    type: "string",
    valueHint: "n",
    description: "Examples sorted by length together; default: of sixteen batches, an epoch's at most",
  },
  accumulate: { type: "string", valueHint: "n", description: "Batches an update; default: 1" },
  "learning-rate": {
    type: "string",
    valueHint: "rate",
    description: "At the end of the warm-up, such as 1e-3; default: by optimizer",
  },
  schedule: { type: "enum", options: [...SCHEDULES], description: "What becomes of it after the warm-up" },
  warmup: { type: "string", valueHint: "n", description: "Steps of warm-up; default: a twentieth of all" },
  optimizer: {
    type: "enum",
    options: [...OPTIMIZERS],
    description: "adamw-scaled: steps in proportion to a tensor's root mean square, as nanoT5's",
  },
  betas: { type: "string", valueHint: "a,b", description: "Of AdamW; default: 0.9,0.999" },
  "weight-decay": { type: "string", valueHint: "part", description: "Default: the optimizer's" },
  dropout: {
    type: "string",
    valueHint: "part",
    description: "Of the whole model, or config: its dropout_rate; default: 0",
  },
  "label-smoothing": { type: "string", valueHint: "part", description: "Default: 0" },
  "z-loss": { type: "string", valueHint: "weight", description: "Keeps logits from drifting; T5 has 1e-4; default: 0" },
  "max-gradient-norm": {
    type: "string",
    valueHint: "norm",
    description: "Gradients above are scaled down; default: 1",
  },
  seed: { type: "string", valueHint: "n", description: "Of order, noise, dropout and new weights; default: 0" },
  threads: { type: "string", valueHint: "n", description: "On the processor; default: as many as it has cores" },
  provider: { type: "enum", options: [...PROVIDERS], description: "What computes; default: cpu" },
  "checkpoint-every": {
    type: "string",
    valueHint: "n",
    description: "Steps from one checkpoint to the next; default: a tenth of all, 500 at most",
  },
  "keep-checkpoints": {
    type: "string",
    valueHint: "n",
    description: "Checkpoints that stay, beside the best; default: 2",
  },
  "eval-every": {
    type: "string",
    valueHint: "n",
    description: "Steps from one evaluation to the next; default: as checkpoints",
  },
  "eval-rows": {
    type: "string",
    valueHint: "n",
    description: "Rows of each task that an evaluation measures; default: 200",
  },
  "hold-out": {
    type: "string",
    valueHint: "share",
    description: "Of the rows, to measure by, where no files are for it",
  },
  patience: { type: "string", valueHint: "n", description: "End after so many evaluations without gain" },
  json: { type: "boolean", description: "Print a JSON object a line: every event" },
} as const satisfies ArgsDef;

export type RunArgs = { [Name in keyof typeof runOptions]?: string | boolean | undefined };

/** What a command line asks for. @throws EdgeT5Error `E_USAGE` */
export function trainingRequestOf(args: RunArgs): TrainingRequest {
  const count = (name: keyof RunArgs, least = 1) =>
    optional(args[name], (value) => wholeNumber(`--${name}`, value, least, MOST));
  const positive = (name: keyof RunArgs) => optional(args[name], (value) => number(`--${name}`, value));
  return {
    steps: count("steps"),
    epochs: positive("epochs"),
    batchTokens: count("batch-tokens"),
    poolExamples: count("pool-examples"),
    accumulate: count("accumulate"),
    learningRate: positive("learning-rate"),
    schedule: args.schedule as TrainingRequest["schedule"],
    warmup: count("warmup", 0),
    optimizer: args.optimizer as TrainingRequest["optimizer"],
    betas: optional(args.betas, betasOf),
    weightDecay: optional(args["weight-decay"], (value) => decimal("--weight-decay", value, 0, 1)),
    dropout: optional(args.dropout, (value) => (value === "config" ? value : decimal("--dropout", value, 0, 0.99))),
    labelSmoothing: optional(args["label-smoothing"], (value) => decimal("--label-smoothing", value, 0, 0.99)),
    zLoss: optional(args["z-loss"], (value) => number("--z-loss", value)),
    maxGradientNorm: positive("max-gradient-norm"),
    seed: count("seed", 0),
    threads: count("threads"),
    provider: args.provider as TrainingRequest["provider"],
    checkpointEvery: count("checkpoint-every"),
    keepCheckpoints: count("keep-checkpoints"),
    evaluateEvery: count("eval-every"),
    evaluationRows: count("eval-rows"),
    patience: count("patience"),
  };
}

/** @throws EdgeT5Error `E_USAGE` */
export function shareOf(args: RunArgs, otherwise: number): number {
  return optional(args["hold-out"], (value) => decimal("--hold-out", value, 0, 0.9)) ?? otherwise;
}

/** The folder of a run that begins. @throws EdgeT5Error `E_USAGE` */
export function runFolder(args: RunArgs, command: string): string {
  if (typeof args.run === "string") return args.run;
  throw new EdgeT5Error("E_USAGE", `--run is missing: the folder that the run is kept in. See ${command} --help.`);
}

/**
 * With --resume the run's own settings hold: what else is given would be lost on them.
 *
 * @throws EdgeT5Error `E_USAGE`
 */
export function refuseBesideResume(args: Readonly<Record<string, unknown>>, allowed: readonly string[]): void {
  const isGiven = (name: string) => {
    const value = args[name];
    return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
  };
  const other = Object.keys(args).find((name) => !["resume", "json", ...allowed].includes(name) && isGiven(name));
  if (other === undefined) return;
  const what = other === "_" ? "Files" : `--${other}`;
  throw new EdgeT5Error("E_USAGE", `${what} beside --resume: a run goes on with its own settings. Leave it out.`);
}

/** Follows a run to its end, and shows it. @param begin is given what stops it, and where its preparations are told */
export async function showRun(
  folder: string,
  command: "fit" | "train",
  json: boolean,
  begin: (context: RunContext) => AsyncIterable<RunEvent>,
): Promise<void> {
  const interruption = abortOnSignals();
  const view = json ? null : new RunView(folder);
  const reading = json ? null : createProgress(process.stderr, formatBytes);
  try {
    const context = {
      signal: interruption.signal,
      onProgress: (what: string, done: number, total: number) => reading?.update(done, total, what),
    };
    for await (const event of begin(context)) {
      reading?.stop();
      if (json) printJson(event);
      else view?.show(event);
    }
  } catch (error) {
    view?.stop();
    if (error instanceof Interrupted && view?.hasBegun)
      console.error(`Go on with: edge-t5 ${command} --resume ${folder}`);
    throw error;
  } finally {
    reading?.stop();
    view?.stop();
    interruption.dispose();
  }
}

/** Lines that a run without a terminal is told in. */
const TOLD_STEPS = 20;

/** A run as a person sees it: progress on stderr, what came of it on stdout. */
class RunView {
  hasBegun = false;
  readonly #folder: string;
  readonly #bar: Progress | null = process.stderr.isTTY ? createProgress(process.stderr, formatCount) : null;

  constructor(folder: string) {
    this.#folder = folder;
  }

  show(event: RunEvent): void {
    if (event.type === "start") this.#start(event);
    else if (event.type === "step") this.#step(event);
    else if (event.type === "evaluation") this.#evaluation(event);
    else if (event.type === "end") this.#end(event);
  }

  stop(): void {
    this.#bar?.stop();
  }

  #start({ parameters, steps, step, provider, resumedFrom }: Extract<RunEvent, { type: "start" }>): void {
    this.hasBegun = true;
    const from = resumedFrom === null ? "" : ` from step ${formatCount(step)}`;
    const what = `${formatCount(parameters)} parameters for ${formatCount(steps)} steps${from}`;
    console.error(`Training ${what} on ${provider}.`);
  }

  #step({ step, steps, loss, tokensPerSecond, secondsLeft }: StepEvent): void {
    const pace = `${formatCount(Math.round(tokensPerSecond))} tokens a second, ${formatDuration(secondsLeft)} left`;
    const what = `loss ${loss.toFixed(3)}, ${pace}`;
    const every = Math.max(1, Math.floor(steps / TOLD_STEPS));
    if (this.#bar) this.#bar.update(step, steps, what);
    else if (step % every === 0 || step === 1) {
      console.error(`step ${formatCount(step)} of ${formatCount(steps)}: ${what}`);
    }
  }

  #evaluation({ step, tasks, best }: Extract<RunEvent, { type: "evaluation" }>): void {
    this.#bar?.stop();
    const figures = Object.entries(tasks).map(([name, found]) => `${name} ${figuresOf(found)}`);
    console.error(`step ${formatCount(step)}: ${figures.join("; ")}${best ? " (best so far)" : ""}`);
  }

  #end({ step, path, best, early }: Extract<RunEvent, { type: "end" }>): void {
    this.#bar?.stop();
    const shown = (file: string) => relative(".", file) || ".";
    console.log(`${early ? "Ended early" : "Done"}, at step ${formatCount(step)}: ${shown(path)}`);
    if (best) {
      const score = best.score === null ? "" : `, score ${best.score.toFixed(2)}`;
      console.log(
        `Best: step ${formatCount(best.step)}, validation loss ${best.loss.toFixed(4)}${score}: ${shown(best.path)}`,
      );
    }
    console.log(`Metrics and plot: ${this.#folder}/metrics.jsonl, ${this.#folder}/loss.svg`);
  }
}

function figuresOf(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${name === "loss" ? value.toFixed(4) : value.toFixed(2)}`)
    .join(", ");
}

/** `2 h 5 min`, `40 s` */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function optional<Result>(value: string | boolean | undefined, of: (value: string) => Result): Result | undefined {
  return typeof value === "string" ? of(value) : undefined;
}

/** A number above 0, also as 1e-3. @throws EdgeT5Error `E_USAGE` */
export function number(option: string, value: string): number {
  const parsed = /^\d*\.?\d+(e[+-]?\d+)?$/i.test(value) ? Number(value) : Number.NaN;
  if (parsed > 0 && Number.isFinite(parsed)) return parsed;
  throw new EdgeT5Error("E_USAGE", `${option} is ${JSON.stringify(value)}. It must be a number above 0, such as 1e-3.`);
}

function betasOf(value: string): readonly [number, number] {
  const parts = value.split(",");
  const [first = "", second = ""] = parts;
  if (parts.length === 2) return [decimal("--betas", first, 0, 0.99999), decimal("--betas", second, 0, 0.99999)];
  throw new EdgeT5Error("E_USAGE", `--betas is ${JSON.stringify(value)}. Write two numbers, such as 0.9,0.98.`);
}
