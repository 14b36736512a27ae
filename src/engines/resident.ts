/**
 * Something loaded once an isolate and kept: concurrent first requests share one load, a load that fails may be tried
 * again, and one whose request ended in the middle is taken over by who still waits.
 */

/** What a load is given. */
export interface Attempt {
  /** Aborted when another attempt took this one's place: nothing it does counts any more. */
  signal: AbortSignal;
  /** Tells that the load goes on; one that is silent for long is taken over. */
  touch(): void;
}

interface Running<T> {
  promise: Promise<T>;
  controller: AbortController;
  touched: number;
}

/** How long a load may be silent: storage answers within a fraction of this. */
const SILENCE_MS = 5_000;

export class Resident<T> {
  /** Loads begun, and how many of them failed. */
  loads = 0;
  failures = 0;
  #value: T | undefined;
  #running: Running<T> | null = null;
  readonly #silence: number;

  constructor(silenceMs: number = SILENCE_MS) {
    this.#silence = silenceMs;
  }

  /** What is loaded, if it is. */
  get value(): T | undefined {
    return this.#value;
  }

  get state(): "absent" | "loading" | "loaded" {
    if (this.#value !== undefined) return "loaded";
    return this.#running ? "loading" : "absent";
  }

  /**
   * @param keepAlive keeps the request that begins the load alive until it has ended (`ctx.waitUntil`), whether or not
   * its client still waits
   * @throws what `load` throws; the next call loads again
   */
  async get(load: (attempt: Attempt) => Promise<T>, keepAlive: (work: Promise<unknown>) => void): Promise<T> {
    for (;;) {
      if (this.#value !== undefined) return this.#value;
      const running = this.#running ?? this.#begin(load, keepAlive);
      const outcome = await this.#outcome(running);
      if (outcome) return outcome.value;
      // In workerd, work that a request began can die with it, and its promise never settles.
      if (this.#running === running) {
        running.controller.abort(new Error("The load was taken over."));
        this.#running = null;
        this.failures++;
      }
    }
  }

  #begin(load: (attempt: Attempt) => Promise<T>, keepAlive: (work: Promise<unknown>) => void): Running<T> {
    this.loads++;
    const controller = new AbortController();
    const running: Running<T> = { promise: Promise.resolve() as Promise<never>, controller, touched: 0 };
    running.promise = load({ signal: controller.signal, touch: () => running.touched++ }).then(
      (value) => {
        if (this.#running === running) {
          this.#value = value;
          this.#running = null;
        }
        return value;
      },
      (error) => {
        if (this.#running === running) {
          this.#running = null;
          this.failures++;
        }
        throw error;
      },
    );
    this.#running = running;
    keepAlive(running.promise.catch(() => {}));
    return running;
  }

  /** The load's value, or null when it has been silent for too long. The timer is the waiting request's own. */
  async #outcome(running: Running<T>): Promise<{ value: T } | null> {
    let timer: ReturnType<typeof setInterval> | undefined;
    const silent = new Promise<null>((resolve) => {
      let last = running.touched;
      timer = setInterval(() => {
        if (running.touched === last) resolve(null);
        last = running.touched;
      }, this.#silence);
    });
    try {
      return await Promise.race([running.promise.then((value) => ({ value })), silent]);
    } finally {
      if (timer !== undefined) clearInterval(timer);
    }
  }
}
