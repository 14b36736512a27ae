/** Between origin and gateway: what is sent to `/internal/jobs/…`, and what comes back. All of it signed. */
import * as z from "zod";
import { usageEventSchema } from "../metering/event.ts";
import { JOB_KINDS } from "./job.ts";

const json = z.record(z.string(), z.unknown());
const fence = z.int().min(1);
/** Of the origin's process. */
const owner = z.string().min(1).max(100);
/** How long a lease lasts without a heartbeat: the origin knows how often it sends one. */
const leaseSeconds = z.int().min(1).max(300);

/** A name in a job's folder: what an origin may read and write there. */
export const ARTIFACT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const artifact = z.string().regex(/^\d+\/[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, "LEASE/NAME");

export const claimSchema = z.strictObject({
  owner,
  lease_seconds: leaseSeconds,
  kinds: z.array(z.enum(JOB_KINDS)).min(1),
});

export const eventSchema = z.strictObject({
  /** The same event has the same name, however often a job came by here. */
  name: z.string().min(1).max(100),
  level: z.enum(["info", "warn", "error"]).default("info"),
  type: z.enum(["message", "metrics"]).default("message"),
  message: z.string().min(1).max(1000),
  data: json.nullable().default(null),
});
export type NewEvent = z.input<typeof eventSchema>;

export const checkpointSchema = z.strictObject({
  /** Grows. */
  step: z.int().nonnegative(),
  /** What the runner goes on from. */
  state: json,
  /** Files of it, by the runner's names for them. */
  files: z.record(z.string(), artifact).default({}),
  /** Where it is to be told of. */
  metrics: json.nullable().default(null),
});
export type NewCheckpoint = z.input<typeof checkpointSchema>;
export type Checkpoint = z.output<typeof checkpointSchema>;

/** What is used is billed with the checkpoint that it lies before. */
export const usedSchema = z.array(usageEventSchema.omit({ tenant: true, key: true })).max(2000);
export type Used = z.output<typeof usedSchema>[number];

export const heartbeatSchema = z.strictObject({
  fence,
  lease_seconds: leaseSeconds,
  progress: json.optional(),
  events: z.array(eventSchema).max(200).default([]),
  checkpoint: checkpointSchema.optional(),
  usage: usedSchema.default([]),
});
export type Heartbeat = z.input<typeof heartbeatSchema>;

export const heartbeatAnswerSchema = z.object({ cancel: z.boolean() });

export const finishSchema = z.strictObject({
  fence,
  status: z.enum(["succeeded", "failed", "cancelled"]),
  progress: json.optional(),
  result: json.default({}),
  error: z
    .strictObject({ code: z.string(), message: z.string(), param: z.string().nullable() })
    .nullable()
    .default(null),
  events: z.array(eventSchema).max(200).default([]),
  /** PEFT's two files, of a fine-tuning that succeeded. */
  adapter: z.strictObject({ config: artifact, tensors: artifact }).nullable().default(null),
  /** Artifacts that become files of the tenant's. */
  outputs: z
    .array(
      z.strictObject({
        /** As the result names it: `output_file_id`. */
        as: z.string().regex(/^[a-z_]+$/),
        artifact,
        filename: z.string().min(1).max(200),
        purpose: z.enum(["batch_output", "fine-tune-results"]),
      }),
    )
    .max(10)
    .default([]),
});
export type Finish = z.input<typeof finishSchema>;

export const releaseSchema = z.strictObject({ fence });

export const claimedJobSchema = z.object({
  id: z.string(),
  tenant: z.string(),
  kind: z.enum(JOB_KINDS),
  spec: z.unknown(),
  /** Milliseconds since 1970. */
  created_at: z.int(),
  fence,
  checkpoint: checkpointSchema.nullable(),
});
export type ClaimedJob = z.output<typeof claimedJobSchema>;

export const claimAnswerSchema = z.object({ job: claimedJobSchema.nullable() });
export const checkpointsAnswerSchema = z.object({ data: z.array(checkpointSchema) });
export const artifactAnswerSchema = z.object({ artifact });
