/** First come, first served: who asks for room that is not there waits until some is given back. */
import { EdgeT5Error } from "../errors.ts";

/** Longest wait for room. */
const PATIENCE_MS = 20_000;
/** How often a waiter looks by itself: room may also come from sequences left behind. */
const LOOK_MS = 1_000;

interface Waiter {
  attempt(): boolean;
}

export class WaitingLine {
  readonly #waiters: Waiter[] = [];
  readonly #tooLong: string;

  /** @param tooLong what is said to who waited too long */
  constructor(tooLong: string) {
    this.#tooLong = tooLong;
  }

  /**
   * The first result of `tryTake` that is not null, in order of arrival.
   *
   * @param signal leaves the line when it is aborted; its reason is thrown
   * @throws EdgeT5Error `E_CAPACITY` after waiting too long
   */
  async take<T>(tryTake: () => T | null, signal?: AbortSignal): Promise<T> {
    if (this.#waiters.length === 0) {
      const taken = tryTake();
      if (taken !== null) return taken;
    }
    const started = Date.now();
    let waiter: Waiter | undefined;
    let timer: ReturnType<typeof setInterval> | undefined;
    let onAbort = () => {};
    const leave = () => {
      const index = waiter ? this.#waiters.indexOf(waiter) : -1;
      if (index >= 0) this.#waiters.splice(index, 1);
      return index >= 0;
    };
    const room = new Promise<T>((resolve, reject) => {
      waiter = {
        attempt: () => {
          const taken = tryTake();
          if (taken === null) return false;
          leave();
          resolve(taken);
          return true;
        },
      };
      this.#waiters.push(waiter);
      onAbort = () => {
        if (!leave()) return;
        reject(signal?.reason);
        this.retry();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      timer = setInterval(() => {
        this.retry();
        if (Date.now() - started >= PATIENCE_MS && leave()) {
          reject(new EdgeT5Error("E_CAPACITY", this.#tooLong));
        }
      }, LOOK_MS);
    });
    try {
      return await room;
    } finally {
      // Here, not where room was given: in workerd a timer belongs to the request that set it.
      if (timer !== undefined) clearInterval(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Lets those in front try again, until one still finds no room. */
  retry(): void {
    while (this.#waiters[0]?.attempt()) {}
  }
}
