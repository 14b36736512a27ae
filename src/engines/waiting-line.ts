/**
 * Who asks for room that is not there waits until some is given back. Who holds least is served first; of equals, who came
 * first.
 */
import { EdgeT5Error } from "../errors.ts";

/** Longest wait for room. */
const PATIENCE_MS = 20_000;
/** How often a waiter looks by itself: room may also come from sequences left behind. */
const LOOK_MS = 1_000;

/** There may be room, and it is others' now. */
export const OVER_SHARE = Symbol("over its share");
type Taken<T> = T | null | typeof OVER_SHARE;

interface Waiter {
  owner: string;
  attempt(): "served" | "no room" | "over its share";
}

export interface InLine {
  /** Default: one owner for all. */
  owner?: string | undefined;
  /** Leaves the line when it is aborted; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

export class WaitingLine {
  readonly #waiters: Waiter[] = [];
  readonly #tooLong: string;
  readonly #heldBy: (owner: string) => number;

  /**
   * @param tooLong what is said to who waited too long
   * @param heldBy what an owner holds already
   */
  constructor(tooLong: string, heldBy: (owner: string) => number = () => 0) {
    this.#tooLong = tooLong;
    this.#heldBy = heldBy;
  }

  /** Owners who wait. */
  get owners(): Set<string> {
    return new Set(this.#waiters.map(({ owner }) => owner));
  }

  /**
   * What `tryTake` gives when it finds room: null is none, for which those behind wait too; {@link OVER_SHARE} lets other
   * owners go first.
   *
   * @throws EdgeT5Error `E_CAPACITY` after waiting too long
   */
  async take<T>(tryTake: () => Taken<T>, { owner = "", signal }: InLine = {}): Promise<T> {
    if (this.#waiters.length === 0) {
      const taken = tryTake();
      if (taken !== null && taken !== OVER_SHARE) return taken;
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
        owner,
        attempt: () => {
          const taken = tryTake();
          if (taken === null) return "no room";
          if (taken === OVER_SHARE) return "over its share";
          leave();
          resolve(taken);
          return "served";
        },
      };
      this.#waiters.push(waiter);
      this.retry();
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
    while (this.#serveOne()) {}
  }

  #serveOne(): boolean {
    /** In order of arrival; of each owner only the first may try. */
    const firsts = new Map<string, Waiter>();
    for (const waiter of this.#waiters) if (!firsts.has(waiter.owner)) firsts.set(waiter.owner, waiter);
    const order = [...firsts.values()].map((waiter) => ({ waiter, held: this.#heldBy(waiter.owner) }));
    for (const { waiter } of order.sort((a, b) => a.held - b.held)) {
      const outcome = waiter.attempt();
      if (outcome !== "over its share") return outcome === "served";
    }
    return false;
  }
}
