/** Who asks: what the gateway knows of a request once its key was verified. */

/** What a key may be used for. */
export const SCOPES = [
  ...(["tasks:run", "tasks:write", "adapters:write", "files:write", "jobs:write"] as const),
  ...(["usage:read", "keys:write"] as const),
] as const;
export type Scope = (typeof SCOPES)[number];

/** Null: no limit. */
export interface KeyLimits {
  requestsPerMinute: number | null;
  /** Input and output tokens together. */
  tokensPerMinute: number | null;
}

export interface TenantLimits {
  /** Requests at once. */
  concurrency: number | null;
  /** Of a calendar month (UTC), in nano-dollars: at the soft mark answers say so, at the hard mark requests are refused. */
  softBudget: number | null;
  hardBudget: number | null;
}

/** Of a tenant's jobs and files; null: the deployment's. */
export interface TenantQuotas {
  jobsRunning: number | null;
  jobsWaiting: number | null;
  fileBytes: number | null;
}

export const NO_QUOTAS: TenantQuotas = { jobsRunning: null, jobsWaiting: null, fileBytes: null };

export interface Caller {
  /** Tenant's id: a part of every object key, cache key, query and batch slot of theirs. */
  tenant: string;
  /** Key's id, its visible part; never the secret. */
  key: string;
  scopes: readonly Scope[];
  /** Origins from which browsers may call with this key; ["*"]: any. */
  allowedOrigins: readonly string[];
  /** Models that the tenant may use; null: all. */
  models: readonly string[] | null;
  keyLimits: KeyLimits;
  tenantLimits: TenantLimits;
}

/** Whether a tenant may use a model. A model that they may not is answered for like one that is not there. */
export function mayUse({ models }: Pick<Caller, "models">, model: string): boolean {
  return models === null || models.includes(model);
}

/** Of two limits each the lower one. */
export function lowerLimits(a: KeyLimits, b: KeyLimits): KeyLimits {
  const lower = (x: number | null, y: number | null) => (x === null ? y : y === null ? x : Math.min(x, y));
  return {
    requestsPerMinute: lower(a.requestsPerMinute, b.requestsPerMinute),
    tokensPerMinute: lower(a.tokensPerMinute, b.tokensPerMinute),
  };
}
