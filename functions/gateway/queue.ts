/** The usage queue's consumer: messages into the ledger, and what cannot go there into the dead letters. */
import { keepDeadLetters, parseEvent, type Undelivered } from "../../src/metering/dead-letters.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { recordEvents } from "../../src/metering/ledger.ts";
import type { GatewayBindings } from "./bindings.ts";
import { sendToStripe } from "./stripe.ts";

/** Of the queue that takes what the other one gave up; see wrangler.toml. */
const DEAD_LETTER_QUEUE = "edge-t5-usage-dead";

const LONGEST_WAIT_S = 3600;

type Messages = MessageBatch<unknown>["messages"];

/** Takes a batch of either queue. A message is acknowledged once it is written, and not before. */
export async function queue(
  batch: MessageBatch<unknown>,
  env: GatewayBindings,
  context: ExecutionContext,
): Promise<void> {
  if (batch.queue === DEAD_LETTER_QUEUE) return keep(env, batch.messages, () => "undelivered");
  const events: UsageEvent[] = [];
  const valid: Message<unknown>[] = [];
  const invalid = new Map<Message<unknown>, string>();
  for (const message of batch.messages) {
    const parsed = parseEvent(message.body);
    if ("reason" in parsed) {
      invalid.set(message, parsed.reason);
    } else {
      events.push(parsed.event);
      valid.push(message);
    }
  }
  // No retry makes an event of them.
  await keep(env, [...invalid.keys()], (message) => invalid.get(message) ?? "invalid");
  await settle(valid, () => recordEvents(env.DB, events));
  if (valid.length > 0) context.waitUntil(sendToStripe(env));
}

function keep(env: GatewayBindings, messages: Messages, reasonOf: (message: Message<unknown>) => string) {
  const letters: Undelivered[] = messages.map((message) => ({
    messageId: message.id,
    body: message.body,
    reason: reasonOf(message),
  }));
  return settle(messages, () => keepDeadLetters(env.DB, letters, Date.now()));
}

/** Acknowledges messages when `write` succeeds; else they come again, each time later. */
async function settle(messages: Messages, write: () => Promise<unknown>): Promise<void> {
  if (messages.length === 0) return;
  try {
    await write();
    for (const message of messages) message.ack();
  } catch (error) {
    console.error(JSON.stringify({ event: "usage_not_written", messages: messages.length, error: String(error) }));
    for (const message of messages) {
      message.retry({ delaySeconds: Math.min(2 ** Math.min(message.attempts, 20), LONGEST_WAIT_S) });
    }
  }
}
