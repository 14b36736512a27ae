/** Whom an isolate serves: who has been here lately, and how much was done for whom. */

/** What was done so long ago counts half: who was busy a minute ago is not held to it. */
const HALF_LIFE_MS = 2_000;
/** Longest that anybody asks back for. */
const KEPT_MS = 60_000;

interface Account {
  /** Multiply-adds, as they counted at `servedAt`, milliseconds since 1970. */
  served: number;
  servedAt: number;
  seenAt: number;
}

export class Owners {
  readonly #accounts = new Map<string, Account>();

  /** The owner has a request here. */
  see(owner: string): void {
    const now = Date.now();
    const account = this.#accounts.get(owner);
    if (account) {
      account.seenAt = now;
      return;
    }
    for (const [other, { seenAt }] of this.#accounts) if (now - seenAt > KEPT_MS) this.#accounts.delete(other);
    this.#accounts.set(owner, { served: 0, servedAt: now, seenAt: now });
  }

  /** Those besides `owner` who have been here within so many milliseconds, up to {@link KEPT_MS}. */
  others(owner: string, withinMs: number): string[] {
    if (this.#accounts.size < 2) return [];
    const now = Date.now();
    return [...this.#accounts]
      .filter(([name, { seenAt }]) => name !== owner && now - seenAt < withinMs)
      .map(([name]) => name);
  }

  /** Something was done for the owner. */
  serve(owner: string, multiplyAdds: number): void {
    const account = this.#accounts.get(owner);
    if (!account) return;
    const now = Date.now();
    account.served = faded(account, now) + multiplyAdds;
    account.servedAt = now;
  }

  /** What was done for the owner, in multiply-adds; the longer ago, the less of it. */
  servedTo(owner: string): number {
    const account = this.#accounts.get(owner);
    return account ? faded(account, Date.now()) : 0;
  }
}

function faded({ served, servedAt }: Account, now: number): number {
  return served * 2 ** (Math.min(0, servedAt - now) / HALF_LIFE_MS);
}
