/** Log-probabilities of tokens in the shape of OpenAI's completions. */
import type { TokenEvent } from "../t5/generate.ts";

export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  /** Where each token's text begins in the answer. */
  text_offset: number[];
}

export function emptyLogprobs(): CompletionLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}

/** @param nameOf a token's own text, such as " Haus" */
export function addLogprob(
  to: CompletionLogprobs,
  { token, logprob = 0, top = [] }: TokenEvent,
  offset: number,
  nameOf: (token: number) => string,
): void {
  to.tokens.push(nameOf(token));
  to.token_logprobs.push(logprob);
  to.top_logprobs.push(Object.fromEntries(top.map(([id, value]) => [nameOf(id), value])));
  to.text_offset.push(offset);
}

export function joinLogprobs(to: CompletionLogprobs, more: CompletionLogprobs): void {
  to.tokens.push(...more.tokens);
  to.token_logprobs.push(...more.token_logprobs);
  to.top_logprobs.push(...more.top_logprobs);
  to.text_offset.push(...more.text_offset);
}
