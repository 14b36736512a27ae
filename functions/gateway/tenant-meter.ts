/** Counts, exactly, what one tenant uses now: there is one object a tenant. */
import { DurableObject } from "cloudflare:workers";
import { keptIn, usedIn } from "../../src/metering/invoice.ts";
import { monthOf } from "../../src/metering/period.ts";
import { type Answer, type Hold, type Reservation, TenantCounts } from "../../src/tenancy/meter.ts";
import type { GatewayBindings } from "./bindings.ts";

export class TenantMeter extends DurableObject<GatewayBindings> {
  readonly #counts = new TenantCounts(this.ctx.storage.sql);

  /** @param tenant whose month is read from the ledger, once a month, and its adapter-days once an hour, where a budget asks for it */
  async reserve(tenant: string, reservation: Reservation): Promise<Answer> {
    const { tenantLimits, now } = reservation;
    const hasBudget = tenantLimits.softBudget !== null || tenantLimits.hardBudget !== null;
    if (hasBudget) await this.#readMonth(tenant, now);
    else this.#counts.forgetMonths();
    return this.#counts.reserve(reservation);
  }

  /** As {@link TenantCounts.hold}. */
  async hold(tenant: string, hold: Hold): Promise<boolean> {
    await this.#readMonth(tenant, hold.now);
    return this.#counts.hold(hold);
  }

  spendHeld(id: string, nano: number, now: number): void {
    this.#counts.spendHeld(id, nano, now);
  }

  settleHold(id: string, nano: number, now: number): void {
    this.#counts.settleHold(id, nano, now);
  }

  /** A budget is set where there was none. */
  forgetMonths(): void {
    this.#counts.forgetMonths();
  }

  async #readMonth(tenant: string, now: number): Promise<void> {
    const [db, month] = [this.env.DB, monthOf(now)];
    if (!this.#counts.knowsMonth(now)) this.#counts.beginMonth(now, await usedIn(db, tenant, month));
    if (!this.#counts.knowsKept(now)) this.#counts.setKept(now, await keptIn(db, tenant, month, now));
  }

  settle(id: string, took: { tokens: number; nano: number }, now: number): void {
    this.#counts.settle(id, took, now);
  }
}
