/** Money for jobs: kept when one is made, spent as it comes further, given back at its end. */
import { ApiError } from "../../src/api/errors.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { costOf, type Price, pricesOf, resolvePrice } from "../../src/metering/prices.ts";
import type { Caller } from "../../src/tenancy/caller.ts";
import { RecentRows } from "../../src/tenancy/recent-rows.ts";
import type { GatewayBindings } from "./bindings.ts";

const prices = new RecentRows<Price[]>(30_000, 1_000);

/** What a job's part will be billed as. */
type Part = Pick<UsageEvent, "task" | "model" | "inputTokens" | "outputTokens">;

export function pricesFor(env: GatewayBindings, tenant: string, now: number): Promise<Price[]> {
  return prices.get(tenant, now, () => pricesOf(env.DB, tenant));
}

export function nanoOf(known: readonly Price[], tenant: string, part: Part, now: number): number {
  return Number(costOf(part, resolvePrice(known, { tenant, task: part.task, model: part.model }, now)));
}

/** Keeps the most that a job can cost, where the tenant has a budget. @throws ApiError 402 `budget_exceeded` */
export async function holdMoney(
  env: GatewayBindings,
  { tenant, tenantLimits }: Pick<Caller, "tenant" | "tenantLimits">,
  id: string,
  nano: number,
  now: number,
): Promise<void> {
  const { softBudget, hardBudget } = tenantLimits;
  if (softBudget === null && hardBudget === null) return;
  if (await meterOf(env, tenant).hold(tenant, { id, nano, hardBudget, now })) return;
  throw new ApiError(
    402,
    "budget_exceeded",
    "This month's budget does not cover the most that this job could cost. Raise it, lower max_tokens, or divide the file.",
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

export async function releaseMoney(env: GatewayBindings, tenant: string, id: string): Promise<void> {
  await meterOf(env, tenant).releaseHold(id);
}

function meterOf({ TENANTS }: GatewayBindings, tenant: string) {
  return TENANTS.get(TENANTS.idFromName(tenant));
}
