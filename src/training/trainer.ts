/** Training from a source of examples to a folder of checkpoints, as an iterator of what happens. */
import { mkdir } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { EdgeT5Error } from "../errors.ts";
import { type Batch, collate } from "./batch.ts";
import { type BatchPosition, type BucketOptions, bucketed } from "./buckets.ts";
import type { Example, ExampleSource, Json } from "./example.ts";
import type { Opened, StepResult } from "./host.ts";
import type { LoraOptions } from "./lora.ts";
import type { LossOptions } from "./loss.ts";
import type { OptimizerOptions } from "./optimizers/index.ts";
import { RemoteHost } from "./remote.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import type { Provider, SessionOptions } from "./session.ts";

export interface TrainOptions extends LossOptions, SessionOptions {
  /** A Hugging Face directory: the model that training begins from. */
  base: string;
  data: ExampleSource;
  /** The folder of the run's checkpoints, `step-00000100` and so on. */
  run: string;
  /** Updates of the whole run. */
  steps: number;
  schedule: Schedule;
  optimizer: OptimizerOptions;
  /** Batches by length; `batchTokens` counts padding. */
  batch: Omit<BucketOptions, "seed">;
  /** Batches an update. Default 1. */
  accumulate?: number | undefined;
  /** Default 1. */
  maxGradientNorm?: number | undefined;
  /** Train an adapter in place of the model. */
  lora?: LoraOptions | undefined;
  /** Part that T5's dropout drops; `config`: the base's own `dropout_rate`, with which transformers trains. Default 0. */
  dropout?: number | "config" | undefined;
  /** Of the order of batches, dropout and an adapter's beginning. Default 0. */
  seed?: number | undefined;
  /** Updates from one checkpoint to the next. Default 500. */
  checkpointEvery?: number | undefined;
  /** Checkpoints that stay. Default 2. */
  keepCheckpoints?: number | undefined;
  /** Go on where the run's newest checkpoint is. Default false: a run that has checkpoints is refused. */
  resume?: boolean | undefined;
  /** What is measured on the way; what is learned stays the same. */
  validation?: Validation | undefined;
  /** Stops after the step that runs, writes a checkpoint, and throws its reason. */
  signal?: AbortSignal | undefined;
}

export interface Validation {
  /** Examples by name, each set with a loss of its own. */
  sets: Readonly<Record<string, readonly Example[]>>;
  /** Updates from one evaluation to the next; there is a checkpoint at each, and one of both after the last update. */
  every: number;
  /** The last step whose evaluation is known: a run that goes on evaluates the step where it does if that is later. Default 0. */
  evaluatedStep?: number | undefined;
}

export type TrainEvent =
  | { type: "start"; step: number; steps: number; parameters: number; provider: Provider; resumedFrom: string | null }
  | StepEvent
  | { type: "checkpoint"; step: number; path: string }
  | EvaluationEvent
  | { type: "end"; step: number; path: string };

export interface StepEvent {
  type: "step";
  step: number;
  steps: number;
  /** Of the update's labels, the mean: what is minimized, and the cross entropy alone. */
  loss: number;
  crossEntropy: number;
  learningRate: number;
  /** Before it was limited. */
  gradientNorm: number;
  /** Tokens of input and target, without padding. */
  tokens: number;
  tokensPerSecond: number;
  /** At the pace of the last steps. */
  secondsLeft: number;
}

export interface EvaluationEvent {
  type: "evaluation";
  step: number;
  /** Mean cross entropy a label of each set. */
  losses: Record<string, number>;
  /** The checkpoint of what was evaluated. */
  path: string;
}

/** Steps whose pace counts for {@link StepEvent.secondsLeft}. */
const PACE_STEPS = 20;

/**
 * Trains. A run that is killed and resumed ends with the same bits as one that was not, on the processor with the same
 * number of threads.
 *
 * @throws EdgeT5Error `E_INPUT` (settings that cannot be, a run that has checkpoints without `resume`, or was begun with
 * other settings, data that ends too early, token ids that the model does not have), `E_DIVERGED` for a loss that is no number,
 * `E_IO` for a checkpoint that cannot be written, `E_PROVIDER`, and what a checkpoint's reading throws; the signal's reason
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, void, undefined> {
  const { run, steps, signal, seed = 0, accumulate = 1, checkpointEvery = 500 } = options;
  check(options);
  signal?.throwIfAborted();
  const settings = settingsOf(options);
  await mkdir(run, { recursive: true });
  const host = new RemoteHost();
  try {
    const opened = await open(host, options);
    let step = opened.resumed?.state.step ?? 0;
    let position = (opened.resumed?.state.position ?? null) as BatchPosition | null;
    let saved = opened.resumed?.path ?? null;
    const { provider, parameters } = opened;
    yield { type: "start", step, steps, parameters, provider, resumedFrom: saved };
    const save = async () => {
      const state = { step, position: position as Json, settings };
      saved = await host.call("save", { run, keep: options.keepCheckpoints ?? 2, state });
      return saved;
    };

    const evaluate = async (path: string): Promise<EvaluationEvent> => {
      const losses = await lossesOf(host, options, opened);
      return { type: "evaluation", step, losses, path };
    };
    const isEvaluated = () => options.validation && (step % options.validation.every === 0 || step === steps);
    if (saved !== null && isEvaluated() && step > (options.validation?.evaluatedStep ?? 0)) yield await evaluate(saved);

    const source = bucketed(options.data, { ...options.batch, seed }, position);
    const read = (done: number) => quietly(gather(source, accumulate, opened, done));
    const pace = new Pace();
    try {
      let isSaved = opened.resumed !== null;
      let next = step < steps ? read(step) : null;
      while (step < steps) {
        pace.begin();
        const { batches, position: behind } = await next!;
        const rate = learningRate(options.schedule, step + 1, steps);
        const maxGradientNorm = options.maxGradientNorm ?? 1;
        const running = quietly(host.call("step", { batches, learningRate: rate, maxGradientNorm }));
        // The next update's examples are read and padded while this one is computed.
        next = step + 1 < steps ? read(step + 1) : null;
        const result = await running;
        if (!Number.isFinite(result.total) || !Number.isFinite(result.gradientNorm)) {
          throw diverged(step + 1, result, saved);
        }
        step++;
        position = behind;
        isSaved = false;
        yield pace.event(step, steps, result, rate, batches);
        if (step % checkpointEvery === 0 || step === steps || isEvaluated()) {
          const path = await save();
          isSaved = true;
          yield { type: "checkpoint", step, path };
          if (isEvaluated() && !signal?.aborted) yield await evaluate(path);
        }
        if (signal?.aborted) {
          if (!isSaved) yield { type: "checkpoint", step, path: await save() };
          signal.throwIfAborted();
        }
      }
      yield { type: "end", step, path: isSaved && saved !== null ? saved : await save() };
    } finally {
      await source.return();
    }
  } finally {
    await host.close();
  }
}

/** The batches of an update, checked, and the position behind them. @throws EdgeT5Error `E_INPUT` */
async function gather(
  source: ReturnType<typeof bucketed>,
  count: number,
  opened: Opened,
  done: number,
): Promise<{ batches: Batch[]; position: BatchPosition }> {
  const batches: Batch[] = [];
  for (;;) {
    const next = await source.next();
    if (next.done) throw tooFew(done);
    const batch = collate(next.value.examples, opened);
    checkIds(batch, opened.vocabSize);
    if (batches.push(batch) === count) return { batches, position: next.value.position };
  }
}

/** @throws the signal's reason */
async function lossesOf(
  host: RemoteHost,
  { validation, batch, signal }: TrainOptions,
  opened: Opened,
): Promise<Record<string, number>> {
  const losses: Record<string, number> = {};
  for (const [name, examples] of Object.entries(validation?.sets ?? {})) {
    let [sum, labels] = [0, 0];
    for await (const { examples: rows } of bucketed(listSource(examples), { ...batch, seed: 0 }, null)) {
      signal?.throwIfAborted();
      const collated = collate(rows, opened);
      checkIds(collated, opened.vocabSize);
      const result = await host.call("evaluate", [collated]);
      sum += result.crossEntropy;
      labels += result.labels;
    }
    losses[name] = sum / labels;
  }
  return losses;
}

function listSource(examples: readonly Example[]): ExampleSource {
  return {
    async *read() {
      for (const example of examples) yield { example, position: null };
    },
  };
}

/** A promise whose failure counts when it is awaited, not before. */
function quietly<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

async function open(host: RemoteHost, options: TrainOptions): Promise<Opened> {
  const { base, run, lora, dropout, optimizer, labelSmoothing, zLoss, provider, threads, seed = 0 } = options;
  const opened = await host.call("open", {
    base,
    run,
    learner: { lora, dropout, optimizer, labelSmoothing, zLoss, provider, threads },
    seed,
  });
  const { resumed } = opened;
  if (!resumed) return opened;
  if (!options.resume) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${run} has a run's checkpoints (${resumed.path}). Resume it, or name a folder that is not there.`,
    );
  }
  const settings = settingsOf(options);
  // Runs of before there was dropout do not say that they have none.
  const begun: Record<string, unknown> = { dropout: 0, ...resumed.state.settings };
  const other = Object.keys(settings).find((name) => !isDeepStrictEqual(settings[name], begun[name]));
  if (other !== undefined) {
    throw new EdgeT5Error(
      "E_INPUT",
      `${resumed.path} was begun with ${other} ${JSON.stringify(begun[other])}, not ${JSON.stringify(settings[other])}. Resume with the run's own settings.`,
    );
  }
  return opened;
}

/** What decides a run's numbers, as its checkpoints hold it. */
function settingsOf(options: TrainOptions): Record<string, unknown> {
  const { steps, schedule, optimizer, batch, accumulate = 1, maxGradientNorm = 1, lora = null, seed = 0 } = options;
  const { labelSmoothing = 0, zLoss = 0, dropout = 0 } = options;
  const numbers = { steps, accumulate, maxGradientNorm, seed, labelSmoothing, zLoss, dropout };
  const all = { ...numbers, schedule, optimizer, batch, lora };
  // As JSON gives it back: what is undefined is not there.
  return JSON.parse(JSON.stringify(all)) as Record<string, unknown>;
}

/** @throws EdgeT5Error `E_INPUT` */
function check({
  steps,
  schedule,
  batch,
  accumulate = 1,
  checkpointEvery = 500,
  keepCheckpoints = 2,
  dropout = 0,
  validation,
}: TrainOptions): void {
  const whole = {
    ...{ steps, accumulate, checkpointEvery, keepCheckpoints, "batch.batchTokens": batch.batchTokens },
    ...(validation && { "validation.every": validation.every }),
  };
  for (const [name, value] of Object.entries(whole)) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new EdgeT5Error("E_INPUT", `${name} is ${value}. Give a whole number of at least 1.`);
  }
  if (dropout !== "config" && !(dropout >= 0 && dropout < 1)) {
    throw new EdgeT5Error("E_INPUT", `dropout is ${dropout}. Give a part from 0 to below 1, or "config".`);
  }
  learningRate(schedule, 1, steps);
}

function checkIds({ inputIds, decoderInputIds, labels }: Batch, vocabSize: number): void {
  for (const ids of [inputIds, decoderInputIds, labels]) {
    const wrong = ids.find((id) => id < 0 || id >= vocabSize);
    if (wrong === undefined) continue;
    throw new EdgeT5Error(
      "E_INPUT",
      `The data hold token ${wrong}, but the model's vocabulary has ${vocabSize}. Tokenize with the model's own tokenizer.`,
    );
  }
}

function tooFew(step: number): EdgeT5Error {
  const fix = "Give more examples, fewer steps, or a source that begins again";
  return new EdgeT5Error("E_INPUT", `The data ended before step ${step + 1}. ${fix}.`);
}

function diverged(step: number, { total, gradientNorm }: StepResult, saved: string | null): EdgeT5Error {
  const kept = saved ? `The last good checkpoint is ${saved}` : "There is no checkpoint yet";
  return new EdgeT5Error(
    "E_DIVERGED",
    `At step ${step} the loss is ${total} and the gradients' norm ${gradientNorm}: training diverged. ${kept}. Lower the learning rate, or warm up longer.`,
  );
}

/** How fast it goes. */
class Pace {
  readonly #ends: number[] = [performance.now()];
  #began = 0;

  /** A step begins: what was between it and the one before, a checkpoint say, is none of its time. */
  begin(): void {
    this.#began = performance.now();
  }

  event(step: number, steps: number, result: StepResult, rate: number, batches: readonly Batch[]): StepEvent {
    const now = performance.now();
    const tokens = batches.reduce((sum, batch) => sum + batch.tokens, 0);
    const seconds = (now - this.#began) / 1000;
    this.#ends.push(now);
    if (this.#ends.length > PACE_STEPS + 1) this.#ends.shift();
    const aStep = (now - this.#ends[0]!) / 1000 / (this.#ends.length - 1);
    return {
      type: "step",
      step,
      steps,
      loss: result.total,
      crossEntropy: result.crossEntropy,
      learningRate: rate,
      gradientNorm: result.gradientNorm,
      tokens,
      tokensPerSecond: tokens / seconds,
      secondsLeft: aStep * (steps - step),
    };
  }
}
