/** `/v1/fine_tuning/jobs` in OpenAI's shape. */
import * as z from "zod";
import type { FineTuningProgress, FineTuningSpec } from "../jobs/fine-tuning/spec.ts";
import type { Job, JobStatus } from "../jobs/job.ts";
import { checkpointName } from "../tenancy/fine-tuned.ts";
import { unixTime } from "./files.ts";
import { metadataSchema, prioritySchema } from "./jobs.ts";

const auto = <Schema extends z.ZodType>(schema: Schema) => z.union([z.literal("auto"), schema]).optional();

const hyperparametersSchema = z.strictObject({
  n_epochs: auto(z.int().min(1).max(100)),
  batch_size: auto(z.int().min(1).max(256)),
  learning_rate_multiplier: auto(z.number().positive().max(100)),
});

export const newFineTuningSchema = z.strictObject({
  model: z.string().min(1),
  training_file: z.string().min(1),
  validation_file: z.string().min(1).nullish(),
  suffix: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'up to 64 letters, digits, "-" and "_"')
    .nullish(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .nullish(),
  hyperparameters: hyperparametersSchema.default({}),
  method: z
    .strictObject({
      type: z.literal("supervised"),
      supervised: z.strictObject({ hyperparameters: hyperparametersSchema.optional() }).optional(),
    })
    .optional(),
  metadata: metadataSchema,
  integrations: z.array(z.never()).nullish(),
  priority: prioritySchema,
  /** Ours: the adapter's form, in PEFT's words. */
  lora: z
    .strictObject({
      r: z.int().min(1).max(64).default(8),
      lora_alpha: z.number().positive().max(1024).optional(),
      lora_dropout: z.number().min(0).max(0.9).default(0),
      target_modules: z.array(z.string().min(1).max(100)).min(1).max(20).default(["q", "v"]),
    })
    .prefault({}),
});

export type NewFineTuning = z.output<typeof newFineTuningSchema>;

/** Where nothing is asked for. */
export const AUTO = { epochs: 3, batchSize: 16, learningRateMultiplier: 1 };

export function hyperparametersOf({ hyperparameters, method }: NewFineTuning) {
  const given = { ...hyperparameters, ...method?.supervised?.hyperparameters };
  const number = (value: number | "auto" | undefined, other: number) => (typeof value === "number" ? value : other);
  return {
    epochs: number(given.n_epochs, AUTO.epochs),
    batchSize: number(given.batch_size, AUTO.batchSize),
    learningRateMultiplier: number(given.learning_rate_multiplier, AUTO.learningRateMultiplier),
  };
}

const hyperparameters = z.object({
  n_epochs: z.int(),
  batch_size: z.int(),
  learning_rate_multiplier: z.number(),
});

export const fineTuningJobSchema = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job"),
  created_at: z.int(),
  error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }).nullable(),
  fine_tuned_model: z.string().nullable(),
  finished_at: z.int().nullable(),
  hyperparameters,
  model: z.string(),
  organization_id: z.string(),
  result_files: z.array(z.string()),
  seed: z.int(),
  status: z.enum(["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]),
  trained_tokens: z.int().nullable(),
  training_file: z.string(),
  validation_file: z.string().nullable(),
  estimated_finish: z.int().nullable(),
  integrations: z.array(z.never()),
  metadata: z.record(z.string(), z.string()).nullable(),
  method: z.object({ type: z.literal("supervised"), supervised: z.object({ hyperparameters }) }),
});

export function fineTuningJson(job: Job): z.output<typeof fineTuningJobSchema> {
  const spec = job.spec as FineTuningSpec;
  const progress = job.progress as FineTuningProgress | null;
  const result = (job.result ?? {}) as Partial<Record<string, string>>;
  const given = {
    n_epochs: spec.epochs,
    batch_size: spec.batchSize,
    learning_rate_multiplier: spec.learningRateMultiplier,
  };
  return {
    id: job.id,
    object: "fine_tuning.job",
    created_at: unixTime(job.createdAt),
    error: job.error,
    fine_tuned_model: job.status === "succeeded" ? spec.fineTunedModel : null,
    finished_at: unixTime(job.finishedAt),
    hyperparameters: given,
    model: spec.modelName,
    organization_id: job.tenant,
    result_files: result.result_file_id ? [result.result_file_id] : [],
    seed: spec.seed,
    status: job.status satisfies JobStatus,
    trained_tokens: job.status === "succeeded" ? (progress?.trainedTokens ?? null) : null,
    training_file: spec.training.id,
    validation_file: spec.validation?.id ?? null,
    estimated_finish: job.status === "running" ? unixTime(progress?.estimatedFinish ?? null) : null,
    integrations: [],
    metadata: spec.metadata ?? null,
    method: { type: "supervised", supervised: { hyperparameters: given } },
  };
}

export const fineTuningEventSchema = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.event"),
  created_at: z.int(),
  level: z.enum(["info", "warn", "error"]),
  type: z.enum(["message", "metrics"]),
  message: z.string(),
  data: z.record(z.string(), z.unknown()),
});

export interface JobEvent {
  id: string;
  level: "info" | "warn" | "error";
  type: "message" | "metrics";
  message: string;
  data: Record<string, unknown> | null;
  /** Milliseconds since 1970. */
  at: number;
}

export function eventJson({ id, level, type, message, data, at }: JobEvent): z.output<typeof fineTuningEventSchema> {
  return { id, object: "fine_tuning.job.event", created_at: unixTime(at), level, type, message, data: data ?? {} };
}

export const fineTuningCheckpointSchema = z.object({
  id: z.string(),
  object: z.literal("fine_tuning.job.checkpoint"),
  created_at: z.int(),
  fine_tuned_model_checkpoint: z.string(),
  fine_tuning_job_id: z.string(),
  metrics: z.record(z.string(), z.unknown()),
  step_number: z.int(),
});

/** A checkpoint that is told of: what a job goes on from, with its metrics. */
export interface ToldCheckpoint {
  step: number;
  metrics: Record<string, unknown>;
  at: number;
}

export function checkpointJson(
  job: Job,
  { step, metrics, at }: ToldCheckpoint,
): z.output<typeof fineTuningCheckpointSchema> {
  return {
    id: `ftckpt_${job.id.replace(/^ftjob-/, "")}_${step}`,
    object: "fine_tuning.job.checkpoint",
    created_at: unixTime(at),
    fine_tuned_model_checkpoint: checkpointName((job.spec as FineTuningSpec).fineTunedModel, step),
    fine_tuning_job_id: job.id,
    metrics,
    step_number: step,
  };
}

export const deletedModelSchema = z.object({ id: z.string(), object: z.literal("model"), deleted: z.literal(true) });
