/** What a run is: all that it needs to go on, as its `run.json` holds it. */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import { METRIC_NAMES, type MetricName } from "../../evaluation/metrics.ts";
import { issueText } from "../../issue-text.ts";
import { writeAtomically } from "./files.ts";

export const RUN_FILE = "run.json";
const FORMAT = 1;

const whole = z.int().min(0);
const atLeastOne = z.int().min(1);
const share = z.number().min(0).max(1);

/** One task of a mixture, or the only one: `PairFormat` of ../data, with the files that it is for. */
export const taskSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "letters, digits, dots, underscores and hyphens"),
  /** Files of rows: JSON lines, CSV or TSV; `.gz` may follow. */
  train: z.array(z.string()).min(1),
  /** Files to measure by; without any, a share of the rows is held out. */
  valid: z.array(z.string()).default([]),
  template: z.string().optional(),
  columns: z.record(z.string(), z.string()).optional(),
  target: z.string().optional(),
  labels: z.array(z.string()).min(2).nullable().optional(),
  cut: z.record(z.string(), atLeastOne).optional(),
  /** How often, beside the others; all of them have one, or none. */
  rate: z.number().positive().optional(),
  /** Measured by generating; without any, the loss says which checkpoint is best. */
  metric: z.enum(METRIC_NAMES as [MetricName, ...MetricName[]]).optional(),
});

/** In place of rates: `Rates` of ../data. */
export const ratesSchema = z.strictObject({
  equal: z.boolean().optional(),
  limit: z.number().min(1).optional(),
  temperature: z.number().min(1).optional(),
});

const pairsSchema = z.strictObject({
  kind: z.literal("pairs"),
  tasks: z.array(taskSchema).min(1),
  rates: ratesSchema.optional(),
  maxInputTokens: atLeastOne,
  maxTargetTokens: atLeastOne,
  truncate: z.boolean(),
  holdOut: share,
});

export const DENOISERS = ["span-corruption", "prefix-lm", "ul2"] as const;

const corpusSchema = z.strictObject({
  kind: z.literal("corpus"),
  files: z.array(z.string()).min(1),
  fields: z.array(z.string()).optional(),
  maxInputTokens: z.int().min(8),
  denoiser: z.enum(DENOISERS),
  holdOut: share,
});

export const dataSchema = z.discriminatedUnion("kind", [pairsSchema, corpusSchema]);

const optimizerSchema = z.discriminatedUnion("name", [
  z.strictObject({
    name: z.literal("adamw"),
    scaleByRms: z.boolean().optional(),
    betas: z.tuple([share, share]).optional(),
    weightDecay: z.number().min(0).optional(),
  }),
  z.strictObject({
    name: z.literal("adafactor"),
    scaleParameter: z.boolean().optional(),
    weightDecay: z.number().min(0).optional(),
  }),
]);

const trainingSchema = z.strictObject({
  steps: atLeastOne,
  batchTokens: atLeastOne,
  poolExamples: atLeastOne,
  accumulate: atLeastOne,
  schedule: z.strictObject({
    kind: z.enum(["constant", "linear", "cosine", "inverse-square-root"]),
    peak: z.number().positive(),
    warmup: whole,
  }),
  optimizer: optimizerSchema,
  /** `config`: the base's `dropout_rate`. */
  dropout: z.union([share, z.literal("config")]),
  labelSmoothing: share,
  zLoss: z.number().min(0),
  maxGradientNorm: z.number().positive(),
  lora: z
    .strictObject({
      rank: atLeastOne.optional(),
      alpha: z.number().optional(),
      dropout: share.optional(),
      targetModules: z.array(z.string()).min(1).optional(),
      rslora: z.boolean().optional(),
    })
    .nullable(),
  seed: whole,
  threads: atLeastOne.optional(),
  provider: z.enum(["auto", "cpu", "cuda", "webgpu"]),
});

const runSchema = z.strictObject({
  format: z.literal(FORMAT),
  kind: z.enum(["fit", "train"]),
  base: z.strictObject({
    /** What was given: a checkpoint's folder, a package, or the configuration of a model that begins at random. */
    source: z.string(),
    /** The checkpoint: a folder elsewhere, or `base`, the run's own. */
    dir: z.string(),
    /** Of its configuration and weights. */
    sha256: z.string(),
  }),
  data: dataSchema,
  training: trainingSchema,
  checkpointEvery: atLeastOne,
  keepCheckpoints: atLeastOne,
  evaluateEvery: atLeastOne,
  /** Rows of each task that an evaluation measures. */
  evaluationRows: atLeastOne,
  /** Evaluations without gain after which the run ends; null: it never does. */
  patience: atLeastOne.nullable(),
});

export type TaskSettings = z.output<typeof taskSchema>;
export type DataSettings = z.output<typeof dataSchema>;
export type TrainingSettings = z.output<typeof trainingSchema>;
export type RunSettings = z.output<typeof runSchema>;

/** @throws EdgeT5Error `E_INPUT` where a setting cannot be */
export async function writeRunFile(run: string, settings: Omit<RunSettings, "format">): Promise<RunSettings> {
  const parsed = parseSettings(runSchema, { format: FORMAT, ...settings }, "The run's settings");
  await writeAtomically(join(run, RUN_FILE), `${JSON.stringify(parsed, null, 2)}\n`);
  return parsed;
}

/** @throws EdgeT5Error `E_INPUT` for a folder that is no run's, or whose `run.json` cannot be read */
export async function readRunFile(run: string): Promise<RunSettings> {
  const path = join(run, RUN_FILE);
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT" && cause.code !== "ENOTDIR") throw cause;
    throw new EdgeT5Error("E_INPUT", `${run} is not the folder of a run: it has no ${RUN_FILE}. Begin one with --run.`);
  });
  return parseSettings(runSchema, parseJson(text, path), path);
}

/** Checks settings that a person wrote. @throws EdgeT5Error `E_INPUT`, naming what is wrong and where */
export function parseSettings<Output>(schema: z.ZodType<Output>, json: unknown, where: string): Output {
  const parsed = schema.safeParse(json, { error: issueText });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new EdgeT5Error("E_INPUT", `${where}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}. Change it.`);
}

/** @throws EdgeT5Error `E_INPUT` */
export function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EdgeT5Error("E_INPUT", `${path} is not JSON (${(cause as Error).message}). Mend it.`, { cause });
  }
}

/** Where a run's parts lie. */
export function baseDir(run: string, { base }: RunSettings): string {
  return resolve(run, base.dir);
}

export function checkpointsDir(run: string): string {
  return join(run, "checkpoints");
}

export function dataDir(run: string): string {
  return join(run, "data");
}

export function bestDir(run: string): string {
  return join(run, "best");
}
