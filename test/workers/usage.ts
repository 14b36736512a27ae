/** Usage events and what the ledger made of them. */
import { createExecutionContext, createMessageBatch, getQueueResult, waitOnExecutionContext } from "cloudflare:test";
import type { GatewayBindings } from "../../functions/gateway/bindings.ts";
import { queue } from "../../functions/gateway/queue.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import type { NewPrice } from "../../src/metering/prices.ts";
import { bindingsFor, database } from "./isolate.ts";

/** 2026-11-10, noon. */
export const NOON = Date.UTC(2026, 10, 10, 12);

let made = 0;

export function makeEvent(changes: Partial<UsageEvent> = {}): UsageEvent {
  return {
    id: `request-${++made}`,
    tenant: "acme",
    key: "key-1",
    task: "translate",
    taskVersion: 1,
    model: "m",
    adapter: null,
    inputTokens: 10,
    outputTokens: 5,
    trainingTokens: 0,
    workUnits: 15,
    servedBy: "edge",
    outcome: "ok",
    at: NOON,
    durationMs: 20,
    ...changes,
  };
}

export interface Delivery {
  id: string;
  body: unknown;
  attempts?: number;
}

/** Hands messages to the consumer. @returns what it acknowledged, and the seconds after which it wants others again */
export async function deliver(
  deliveries: readonly Delivery[],
  { name = "edge-t5-usage", bindings = {} }: { name?: string; bindings?: Partial<GatewayBindings> } = {},
): Promise<{ acknowledged: string[]; retried: Record<string, number | undefined> }> {
  const batch = createMessageBatch(
    name,
    deliveries.map((delivery) => ({ attempts: 1, timestamp: new Date(NOON), ...delivery })),
  );
  const retried: Record<string, number | undefined> = {};
  for (const message of batch.messages) {
    // The plugin's result leaves the delay out.
    const retry = message.retry.bind(message);
    Object.defineProperty(message, "retry", {
      value: (options?: QueueRetryOptions) => {
        retried[message.id] = options?.delaySeconds;
        retry(options);
      },
    });
  }
  const context = createExecutionContext();
  await queue(batch, { ...bindingsFor(), ...bindings }, context);
  await waitOnExecutionContext(context);
  const { explicitAcks, retryMessages } = await getQueueResult(batch, context);
  if (retryMessages.length !== Object.keys(retried).length) throw new Error("The batch was not retried as asked.");
  return { acknowledged: explicitAcks, retried };
}

export function deliveryOf(event: UsageEvent): Delivery {
  return { id: `message of ${event.id}`, body: event };
}

/** The ledger's ids of a tenant, in the order of their arrival. */
export async function ledgerIds(tenant: string): Promise<string[]> {
  const { results } = await database
    .prepare("SELECT id FROM usage_events WHERE tenant = ?1 ORDER BY seq")
    .bind(tenant)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

/** A price as if it had been set in time. @returns its id */
export async function putPrice(validFrom: number, price: Partial<Omit<NewPrice, "validFrom">>): Promise<number> {
  const { tenant, task, model, inputPer1k, outputPer1k, trainingPer1k, perRequest, adapterDay } = price;
  const amounts = [inputPer1k, outputPer1k, trainingPer1k, perRequest, adapterDay].map((amount) => amount ?? 0);
  const row = await database
    .prepare(
      `INSERT INTO prices (tenant, task, model, valid_from, input_per_1k, output_per_1k, training_per_1k, per_request, adapter_day, created_at)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?4) RETURNING id`,
    )
    .bind(tenant ?? "", task ?? "", model ?? "", validFrom, ...amounts)
    .first<{ id: number }>();
  if (!row) throw new Error("The price was not written.");
  return row.id;
}

/** A database on which every write fails. */
export const brokenDatabase = new Proxy(database, {
  get(target, property) {
    if (property === "batch" || property === "prepare") {
      return () => {
        throw new Error("D1_ERROR: no database");
      };
    }
    return Reflect.get(target, property);
  },
});
