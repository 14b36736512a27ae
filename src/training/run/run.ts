/** A training run from its beginning, or from where it was left, to its end. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import { latestCheckpoint } from "../checkpoint.ts";
import { type EvaluationEvent, type StepEvent, type TrainEvent, train } from "../trainer.ts";
import { type BaseRequest, checkBase, checkGivenBase, loadBase, prepareBase } from "./base.ts";
import { openData, type RunData } from "./data.ts";
import { isThere, recoverFolder, replaceFolder } from "./files.ts";
import { lockRun } from "./lock.ts";
import { type EvaluationLine, METRICS_FILE, MetricsLog } from "./metrics.ts";
import { EVALUATION_ROWS, planTraining, type TrainingRequest } from "./plan.ts";
import { writeLossPlot } from "./plot.ts";
import { scoreTasks } from "./scores.ts";
import {
  baseDir,
  bestDir,
  checkpointsDir,
  type DataSettings,
  dataDir,
  RUN_FILE,
  type RunSettings,
  readRunFile,
  writeRunFile,
} from "./settings.ts";

export interface RunRequest {
  /** Folder of the run. */
  run: string;
  kind: RunSettings["kind"];
  base: BaseRequest;
  /** Or what makes them, where the run's folder is there and locked. @param dir for files of data */
  data: DataSettings | ((dir: string) => Promise<DataSettings>);
  training: TrainingRequest;
}

export interface RunContext {
  /** @param what is read @param done bytes of `total` */
  onProgress?: ((what: string, done: number, total: number) => void) | undefined;
  /** Stops after the step that runs, writes a checkpoint, and throws its reason. */
  signal?: AbortSignal | undefined;
}

export interface Evaluated {
  type: "evaluation";
  step: number;
  /** Mean of the tasks' losses, a label. */
  loss: number;
  /** Mean of the tasks' metrics, 0 to 100; null where none is asked for. */
  score: number | null;
  /** Loss and figures of each task. */
  tasks: Record<string, Record<string, number>>;
  /** Better than all before: it is in `best`. */
  best: boolean;
}

export interface RunEnd {
  type: "end";
  step: number;
  /** The last checkpoint. */
  path: string;
  /** Where the best checkpoint lies; null where nothing is measured. */
  best: { path: string; step: number; loss: number; score: number | null } | null;
  /** Whether it ended early, for want of gain. */
  early: boolean;
}

export type RunEvent = Exclude<TrainEvent, { type: "end" | "evaluation" }> | Evaluated | RunEnd;

/**
 * Begins a run in a folder that has none.
 *
 * @throws EdgeT5Error `E_INPUT` for a folder that has a run or other files, and as {@link prepareBase},
 * {@link openData}, {@link planTraining} and {@link train}; `E_BUSY`
 */
export async function* startRun(
  request: RunRequest,
  context: RunContext = {},
): AsyncGenerator<RunEvent, void, undefined> {
  const run = resolve(request.run);
  await refuseForeign(run);
  const lock = await lockRun(run);
  try {
    await refuseForeign(run);
    const settings = await planRun(run, request, context);
    yield* follow(run, settings, context);
  } finally {
    await lock.release();
  }
}

/**
 * Goes on where the newest checkpoint is: weights, metrics and best checkpoint end as if nothing had happened.
 *
 * @param base what the user says that the run began from; another one is refused
 * @throws EdgeT5Error `E_INPUT` for a folder that is no run's, or a base that was changed; `E_BUSY`, `E_DATA_CHANGED`
 */
export async function* resumeRun(
  folder: string,
  { base, ...context }: RunContext & { base?: string | undefined } = {},
): AsyncGenerator<RunEvent, void, undefined> {
  const run = resolve(folder);
  await readRunFile(run);
  const lock = await lockRun(run);
  try {
    const settings = await readRunFile(run);
    if (base !== undefined) await checkGivenBase(run, base, settings);
    await checkBase(baseDir(run, settings), settings);
    yield* follow(run, settings, context);
  } finally {
    await lock.release();
  }
}

/** What a run that was stopped before its first step leaves: all of it is made again. */
const LEFTOVERS = /^(\..+|base|data|lock)$/;

/** @throws EdgeT5Error `E_INPUT` */
async function refuseForeign(run: string): Promise<void> {
  if (await isThere(join(run, RUN_FILE))) {
    throw new EdgeT5Error("E_INPUT", `${run} has a run already. Go on with --resume ${run}, or name another folder.`);
  }
  const names = await readdir(run).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const other = names.find((name) => !LEFTOVERS.test(name));
  if (other === undefined) return;
  throw new EdgeT5Error("E_INPUT", `${run} is not empty: it has ${other}. Name a folder that is not there yet.`);
}

async function planRun(run: string, request: RunRequest, context: RunContext): Promise<RunSettings> {
  const { seed = 0, evaluationRows = EVALUATION_ROWS } = request.training;
  const base = await prepareBase(run, request.base, seed);
  const { config, tokenizer } = await loadBase(resolve(run, base.dir));
  const dataSettings = typeof request.data === "function" ? await request.data(dataDir(run)) : request.data;
  const data = await openData(dataSettings, { dir: dataDir(run), config, tokenizer, seed, evaluationRows, ...context });
  try {
    const plan = await planTraining(request.kind, request.training, data);
    return await writeRunFile(run, { kind: request.kind, base, data: dataSettings, evaluationRows, ...plan });
  } finally {
    data.close();
  }
}

/** Trains, measures, and writes down what happens. */
async function* follow(
  run: string,
  settings: RunSettings,
  context: RunContext,
): AsyncGenerator<RunEvent, void, undefined> {
  const { config, tokenizer } = await loadBase(baseDir(run, settings));
  const { evaluationRows, training } = settings;
  const checkpoints = checkpointsDir(run);
  await mkdir(checkpoints, { recursive: true });
  await recoverFolder(bestDir(run));
  await rm(join(run, ".evaluation.tmp"), { recursive: true, force: true });
  const newest = await latestCheckpoint(checkpoints);
  const log = await MetricsLog.open(join(run, METRICS_FILE), newest?.state.step ?? 0);
  let data: RunData | null = null;
  try {
    data = await openData(settings.data, {
      ...{ dir: dataDir(run), config, tokenizer, seed: training.seed, evaluationRows },
      ...context,
    });
    const judge = new Judge(log.evaluations, settings.patience);
    const measured = data.validation;
    const evaluate = async ({ step, losses, path }: EvaluationEvent): Promise<Evaluated> => {
      const scored = await scoreTasks(measured, {
        ...{ run, checkpoint: path, base: training.lora ? baseDir(run, settings) : null, tokenizer },
        maxNewTokens: settings.data.kind === "pairs" ? settings.data.maxTargetTokens : 1,
        signal: context.signal,
      });
      const line = judge.judged(step, losses, scored);
      if (line.evaluation.best) await replaceFolder(path, bestDir(run));
      await log.add(line);
      await plot();
      return { type: "evaluation", step, score: null, ...line.evaluation };
    };
    const plot = () =>
      writeLossPlot(join(run, "loss.svg"), {
        // Without what smoothing and z-loss add: what validation has too.
        training: log.steps.map(({ step, cross_entropy: loss }) => ({ step, loss })),
        validation: log.evaluations.map(({ step, evaluation }) => ({ step, loss: evaluation.loss })),
        steps: training.steps,
      });
    const end = (step: number, path: string): RunEnd => {
      return {
        type: "end",
        step,
        path,
        best: judge.best(bestDir(run)),
        early: judge.hasLostPatience && step < training.steps,
      };
    };
    if (newest && judge.hasLostPatience) return yield end(newest.state.step, newest.path);

    const events = train({
      ...training,
      ...{ base: baseDir(run, settings), data: data.source, run: checkpoints, resume: true },
      batch: { batchTokens: training.batchTokens, poolExamples: training.poolExamples },
      lora: training.lora ?? undefined,
      checkpointEvery: settings.checkpointEvery,
      keepCheckpoints: settings.keepCheckpoints,
      ...(measured.length > 0 && {
        validation: {
          sets: Object.fromEntries(measured.map(({ name, examples }) => [name, examples])),
          every: settings.evaluateEvery,
          evaluatedStep: judge.lastStep,
        },
      }),
      signal: context.signal,
    });
    for await (const event of events) {
      switch (event.type) {
        case "step":
          await log.add(lineOf(event));
          // What is told of a checkpoint's steps is on disk before it is.
          if (isBeforeCheckpoint(event.step, settings)) await log.sync();
          yield event;
          break;
        case "checkpoint":
          await plot();
          yield event;
          break;
        case "evaluation": {
          const evaluated = await evaluate(event);
          yield evaluated;
          if (judge.hasLostPatience) return yield end(event.step, event.path);
          break;
        }
        case "end":
          yield end(event.step, event.path);
          break;
        default:
          yield event;
      }
    }
  } finally {
    data?.close();
    await log.close();
  }
}

function isBeforeCheckpoint(step: number, { training, checkpointEvery, evaluateEvery }: RunSettings): boolean {
  return step === training.steps || step % checkpointEvery === 0 || step % evaluateEvery === 0;
}

function lineOf({ step, loss, crossEntropy, learningRate, gradientNorm, tokens, tokensPerSecond }: StepEvent) {
  return {
    ...{ step, loss, cross_entropy: crossEntropy, learning_rate: learningRate, gradient_norm: gradientNorm, tokens },
    tokens_per_second: Number(tokensPerSecond.toFixed(1)),
  };
}

/** Which evaluation is best, and whether to go on. */
class Judge {
  /** The run's own, which others are added to. */
  readonly #evaluations: readonly EvaluationLine[];
  readonly #patience: number | null;

  constructor(evaluations: readonly EvaluationLine[], patience: number | null) {
    this.#evaluations = evaluations;
    this.#patience = patience;
  }

  get lastStep(): number {
    return this.#evaluations.at(-1)?.step ?? 0;
  }

  get hasLostPatience(): boolean {
    if (this.#patience === null) return false;
    const since = this.#evaluations.length - 1 - this.#evaluations.findLastIndex(({ evaluation }) => evaluation.best);
    return this.#evaluations.length > 0 && since >= this.#patience;
  }

  judged(
    step: number,
    losses: Readonly<Record<string, number>>,
    scored: { figures: Record<string, Record<string, number>>; score: number } | null,
  ): EvaluationLine {
    const names = Object.keys(losses);
    const loss = names.reduce((sum, name) => sum + (losses[name] ?? 0), 0) / names.length;
    const tasks = Object.fromEntries(
      names.map((name) => [name, { loss: losses[name] ?? 0, ...scored?.figures[name] }]),
    );
    const before = this.#bestLine?.evaluation;
    // The higher score, and of equal ones the lower loss.
    const [score, best] = [scored?.score ?? 0, before?.score ?? 0];
    const isBest = Number.isFinite(loss) && (!before || score > best || (score === best && loss < before.loss));
    return { step, evaluation: { loss, ...(scored && { score: scored.score }), tasks, best: isBest } };
  }

  best(path: string): RunEnd["best"] {
    const line = this.#bestLine;
    return line ? { path, step: line.step, loss: line.evaluation.loss, score: line.evaluation.score ?? null } : null;
  }

  get #bestLine(): EvaluationLine | undefined {
    return this.#evaluations.findLast(({ evaluation }) => evaluation.best);
  }
}
