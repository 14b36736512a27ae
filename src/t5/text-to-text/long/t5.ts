/** A T5 in this process as a {@link LongModel}. */
import type { GenerateOptions, TextToText } from "../../model.ts";
import type { LongModel } from "./model.ts";

/**
 * @param options of every answer; `max_new_tokens` is the most that an answer may have, by default the placement's
 */
export function longModelOf(t5: TextToText, options: GenerateOptions = {}): LongModel {
  const maxNewTokens = options.max_new_tokens ?? t5.decoder.maxNewTokens;
  return {
    count: (text) => t5.tokenizer.encode(text).length,
    maxInputTokens: Math.min(t5.encoder.maxInputTokens, t5.decoder.maxInputTokens),
    maxNewTokens,
    generate: (prompts, { maxNewTokens: most = maxNewTokens, signal }) =>
      t5.streamAll(prompts, { ...options, max_new_tokens: most, signal }),
    async score(prompts, labels, { signal }) {
      const answers = await t5.classify(prompts, labels, { adapter: options.adapter, signal });
      return answers.map(({ scores }) => {
        const inOrder = labels.map((label) => scores.find((each) => each.label === label));
        return {
          scores: inOrder.map((each) => each?.score ?? 0),
          logprobs: inOrder.map((each) => each?.logprob ?? Number.NEGATIVE_INFINITY),
        };
      });
    },
  };
}
