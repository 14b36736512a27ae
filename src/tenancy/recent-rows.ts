/** What was read of the database a short time ago, so that not every request reads it again. */

export class RecentRows<Row> {
  /** Rows that were here when they were asked for, and those that were read. */
  hits = 0;
  misses = 0;
  readonly #rows = new Map<string, { row: Row; readAt: number }>();
  readonly #maxAge: number;
  readonly #size: number;

  /** @param maxAgeMs how old a row may be; @param size most rows: the least recently used one goes first */
  constructor(maxAgeMs: number, size: number) {
    this.#maxAge = maxAgeMs;
    this.#size = size;
  }

  /**
   * The row as it was at most `maxAgeMs` ago. What is not there is kept as well as what is. Requests do not wait for each
   * other's reads: in a Worker, a read ends with the request that began it.
   *
   * @param now milliseconds since 1970
   */
  async get(key: string, now: number, read: () => Promise<Row>): Promise<Row> {
    const kept = this.#rows.get(key);
    this.#rows.delete(key);
    if (kept && now - kept.readAt < this.#maxAge) {
      this.#rows.set(key, kept);
      this.hits++;
      return kept.row;
    }
    this.misses++;
    const row = await read();
    this.#rows.delete(key);
    this.#rows.set(key, { row, readAt: now });
    for (const oldest of this.#rows.keys()) {
      if (this.#rows.size <= this.#size) break;
      this.#rows.delete(oldest);
    }
    return row;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** Has it read again: who changed a row sees the change at once. */
  forget(key: string): void {
    this.#rows.delete(key);
  }

  clear(): void {
    this.#rows.clear();
  }
}
