/** `/v1/files` in OpenAI's shape. */
import * as z from "zod";
import { type TenantFile, UPLOAD_PURPOSES } from "../jobs/files.ts";

/** Of the form that uploads one; `file` is its bytes. */
export const uploadSchema = z.strictObject({ purpose: z.enum(UPLOAD_PURPOSES) });

export const filesQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(10_000).default(20),
  after: z.string().min(1).nullable().default(null),
  order: z.enum(["asc", "desc"]).default("desc"),
  purpose: z.string().nullable().default(null),
});

export const fileSchema = z.object({
  id: z.string(),
  object: z.literal("file"),
  bytes: z.int(),
  /** Unix time in seconds, as all times of OpenAI's. */
  created_at: z.int(),
  filename: z.string(),
  purpose: z.enum([...UPLOAD_PURPOSES, "batch_output", "fine-tune-results"]),
  status: z.literal("processed"),
});

export const deletedFileSchema = z.object({ id: z.string(), object: z.literal("file"), deleted: z.literal(true) });

export function fileJson({ id, bytes, createdAt, filename, purpose }: TenantFile): z.output<typeof fileSchema> {
  return { id, object: "file", bytes, created_at: unixTime(createdAt), filename, purpose, status: "processed" };
}

/** Seconds since 1970. @param time milliseconds */
export function unixTime(time: number): number;
export function unixTime(time: number | null): number | null;
export function unixTime(time: number | null): number | null {
  return time === null ? null : Math.floor(time / 1000);
}
