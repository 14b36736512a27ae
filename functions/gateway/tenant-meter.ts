/** Counts, exactly, what one tenant uses now: there is one object a tenant. */
import { DurableObject } from "cloudflare:workers";
import { keptIn, usedIn } from "../../src/metering/invoice.ts";
import { monthOf } from "../../src/metering/period.ts";
import { type Answer, type Reservation, TenantCounts } from "../../src/tenancy/meter.ts";
import type { GatewayBindings } from "./bindings.ts";

export class TenantMeter extends DurableObject<GatewayBindings> {
  readonly #counts = new TenantCounts(this.ctx.storage.sql);

  /** @param tenant whose month is read from the ledger, once a month, and its adapter-days once an hour, where a budget asks for it */
  async reserve(tenant: string, reservation: Reservation): Promise<Answer> {
    const { tenantLimits, now } = reservation;
    const hasBudget = tenantLimits.softBudget !== null || tenantLimits.hardBudget !== null;
    const [db, month] = [this.env.DB, monthOf(now)];
    if (!hasBudget) this.#counts.forgetMonths();
    else {
      if (!this.#counts.knowsMonth(now)) this.#counts.beginMonth(now, await usedIn(db, tenant, month));
      if (!this.#counts.knowsKept(now)) this.#counts.setKept(now, await keptIn(db, tenant, month, now));
    }
    return this.#counts.reserve(reservation);
  }

  /** A budget is set where there was none. */
  forgetMonths(): void {
    this.#counts.forgetMonths();
  }

  settle(id: string, took: { tokens: number; nano: number }, now: number): void {
    this.#counts.settle(id, took, now);
  }
}
