/** Money for jobs: kept when one is made, spent as it comes further, given back at its end. */
import { ApiError } from "../../src/api-error.ts";
import type { Job } from "../../src/jobs/job.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { costOf, type Price, pricesOf, resolvePrice } from "../../src/metering/prices.ts";
import type { Caller } from "../../src/tenancy/caller.ts";
import { RecentRows } from "../../src/tenancy/recent-rows.ts";
import type { GatewayBindings } from "./bindings.ts";

const prices = new RecentRows<Price[]>(30_000, 1_000);

/** What a job's part will be billed as. */
type Part = Pick<UsageEvent, "task" | "model"> & Parameters<typeof costOf>[0];

export function pricesFor(env: GatewayBindings, tenant: string, now: number): Promise<Price[]> {
  return prices.get(tenant, now, () => pricesOf(env.DB, tenant));
}

export function nanoOf(known: readonly Price[], tenant: string, part: Part, now: number): number {
  return Number(costOf(part, resolvePrice(known, { tenant, task: part.task, model: part.model }, now)));
}

/** Keeps the most that a job can cost. @throws ApiError 402 `budget_exceeded` */
export async function holdMoney(
  env: GatewayBindings,
  { tenant, tenantLimits }: Pick<Caller, "tenant" | "tenantLimits">,
  id: string,
  nano: number,
  now: number,
): Promise<void> {
  const { hardBudget } = tenantLimits;
  if (await meterOf(env, tenant).hold(tenant, { id, nano, hardBudget, now })) return;
  throw new ApiError(
    402,
    "budget_exceeded",
    "This month's budget does not cover the most that this job could cost. Raise it, or make the job smaller.",
  );
}

/** What came into the ledger just now. The ledger is the bill; this is what budgets are counted with. */
export async function spendMoney(
  env: GatewayBindings,
  tenant: string,
  id: string,
  events: readonly UsageEvent[],
  now: number,
): Promise<void> {
  if (events.length === 0) return;
  const known = await pricesFor(env, tenant, now);
  const nano = events.reduce((sum, event) => sum + nanoOf(known, tenant, event, now), 0);
  if (nano > 0) await meterOf(env, tenant).spendHeld(id, nano, now);
}

/** At a job's end: what a fine-tuning came to is spent, what is still kept for the job given back. */
export async function settleMoney(env: GatewayBindings, { tenant, id }: Pick<Job, "tenant" | "id">): Promise<void> {
  const now = Date.now();
  const trained = await env.DB.prepare(
    "SELECT model, at, training_tokens AS trainingTokens FROM usage_events WHERE id = ? AND training_tokens > 0",
  )
    .bind(id)
    .first<Pick<UsageEvent, "model" | "at" | "trainingTokens">>();
  const known = trained ? await pricesFor(env, tenant, now) : [];
  const part = trained && { ...trained, task: null, inputTokens: 0, outputTokens: 0 };
  await meterOf(env, tenant).settleHold(id, part ? nanoOf(known, tenant, part, part.at) : 0, now);
}

function meterOf({ TENANTS }: GatewayBindings, tenant: string) {
  return TENANTS.get(TENANTS.idFromName(tenant));
}
