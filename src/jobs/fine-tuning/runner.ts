/**
 * Runs a fine-tuning: the trainer's own run folder is the checkpoint, kept file by file, so that another origin goes on
 * with the same numbers.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { stringify } from "csv-stringify/sync";
import { dequantize } from "../../../model-split/dequantize.ts";
import { ApiError } from "../../api-error.ts";
import { ADAPTER_CONFIG, ADAPTER_TENSORS } from "../../t5/adapter.ts";
import { readManifest } from "../../t5/manifest.ts";
import { loadTokenizer } from "../../t5/tokenizer.ts";
import { collate } from "../../training/batch.ts";
import type { Example } from "../../training/example.ts";
import { RemoteHost } from "../../training/remote.ts";
import { type StepEvent, type TrainOptions, train } from "../../training/trainer.ts";
import type { Ending, JobContext, Runner } from "../origin/runner.ts";
import { inputStore } from "../origin/storage.ts";
import type { NewEvent } from "../protocol.ts";
import { type RowLimits, RowsSource, readExamples } from "./rows-source.ts";
import { type FineTuningProgress, type FineTuningSpec, MOST_INPUT_TOKENS, MOST_TARGET_TOKENS } from "./spec.ts";

/** Peak learning rate of an adapter at the multiplier 1. */
const LEARNING_RATE = 1e-3;
const WARMUP_PART = 0.05;
/** Checkpoints, and told steps, of a run. */
const CHECKPOINTS = 10;
const TOLD_STEPS = 100;

/** What a checkpoint has beside the trainer's files. */
interface State extends Record<string, unknown> {
  trainedTokens: number;
  /** Of the steps that are told: step, loss, learning rate. */
  curve: [step: number, loss: number, rate: number][];
}

interface Plan {
  options: TrainOptions;
  validation: readonly Example[] | null;
}

export const fineTuningRunner: Runner = async (context) => {
  const { job } = context;
  const spec = job.spec as FineTuningSpec;
  const { options, validation } = await prepare(context, spec);
  const { steps, run } = options;
  await restore(context, run);
  const state: State = (job.checkpoint?.state as State | undefined) ?? { trainedTokens: 0, curve: [] };
  const every = Math.max(1, Math.floor(steps / TOLD_STEPS));
  let files: Record<string, string> = job.checkpoint?.files ?? {};
  let last: StepEvent | null = null;
  const progressOf = (step: number): FineTuningProgress => ({
    ...{ step, steps, trainedTokens: state.trainedTokens },
    estimatedFinish: last && Date.now() + last.secondsLeft * 1000,
  });
  for await (const event of train(options)) {
    if (event.type === "start") {
      const from = event.resumedFrom === null ? "" : ` from step ${event.step}`;
      const message = `Training ${event.parameters} parameters for ${steps} steps${from}.`;
      context.report({ events: [{ name: `start-${job.fence}`, message }] });
    } else if (event.type === "step") {
      last = event;
      state.trainedTokens += event.tokens;
      const isTold = event.step % every === 0 || event.step === steps;
      if (isTold) state.curve.push([event.step, event.loss, event.learningRate]);
      context.report({ progress: progressOf(event.step), events: isTold ? [stepEvent(event)] : [] });
    } else if (event.type === "checkpoint") {
      files = await keepFiles(context, event.path, spec.modelName);
      const metrics = { step: event.step, ...(last && { train_loss: last.loss }) };
      // A copy: the state goes on.
      const checkpoint = { step: event.step, state: { ...state, curve: [...state.curve] }, files, metrics };
      await context.commit({ checkpoint, progress: progressOf(event.step) });
    }
  }
  const loss = validation && (await validate(options, validation));
  return endingOf(context, spec, state, files, progressOf(steps), loss);
};

/** The base, the rows and the settings: the same each time. */
async function prepare({ storage, scratch, signal }: JobContext, spec: FineTuningSpec): Promise<Plan> {
  const store = inputStore(storage, `models/${spec.model}`);
  const manifest = await readManifest(store);
  const tokenizer = await loadTokenizer(manifest, store);
  const limits: RowLimits = {
    input: Math.min(MOST_INPUT_TOKENS, manifest.model.nPositions ?? MOST_INPUT_TOKENS),
    target: MOST_TARGET_TOKENS,
  };
  const read = async ({ id, filename }: { id: string; filename: string }) => {
    const stream = await storage.input(`files/${id}`);
    if (!stream) throw new ApiError(404, "file_not_found", `The file ${filename} is not there any more.`);
    return readExamples(filename, stream, tokenizer, limits);
  };
  const examples = await read(spec.training);
  const base = join(scratch, "base");
  await dequantize(manifest, store, base);
  const run = join(scratch, "run");
  await mkdir(run);
  const steps = Math.max(1, Math.ceil((examples.length * spec.epochs) / spec.batchSize));
  const { rank, alpha, dropout, targetModules } = spec.lora;
  const options: TrainOptions = {
    ...{ base, run, steps, signal, seed: spec.seed, resume: true, keepCheckpoints: 1 },
    data: new RowsSource(examples, spec.seed),
    schedule: {
      kind: "linear",
      peak: LEARNING_RATE * spec.learningRateMultiplier,
      warmup: Math.floor(steps * WARMUP_PART),
    },
    optimizer: { name: "adamw", weightDecay: 0 },
    batch: { batchTokens: spec.batchSize * (limits.input + limits.target), batchRows: spec.batchSize },
    lora: { rank, alpha, dropout, targetModules },
    checkpointEvery: Math.max(1, Math.ceil(steps / CHECKPOINTS)),
  };
  return { options, validation: spec.validation && (await read(spec.validation)) };
}

/** Puts the last checkpoint where the trainer looks for it. */
async function restore({ job, storage }: JobContext, run: string): Promise<void> {
  if (!job.checkpoint) return;
  const folder = join(run, `step-${String(job.checkpoint.step).padStart(8, "0")}`);
  await mkdir(folder);
  for (const [name, artifact] of Object.entries(job.checkpoint.files)) {
    await writeFile(join(folder, basename(name)), await storage.artifact(artifact));
  }
}

async function keepFiles({ storage }: JobContext, folder: string, base: string): Promise<Record<string, string>> {
  const step = basename(folder);
  const files: Record<string, string> = {};
  for (const name of (await readdir(folder)).sort()) {
    const file = join(folder, name);
    // It names the folder here, which is nobody else's.
    const content = name === ADAPTER_CONFIG ? await configFor(file, base) : { file };
    files[name] = await storage.put(`${step}.${name}`, content);
  }
  return files;
}

async function configFor(file: string, base: string): Promise<Uint8Array<ArrayBuffer>> {
  const config = JSON.parse(await readFile(file, "utf8")) as object;
  return new TextEncoder().encode(`${JSON.stringify({ ...config, base_model_name_or_path: base }, null, 2)}\n`);
}

function stepEvent({ step, steps, loss, learningRate, tokensPerSecond }: StepEvent): NewEvent {
  return {
    name: `step-${step}`,
    type: "metrics",
    message: `Step ${step}/${steps}: training loss=${loss.toFixed(4)}`,
    data: {
      step,
      total_steps: steps,
      train_loss: loss,
      learning_rate: learningRate,
      tokens_per_second: tokensPerSecond,
    },
  };
}

/** The mean loss a label, of what the run ended with. */
async function validate(
  { base, run, optimizer, lora, seed = 0 }: TrainOptions,
  rows: readonly Example[],
): Promise<number> {
  const host = new RemoteHost();
  try {
    const opened = await host.call("open", { base, run, seed, learner: { optimizer, lora } });
    const batches = Array.from({ length: Math.ceil(rows.length / 16) }, (_, i) =>
      collate(rows.slice(16 * i, 16 * (i + 1)), opened),
    );
    const { crossEntropy, labels } = await host.call("evaluate", batches);
    return crossEntropy / labels;
  } finally {
    await host.close();
  }
}

async function endingOf(
  { storage, job }: JobContext,
  spec: FineTuningSpec,
  { curve }: State,
  files: Record<string, string>,
  progress: FineTuningProgress,
  validLoss: number | null,
): Promise<Ending> {
  const { [ADAPTER_CONFIG]: config, [ADAPTER_TENSORS]: tensors } = files;
  if (!config || !tensors) throw new Error(`${job.id} ended without an adapter.`);
  const csv = stringify([["step", "train_loss", "learning_rate"], ...curve]);
  const artifact = await storage.put("step_metrics.csv", new TextEncoder().encode(csv));
  const data = validLoss === null ? null : { full_valid_loss: validLoss };
  const measured = validLoss === null ? "" : `, validation loss=${validLoss.toFixed(4)}`;
  return {
    status: "succeeded",
    progress: { ...progress },
    adapter: { config, tensors },
    outputs: [{ as: "result_file_id", artifact, filename: "step_metrics.csv", purpose: "fine-tune-results" }],
    events: [
      { name: "adapter", message: `New fine-tuned model: ${spec.fineTunedModel}${measured}`, data },
      { name: "succeeded", message: "The job has been successfully completed" },
    ],
  };
}
