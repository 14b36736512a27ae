/** What batches and fine-tuning jobs share on the wire. */
import * as z from "zod";

/** OpenAI's: up to 16 texts. */
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= 16, "up to 16 entries")
  .nullish();

/** Ours: which of the tenant's own jobs comes first. Between tenants it says nothing. */
export const PRIORITIES = { low: -1, normal: 0, high: 1 } as const;

export const prioritySchema = z.enum(["low", "normal", "high"]).default("normal");

export const jobsQuerySchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().min(1).nullable().default(null),
});
