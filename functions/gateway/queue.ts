/**
 * The queues' consumer: usage into the ledger, and what cannot go there into the dead letters; jobs are told to the origin.
 */
import { keepDeadLetters, parseEvent, type Undelivered } from "../../src/metering/dead-letters.ts";
import type { UsageEvent } from "../../src/metering/event.ts";
import { recordEvents } from "../../src/metering/ledger.ts";
import { errorFields, log } from "../../src/observability/log.ts";
import type { GatewayBindings } from "./bindings.ts";
import { consumeDeadJobs, consumeJobs } from "./jobs.ts";
import { queueLag, queueMessages } from "./metrics.ts";
import { sendToStripe } from "./stripe.ts";

/** How the queue's name ends that takes what the other one gave up; deployments differ in what is before. See wrangler.toml. */
const DEAD_LETTERS = "-usage-dead";

const LONGEST_WAIT_S = 3600;

type Messages = MessageBatch<unknown>["messages"];

/**
 * Takes a batch of any queue (wrangler.toml); deployments put their own names before the last words. A message is
 * acknowledged once it is written, or told, and not before.
 */
export async function queue(
  batch: MessageBatch<unknown>,
  env: GatewayBindings,
  context: ExecutionContext,
): Promise<void> {
  if (batch.queue.endsWith("-jobs")) return consumeJobs(batch, env);
  if (batch.queue.endsWith("-jobs-dead")) return consumeDeadJobs(batch, env);
  const now = Date.now();
  const isDead = batch.queue.endsWith(DEAD_LETTERS);
  const name = isDead ? "dead" : "usage";
  for (const { timestamp } of batch.messages) queueLag.observe([name], Math.max(0, now - timestamp.getTime()) / 1000);
  if (isDead) return keep(env, batch.messages, () => "undelivered");
  const valid: [message: Message<unknown>, event: UsageEvent][] = [];
  const invalid = new Map<Message<unknown>, string>();
  for (const message of batch.messages) {
    const parsed = parseEvent(message.body);
    if ("reason" in parsed) invalid.set(message, parsed.reason);
    else valid.push([message, parsed.event]);
  }
  // No retry makes an event of them.
  await keep(env, [...invalid.keys()], (message) => invalid.get(message) ?? "invalid");
  await settle("written", valid, (some) =>
    recordEvents(
      env.DB,
      some.map(([, event]) => event),
    ),
  );
  if (valid.length > 0) context.waitUntil(sendToStripe(env));
}

function keep(env: GatewayBindings, messages: Messages, reasonOf: (message: Message<unknown>) => string) {
  const letters = messages.map((message): [Message<unknown>, Undelivered] => [
    message,
    { messageId: message.id, body: message.body, reason: reasonOf(message) },
  ]);
  return settle("kept", letters, (some) =>
    keepDeadLetters(
      env.DB,
      some.map(([, letter]) => letter),
      Date.now(),
    ),
  );
}

/** So many failures after each other are the database's, not the messages'. */
const FAILURES_OF_THE_DATABASE = 3;

/**
 * Acknowledges messages when `write` succeeds; else they come again, each time later. Where all at once cannot be written
 * they are tried one by one, so that one that the database refuses holds up no other.
 */
async function settle<Item>(
  result: "written" | "kept",
  messages: readonly [message: Message<unknown>, item: Item][],
  write: (some: readonly [Message<unknown>, Item][]) => Promise<unknown>,
): Promise<void> {
  if (messages.length === 0) return;
  if (await succeeds(() => write(messages))) {
    for (const [message] of messages) message.ack();
    queueMessages.add([result], messages.length);
    return;
  }
  let failures = messages.length > 1 ? 0 : FAILURES_OF_THE_DATABASE;
  for (const one of messages) {
    const [message] = one;
    if (failures < FAILURES_OF_THE_DATABASE && (await succeeds(() => write([one])))) {
      failures = 0;
      message.ack();
      queueMessages.add([result]);
    } else {
      queueMessages.add(["retried"]);
      failures++;
      message.retry({ delaySeconds: Math.min(2 ** Math.min(message.attempts, 20), LONGEST_WAIT_S) });
    }
  }
}

async function succeeds(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    log("error", "usage_not_written", { error: errorFields(error) });
    return false;
  }
}
