/** A training run from its beginning, or from where it was left, to its end. */
import { mkdir, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { EdgeT5Error } from "../../errors.ts";
import { latestCheckpoint } from "../checkpoint.ts";
import { type TrainEvent, type TrainOptions, train } from "../trainer.ts";
import { type BaseRequest, checkBase, checkGivenBase, loadBase, prepareBase } from "./base.ts";
import { openData, type RunData } from "./data.ts";
import { isThere } from "./files.ts";
import { lockRun } from "./lock.ts";
import { EVALUATION_ROWS, planTraining, type TrainingRequest } from "./plan.ts";
import { type Evaluated, type RunEnd, RunRecord } from "./record.ts";
import {
  baseDir,
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
  await mkdir(checkpointsDir(run), { recursive: true });
  const newest = await latestCheckpoint(checkpointsDir(run));
  const record = await RunRecord.open(run, settings, newest?.state.step ?? 0);
  let data: RunData | null = null;
  try {
    if (newest && record.hasLostPatience) return yield record.end(newest.state.step, newest.path);
    const seed = training.seed;
    data = await openData(settings.data, { dir: dataDir(run), config, tokenizer, seed, evaluationRows, ...context });
    for await (const event of train(trainOptionsOf(run, settings, data, record.evaluatedStep, context.signal))) {
      if (event.type === "evaluation") {
        yield await record.evaluated(event, data.validation, tokenizer, context.signal);
        if (record.hasLostPatience) return yield record.end(event.step, event.path);
      } else if (event.type === "end") {
        yield record.end(event.step, event.path);
      } else {
        if (event.type === "step") await record.step(event);
        else if (event.type === "checkpoint") await record.plot();
        yield event;
      }
    }
  } finally {
    data?.close();
    await record.close();
  }
}

function trainOptionsOf(
  run: string,
  settings: RunSettings,
  { source, validation }: RunData,
  evaluatedStep: number,
  signal: AbortSignal | undefined,
): TrainOptions {
  const { training, checkpointEvery, keepCheckpoints, evaluateEvery } = settings;
  const { batchTokens, poolExamples, ...rest } = training;
  const sets = Object.fromEntries(validation.map(({ name, examples }) => [name, examples]));
  return {
    ...rest,
    ...{ base: baseDir(run, settings), data: source, run: checkpointsDir(run), resume: true },
    ...{ checkpointEvery, keepCheckpoints, signal },
    batch: { batchTokens, poolExamples },
    lora: training.lora ?? undefined,
    ...(validation.length > 0 && { validation: { sets, every: evaluateEvery, evaluatedStep } }),
  };
}
