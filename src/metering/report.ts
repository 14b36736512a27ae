/** How a request tells its usage: through the queue, else straight into the ledger. */
import { log } from "../observability/log.ts";
import type { Database } from "./database.ts";
import type { UsageEvent } from "./event.ts";
import { recordEvents } from "./ledger.ts";

/** The part of Cloudflare's Queue that is used here. */
export interface UsageQueue {
  send(body: unknown, options?: { contentType: "json" }): Promise<unknown>;
}

export interface UsageSinks {
  queue: UsageQueue;
  db: Database;
}

/**
 * Hands an event over; never throws. `lost`: neither queue nor database took it, and the log has the whole event in one
 * line (`usage_event_lost`), from which it can be entered later.
 *
 * The event's id decides what is billed once: it must be made here, for this request, and not be taken from a header
 * that a client sends.
 */
export async function reportUsage(
  { queue, db }: UsageSinks,
  event: UsageEvent,
): Promise<"queued" | "written" | "lost"> {
  try {
    await queue.send(event, { contentType: "json" });
    return "queued";
  } catch (error) {
    // If it was queued all the same, the id counts once.
    try {
      await recordEvents(db, [event]);
      log("warn", "usage_queue_failed", { id: event.id, error: String(error) });
      return "written";
    } catch (second) {
      const errors = [String(error), String(second)];
      log("error", "usage_event_lost", { usage: event, errors });
      return "lost";
    }
  }
}
