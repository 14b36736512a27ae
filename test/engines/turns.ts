/** Turns of the event loop that come when a test says so. */
export class Turns {
  readonly #waiting: (() => void)[] = [];

  readonly take = () => new Promise<void>((resolve) => this.#waiting.push(resolve));

  get count(): number {
    return this.#waiting.length;
  }

  /** The one that waits longest, and all that follows from it. */
  async fire(): Promise<void> {
    this.#waiting.shift()?.();
    await settled();
  }

  async fireAll(): Promise<void> {
    for (let left = this.count; left > 0; left--) await this.fire();
  }

  /** A request that is gone: its timers never fire. */
  drop(): void {
    this.#waiting.shift();
  }
}

/** All promises that can go on have gone on. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
