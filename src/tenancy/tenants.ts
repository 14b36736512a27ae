/** Tenants: who the deployment serves, and what they may use at most. */
import { ApiError } from "../api-error.ts";
import type { KeyLimits, TenantLimits, TenantQuotas } from "./caller.ts";
import { type Database, type Page, type PageOptions, pageOf } from "./database.ts";

/** What a tenant's id may be: a part of every key in storage. */
export const TENANT_ID = /^[a-z0-9][a-z0-9-]{1,38}$/;

export interface TenantSettings {
  name: string;
  /** Models that they may use; null: all. */
  models: readonly string[] | null;
  limits: TenantLimits;
  /** Of a new key that is given none. */
  keyLimits: KeyLimits;
  quotas: TenantQuotas;
}

export interface Tenant extends TenantSettings {
  id: string;
  createdAt: number;
  updatedAt: number;
  /** Their keys open nothing since then. */
  disabledAt: number | null;
}

interface TenantRow {
  id: string;
  name: string;
  models: string | null;
  concurrency: number | null;
  soft_budget: number | null;
  hard_budget: number | null;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  jobs_running: number | null;
  jobs_waiting: number | null;
  file_bytes: number | null;
  created_at: number;
  updated_at: number;
  disabled_at: number | null;
}

const COLUMNS = [
  "name",
  "models",
  "concurrency",
  "soft_budget",
  "hard_budget",
  "requests_per_minute",
  "tokens_per_minute",
  "jobs_running",
  "jobs_waiting",
  "file_bytes",
] as const;

/**
 * @param now milliseconds since 1970
 * @throws ApiError 409 `tenant_exists`, 400 `invalid_value` for limits that contradict each other
 */
export async function createTenant(db: Database, id: string, settings: TenantSettings, now: number): Promise<Tenant> {
  checkBudgets(settings.limits);
  const columns = ["id", ...COLUMNS, "created_at", "updated_at"];
  const row = await db
    .prepare(
      `INSERT INTO tenants (${columns}) VALUES (${columns.map(() => "?")}) ON CONFLICT (id) DO NOTHING RETURNING *`,
    )
    .bind(id, ...valuesOf(settings), now, now)
    .first<TenantRow>();
  if (!row) {
    throw new ApiError(409, "tenant_exists", `There is a tenant ${id} already. Choose another id, or update it.`, {
      param: "id",
    });
  }
  return toTenant(row);
}

export async function findTenant(db: Database, id: string): Promise<Tenant | null> {
  const row = await db.prepare("SELECT * FROM tenants WHERE id = ?").bind(id).first<TenantRow>();
  return row && toTenant(row);
}

/** By their ids. */
export async function listTenants(db: Database, { limit, after }: PageOptions): Promise<Page<Tenant>> {
  const { results } = await db
    .prepare("SELECT * FROM tenants WHERE id > ? ORDER BY id LIMIT ?")
    .bind(after ?? "", limit + 1)
    .all<TenantRow>();
  return pageOf(results, limit, toTenant);
}

export interface TenantChange extends Partial<Omit<TenantSettings, "limits" | "keyLimits" | "quotas">> {
  limits?: Partial<TenantLimits>;
  keyLimits?: Partial<KeyLimits>;
  quotas?: Partial<TenantQuotas>;
  isDisabled?: boolean;
}

/**
 * What is left out stays. Their keys follow within half a minute, wherever they are used; new defaults of keys are for new
 * keys.
 *
 * @returns null where there is no such tenant
 * @throws ApiError 400 `invalid_value` for limits that contradict each other
 */
export async function updateTenant(
  db: Database,
  id: string,
  { isDisabled, limits, keyLimits, quotas, ...rest }: TenantChange,
  now: number,
): Promise<Tenant | null> {
  const old = await findTenant(db, id);
  if (!old) return null;
  const settings: TenantSettings = {
    ...old,
    ...rest,
    limits: { ...old.limits, ...limits },
    keyLimits: { ...old.keyLimits, ...keyLimits },
    quotas: { ...old.quotas, ...quotas },
  };
  checkBudgets(settings.limits);
  const disabledAt = isDisabled === undefined ? old.disabledAt : isDisabled ? (old.disabledAt ?? now) : null;
  const before = [...valuesOf(old), old.disabledAt];
  // Only what changes is written: two changes at once of different things are both made.
  const changes = [...COLUMNS, "disabled_at"]
    .map((column, i) => [column, [...valuesOf(settings), disabledAt][i] ?? null] as const)
    .filter(([, value], i) => value !== before[i]);
  const assignments = [...changes, ["updated_at", now] as const];
  const row = await db
    .prepare(`UPDATE tenants SET ${assignments.map(([column]) => `${column} = ?`)} WHERE id = ? RETURNING *`)
    .bind(...assignments.map(([, value]) => value), id)
    .first<TenantRow>();
  return row && toTenant(row);
}

function checkBudgets({ softBudget, hardBudget }: TenantLimits): void {
  if (softBudget === null || hardBudget === null || softBudget <= hardBudget) return;
  throw new ApiError(
    400,
    "invalid_value",
    "The soft budget is above the hard one: it would never be reached. Lower it.",
    {
      param: "limits.soft_budget",
    },
  );
}

/** In the order of {@link COLUMNS}. */
function valuesOf({ name, models, limits, keyLimits, quotas }: TenantSettings): (string | number | null)[] {
  return [
    name,
    models && JSON.stringify(models),
    limits.concurrency,
    limits.softBudget,
    limits.hardBudget,
    keyLimits.requestsPerMinute,
    keyLimits.tokensPerMinute,
    quotas.jobsRunning,
    quotas.jobsWaiting,
    quotas.fileBytes,
  ];
}

function toTenant(row: TenantRow): Tenant {
  return {
    id: row.id,
    name: row.name,
    models: row.models === null ? null : (JSON.parse(row.models) as string[]),
    limits: { concurrency: row.concurrency, softBudget: row.soft_budget, hardBudget: row.hard_budget },
    keyLimits: { requestsPerMinute: row.requests_per_minute, tokensPerMinute: row.tokens_per_minute },
    quotas: { jobsRunning: row.jobs_running, jobsWaiting: row.jobs_waiting, fileBytes: row.file_bytes },
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    disabledAt: row.disabled_at,
  };
}
