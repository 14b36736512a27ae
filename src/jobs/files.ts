/** A tenant's files: what jobs read and write. Bytes lie in the bucket below the tenant's prefix, the rest in the database. */
import { ApiError } from "../api-error.ts";
import { type Database, type Page, type PageOptions, pageOf } from "../tenancy/database.ts";
import { randomName } from "./job.ts";

/** What a file may be uploaded for, in OpenAI's words. */
export const UPLOAD_PURPOSES = ["batch", "fine-tune"] as const;
export type Purpose = (typeof UPLOAD_PURPOSES)[number] | "batch_output" | "fine-tune-results";

export interface TenantFile {
  id: string;
  tenant: string;
  purpose: Purpose;
  filename: string;
  bytes: number;
  /** Where it lies in the bucket. */
  key: string;
  /** Milliseconds since 1970. */
  createdAt: number;
}

interface FileRow {
  id: string;
  tenant: string;
  purpose: Purpose;
  filename: string;
  bytes: number;
  key: string;
  created_at: number;
}

/** A new file's id, and where its bytes go. */
export function newFile(tenant: string): { id: string; key: string } {
  const id = `file-${randomName(24)}`;
  return { id, key: `tenants/${tenant}/files/${id}` };
}

const QUOTA = "coalesce((SELECT file_bytes FROM tenants WHERE id = ?2), ?8)";
const USED = "(SELECT coalesce(sum(bytes), 0) FROM files WHERE tenant = ?2 AND deleted_at IS NULL)";

/**
 * Enters a file whose bytes are in the bucket.
 *
 * @param quota bytes of all files of a tenant that has no quota of its own
 * @throws ApiError 413 `file_quota_exceeded`: its bytes should go
 */
export async function addFile(db: Database, file: TenantFile, quota: number): Promise<TenantFile> {
  const { id, tenant, purpose, filename, bytes, key, createdAt } = file;
  const row = await db
    .prepare(
      `INSERT INTO files (id, tenant, purpose, filename, bytes, key, created_at)
       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ${USED} + ?5 <= ${QUOTA} RETURNING *`,
    )
    .bind(id, tenant, purpose, filename, bytes, key, createdAt, quota)
    .first<FileRow>();
  if (row) return toFile(row);
  throw new ApiError(
    413,
    "file_quota_exceeded",
    `${filename} has ${bytes} bytes, which the room for your files does not hold beside the others. Delete some first.`,
  );
}

/** Null where the tenant has no such file. */
export async function findFile(db: Database, tenant: string, id: string): Promise<TenantFile | null> {
  const row = await db
    .prepare("SELECT * FROM files WHERE id = ? AND tenant = ? AND deleted_at IS NULL")
    .bind(id, tenant)
    .first<FileRow>();
  return row && toFile(row);
}

/** @param purpose only those; null: all */
export async function listFiles(
  db: Database,
  tenant: string,
  { limit, after, purpose, order }: PageOptions & { purpose: string | null; order: "asc" | "desc" },
): Promise<Page<TenantFile>> {
  const [sign, direction] = order === "asc" ? [">", "ASC"] : ["<", "DESC"];
  const from = `AND (created_at, id) ${sign} (SELECT created_at, id FROM files WHERE id = ?4 AND tenant = ?1)`;
  const { results } = await db
    .prepare(
      `SELECT * FROM files WHERE tenant = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR purpose = ?2)
       ${after === null ? "" : from} ORDER BY created_at ${direction}, id ${direction} LIMIT ?3`,
    )
    .bind(tenant, purpose, limit + 1, ...(after === null ? [] : [after]))
    .all<FileRow>();
  return pageOf(results, limit, toFile);
}

/**
 * @returns the file, whose bytes may go now; null where the tenant has no such file
 * @throws ApiError 409 `file_in_use` while a job that reads it is not done
 */
export async function deleteFile(db: Database, tenant: string, id: string, now: number): Promise<TenantFile | null> {
  const row = await db
    .prepare(
      `UPDATE files SET deleted_at = ?3 WHERE id = ?1 AND tenant = ?2 AND deleted_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM job_files f JOIN jobs j ON j.id = f.job WHERE f.file = ?1 AND j.status IN ('queued', 'running')
       ) RETURNING *`,
    )
    .bind(id, tenant, now)
    .first<FileRow>();
  if (row) return toFile(row);
  if (!(await findFile(db, tenant, id))) return null;
  throw new ApiError(409, "file_in_use", `A job that is not done reads ${id}. Cancel it, or wait for its end.`);
}

export function fileNotFound(id: string, param: string | null = null): ApiError {
  return new ApiError(404, "file_not_found", `There is no file ${JSON.stringify(id)}. GET /v1/files lists them.`, {
    param,
  });
}

function toFile({ created_at, ...row }: FileRow): TenantFile {
  const { id, tenant, purpose, filename, bytes, key } = row;
  return { id, tenant, purpose, filename, bytes, key, createdAt: created_at };
}
