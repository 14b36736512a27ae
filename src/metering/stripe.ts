/**
 * Usage as Stripe's meter events. The ledger's own write puts a tenant's events into the outbox; from there they are sent
 * until Stripe has taken them. A repeated one carries the same identifier, and Stripe counts identifiers once (within a
 * day at least); what was taken is noted per meter at once, so that no older one is repeated.
 */
import type { Stripe } from "stripe";
import type { Database } from "./database.ts";

export interface StripeSettings {
  secretKey: string;
  /** Names (`event_name`) of the meters for input and output tokens; the same name: one event with their sum. */
  inputMeter: string;
  outputMeter: string;
  /** For tokens that fine-tunings trained on. */
  trainingMeter: string;
  /** Default: Stripe's own; tests name a server of theirs. */
  apiBase?: string | undefined;
}

export interface FlushResult {
  /** Requests of which Stripe has everything now. */
  sent: number;
  /** Requests that stay, to be sent again later. */
  failed: number;
  lastError: string | null;
}

interface OutboxRow {
  seq: number;
  customer: string;
  input_sent_at: number | null;
  output_sent_at: number | null;
  attempts: number;
}

interface Outgoing extends OutboxRow {
  id: string;
  at: number;
  input_tokens: number;
  output_tokens: number;
  training_tokens: number;
}

const ROWS_A_STEP = 50;
/** A Worker's request may open six connections. */
const AT_ONCE = 4;
const TIMEOUT_MS = 10_000;
/** While one Worker sends rows, no other does. */
const LEASE_MS = 120_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 3_600_000;

const CLAIM = `
  UPDATE stripe_outbox SET leased_until = ?1 + ${LEASE_MS}, attempts = attempts + 1
  WHERE seq IN (
    SELECT seq FROM stripe_outbox WHERE done_at IS NULL AND next_at <= ?2 AND leased_until <= ?1
    ORDER BY next_at, seq LIMIT ?3
  )
  RETURNING seq, customer, input_sent_at, output_sent_at, attempts`;

/**
 * Sends what is due, at most `limit` requests' usage; stops at the first sign that Stripe cannot be reached or takes
 * nothing from us at the moment.
 *
 * @param now a clock: milliseconds since 1970
 * @param everything also what waits for its next try
 */
export async function flushStripe(
  db: Database,
  settings: StripeSettings,
  { now, limit, everything = false }: { now: () => number; limit: number; everything?: boolean },
): Promise<FlushResult> {
  const result: FlushResult = { sent: 0, failed: 0, lastError: null };
  // What fails now is due later than this.
  const due = now();
  if (everything) {
    await db.prepare("UPDATE stripe_outbox SET next_at = ?1 WHERE done_at IS NULL AND next_at > ?1").bind(due).run();
  }
  let client: Stripe | null = null;
  for (let left = limit; left > 0; ) {
    const rows = await claim(db, now(), due, Math.min(ROWS_A_STEP, left));
    if (rows.length === 0) break;
    left -= rows.length;
    client ??= await connect(settings);
    if (!(await sendAll(db, client, settings, rows, now, result))) break;
  }
  return result;
}

/** How many requests' usage is on its way, and what was last wrong. */
export async function stripeBacklog(db: Database): Promise<{ pending: number; lastError: string | null }> {
  const row = await db
    .prepare(
      `SELECT count(*) AS pending,
        (SELECT last_error FROM stripe_outbox WHERE done_at IS NULL AND last_error IS NOT NULL LIMIT 1) AS lastError
       FROM stripe_outbox WHERE done_at IS NULL`,
    )
    .first<{ pending: number; lastError: string | null }>();
  return row ?? { pending: 0, lastError: null };
}

/** Whom Stripe bills for what a tenant uses from now on; null: nobody. @returns false where there is no such tenant */
export async function setStripeCustomer(db: Database, tenant: string, customer: string | null): Promise<boolean> {
  const row = await db
    .prepare("UPDATE tenants SET stripe_customer = ?2 WHERE id = ?1 RETURNING id")
    .bind(tenant, customer)
    .first<{ id: string }>();
  return row !== null;
}

/** Loaded when it is needed: most deployments send nothing to Stripe. */
async function connect({ secretKey, apiBase }: StripeSettings): Promise<Stripe> {
  const { default: StripeClient } = await import("stripe");
  const base = apiBase ? new URL(apiBase) : null;
  return new StripeClient(secretKey, {
    httpClient: StripeClient.createFetchHttpClient(),
    // The outbox tries again.
    maxNetworkRetries: 0,
    timeout: TIMEOUT_MS,
    telemetry: false,
    ...(base && {
      host: base.hostname,
      port: base.port || (base.protocol === "https:" ? 443 : 80),
      protocol: base.protocol === "http:" ? "http" : "https",
    }),
  });
}

async function claim(db: Database, now: number, due: number, limit: number): Promise<Outgoing[]> {
  const claimed = await db.prepare(CLAIM).bind(now, due, limit).all<OutboxRow>();
  if (claimed.results.length === 0) return [];
  const events = await db
    .prepare(
      "SELECT seq, id, at, input_tokens, output_tokens, training_tokens FROM usage_events WHERE seq IN (SELECT value FROM json_each(?1))",
    )
    .bind(JSON.stringify(claimed.results.map(({ seq }) => seq)))
    .all<Omit<Outgoing, keyof OutboxRow> & { seq: number }>();
  const bySeq = new Map(events.results.map((event) => [event.seq, event]));
  return claimed.results.flatMap((row) => {
    const event = bySeq.get(row.seq);
    return event ? [{ ...row, ...event }] : [];
  });
}

/** @returns false when the rest had better wait */
async function sendAll(
  db: Database,
  client: Stripe,
  settings: StripeSettings,
  rows: readonly Outgoing[],
  now: () => number,
  result: FlushResult,
): Promise<boolean> {
  const queue = [...rows];
  let isReachable = true;
  const worker = async () => {
    for (let row = queue.shift(); row; row = queue.shift()) {
      if (!isReachable) {
        await release(db, row, now());
        continue;
      }
      const error = await sendOne(db, client, settings, row, now);
      if (!error) {
        result.sent++;
        continue;
      }
      result.failed++;
      result.lastError = error.message;
      isReachable &&= error.isOfThisEvent;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return isReachable;
}

interface SendError {
  message: string;
  /** Another event may be taken. */
  isOfThisEvent: boolean;
}

/** @returns null when Stripe has everything of this request */
async function sendOne(
  db: Database,
  client: Stripe,
  settings: StripeSettings,
  row: Outgoing,
  now: () => number,
): Promise<SendError | null> {
  const events = meterEvents(settings, row);
  for (const { column, meter, identifier, tokens } of events) {
    try {
      if (tokens > 0) await createMeterEvent(client, meter, identifier, row, tokens);
    } catch (cause) {
      const error = describe(cause);
      const wait = Math.min(FIRST_WAIT_MS * 2 ** Math.min(row.attempts - 1, 20), LONGEST_WAIT_MS);
      await db
        .prepare("UPDATE stripe_outbox SET next_at = ?2, last_error = ?3, leased_until = 0 WHERE seq = ?1")
        .bind(row.seq, now() + wait, error.message)
        .run();
      return error;
    }
    const isLast = identifier === events.at(-1)?.identifier;
    if (column && !isLast)
      await db.prepare(`UPDATE stripe_outbox SET ${column} = ?2 WHERE seq = ?1`).bind(row.seq, now()).run();
  }
  await db
    .prepare("UPDATE stripe_outbox SET done_at = ?2, last_error = NULL WHERE seq = ?1")
    .bind(row.seq, now())
    .run();
  return null;
}

interface MeterEvent {
  /** Where it is noted that it was taken; null: with the request. */
  column: "input_sent_at" | "output_sent_at" | null;
  meter: string;
  identifier: string;
  tokens: number;
}

function meterEvents({ inputMeter, outputMeter, trainingMeter }: StripeSettings, row: Outgoing): MeterEvent[] {
  const { id, input_tokens, output_tokens, training_tokens } = row;
  // A fine-tuning has no other tokens.
  if (training_tokens > 0) {
    return [{ column: null, meter: trainingMeter, identifier: `${id}:training`, tokens: training_tokens }];
  }
  const isUntouched = row.input_sent_at === null && row.output_sent_at === null;
  // A request whose half was sent goes on as it began, whatever the settings say now.
  if (inputMeter === outputMeter && isUntouched) {
    return [{ column: null, meter: inputMeter, identifier: id, tokens: input_tokens + output_tokens }];
  }
  const both: MeterEvent[] = [
    { column: "input_sent_at", meter: inputMeter, identifier: `${id}:input`, tokens: input_tokens },
    { column: "output_sent_at", meter: outputMeter, identifier: `${id}:output`, tokens: output_tokens },
  ];
  return both.filter(({ column }) => column === null || row[column] === null);
}

async function createMeterEvent(
  client: Stripe,
  meter: string,
  identifier: string,
  { customer, at }: Outgoing,
  tokens: number,
): Promise<void> {
  try {
    await client.billing.meterEvents.create({
      event_name: meter,
      identifier,
      timestamp: Math.floor(at / 1000),
      payload: { stripe_customer_id: customer, value: String(tokens) },
    });
  } catch (error) {
    // Taken before, and the answer did not reach us.
    const { statusCode, message } = error as Partial<Stripe.errors.StripeError>;
    if (statusCode === 400 && /already exists with identifier/i.test(message ?? "")) return;
    throw error;
  }
}

function describe(cause: unknown): SendError {
  const { statusCode, message } = cause as Partial<Stripe.errors.StripeError>;
  // Stripe's messages name the key's last characters at most; one that cannot be logged in is said in our words.
  if (statusCode === 401 || statusCode === 403) {
    return {
      message: `${statusCode}: Stripe does not accept STRIPE_SECRET_KEY for meter events.`,
      isOfThisEvent: false,
    };
  }
  const isOfThisEvent = statusCode !== undefined && statusCode >= 400 && statusCode < 500 && statusCode !== 429;
  return { message: `${statusCode ?? "no answer"}: ${message ?? String(cause)}`, isOfThisEvent };
}

/** Gives a row back untried. */
async function release(db: Database, { seq }: Outgoing, now: number): Promise<void> {
  await db
    .prepare("UPDATE stripe_outbox SET next_at = ?2, attempts = attempts - 1, leased_until = 0 WHERE seq = ?1")
    .bind(seq, now + FIRST_WAIT_MS)
    .run();
}
