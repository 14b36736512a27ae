/**
 * Tasks: a tenant's endpoints. Every change is a new version, old versions stay, and the newest one counts; a deletion is a
 * version too, without a definition.
 */
import { ApiError } from "../api-error.ts";
import { type Database, type Page, type PageOptions, pageOf } from "./database.ts";
import { RecentRows } from "./recent-rows.ts";
import { TASK_NAME, type TaskDefinition, taskDefinitionSchema } from "./task-definition.ts";

export interface Task {
  name: string;
  version: number;
  definition: TaskDefinition;
  /** When this version was made, in milliseconds since 1970. */
  createdAt: number;
}

interface TaskRow {
  name: string;
  version: number;
  definition: string | null;
  created_at: number;
}

export type TaskCache = RecentRows<Task | null>;

/** A change is seen by all isolates after this time. */
const MAX_AGE_MS = 10_000;
const MOST_TASKS = 1_000;

export function createTaskCache(): TaskCache {
  return new RecentRows(MAX_AGE_MS, MOST_TASKS);
}

/** This isolate's. */
export const taskCache: TaskCache = createTaskCache();

const keyOf = (tenant: string, name: string) => `${tenant}/${name}`;

/**
 * The task as it counts now, at most ten seconds old: for running it.
 *
 * @param now milliseconds since 1970
 * @returns null where the tenant has no such task
 */
export async function loadTask(
  db: Database,
  tenant: string,
  name: string,
  { now = Date.now(), cache = taskCache }: { now?: number; cache?: TaskCache } = {},
): Promise<Task | null> {
  // What cannot be a name is not kept as one.
  if (!TASK_NAME.test(name)) return null;
  return cache.get(keyOf(tenant, name), now, () => findTask(db, tenant, name));
}

/** The task as it counts now, or a version of it, which a deletion leaves. Null where there is none. */
export async function findTask(
  db: Database,
  tenant: string,
  name: string,
  version: number | null = null,
): Promise<Task | null> {
  const row = await findRow(db, tenant, name, version);
  return row && toTask(row);
}

/** Those that count now, by name. */
export async function listTasks(db: Database, tenant: string, { limit, after }: PageOptions): Promise<Page<Task>> {
  const { results } = await db
    .prepare(
      `SELECT name, max(version) AS version, definition, created_at FROM tasks WHERE tenant = ? AND name > ?
       GROUP BY name HAVING definition IS NOT NULL ORDER BY name LIMIT ?`,
    )
    .bind(tenant, after ?? "", limit + 1)
    .all<TaskRow>();
  return pageOf(results, limit, (row) => toTask(row) as Task);
}

export interface TaskVersion {
  version: number;
  isDeletion: boolean;
  createdAt: number;
}

/** Oldest first; empty where there never was such a task. */
export async function listTaskVersions(db: Database, tenant: string, name: string): Promise<TaskVersion[]> {
  const { results } = await db
    .prepare("SELECT version, definition IS NULL AS deletion, created_at FROM tasks WHERE tenant = ? AND name = ?")
    .bind(tenant, name)
    .all<{ version: number; deletion: number; created_at: number }>();
  return results.map(({ version, deletion, created_at }) => ({
    version,
    isDeletion: deletion === 1,
    createdAt: created_at,
  }));
}

/** What a change of a task is checked against. */
export interface TaskChecks {
  /** Whether the tenant has such a model. */
  modelExists(model: string): Promise<boolean>;
  /** The model that one of the tenant's adapters is for; null where there is none. */
  adapterBase(tenant: string, adapter: string): Promise<string | null>;
}

export interface TaskWrite {
  /** The version that the caller has seen; "*": any; null: whatever there is. */
  ifMatch: number | "*" | null;
  now: number;
}

/**
 * Writes a new version, where it differs from what is there.
 *
 * @throws ApiError 400 `invalid_value` for a name that is none or an adapter of another model, `model_not_found`,
 * `adapter_not_found`; 412 `version_mismatch`
 */
export async function putTask(
  db: Database,
  tenant: string,
  name: string,
  definition: TaskDefinition,
  checks: TaskChecks,
  write: TaskWrite,
): Promise<{ task: Task; isNew: boolean }> {
  if (!TASK_NAME.test(name)) {
    throw new ApiError(
      400,
      "invalid_value",
      `${JSON.stringify(name)} cannot be a task's name: 1 to 63 of a-z, 0-9, ".", "_" and "-", a letter or digit first.`,
      { param: "name" },
    );
  }
  await checkReferences(tenant, definition, checks);
  const text = JSON.stringify(definition);
  const { row, isNew } = await append(db, tenant, name, write, (current) =>
    current?.definition && JSON.stringify(parseDefinition(current.definition)) === text ? current : text,
  );
  return { task: { name, version: row.version, definition, createdAt: row.created_at }, isNew };
}

/** @returns the deletion's version, null where the tenant has no such task @throws ApiError 412 `version_mismatch` */
export async function deleteTask(db: Database, tenant: string, name: string, write: TaskWrite): Promise<number | null> {
  const current = await findRow(db, tenant, name);
  if (!current?.definition) return null;
  const { row } = await append(db, tenant, name, write, (row) => (row?.definition ? null : (row ?? null)));
  return row.version;
}

async function checkReferences(tenant: string, { model, adapter }: TaskDefinition, checks: TaskChecks): Promise<void> {
  if (!(await checks.modelExists(model))) {
    throw new ApiError(
      400,
      "model_not_found",
      `There is no model ${JSON.stringify(model)}. GET /v1/models lists those that are there.`,
      { param: "model" },
    );
  }
  if (adapter === null) return;
  const base = await checks.adapterBase(tenant, adapter);
  if (base === null) {
    throw new ApiError(
      400,
      "adapter_not_found",
      `There is no adapter ${JSON.stringify(adapter)}. Upload it first, or set adapter to null.`,
      { param: "adapter" },
    );
  }
  if (base !== model) {
    throw new ApiError(
      400,
      "invalid_value",
      `The adapter ${adapter} is for the model ${base}, and the task names ${model}. Upload one for ${model}, or name ${base}.`,
      { param: "adapter" },
    );
  }
}

/** Another writer may come between reading and writing: then it is read again. */
const MOST_TRIES = 5;

/**
 * Writes the version after the newest one.
 *
 * @param next given the newest row, the definition to write, or that row when there is nothing to write
 * @throws ApiError 412 `version_mismatch`, 409 `write_conflict`
 */
async function append(
  db: Database,
  tenant: string,
  name: string,
  { ifMatch, now }: TaskWrite,
  next: (current: TaskRow | null) => string | null | TaskRow,
): Promise<{ row: TaskRow; isNew: boolean }> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const current = await findRow(db, tenant, name);
    checkVersion(current, ifMatch);
    const definition = next(current);
    if (definition !== null && typeof definition === "object") return { row: definition, isNew: false };
    const row = await db
      .prepare(
        "INSERT INTO tasks (tenant, name, version, definition, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING *",
      )
      .bind(tenant, name, (current?.version ?? 0) + 1, definition, now)
      .first<TaskRow>();
    taskCache.forget(keyOf(tenant, name));
    if (row) return { row, isNew: true };
  }
  throw new ApiError(409, "write_conflict", `Others are changing the task ${name} right now. Try again.`, {
    retryAfter: 1,
  });
}

function checkVersion(current: TaskRow | null, ifMatch: TaskWrite["ifMatch"]): void {
  if (ifMatch === null) return;
  const version = current?.definition ? current.version : null;
  if (ifMatch === "*" ? version !== null : version === ifMatch) return;
  const there = version === null ? "there is no such task" : `the task is at version ${version}`;
  throw new ApiError(412, "version_mismatch", `If-Match is ${ifMatch}, but ${there}. Read it again, then change it.`);
}

/** The newest row, a deletion's too, or a version's. */
function findRow(db: Database, tenant: string, name: string, version: number | null = null): Promise<TaskRow | null> {
  const select = "SELECT name, version, definition, created_at FROM tasks WHERE tenant = ? AND name = ?";
  return version === null
    ? db.prepare(`${select} ORDER BY version DESC LIMIT 1`).bind(tenant, name).first<TaskRow>()
    : db.prepare(`${select} AND version = ?`).bind(tenant, name, version).first<TaskRow>();
}

function toTask({ name, version, definition, created_at }: TaskRow): Task | null {
  return definition === null ? null : { name, version, definition: parseDefinition(definition), createdAt: created_at };
}

/** A definition of an earlier build gets the defaults of what came since. */
function parseDefinition(text: string): TaskDefinition {
  return taskDefinitionSchema.parse(JSON.parse(text));
}
