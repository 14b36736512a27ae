/** Usage messages that could not be written: kept until somebody replays them, and after. */
import { ApiError } from "../api-error.ts";
import type { Database } from "./database.ts";
import { type UsageEvent, usageEventSchema } from "./event.ts";
import { recordEvents } from "./ledger.ts";

export interface DeadLetter {
  /** The event's id, or, where the body has none, the message's. */
  id: string;
  /** JSON. */
  body: string;
  /** `undelivered`, or what is wrong with the body. */
  reason: string;
  /** Milliseconds since 1970. */
  at: number;
  replayedAt: number | null;
}

interface LetterRow {
  id: string;
  body: string;
  reason: string;
  at: number;
  replayed_at: number | null;
}

/** A message as it came. */
export interface Undelivered {
  messageId: string;
  body: unknown;
  reason: string;
}

/** Keeps messages, all or none; one that is kept already stays as it is. */
export async function keepDeadLetters(db: Database, messages: readonly Undelivered[], now: number): Promise<void> {
  if (messages.length === 0) return;
  const letters = messages.map(({ messageId, body, reason }) => ({
    id: idOf(body) ?? `message:${messageId}`,
    body: JSON.stringify(body ?? null),
    reason,
  }));
  await db
    .prepare(
      `INSERT INTO dead_letters (id, body, reason, at)
       SELECT value ->> 'id', value ->> 'body', value ->> 'reason', ?2 FROM json_each(?1) WHERE true
       ON CONFLICT (id) DO NOTHING`,
    )
    .bind(JSON.stringify(letters), now)
    .run();
}

/** In the order of their ids, from `after` on. */
export async function listDeadLetters(
  db: Database,
  { after, limit, replayed }: { after: string; limit: number; replayed: boolean },
): Promise<DeadLetter[]> {
  const { results } = await db
    .prepare("SELECT * FROM dead_letters WHERE id > ?1 AND (?2 OR replayed_at IS NULL) ORDER BY id LIMIT ?3")
    .bind(after, replayed ? 1 : 0, limit)
    .all<LetterRow>();
  return results.map(({ replayed_at, ...letter }) => ({ ...letter, replayedAt: replayed_at }));
}

export interface Replay {
  id: string;
  /** False: its event was in the ledger already, and counts once. */
  isNew: boolean;
}

/**
 * Enters a letter's event into the ledger.
 *
 * @throws ApiError 404 `dead_letter_not_found`; 422 `invalid_event` when its body is no usage event
 */
export async function replayDeadLetter(db: Database, id: string, now: number): Promise<Replay> {
  const letter = await db.prepare("SELECT * FROM dead_letters WHERE id = ?1").bind(id).first<LetterRow>();
  if (!letter) {
    const message = `There is no dead letter ${JSON.stringify(id)}. GET /admin/dead-letters lists them.`;
    throw new ApiError(404, "dead_letter_not_found", message);
  }
  const parsed = parseEvent(JSON.parse(letter.body));
  if ("reason" in parsed) {
    const message = `This letter holds no usage event, so there is nothing to bill: ${parsed.reason}. It stays kept.`;
    throw new ApiError(422, "invalid_event", message);
  }
  const written = await recordEvents(db, [parsed.event]);
  // After the write: a letter that is marked is in the ledger.
  await db
    .prepare("UPDATE dead_letters SET replayed_at = ?2 WHERE id = ?1 AND replayed_at IS NULL")
    .bind(id, now)
    .run();
  return { id, isNew: written.length > 0 };
}

/** Letters of one step of {@link replayDeadLetters}. */
const LETTERS_A_STEP = 100;

/** Replays every letter that was not, as {@link replayDeadLetter}; those that hold no event are passed over. */
export async function replayDeadLetters(
  db: Database,
  now: number,
): Promise<{ replayed: number; isNew: number; invalid: number }> {
  const sum = { replayed: 0, isNew: 0, invalid: 0 };
  for (let after = ""; ; ) {
    const letters = await listDeadLetters(db, { after, limit: LETTERS_A_STEP, replayed: false });
    const events = letters.flatMap(({ id, body }) => {
      const parsed = parseEvent(JSON.parse(body));
      return "event" in parsed ? [{ id, event: parsed.event }] : [];
    });
    sum.isNew += (
      await recordEvents(
        db,
        events.map(({ event }) => event),
      )
    ).length;
    await db
      .prepare("UPDATE dead_letters SET replayed_at = ?2 WHERE id IN (SELECT value FROM json_each(?1))")
      .bind(JSON.stringify(events.map(({ id }) => id)), now)
      .run();
    sum.replayed += events.length;
    sum.invalid += letters.length - events.length;
    const last = letters.at(-1);
    if (!last || letters.length < LETTERS_A_STEP) return sum;
    after = last.id;
  }
}

/** The event in a message, or what is wrong with it. */
export function parseEvent(body: unknown): { event: UsageEvent } | { reason: string } {
  const parsed = usageEventSchema.safeParse(body);
  if (parsed.success) return { event: parsed.data };
  const [issue] = parsed.error.issues;
  return { reason: `${issue?.path.join(".") || "the message"}: ${issue?.message}` };
}

function idOf(body: unknown): string | null {
  const id = typeof body === "object" && body !== null && "id" in body ? body.id : null;
  return typeof id === "string" && id !== "" ? id : null;
}
