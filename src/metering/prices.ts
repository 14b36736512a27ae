/** Prices: versions that each hold from a time on, for all, a model, a tenant, a tenant's model or a tenant's task. */
import { ApiError } from "../api-error.ts";
import type { Database } from "./database.ts";
import type { UsageEvent } from "./event.ts";
import { dayOf } from "./period.ts";

/** Whatever a price says nothing of (null), it holds for all of. */
export interface Price {
  id: number;
  tenant: string | null;
  task: string | null;
  model: string | null;
  /** Milliseconds since 1970. */
  validFrom: number;
  /** Micro-dollars per 1,000 tokens: times tokens, nano-dollars. */
  inputPer1k: number;
  outputPer1k: number;
  trainingPer1k: number;
  /** Nano-dollars. */
  perRequest: number;
  adapterDay: number;
  createdAt: number;
}

type Amount = "inputPer1k" | "outputPer1k" | "trainingPer1k" | "perRequest" | "adapterDay";

/** A version to be made. An amount that is null is as in the version before it; in a first version it is 0. */
export interface NewPrice extends Pick<Price, "tenant" | "task" | "model">, Record<Amount, number | null> {
  /** Null: now. */
  validFrom: number | null;
}

/** A version in a list. */
export interface ListedPrice extends Price {
  /** When the next version of the same begins; null: there is none. */
  validUntil: number | null;
}

interface PriceRow {
  id: number;
  tenant: string;
  task: string;
  model: string;
  valid_from: number;
  input_per_1k: number;
  output_per_1k: number;
  training_per_1k: number;
  per_request: number;
  adapter_day: number;
  created_at: number;
  valid_until?: number | null;
}

/**
 * In SQL, the id of the price of a row `r` with `tenant`, `task` ('': none), `model` and a time `priced_at`: of those
 * that hold then, the most specific one's newest version; {@link resolvePrice} is the same in TypeScript.
 */
export const PRICE_OF_ROW = `(
  SELECT p.id FROM prices p
  WHERE p.valid_from <= r.priced_at
    AND p.tenant IN ('', r.tenant) AND p.task IN ('', r.task) AND p.model IN ('', r.model)
  ORDER BY p.specificity DESC, p.valid_from DESC LIMIT 1
)`;

/** In SQL, nano-dollars of a row's `requests`, `input_tokens`, `output_tokens` and `training_tokens`, beside its row of `prices` (or none). */
export const AMOUNT_OF_ROW = `coalesce(
  requests * prices.per_request + input_tokens * prices.input_per_1k + output_tokens * prices.output_per_1k
    + training_tokens * prices.training_per_1k, 0)`;

export interface Priced {
  tenant: string;
  task: string | null;
  model: string;
}

/**
 * The price of a request, or of an adapter's day: task, then the tenant's model, then the tenant, then the model, then
 * the default; of each the version that holds `at`.
 *
 * @returns null where nothing was priced then: it costs nothing
 */
export function resolvePrice(prices: readonly Price[], { tenant, task, model }: Priced, at: number): Price | null {
  let best: Price | null = null;
  for (const price of prices) {
    const fits =
      price.validFrom <= at &&
      (price.tenant === null || price.tenant === tenant) &&
      (price.task === null || price.task === task) &&
      (price.model === null || price.model === model);
    if (!fits) continue;
    const order = best ? specificity(price) - specificity(best) || price.validFrom - best.validFrom : 1;
    if (order > 0) best = price;
  }
  return best;
}

function specificity({ tenant, task, model }: Price): number {
  if (task !== null) return 4;
  if (tenant !== null) return model !== null ? 3 : 2;
  return model !== null ? 1 : 0;
}

/** Nano-dollars of one request, without its adapter's days. */
export function costOf(
  usage: Pick<UsageEvent, "inputTokens" | "outputTokens"> & Partial<Pick<UsageEvent, "trainingTokens">>,
  price: Price | null,
): bigint {
  if (!price) return 0n;
  return (
    BigInt(price.perRequest) +
    BigInt(usage.inputTokens) * BigInt(price.inputPer1k) +
    BigInt(usage.outputTokens) * BigInt(price.outputPer1k) +
    BigInt(usage.trainingTokens ?? 0) * BigInt(price.trainingPer1k)
  );
}

/** Every version that can matter to a tenant. */
export async function pricesOf(db: Database, tenant: string): Promise<Price[]> {
  const { results } = await db.prepare("SELECT * FROM prices WHERE tenant IN ('', ?1)").bind(tenant).all<PriceRow>();
  return results.map(priceOf);
}

/** Versions in the order in which they were made, those after the id named; `tenant`: only that tenant's own. */
export async function listPrices(
  db: Database,
  tenant: string | null,
  { limit, after }: { limit: number; after: number },
): Promise<ListedPrice[]> {
  const { results } = await db
    .prepare(
      `SELECT * FROM (
        SELECT *, lead(valid_from) OVER (PARTITION BY tenant, task, model ORDER BY valid_from) AS valid_until FROM prices
      ) WHERE id > ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY id LIMIT ?3`,
    )
    .bind(after, tenant, limit)
    .all<PriceRow>();
  return results.map((row) => ({ ...priceOf(row), validUntil: row.valid_until ?? null }));
}

/** How far clocks of different machines may be apart. */
const SKEW_MS = 3_600_000;

// One statement, so that neither an event nor another version comes between the look and the write.
const ADD = `
  WITH wanted AS (
    SELECT ?1 AS tenant, ?2 AS task, ?3 AS model, ?4 AS valid_from, ?10 AS now
    WHERE ?1 = '' OR EXISTS (SELECT 1 FROM tenants WHERE id = ?1)
  ), earliest AS (
    SELECT max(
      wanted.now,
      (SELECT coalesce(max(last_at) + 1, 0) FROM usage_days WHERE day >= ?11 AND day <= ?12),
      (SELECT coalesce(max(p.valid_from) + 1, 0) FROM prices p
        WHERE p.tenant = wanted.tenant AND p.task = wanted.task AND p.model = wanted.model AND p.valid_from <= wanted.now)
    ) AS at FROM wanted
  )
  INSERT INTO prices
    (tenant, task, model, valid_from, input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day, created_at)
  SELECT
    wanted.tenant, wanted.task, wanted.model, coalesce(wanted.valid_from, earliest.at),
    coalesce(?5, before.input_per_1k, 0), coalesce(?6, before.output_per_1k, 0),
    coalesce(?7, before.training_per_1k, 0), coalesce(?8, before.per_request, 0), coalesce(?9, before.adapter_day, 0),
    wanted.now
  FROM wanted CROSS JOIN earliest LEFT JOIN prices before ON before.id = (
    SELECT p.id FROM prices p
    WHERE p.tenant = wanted.tenant AND p.task = wanted.task AND p.model = wanted.model
      AND p.valid_from < coalesce(wanted.valid_from, earliest.at)
    ORDER BY p.valid_from DESC LIMIT 1
  )
  WHERE wanted.valid_from IS NULL OR wanted.valid_from >= earliest.at
  ON CONFLICT DO NOTHING
  RETURNING *`;

/**
 * Adds a version, with what it does not name as the one before it. It may begin now or later: one that began earlier
 * would change what was already billed.
 *
 * @param now milliseconds since 1970
 * @throws ApiError 404 `tenant_not_found`; 400 `price_in_the_past`; 409 `price_exists` when a version for the same begins at the same time
 */
export async function addPrice(db: Database, price: NewPrice, now: number): Promise<Price> {
  const { validFrom } = price;
  const subject = [price.tenant ?? "", price.task ?? "", price.model ?? ""];
  const { inputPer1k, outputPer1k, trainingPer1k, perRequest, adapterDay } = price;
  const amounts = [inputPer1k, outputPer1k, trainingPer1k, perRequest, adapterDay];
  const row = await db
    .prepare(ADD)
    .bind(...subject, validFrom, ...amounts, now, dayOf(now), dayOf(now + SKEW_MS))
    .first<PriceRow>();
  if (row) return priceOf(row);
  if (price.tenant !== null) await checkTenant(db, price.tenant);
  const twin = await db
    .prepare("SELECT id FROM prices WHERE tenant = ?1 AND task = ?2 AND model = ?3 AND valid_from = ?4")
    .bind(...subject, validFrom)
    .first<{ id: number }>();
  if (twin) {
    throw new ApiError(
      409,
      "price_exists",
      `Version ${twin.id} begins at the same time for the same. Withdraw it while it does not hold yet, or name a later time.`,
      { param: "valid_from" },
    );
  }
  throw new ApiError(
    400,
    "price_in_the_past",
    "valid_from is in the past, and what was used until now is billed at the prices that held. Leave it out to begin now, or name a later time.",
    { param: "valid_from" },
  );
}

/** @throws ApiError 404 `tenant_not_found` */
async function checkTenant(db: Database, tenant: string): Promise<void> {
  if (await db.prepare("SELECT id FROM tenants WHERE id = ?1").bind(tenant).first()) return;
  const message = `There is no tenant ${JSON.stringify(tenant)}. GET /admin/tenants lists them.`;
  throw new ApiError(404, "tenant_not_found", message, { param: "tenant" });
}

/**
 * Takes back a version that does not hold yet.
 *
 * @throws ApiError 404 `price_not_found`; 409 `price_in_force` for one that holds or held
 */
export async function withdrawPrice(db: Database, id: string, now: number): Promise<void> {
  const removed = await db
    .prepare("DELETE FROM prices WHERE id = ?1 AND valid_from > ?2 RETURNING id")
    .bind(id, now)
    .first<{ id: number }>();
  if (removed) return;
  const there = await db.prepare("SELECT id FROM prices WHERE id = ?1").bind(id).first<{ id: number }>();
  if (!there)
    throw new ApiError(
      404,
      "price_not_found",
      `There is no price ${JSON.stringify(id)}. GET /admin/prices lists them.`,
    );
  throw new ApiError(
    409,
    "price_in_force",
    `Price ${id} holds already, and bills are made with it. Add a new version instead: POST /admin/prices.`,
  );
}

function priceOf(row: PriceRow): Price {
  return {
    id: row.id,
    tenant: row.tenant || null,
    task: row.task || null,
    model: row.model || null,
    validFrom: row.valid_from,
    inputPer1k: row.input_per_1k,
    outputPer1k: row.output_per_1k,
    trainingPer1k: row.training_per_1k,
    perRequest: row.per_request,
    adapterDay: row.adapter_day,
    createdAt: row.created_at,
  };
}
