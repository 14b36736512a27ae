/** `/v1/batches` in OpenAI's shape. */
import * as z from "zod";
import type { BatchProgress, BatchSpec } from "../jobs/batch/spec.ts";
import type { Job } from "../jobs/job.ts";
import { unixTime } from "./files.ts";
import { metadataSchema, prioritySchema } from "./jobs.ts";

export const newBatchSchema = z.strictObject({
  input_file_id: z.string().min(1),
  endpoint: z.enum(["/v1/completions"]),
  /** Taken as OpenAI's clients send it; a batch here does not expire. */
  completion_window: z.enum(["24h"]),
  metadata: metadataSchema,
  priority: prioritySchema,
});

const time = z.int().nullable();

export const batchSchema = z.object({
  id: z.string(),
  object: z.literal("batch"),
  endpoint: z.string(),
  model: z.string().nullable(),
  errors: z
    .object({
      object: z.literal("list"),
      data: z.array(
        z.object({ code: z.string(), message: z.string(), param: z.string().nullable(), line: z.int().nullable() }),
      ),
    })
    .nullable(),
  input_file_id: z.string(),
  completion_window: z.string(),
  /** `validating`: it waits for an origin; its file was validated when it was made. */
  status: z.enum([
    ...(["validating", "failed", "in_progress", "finalizing", "completed"] as const),
    ...(["expired", "cancelling", "cancelled"] as const),
  ]),
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: z.int(),
  in_progress_at: time,
  expires_at: time,
  finalizing_at: time,
  completed_at: time,
  failed_at: time,
  expired_at: time,
  cancelling_at: time,
  cancelled_at: time,
  request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
  usage: z.object({
    input_tokens: z.int(),
    input_tokens_details: z.object({ cached_tokens: z.int() }),
    output_tokens: z.int(),
    output_tokens_details: z.object({ reasoning_tokens: z.int() }),
    total_tokens: z.int(),
  }),
  metadata: z.record(z.string(), z.string()).nullable(),
});

export type Batch = z.output<typeof batchSchema>;

export function batchJson(job: Job): Batch {
  const { metadata, input, endpoint, completionWindow, rows, targets } = job.spec as BatchSpec;
  const progress = (job.progress ?? {}) as Partial<BatchProgress>;
  const { output_file_id = null, error_file_id = null } = (job.result ?? {}) as Partial<Record<string, string>>;
  const { completed = 0, failed = 0, inputTokens = 0, outputTokens = 0, finalizingAt = null } = progress;
  const names = Object.keys(targets);
  const ended = (status: Job["status"]) => unixTime(job.status === status ? job.finishedAt : null);
  return {
    id: job.id,
    object: "batch",
    endpoint,
    model: names.length === 1 ? (names[0] ?? null) : null,
    errors: job.error && { object: "list", data: [{ ...job.error, line: null }] },
    input_file_id: input.id,
    completion_window: completionWindow,
    status: statusOf(job, finalizingAt !== null),
    output_file_id,
    error_file_id,
    created_at: unixTime(job.createdAt),
    in_progress_at: unixTime(job.startedAt),
    expires_at: null,
    finalizing_at: unixTime(finalizingAt),
    completed_at: ended("succeeded"),
    failed_at: ended("failed"),
    expired_at: null,
    cancelling_at: unixTime(job.cancelRequestedAt),
    cancelled_at: ended("cancelled"),
    request_counts: { total: rows, completed, failed },
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + outputTokens,
    },
    metadata: metadata ?? null,
  };
}

function statusOf({ status, cancelRequestedAt }: Job, isFinalizing: boolean): Batch["status"] {
  if (status === "running")
    return cancelRequestedAt !== null ? "cancelling" : isFinalizing ? "finalizing" : "in_progress";
  return ({ queued: "validating", succeeded: "completed", failed: "failed", cancelled: "cancelled" } as const)[status];
}
