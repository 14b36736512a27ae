/**
 * Drafts without a second model: what followed the last tokens where they stand in the prompt, or earlier in the answer
 * (Saxena 2023, prompt lookup decoding). Summaries, corrections and names copy; a draft that is right saves passes over the
 * weights, and one that is wrong changes nothing but time.
 */

/** The last tokens that must match, longest first. */
const LONGEST_MATCH = 4;
/** A single token stands in too many places: it is a match only as often as drafts were right before, up to so often. */
const MOST_TRUST = 2;

export class PromptLookup {
  readonly #prompt: readonly number[];
  readonly #answer: number[] = [];
  readonly #most: number;
  /** Tokens of the next draft: twice as many after one that was right, as many as were right after one that was not. */
  #length: number;
  #trust = 0;
  /** Tokens that the last draft's match had. */
  #matched = 0;

  /** @param most tokens of a draft */
  constructor(prompt: readonly number[], most: number) {
    this.#prompt = prompt;
    this.#most = most;
    this.#length = Math.min(2, most);
  }

  push(token: number): void {
    this.#answer.push(token);
  }

  /** @returns up to `limit` tokens that may come next; none where nothing matches */
  draft(limit: number): number[] {
    const length = Math.min(limit, this.#length);
    if (length < 1) return [];
    const answer = this.#answer;
    for (let size = Math.min(LONGEST_MATCH, answer.length); size >= (this.#trust > 0 ? 1 : 2); size--) {
      const last = answer.slice(-size);
      const found = following(this.#prompt, last, length) ?? following(answer.slice(0, -1), last, length);
      if (!found) continue;
      this.#matched = size;
      return found;
    }
    return [];
  }

  /** Tells how many of a draft's tokens were right. */
  learn(drafted: number, right: number): void {
    if (drafted === 0) return;
    if (right === drafted) this.#trust = Math.min(MOST_TRUST, this.#trust + 1);
    else if (right === 0 && this.#matched === 1) this.#trust--;
    this.#length = right === drafted ? Math.min(this.#most, 2 * this.#length) : Math.max(1, right);
  }
}

/** What follows the last place of `pattern` in `ids`, up to `length` tokens; null where nothing does. */
function following(ids: readonly number[], pattern: readonly number[], length: number): number[] | null {
  for (let at = ids.length - pattern.length - 1; at >= 0; at--) {
    if (pattern.every((id, i) => ids[at + i] === id)) {
      return ids.slice(at + pattern.length, at + pattern.length + length);
    }
  }
  return null;
}
