/** Whom an isolate serves: who has been here lately, how much is in work for whom, and how much was done. */

/** What was done so long ago counts half: who was busy a minute ago is not held to it. */
const HALF_LIFE_MS = 2_000;
/** Longest that anybody asks back for. */
const KEPT_MS = 60_000;
/** Who was here so lately is taken to come back: so long a crowd still keeps to its share. */
const RETURN_MS = 2_000;
/** An owner with more than so many times as much in work as another is a crowd beside it. */
const CROWD = 3;
/** Who is no crowd has this many times the share of who is. */
const WEIGHT = 3;

interface Account {
  /** Multiply-adds, as they counted at `servedAt`, milliseconds since 1970. */
  served: number;
  servedAt: number;
  seenAt: number;
  /** Requests, or sequences. */
  inWork: number;
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
    for (const [other, { seenAt, inWork }] of this.#accounts) {
      if (inWork === 0 && now - seenAt > KEPT_MS) this.#accounts.delete(other);
    }
    this.#accounts.set(owner, { served: 0, servedAt: now, seenAt: now, inWork: 0 });
  }

  /** As {@link see}; so much of its is in work from now on. @returns called when that ends; called twice, it does nothing more */
  begin(owner: string, count = 1): () => void {
    this.see(owner);
    const account = this.#accounts.get(owner);
    let left = count;
    if (account) account.inWork += count;
    return () => {
      if (account) account.inWork -= left;
      left = 0;
    };
  }

  /**
   * Whether it has far more in work than another that is here: that one goes first then, and of this one's work only a
   * little is done at a time.
   */
  isCrowd(owner: string): boolean {
    const own = this.#accounts.get(owner)?.inWork ?? 0;
    if (own <= CROWD || this.#accounts.size < 2) return false;
    const now = Date.now();
    for (const [other, { seenAt, inWork }] of this.#accounts) {
      if (other !== owner && own > CROWD * Math.max(1, inWork) && now - seenAt < RETURN_MS) return true;
    }
    return false;
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

  /** What the owner had of its share: multiply-adds, the longer ago, the less of them. Who has had least goes first. */
  servedTo(owner: string): number {
    const account = this.#accounts.get(owner);
    return account ? faded(account, Date.now()) / (this.isCrowd(owner) ? 1 : WEIGHT) : 0;
  }
}

function faded({ served, servedAt }: Account, now: number): number {
  return served * 2 ** (Math.min(0, servedAt - now) / HALF_LIFE_MS);
}
