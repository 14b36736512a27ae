/** The text of one sequence while its tokens come: detokenized, and cut at a stop string. */
import type { FinishReason, TokenEvent } from "./generate.ts";
import { StopFinder } from "./generation/stop.ts";
import { IncrementalDetokenizer, type Tokenizer } from "./tokenizer.ts";

export class SequenceText {
  /** Set once the sequence has ended, by its last token or by a stop string. */
  finishReason: FinishReason | null = null;
  /** Characters made so far, those held back included. */
  length = 0;
  readonly #detokenizer: IncrementalDetokenizer;
  readonly #stop: StopFinder;

  /** @param stop strings that end the text; none empty */
  constructor(tokenizer: Tokenizer, stop: readonly string[]) {
    this.#detokenizer = new IncrementalDetokenizer(tokenizer);
    this.#stop = new StopFinder(stop);
  }

  /** @returns the text that is now certain, which may be empty */
  push({ token, finishReason }: Pick<TokenEvent, "token" | "finishReason">): string {
    const made = this.#detokenizer.push(token) + (finishReason ? this.#detokenizer.finish() : "");
    this.length += made.length;
    let text = this.#stop.push(made);
    if (finishReason && !this.#stop.found) text += this.#stop.finish();
    this.finishReason = this.#stop.found ? "stop" : finishReason;
    return text;
  }
}
