/**
 * The control plane on the wire: what is taken and given for tenants, keys and tasks. A task is taken as
 * `taskDefinitionSchema` has it.
 */
import * as z from "zod";
import { ApiError } from "../api-error.ts";
import { parseTemplate } from "../t5/template.ts";
import { type KeyLimits, NO_QUOTAS, SCOPES } from "../tenancy/caller.ts";
import type { Page, PageOptions } from "../tenancy/database.ts";
import { isActive, type Key } from "../tenancy/keys.ts";
import { taskDefinitionSchema } from "../tenancy/task-definition.ts";
import type { Task, TaskVersion } from "../tenancy/tasks.ts";
import { TENANT_ID, type Tenant, type TenantChange, type TenantSettings } from "../tenancy/tenants.ts";
import { dollarsOf, dollarsSchema } from "./money.ts";
import { parseWith } from "./parse.ts";

const name = z.string().trim().min(1).max(200);
/** Null: no limit. */
const limit = z.int().min(1).max(1_000_000_000).nullable();

const keyLimits = z.strictObject({ requests_per_minute: limit.optional(), tokens_per_minute: limit.optional() });

const tenantFields = {
  name,
  /** Null: all models. */
  models: z.array(z.string().min(1)).max(200).nullable().optional(),
  limits: z
    .strictObject({
      /** Requests at once. */
      concurrency: limit.optional(),
      /** Of a calendar month (UTC): past the soft mark answers say so, past the hard one requests are refused. */
      soft_budget: dollarsSchema.nullable().optional(),
      hard_budget: dollarsSchema.nullable().optional(),
    })
    .optional(),
  /** Of a new key that is given none. */
  key_limits: keyLimits.optional(),
  /** Null: the deployment's. */
  quotas: z
    .strictObject({
      jobs_running: limit.optional(),
      jobs_waiting: limit.optional(),
      file_bytes: z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().optional(),
    })
    .optional(),
};

export const newTenantSchema = z.strictObject({
  id: z.string().regex(TENANT_ID, "2 to 39 of a-z, 0-9 and -, not beginning with -"),
  ...tenantFields,
});

export const tenantChangeSchema = z.strictObject({
  ...tenantFields,
  name: name.optional(),
  /** Whether their keys open nothing. */
  disabled: z.boolean().optional(),
});

const origin = z
  .string()
  .refine(
    (text) => text === "*" || (URL.canParse(text) && new URL(text).origin === text),
    'an origin such as "https://app.example.com", without a path, or "*" for any',
  );

/** A key that has these may do what a service does that only asks. */
const DEFAULT_SCOPES = ["tasks:run"] as const;

export const newKeySchema = z.strictObject({
  name,
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .default([...DEFAULT_SCOPES]),
  /** Origins of pages that may read answers in a browser. */
  allowed_origins: z.array(origin).max(50).default([]),
  /** Left out: the tenant's for new keys. */
  limits: keyLimits.default({}),
  expires_at: z.iso
    .datetime({ offset: true })
    .transform((text) => Date.parse(text))
    .nullable()
    .default(null),
});

export type NewKeyRequest = z.output<typeof newKeySchema>;

export const rotationSchema = z.strictObject({
  /** How long the old key works on; a week at most. */
  overlap_seconds: z
    .int()
    .min(0)
    .max(7 * 24 * 3600)
    .optional(),
});

export const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z.string().min(1).nullable().default(null),
});

/** @param query of a list's URL @throws ApiError 400 */
export function parsePage(query: Record<string, string>): PageOptions {
  return parseWith(pageSchema, query, "a list's query");
}

/** OpenAI's list: `after` = the last item's id gives the next part. */
export function listJson<Item, Json extends { id: string }>(
  { items, hasMore }: Page<Item>,
  toJson: (item: Item) => Json,
) {
  const data = items.map(toJson);
  return { object: "list" as const, data, has_more: hasMore, last_id: data.at(-1)?.id ?? null };
}

/** ISO 8601, UTC. */
const time = z.iso.datetime();
const count = z.int().nullable();
const givenKeyLimits = z.object({ requests_per_minute: count, tokens_per_minute: count });

/** What is given, for programs that read it. */
export const tenantSchema = z.object({
  id: z.string(),
  object: z.literal("tenant"),
  name: z.string(),
  models: z.array(z.string()).nullable(),
  /** Budgets: dollars. */
  limits: z.object({ concurrency: count, soft_budget: z.string().nullable(), hard_budget: z.string().nullable() }),
  key_limits: givenKeyLimits,
  quotas: z.object({ jobs_running: count, jobs_waiting: count, file_bytes: count }),
  created_at: time,
  updated_at: time,
  disabled_at: time.nullable(),
});

export const keySchema = z.object({
  /** The visible part of the key. */
  id: z.string(),
  object: z.literal("api_key"),
  name: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  allowed_origins: z.array(z.string()),
  limits: givenKeyLimits,
  status: z.enum(["active", "expired", "revoked"]),
  created_at: time,
  /** The end of its own life, or of the overlap with the key that took its place. */
  expires_at: time.nullable(),
  revoked_at: time.nullable(),
  /** The key whose place it took. */
  replaces: z.string().nullable(),
});

/** The whole key is given once. */
export const madeKeySchema = keySchema.extend({ key: z.string() });
export const rotatedKeySchema = madeKeySchema.extend({ replaced: keySchema });

export const taskSchema = z.object({
  /** The task's name. */
  id: z.string(),
  object: z.literal("task"),
  version: z.int(),
  /** When this version was made. */
  created_at: time,
  /** What an input must give, after the template. */
  fields: z.array(z.string()),
  definition: taskDefinitionSchema,
});

export const taskVersionsSchema = z.object({
  object: z.literal("list"),
  data: z.array(z.object({ version: z.int(), deleted: z.boolean(), created_at: time })),
});

export const deletedTaskSchema = z.object({
  id: z.string(),
  object: z.literal("task"),
  /** The deletion's own. */
  version: z.int(),
  deleted: z.literal(true),
});

/** Of {@link listJson}. */
export function listSchema<Item extends z.ZodType>(item: Item) {
  return z.object({
    object: z.literal("list"),
    data: z.array(item),
    has_more: z.boolean(),
    last_id: z.string().nullable(),
  });
}

type TenantFields = Omit<z.output<typeof tenantChangeSchema>, "disabled">;

export function tenantSettings({ name, models, ...fields }: TenantFields & { name: string }): TenantSettings {
  const { limits, keyLimits, quotas } = limitsOf(fields);
  return {
    name,
    models: models ?? null,
    limits: { concurrency: null, softBudget: null, hardBudget: null, ...limits },
    keyLimits: { requestsPerMinute: null, tokensPerMinute: null, ...keyLimits },
    quotas: { ...NO_QUOTAS, ...quotas },
  };
}

export function tenantChange({ disabled, name, models, ...fields }: z.output<typeof tenantChangeSchema>): TenantChange {
  return {
    ...given({ name, models, isDisabled: disabled }),
    ...limitsOf(fields),
  };
}

function limitsOf({ limits, key_limits, quotas }: Pick<TenantFields, "limits" | "key_limits" | "quotas">) {
  return {
    limits: given({
      concurrency: limits?.concurrency,
      softBudget: limits?.soft_budget,
      hardBudget: limits?.hard_budget,
    }),
    keyLimits: keyLimitsOf(key_limits),
    quotas: given({
      jobsRunning: quotas?.jobs_running,
      jobsWaiting: quotas?.jobs_waiting,
      fileBytes: quotas?.file_bytes,
    }),
  };
}

/** Those that are given. */
export function keyLimitsOf(limits: z.output<typeof keyLimits> | undefined): Partial<KeyLimits> {
  return given({ requestsPerMinute: limits?.requests_per_minute, tokensPerMinute: limits?.tokens_per_minute });
}

type Given<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

/** Without what is undefined. */
function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;
}

export function taskJson({ name, version, definition, createdAt }: Task): z.output<typeof taskSchema> {
  const { fields } = parseTemplate(definition.template);
  return { id: name, object: "task", version, created_at: timeJson(createdAt), fields, definition };
}

export function taskVersionsJson(versions: readonly TaskVersion[]): z.output<typeof taskVersionsSchema> {
  const data = versions.map(({ version, isDeletion, createdAt }) => ({
    version,
    deleted: isDeletion,
    created_at: timeJson(createdAt),
  }));
  return { object: "list", data };
}

export function deletedTaskJson(name: string, version: number): z.output<typeof deletedTaskSchema> {
  return { id: name, object: "task", version, deleted: true };
}

/** `?version=3` @returns null when it is not given @throws ApiError 400 */
export function parseVersion(version: string | undefined): number | null {
  if (version === undefined) return null;
  if (/^[1-9]\d{0,8}$/.test(version)) return Number(version);
  throw new ApiError(400, "invalid_value", "version: it must be a whole number from 1.", { param: "version" });
}

/** `If-Match: 3`, `"3"` as an ETag has it, or `*` for any version that is there. @throws ApiError 400 */
export function parseVersionMatch(header: string | undefined): number | "*" | null {
  if (header === undefined || header === "*") return header ?? null;
  const version = /^"?([1-9]\d{0,8})"?$/.exec(header)?.[1];
  if (version !== undefined) return Number(version);
  throw new ApiError(400, "invalid_value", "If-Match: it must be a task's version, such as 3, or *.", {
    param: "If-Match",
  });
}

export function tenantJson(tenant: Tenant): z.output<typeof tenantSchema> {
  const { id, name, models, limits, keyLimits, quotas, ...times } = tenant;
  return {
    id,
    object: "tenant",
    name,
    models: models && [...models],
    limits: {
      concurrency: limits.concurrency,
      soft_budget: limits.softBudget === null ? null : dollarsOf(limits.softBudget),
      hard_budget: limits.hardBudget === null ? null : dollarsOf(limits.hardBudget),
    },
    key_limits: keyLimitsJson(keyLimits),
    quotas: {
      jobs_running: quotas.jobsRunning,
      jobs_waiting: quotas.jobsWaiting,
      file_bytes: quotas.fileBytes,
    },
    created_at: timeJson(times.createdAt),
    updated_at: timeJson(times.updatedAt),
    disabled_at: timeJson(times.disabledAt),
  };
}

/** What may be shown of a key: never its secret. @param now milliseconds since 1970 */
export function keyJson(key: Key, now: number): z.output<typeof keySchema> {
  const ends = [key.expiresAt, key.retiresAt].filter((time) => time !== null);
  return {
    id: key.id,
    object: "api_key",
    name: key.name,
    scopes: [...key.scopes],
    allowed_origins: [...key.allowedOrigins],
    limits: keyLimitsJson(key.limits),
    status: key.revokedAt !== null ? "revoked" : isActive(key, now) ? "active" : "expired",
    created_at: timeJson(key.createdAt),
    expires_at: ends.length > 0 ? timeJson(Math.min(...ends)) : null,
    revoked_at: timeJson(key.revokedAt),
    replaces: key.replaces,
  };
}

function keyLimitsJson({ requestsPerMinute, tokensPerMinute }: KeyLimits) {
  return { requests_per_minute: requestsPerMinute, tokens_per_minute: tokensPerMinute };
}

/** ISO 8601, UTC. */
export function timeJson(time: number): string;
export function timeJson(time: number | null): string | null;
export function timeJson(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
