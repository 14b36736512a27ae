/**
 * Prompts of the benches. By themselves: what the package is made with brings wrangler along, and a child that measures memory
 * or a cold start is to have nothing but the library in its heap.
 */

/** Of the cold start's prompt. */
export const COLD_PROMPT_TOKENS = 32;

/** A text of exactly so many tokens, the end of sequence included. */
export function promptOf(tokens: number): string {
  // "summarize:" is two pieces, each " word" one.
  return `summarize:${" word".repeat(tokens - 3)}`;
}
