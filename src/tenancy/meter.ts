/**
 * What one tenant uses now, counted exactly: requests and tokens a minute of each key, requests at once, money this month.
 * A request reserves the most that it could take, and settles what it took. Kept in SQL that answers at once, so that a
 * count is read and changed in one turn: a Durable Object's.
 *
 * Limits a minute are buckets that fill up evenly (GCRA, ITU-T I.371): a minute's worth may go at once, then as it comes.
 */
import type { KeyLimits, TenantLimits } from "./caller.ts";

/** The part of a Durable Object's SqlStorage that is used here. */
export interface Sql {
  exec<Row extends Record<string, number | string | null>>(
    query: string,
    ...values: (number | string | null)[]
  ): { toArray(): Row[] };
}

export interface Reservation {
  /** The request's id, made by us. */
  id: string;
  key: string;
  keyLimits: KeyLimits;
  tenantLimits: TenantLimits;
  /** The most that it can take: input and output tokens, nano-dollars. */
  tokens: number;
  nano: number;
  /** Milliseconds since 1970. */
  now: number;
}

/** Of one limit a minute. */
export interface Quota {
  limit: number;
  remaining: number;
  /** Seconds until the whole of it is there again. */
  reset: number;
}

export type Refusal = "requests" | "tokens" | "concurrency" | "budget";

export interface Answer {
  /** Null: it may go ahead. */
  refused: Refusal | null;
  /** Seconds after which it would not be refused for the same reason; 0 when it may go ahead. */
  retryAfter: number;
  requests: Quota | null;
  tokens: Quota | null;
  /** This month's money has come to the soft mark. */
  softBudgetReached: boolean;
}

/** Money for a job. */
export interface Hold {
  id: string;
  /** Nano-dollars. */
  nano: number;
  hardBudget: number | null;
  now: number;
}

/** A request that was not settled went down with its gateway: what it reserved at once is free again, nothing is billed. */
export const LEASE_MS = 15 * 60_000;

const MINUTE_S = 60;

export class TenantCounts {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
    sql.exec(`CREATE TABLE IF NOT EXISTS buckets (
      key TEXT NOT NULL, what TEXT NOT NULL, used REAL NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (key, what)
    )`);
    sql.exec(`CREATE TABLE IF NOT EXISTS leases (
      id TEXT PRIMARY KEY, key TEXT NOT NULL, tokens INTEGER NOT NULL, nano INTEGER NOT NULL, at INTEGER NOT NULL
    )`);
    sql.exec("CREATE TABLE IF NOT EXISTS months (month TEXT PRIMARY KEY, nano INTEGER NOT NULL)");
    sql.exec("CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, nano INTEGER NOT NULL)");
    sql.exec("CREATE TABLE IF NOT EXISTS kept (hour TEXT PRIMARY KEY, nano INTEGER NOT NULL)");
  }

  /** Whether this month's money is counted already. */
  knowsMonth(now: number): boolean {
    return this.#sql.exec("SELECT 1 FROM months WHERE month = ?", monthOf(now)).toArray().length > 0;
  }

  /** What the ledger has of this month, to count on from. */
  beginMonth(now: number, nano: number): void {
    this.#sql.exec("INSERT OR IGNORE INTO months (month, nano) VALUES (?, ?)", monthOf(now), nano);
  }

  /** Without a budget money is not counted: with the next one, the ledger is read again. */
  forgetMonths(): void {
    this.#sql.exec("DELETE FROM months");
  }

  /** Whether what is kept, and grows by itself, was looked at this hour. */
  knowsKept(now: number): boolean {
    return this.#sql.exec("SELECT 1 FROM kept WHERE hour = ?", hourOf(now)).toArray().length > 0;
  }

  /** What this month's adapter-days come to so far, in nano-dollars. */
  setKept(now: number, nano: number): void {
    this.#sql.exec("DELETE FROM kept");
    this.#sql.exec("INSERT INTO kept (hour, nano) VALUES (?, ?)", hourOf(now), nano);
  }

  /** Reserves all of it, or nothing. The same request reserves once. */
  reserve({ id, key, keyLimits, tenantLimits, tokens, nano, now }: Reservation): Answer {
    this.#sql.exec("DELETE FROM leases WHERE at < ?", now - LEASE_MS);
    const open = this.#one<{ requests: number; nano: number }>(
      "SELECT count(*) AS requests, coalesce(sum(nano), 0) AS nano FROM leases",
    );
    const isOpen = this.#sql.exec("SELECT 1 FROM leases WHERE id = ?", id).toArray().length > 0;
    const settled = this.#spent(now);
    const spent = settled + open.nano + this.#held();
    const { concurrency, softBudget, hardBudget } = tenantLimits;
    const used = { requests: this.#used(key, "requests", keyLimits.requestsPerMinute, now), tokens: 0 };
    used.tokens = this.#used(key, "tokens", keyLimits.tokensPerMinute, now);

    const answer = (refused: Refusal | null, retryAfter: number): Answer => ({
      refused,
      retryAfter,
      requests: quotaOf(keyLimits.requestsPerMinute, used.requests),
      tokens: quotaOf(keyLimits.tokensPerMinute, used.tokens),
      softBudgetReached: softBudget !== null && spent >= softBudget,
    });
    if (isOpen) return answer(null, 0);
    if (hardBudget !== null && spent + nano > hardBudget) {
      // What those that run have reserved and will not take comes back when they end.
      return answer("budget", settled + nano > hardBudget ? secondsToNextMonth(now) : 1);
    }
    if (concurrency !== null && open.requests >= concurrency) return answer("concurrency", 1);
    const late = (limit: number | null, taken: number, more: number) =>
      limit === null ? 0 : Math.ceil(((taken + more - limit) * MINUTE_S) / limit);
    const byRequests = late(keyLimits.requestsPerMinute, used.requests, 1);
    if (byRequests > 0) return answer("requests", byRequests);
    const byTokens = late(keyLimits.tokensPerMinute, used.tokens, tokens);
    if (byTokens > 0) return answer("tokens", byTokens);

    used.requests += 1;
    used.tokens += tokens;
    this.#setUsed(key, "requests", keyLimits.requestsPerMinute === null ? null : used.requests, now);
    this.#setUsed(key, "tokens", keyLimits.tokensPerMinute === null ? null : used.tokens, now);
    this.#sql.exec("INSERT INTO leases VALUES (?, ?, ?, ?, ?)", id, key, tokens, nano, now);
    return answer(null, 0);
  }

  /** What a request took; what it had reserved beyond that is given back. Settled twice, it counts once. */
  settle(id: string, took: { tokens: number; nano: number }, now: number): void {
    const [lease] = this.#sql
      .exec<{ key: string; tokens: number }>("SELECT key, tokens FROM leases WHERE id = ?", id)
      .toArray();
    if (!lease) return;
    this.#sql.exec("DELETE FROM leases WHERE id = ?", id);
    this.#sql.exec(
      "UPDATE buckets SET used = max(0, used - ?) WHERE key = ? AND what = 'tokens'",
      lease.tokens - took.tokens,
      lease.key,
    );
    this.#sql.exec("UPDATE months SET nano = nano + ? WHERE month = ?", took.nano, monthOf(now));
  }

  /**
   * Keeps money for a job, until it is settled: the most that it can cost. The same job's is kept once.
   *
   * @returns whether this month's budget covers it
   */
  hold({ id, nano, hardBudget, now }: Hold): boolean {
    if (this.#sql.exec("SELECT 1 FROM holds WHERE id = ?", id).toArray().length > 0) return true;
    const open = this.#one<{ nano: number }>("SELECT coalesce(sum(nano), 0) AS nano FROM leases");
    if (hardBudget !== null && this.#spent(now) + open.nano + this.#held() + nano > hardBudget) return false;
    this.#sql.exec("INSERT INTO holds VALUES (?, ?)", id, nano);
    return true;
  }

  /** What a part of a job cost; of what is held for it, so much is no longer needed. */
  spendHeld(id: string, nano: number, now: number): void {
    this.#sql.exec("UPDATE holds SET nano = max(0, nano - ?) WHERE id = ?", nano, id);
    this.#sql.exec("UPDATE months SET nano = nano + ? WHERE month = ?", nano, monthOf(now));
  }

  /** The end of a job: what it cost beyond {@link spendHeld}; what is still held for it is free. Told twice, it counts once. */
  settleHold(id: string, nano: number, now: number): void {
    if (this.#sql.exec("DELETE FROM holds WHERE id = ? RETURNING id", id).toArray().length === 0) return;
    this.#sql.exec("UPDATE months SET nano = nano + ? WHERE month = ?", nano, monthOf(now));
  }

  #held(): number {
    return this.#one<{ nano: number }>("SELECT coalesce(sum(nano), 0) AS nano FROM holds").nano;
  }

  #one<Row extends Record<string, number | string | null>>(query: string, ...values: (number | string)[]): Row {
    return this.#sql.exec<Row>(query, ...values).toArray()[0] as Row;
  }

  #spent(now: number): number {
    const [row] = this.#sql.exec<{ nano: number }>("SELECT nano FROM months WHERE month = ?", monthOf(now)).toArray();
    const [kept] = this.#sql.exec<{ nano: number }>("SELECT nano FROM kept WHERE hour = ?", hourOf(now)).toArray();
    return (row?.nano ?? 0) + (kept?.nano ?? 0);
  }

  /** What of a bucket is used and has not come back since. */
  #used(key: string, what: string, limit: number | null, now: number): number {
    if (limit === null) return 0;
    const [row] = this.#sql
      .exec<{ used: number; at: number }>("SELECT used, at FROM buckets WHERE key = ? AND what = ?", key, what)
      .toArray();
    return row ? Math.max(0, row.used - ((now - row.at) * limit) / (MINUTE_S * 1000)) : 0;
  }

  #setUsed(key: string, what: string, used: number | null, now: number): void {
    if (used === null) return;
    this.#sql.exec("INSERT OR REPLACE INTO buckets (key, what, used, at) VALUES (?, ?, ?, ?)", key, what, used, now);
  }
}

function quotaOf(limit: number | null, used: number): Quota | null {
  if (limit === null) return null;
  return { limit, remaining: Math.max(0, Math.floor(limit - used)), reset: Math.ceil((used * MINUTE_S) / limit) };
}

function monthOf(now: number): string {
  return new Date(now).toISOString().slice(0, 7);
}

function hourOf(now: number): string {
  return new Date(now).toISOString().slice(0, 13);
}

function secondsToNextMonth(now: number): number {
  const date = new Date(now);
  return Math.ceil((Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) - now) / 1000);
}
