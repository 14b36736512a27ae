/** What a run keeps of what happens: metrics, plot, and the best checkpoint. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { removeStaleFiles } from "../../store/staged-file.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import type { EvaluationEvent, StepEvent } from "../trainer.ts";
import type { ValidationTask } from "./data.ts";
import { recoverFolder, replaceFolder } from "./files.ts";
import { type EvaluationLine, METRICS_FILE, MetricsLog, type StepLine } from "./metrics.ts";
import { writeLossPlot } from "./plot.ts";
import { EVALUATION_PACKAGE, type Scores, scoreTasks } from "./scores.ts";
import { baseDir, bestDir, type RunSettings } from "./settings.ts";

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

export class RunRecord {
  readonly #run: string;
  readonly #settings: RunSettings;
  readonly #log: MetricsLog;
  readonly #judge: Judge;

  private constructor(run: string, settings: RunSettings, log: MetricsLog) {
    this.#run = run;
    this.#settings = settings;
    this.#log = log;
    this.#judge = new Judge(log.evaluations, settings.patience);
  }

  /** @param step the checkpoint's that the run goes on from @throws EdgeT5Error `E_IO` */
  static async open(run: string, settings: RunSettings, step: number): Promise<RunRecord> {
    await removeStaleFiles(run);
    await recoverFolder(bestDir(run));
    await rm(join(run, EVALUATION_PACKAGE), { recursive: true, force: true });
    return new RunRecord(run, settings, await MetricsLog.open(join(run, METRICS_FILE), step));
  }

  /** The last step whose evaluation is known; 0 for none. */
  get evaluatedStep(): number {
    return this.#judge.lastStep;
  }

  /** Whether too many evaluations went by without gain. */
  get hasLostPatience(): boolean {
    return this.#judge.hasLostPatience;
  }

  /** @throws EdgeT5Error `E_IO` */
  async step(event: StepEvent): Promise<void> {
    await this.#log.add(lineOf(event));
    // What is told of a checkpoint's steps is on disk before it is.
    if (isBeforeCheckpoint(event.step, this.#settings)) await this.#log.sync();
  }

  /** Measures what a checkpoint answers, and keeps it where it is best. @throws EdgeT5Error `E_IO`; the signal's reason */
  async evaluated(
    { step, losses, path }: EvaluationEvent,
    tasks: readonly ValidationTask[],
    tokenizer: Tokenizer,
    signal: AbortSignal | undefined,
  ): Promise<Evaluated> {
    const { data, training } = this.#settings;
    const scored = await scoreTasks(tasks, {
      ...{ run: this.#run, checkpoint: path, tokenizer, signal },
      base: training.lora ? baseDir(this.#run, this.#settings) : null,
      maxNewTokens: data.kind === "pairs" ? data.maxTargetTokens : 1,
    });
    const line = this.#judge.judged(step, losses, scored);
    // Written down last: what is not is measured again, and the copy made again.
    if (line.evaluation.best) await replaceFolder(path, bestDir(this.#run));
    await this.#log.add(line);
    await this.plot();
    return { type: "evaluation", step, score: null, ...line.evaluation };
  }

  /** @throws EdgeT5Error `E_IO` */
  plot(): Promise<void> {
    return writeLossPlot(join(this.#run, "loss.svg"), {
      // Without what smoothing and z-loss add: what validation has too.
      training: this.#log.steps.map(({ step, cross_entropy: loss }) => ({ step, loss })),
      validation: this.#log.evaluations.map(({ step, evaluation }) => ({ step, loss: evaluation.loss })),
      steps: this.#settings.training.steps,
    });
  }

  /** @param path of the last checkpoint */
  end(step: number, path: string): RunEnd {
    const early = this.hasLostPatience && step < this.#settings.training.steps;
    return { type: "end", step, path, best: this.#judge.best(bestDir(this.#run)), early };
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}

function isBeforeCheckpoint(step: number, { training, checkpointEvery, evaluateEvery }: RunSettings): boolean {
  return step === training.steps || step % checkpointEvery === 0 || step % evaluateEvery === 0;
}

function lineOf({
  step,
  loss,
  crossEntropy,
  learningRate,
  gradientNorm,
  tokens,
  tokensPerSecond,
}: StepEvent): StepLine {
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

  judged(step: number, losses: Readonly<Record<string, number>>, scored: Scores | null): EvaluationLine {
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
