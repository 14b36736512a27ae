/**
 * One image at a time: two large ones do not fit an isolate beside each other, and reading is computing, which nothing
 * else goes on beside. workerd ties promises to requests, and a request may still end without a word, over its CPU time
 * say: so who waits looks on a timer of its own, and who has held the turn for too long is gone.
 */
import { EdgeT5Error } from "../../src/errors.ts";

/** Longest wait for a turn. */
const PATIENCE_MS = 30_000;
const LOOK_MS = 20;
/** Who has not ended its turn after so long has left. */
const LEASE_MS = 60_000;

export class Turn {
  #holder: { readonly since: number } | null = null;

  /**
   * @param signal of who no longer wants it
   * @returns what ends the turn
   * @throws EdgeT5Error `E_BUSY` after waiting for {@link PATIENCE_MS}; what aborts `signal`
   */
  async take(signal: AbortSignal): Promise<() => void> {
    for (const started = Date.now(); this.#isTaken(); ) {
      signal.throwIfAborted();
      if (Date.now() - started > PATIENCE_MS) {
        throw new EdgeT5Error("E_BUSY", "Other images are being read. Try again in a moment.");
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    const mine = { since: Date.now() };
    this.#holder = mine;
    return () => {
      if (this.#holder === mine) this.#holder = null;
    };
  }

  #isTaken(): boolean {
    return this.#holder !== null && Date.now() - this.#holder.since < LEASE_MS;
  }
}
