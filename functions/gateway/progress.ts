/** What a stream tells while there is nothing else to tell. */
import type { LongProgress } from "../../src/t5/text-to-text/long/model.ts";

export interface ProgressEvent extends LongProgress {
  object: "task.progress";
}

/** So many events a round at most. */
const STEPS = 50;

export class ProgressLine {
  #newest: LongProgress | null = null;
  #told = "";
  #isOver = false;
  #wake: () => void = () => {};

  readonly tell = (progress: LongProgress): void => {
    const step = `${Math.floor((STEPS * progress.done) / progress.of)} of ${progress.of}`;
    if (this.#isOver || step === this.#told) return;
    this.#told = step;
    this.#newest = progress;
    this.#wake();
  };

  /** The parts, and before the first one the newest progress. */
  async *between<Part>(parts: AsyncGenerator<Part, void, undefined>): AsyncGenerator<Part | ProgressEvent, void> {
    let next = parts.next();
    try {
      for (;;) {
        const told = new Promise<null>((resolve) => {
          this.#wake = () => resolve(null);
          if (this.#newest && !this.#isOver) resolve(null);
        });
        const turn = await Promise.race([next, told]);
        if (turn === null) {
          const progress = this.#newest;
          this.#newest = null;
          if (progress) yield { object: "task.progress", ...progress };
        } else {
          // What is there tells how far it is by itself.
          this.#isOver = true;
          if (turn.done) return;
          yield turn.value;
          next = parts.next();
        }
      }
    } finally {
      await parts.return();
    }
  }
}
