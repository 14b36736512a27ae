/** One request under its tenant's limits: reserved before it begins, settled and told to the ledger when it has ended. */

import type { Context } from "hono";
import type { Counter } from "../../src/api/answers.ts";
import { ApiError } from "../../src/api-error.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { costOf, type Price, pricesOf, resolvePrice } from "../../src/metering/prices.ts";
import { reportUsage } from "../../src/metering/report.ts";
import type { RequestLine } from "../../src/observability/log.ts";
import { limitHeaders, refusalOf } from "../../src/tenancy/limit-headers.ts";
import { RecentRows } from "../../src/tenancy/recent-rows.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { generationSeconds, generations, tokens } from "./metrics.ts";

/** What a request will be billed as, and the most that it can take. */
export interface Charge {
  task: string | null;
  taskVersion: number | null;
  /** Its name: prices hold for all versions. */
  model: string;
  /** Its name. */
  adapter: string | null;
  inputTokens: number;
  maxOutputTokens: number;
}

export type Outcome = UsageEvent["outcome"] | "failed";

/** Prices that budgets are counted with, and clients are told; bills are made of the ledger. */
const prices = new RecentRows<Price[]>(30_000, 1_000);

export class Metered implements Counter {
  /** The ledger's id of this request, made here. */
  readonly id: string;
  /** Those that were charged for, unless it turns out to be more or fewer. */
  inputTokens: number;
  outputTokens = 0;
  workUnits = 0;
  servedBy: UsageEvent["servedBy"] = "edge";
  readonly #charge: Charge;
  readonly #env: GatewayBindings;
  readonly #who: { tenant: string; key: string };
  readonly #keepAlive: (work: Promise<unknown>) => void;
  readonly #price: Price | null;
  readonly #began = Date.now();
  readonly #isReserved: boolean;
  readonly #line: RequestLine;
  readonly #endLine: () => void;
  #ended = false;

  private constructor(c: Context<GatewayEnv>, id: string, charge: Charge, price: Price | null, isReserved: boolean) {
    const { tenant, key } = c.get("caller");
    const context = c.executionCtx;
    this.id = id;
    this.#env = c.env;
    this.#who = { tenant, key };
    this.#charge = charge;
    this.inputTokens = charge.inputTokens;
    this.#price = price;
    this.#isReserved = isReserved;
    this.#line = c.get("line");
    this.#endLine = this.#line.hold();
    this.#keepAlive = (work) => context.waitUntil(work);
  }

  /**
   * Sets the limits' headers on the answer.
   *
   * @throws ApiError 429 `rate_limit_exceeded`, `concurrency_limit_exceeded`; 402 `budget_exceeded`
   */
  static async begin(c: Context<GatewayEnv>, charge: Charge): Promise<Metered> {
    const { tenant, key, keyLimits, tenantLimits } = c.get("caller");
    const id = crypto.randomUUID();
    const isLimited = [...Object.values(keyLimits), ...Object.values(tenantLimits)].some((limit) => limit !== null);
    // Without a limit there is nothing to be counted at once: the ledger is enough.
    if (!isLimited) return new Metered(c, id, charge, null, false);
    const now = Date.now();
    const hasBudget = tenantLimits.softBudget !== null || tenantLimits.hardBudget !== null;
    const price = hasBudget ? await priceOf(c.env, tenant, charge, now) : null;
    const { inputTokens, maxOutputTokens } = charge;
    const tokens = inputTokens + maxOutputTokens;
    const nano = Number(costOf({ inputTokens, outputTokens: maxOutputTokens }, price));
    const answer = await meterOf(c.env, tenant).reserve(tenant, {
      id,
      key,
      keyLimits,
      tenantLimits,
      tokens,
      nano,
      now,
    });
    const refusal = refusalOf(answer, tokens);
    if (refusal) throw refusal;
    for (const [name, value] of Object.entries(limitHeaders(answer))) c.header(name, value);
    return new Metered(c, id, charge, price, true);
  }

  /** What it costs so far, in nano-dollars. */
  async cost(): Promise<bigint> {
    const { inputTokens, outputTokens, servedBy } = this;
    const price = this.#price ?? (await priceOf(this.#env, this.#who.tenant, this.#charge, this.#began));
    return costOf({ inputTokens: servedBy === "cache" ? 0 : inputTokens, outputTokens }, price);
  }

  /** Once; later calls are nothing. What failed on our side is not billed. */
  end(outcome: Outcome): void {
    if (this.#ended) return;
    this.#ended = true;
    const isBilled = outcome !== "failed";
    const inputTokens = isBilled && this.servedBy !== "cache" ? this.inputTokens : 0;
    const outputTokens = isBilled ? this.outputTokens : 0;
    const now = Date.now();
    this.#tell(outcome, inputTokens, outputTokens, now - this.#began);
    const work: Promise<unknown>[] = [];
    if (this.#isReserved) {
      const nano = isBilled ? Number(costOf({ inputTokens, outputTokens }, this.#price)) : 0;
      const meter = meterOf(this.#env, this.#who.tenant);
      work.push(meter.settle(this.id, { tokens: inputTokens + outputTokens, nano }, now));
    }
    if (isBilled) {
      const { task, taskVersion, model, adapter } = this.#charge;
      const event: UsageEvent = {
        ...{ id: this.id, ...this.#who, task, taskVersion, model, adapter },
        ...{
          inputTokens,
          outputTokens,
          trainingTokens: 0,
          workUnits: this.workUnits,
          servedBy: this.servedBy,
          outcome,
        },
        ...{ at: now, durationMs: now - this.#began },
      };
      work.push(reportUsage({ queue: this.#env.USAGE, db: this.#env.DB }, event));
    }
    this.#keepAlive(Promise.all(work));
  }

  /** To the log and the metrics. */
  #tell(outcome: Outcome, inputTokens: number, outputTokens: number, ms: number): void {
    const { servedBy } = this;
    tokens.add(["input", servedBy], inputTokens);
    tokens.add(["output", servedBy], outputTokens);
    generations.add([outcome, servedBy]);
    generationSeconds.observe([outcome], ms / 1000);
    this.#line.add({
      ...{ usage_id: this.id, outcome, served_by: servedBy },
      ...{ input_tokens: inputTokens, output_tokens: outputTokens },
    });
    this.#endLine();
  }

  /**
   * Runs what answers the request as a whole.
   *
   * @param gone aborted when the client has left
   */
  async whole<T>(gone: AbortSignal, run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      this.end("ok");
      return result;
    } catch (error) {
      this.end(outcomeOf(error, gone));
      throw error;
    }
  }

  /** The same pieces; the request ends with them, however they end. */
  async *streamed<T>(
    gone: AbortSignal,
    pieces: AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined> {
    let outcome: Outcome = "cut_off";
    try {
      yield* pieces;
      outcome = "ok";
    } catch (error) {
      outcome = outcomeOf(error, gone);
      throw error;
    } finally {
      this.end(outcome);
    }
  }
}

async function priceOf(
  { DB }: GatewayBindings,
  tenant: string,
  { task, model }: Charge,
  now: number,
): Promise<Price | null> {
  const known = await prices.get(tenant, now, () => pricesOf(DB, tenant));
  return resolvePrice(known, { tenant, task, model }, now);
}

/** A client that left pays for what was made until then. */
function outcomeOf(error: unknown, gone: AbortSignal): Outcome {
  return gone.aborted && !(error instanceof ApiError) ? "cut_off" : "failed";
}

function meterOf({ TENANTS }: GatewayBindings, tenant: string) {
  return TENANTS.get(TENANTS.idFromName(tenant));
}
