/** From what a user asks for to a run's settings: what is left out is what suits the data. */
import { EdgeT5Error } from "../../errors.ts";
import { bucketed } from "../buckets.ts";
import type { LoraOptions } from "../lora.ts";
import type { OptimizerOptions } from "../optimizers/index.ts";
import type { Schedule } from "../schedule.ts";
import type { Provider } from "../session.ts";
import type { RunData } from "./data.ts";
import type { RunSettings, TrainingSettings } from "./settings.ts";

export const OPTIMIZERS = ["adamw", "adamw-scaled", "adafactor"] as const;

/** What a run may be told; what is left out has a default that fits the data. */
export interface TrainingRequest {
  /** Updates, */
  steps?: number | undefined;
  /** or passes over the data. Default: 3 of pairs, and 200 steps at least; 1 of a corpus. */
  epochs?: number | undefined;
  /** Most tokens of a batch, padding included. Default: 4096, less of little data. */
  batchTokens?: number | undefined;
  /** Examples that are sorted by length together. Default: of sixteen batches, an epoch's at most. */
  poolExamples?: number | undefined;
  /** Batches an update. Default 1. */
  accumulate?: number | undefined;
  /** At the end of the warm-up. Default: by optimizer, and by what is trained. */
  learningRate?: number | undefined;
  /** Default: `linear` of pairs, `cosine` of a corpus. */
  schedule?: Schedule["kind"];
  /** Steps. Default: a twentieth of all. */
  warmup?: number | undefined;
  /** `adamw-scaled`: steps in proportion to a tensor's root mean square. Default: `adamw` of pairs, else `adamw-scaled`. */
  optimizer?: (typeof OPTIMIZERS)[number] | undefined;
  /** Of both kinds of AdamW. */
  betas?: readonly [number, number] | undefined;
  weightDecay?: number | undefined;
  /** Of the whole model; `config`: the base's `dropout_rate`. Default 0. */
  dropout?: number | "config" | undefined;
  labelSmoothing?: number | undefined;
  zLoss?: number | undefined;
  /** Default 1. */
  maxGradientNorm?: number | undefined;
  /** Train an adapter in place of the model. */
  lora?: LoraOptions | undefined;
  seed?: number | undefined;
  threads?: number | undefined;
  /** Default: the processor. */
  provider?: Provider | "auto" | undefined;
  /** Steps from one checkpoint to the next. Default: a tenth of all, 500 at most. */
  checkpointEvery?: number | undefined;
  /** Checkpoints that stay. Default 2. */
  keepCheckpoints?: number | undefined;
  /** Steps from one evaluation to the next. Default: with each checkpoint. */
  evaluateEvery?: number | undefined;
  /** Rows of each task that an evaluation measures. Default 200. */
  evaluationRows?: number | undefined;
  /** Evaluations without gain after which the run ends. Default: it does not. */
  patience?: number | undefined;
}

export const EVALUATION_ROWS = 200;

/** The packaged model's fine-tunings end within 200 steps for some hundred rows. */
const LEAST_STEPS = 200;
const MOST_BATCH_TOKENS = 4096;
const LEAST_BATCH_TOKENS = 512;
/** Updates that an epoch of little data is cut into. */
const LEAST_BATCHES = 16;
/**
 * Sorted by length, neighbours of a larger pool have the same length of input and of target: whole batches of one label
 * where labels differ in their tokens.
 */
const POOL_BATCHES = 16;
/** Of a corpus, whose examples are of one length. */
const CORPUS_POOL = 256;

/**
 * Peaks that the optimizers' authors and users give: T5's own fine-tuning (Raffel et al. 2020) has 1e-3 of Adafactor;
 * Hugging Face's guide to T5 1e-4 to 3e-4 of AdamW; nanoT5 2e-2 of its scaled AdamW for pretraining.
 */
const LEARNING_RATES = {
  fit: { adamw: 3e-4, "adamw-scaled": 5e-3, adafactor: 1e-3 },
  train: { adamw: 1e-3, "adamw-scaled": 1e-2, adafactor: 1e-2 },
} as const;
/** Of an adapter, with any optimizer but the scaled one: as the origin's fine-tuning jobs. */
const ADAPTER_RATE = 1e-3;

/** @throws EdgeT5Error `E_INPUT` for options that contradict each other, or data without an example */
export async function planTraining(
  kind: RunSettings["kind"],
  request: TrainingRequest,
  data: RunData,
): Promise<Pick<RunSettings, "training" | "checkpointEvery" | "keepCheckpoints" | "evaluateEvery" | "patience">> {
  const { optimizer = kind === "fit" ? "adamw" : "adamw-scaled", lora = null, seed = 0, accumulate = 1 } = request;
  if (request.steps !== undefined && request.epochs !== undefined) {
    throw new EdgeT5Error("E_INPUT", "Steps and epochs contradict each other. Give one of the two.");
  }
  if (request.betas && optimizer === "adafactor") {
    throw new EdgeT5Error("E_INPUT", "Adafactor has no betas. Leave them out, or choose an AdamW.");
  }
  if (request.patience !== undefined && data.validation.length === 0) {
    throw new EdgeT5Error(
      "E_INPUT",
      "Nothing is held out to lose patience over. Give validation rows, or hold some out.",
    );
  }
  const { batchTokens = suitableBatch(data.tokens) } = request;
  const { poolExamples = suitablePool(data, batchTokens) } = request;
  const steps =
    request.steps ?? (await stepsOf(kind, request.epochs, data, { batchTokens, poolExamples, seed }, accumulate));
  const rate = lora && optimizer !== "adamw-scaled" ? ADAPTER_RATE : LEARNING_RATES[kind][optimizer];
  const training: TrainingSettings = {
    ...{ steps, batchTokens, poolExamples, accumulate, seed },
    schedule: {
      kind: request.schedule ?? (kind === "fit" ? "linear" : "cosine"),
      peak: request.learningRate ?? rate,
      warmup: request.warmup ?? Math.floor(steps / 20),
    },
    optimizer: optimizerOf(optimizer, request),
    dropout: request.dropout ?? 0,
    labelSmoothing: request.labelSmoothing ?? 0,
    zLoss: request.zLoss ?? 0,
    maxGradientNorm: request.maxGradientNorm ?? 1,
    lora: lora && (JSON.parse(JSON.stringify(lora)) as TrainingSettings["lora"]),
    threads: request.threads,
    provider: request.provider ?? "cpu",
  };
  const checkpointEvery = request.checkpointEvery ?? Math.max(1, Math.min(500, Math.ceil(steps / 10)));
  return {
    training,
    checkpointEvery,
    keepCheckpoints: request.keepCheckpoints ?? 2,
    evaluateEvery: request.evaluateEvery ?? checkpointEvery,
    patience: request.patience ?? null,
  };
}

function suitableBatch(tokens: number): number {
  return Math.max(LEAST_BATCH_TOKENS, Math.min(MOST_BATCH_TOKENS, Math.ceil(tokens / LEAST_BATCHES)));
}

function suitablePool({ rows, tokens }: RunData, batchTokens: number): number {
  if (rows === null) return CORPUS_POOL;
  return Math.max(1, Math.min(rows, Math.ceil((POOL_BATCHES * batchTokens * rows) / tokens)));
}

/** By the batches of the first pool, which are as those of any other. */
async function stepsOf(
  kind: RunSettings["kind"],
  asked: number | undefined,
  data: RunData,
  batch: { batchTokens: number; poolExamples: number; seed: number },
  accumulate: number,
): Promise<number> {
  const epochs = asked ?? (kind === "fit" ? 3 : 1);
  let examples = 0;
  let last: Parameters<RunData["epochsAt"]>[0] = null;
  const pool = {
    async *read() {
      for await (const item of data.source.read(null)) {
        last = item.position;
        yield item;
        if (++examples === batch.poolExamples) return;
      }
    },
  };
  let batches = 0;
  for await (const _ of bucketed(pool, batch, null)) batches++;
  const steps = Math.max(1, Math.ceil((epochs * batches) / (Math.max(data.epochsAt(last), 1e-9) * accumulate)));
  return kind === "fit" && asked === undefined ? Math.max(LEAST_STEPS, steps) : steps;
}

function optimizerOf(
  name: (typeof OPTIMIZERS)[number],
  { betas, weightDecay }: TrainingRequest,
): TrainingSettings["optimizer"] {
  const decay = weightDecay === undefined ? {} : { weightDecay };
  if (name === "adafactor") return { name, ...decay };
  return {
    name: "adamw",
    ...(name === "adamw-scaled" && { scaleByRms: true }),
    ...(betas && { betas: [...betas] }),
    ...decay,
  } satisfies OptimizerOptions;
}
