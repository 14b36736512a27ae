/**
 * Drafts without a second model: what followed the last tokens where they stand in the prompt, or earlier in the answer
 * (Saxena 2023, prompt lookup decoding). Summaries, corrections and names copy; a draft that is right saves passes over the
 * weights, and one that is wrong changes nothing but time. So a draft is as long as it is probably right.
 */

/** The last tokens that are looked for, longest first. */
const LONGEST_MATCH = 4;
/** How often what followed one token, two, three and four of them came again: about as in the packaged model's summaries. */
const RIGHT_AFTER = [0.5, 0.55, 0.65, 0.65] as const;
/** Tokens foreseen rightly, and as many wrongly, that an answer is taken to begin with. */
const PRIOR_TOKENS = 4;
/** A token less probable than this is not drafted: the row that checks it costs a third of a pass or more. */
const LEAST = 0.35;

export class PromptLookup {
  readonly #prompt: readonly number[];
  readonly #answer: number[] = [];
  readonly #most: number;
  readonly #eosTokenId: number;
  /** What was last foreseen and is still to come, drafted or not: so that an answer that begins to copy is noticed. */
  #foreseen: readonly number[] = [];
  #right = PRIOR_TOKENS;
  #wrong = PRIOR_TOKENS;

  /** @param most tokens of a draft */
  constructor(prompt: readonly number[], most: number, eosTokenId: number) {
    this.#prompt = prompt;
    this.#most = most;
    this.#eosTokenId = eosTokenId;
  }

  push(token: number): void {
    this.#answer.push(token);
    const [next, ...later] = this.#foreseen;
    if (next === undefined) return;
    if (next === token) this.#right++;
    else this.#wrong++;
    this.#foreseen = next === token ? later : [];
  }

  /** @returns up to `limit` tokens that may come next; none where nothing matches */
  draft(limit: number): number[] {
    const { size, next } = this.#find();
    this.#foreseen = next;
    let probability = 1;
    let length = 0;
    for (; length < Math.min(limit, next.length); length++) {
      probability *= this.#probabilityAfter(size + length);
      if (probability < LEAST) break;
    }
    return next.slice(0, length);
  }

  /** How probably a token is right that stands behind `size` tokens that match. */
  #probabilityAfter(size: number): number {
    const prior = RIGHT_AFTER[Math.min(size, LONGEST_MATCH) - 1] as number;
    const odds = (prior / (1 - prior)) * (this.#right / this.#wrong);
    return odds / (1 + odds);
  }

  /** The longest match, and what follows it. A single token counts in the prompt alone. */
  #find(): { size: number; next: number[] } {
    const answer = this.#answer;
    for (let size = Math.min(LONGEST_MATCH, answer.length); size > 0; size--) {
      const last = answer.slice(-size);
      const next =
        this.#following(this.#prompt, last) ?? (size > 1 ? this.#following(answer.slice(0, -1), last) : null);
      if (next) return { size, next };
    }
    return { size: 0, next: [] };
  }

  /**
   * What follows the first place of `pattern`, null where it is nowhere: answers quote how a text begins more often than how it
   * goes on. An end is not foreseen: nothing would be saved.
   */
  #following(ids: readonly number[], pattern: readonly number[]): number[] | null {
    for (let at = 0; at < ids.length - pattern.length; at++) {
      if (!pattern.every((id, i) => ids[at + i] === id)) continue;
      const next = ids.slice(at + pattern.length, at + pattern.length + this.#most);
      const end = next.indexOf(this.#eosTokenId);
      return end === -1 ? next : next.slice(0, end);
    }
    return null;
  }
}
