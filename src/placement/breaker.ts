/**
 * A circuit breaker (Nygard, "Release It!"): after some failures in a row nobody is sent to what failed, for a time that
 * doubles with every failed probe; then one request is sent as a probe, and the others when it went well. It holds numbers
 * alone, so that the requests of an isolate may share it.
 */

/** Failures in a row that open it. */
const FAILURES = 3;
const FIRST_REST_MS = 1_000;
const LONGEST_REST_MS = 30_000;

export class CircuitBreaker {
  readonly #probeMs: number;
  #failures = 0;
  /** Milliseconds since 1970; null: closed. */
  #restsUntil: number | null = null;
  #restMs = FIRST_REST_MS;
  /** When a probe was sent; null: none is under way. */
  #probedAt: number | null = null;

  /** @param probeMs after which a probe that said nothing was lost */
  constructor(probeMs: number) {
    this.#probeMs = probeMs;
  }

  get state(): "closed" | "open" | "half-open" {
    if (this.#restsUntil === null) return "closed";
    return this.#probedAt === null ? "open" : "half-open";
  }

  /** Whether a request may try; it must tell what came of it. */
  admit(now: number): boolean {
    if (this.#restsUntil === null) return true;
    if (now < this.#restsUntil) return false;
    if (this.#probedAt !== null && now - this.#probedAt < this.#probeMs) return false;
    this.#probedAt = now;
    return true;
  }

  succeed(): void {
    this.#failures = 0;
    this.#restsUntil = null;
    this.#restMs = FIRST_REST_MS;
    this.#probedAt = null;
  }

  fail(now: number): void {
    this.#failures++;
    const isProbe = this.#probedAt !== null;
    // Who was admitted before it opened tells it nothing new.
    if (this.#restsUntil !== null && !isProbe) return;
    if (isProbe) this.#restMs = Math.min(2 * this.#restMs, LONGEST_REST_MS);
    this.#probedAt = null;
    if (isProbe || this.#failures >= FAILURES) this.#restsUntil = now + this.#restMs;
  }

  /** A request that was admitted came to no end: its client left. */
  leave(): void {
    this.#probedAt = null;
  }

  /** Seconds until a request may find it closed. */
  secondsLeft(now: number): number {
    return Math.max(1, Math.ceil(((this.#restsUntil ?? now) - now) / 1000));
  }
}
