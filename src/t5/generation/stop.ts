/** Stop strings in a text that comes in pieces: what may be the beginning of one is held back until it is known. */
export class StopFinder {
  readonly #stops: readonly string[];
  #held = "";
  /** Whether a stop string has come: nothing is given out any more. */
  found = false;

  /** @param stops none empty */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** @returns the text that is certain to come before any stop string */
  push(piece: string): string {
    if (this.found) return "";
    const text = this.#held + piece;
    const first = firstStop(text, this.#stops);
    if (first !== null) {
      this.found = true;
      this.#held = "";
      return text.slice(0, first);
    }
    const held = Math.max(0, ...this.#stops.map((stop) => overlap(text, stop)));
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }

  /** @returns what {@link push} held back, at the end of the text */
  finish(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}

/** Where the stop string begins that is whole first, as tokens come; the longest of those that end together. */
function firstStop(text: string, stops: readonly string[]): number | null {
  let first: { start: number; end: number } | null = null;
  for (const stop of stops) {
    const start = text.indexOf(stop);
    const end = start + stop.length;
    if (start >= 0 && (!first || end < first.end || (end === first.end && start < first.start))) first = { start, end };
  }
  return first?.start ?? null;
}

/** Length of the longest end of `text` that `stop` begins with. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
