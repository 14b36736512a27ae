/** What every engine refuses of an input. */
import { EdgeT5Error } from "../errors.ts";
import type { T5Config } from "../t5/config.ts";

/** Token ids of one input. @throws EdgeT5Error `E_INPUT`, `E_CONTEXT_LENGTH` */
export function checkedIds(ids: ArrayLike<number>, { vocabSize }: T5Config, maxInputTokens: number): number[] {
  const tokens = ids.length;
  if (tokens === 0) {
    throw new EdgeT5Error("E_INPUT", "The input has no tokens. Give at least the end-of-sequence token.");
  }
  if (tokens > maxInputTokens) {
    throw new EdgeT5Error(
      "E_CONTEXT_LENGTH",
      `The input has ${tokens} tokens; this placement takes up to ${maxInputTokens}. Shorten it.`,
    );
  }
  return Array.from(ids, (id) => checkedId(id, vocabSize));
}

/** @throws EdgeT5Error `E_INPUT` for an id outside the vocabulary */
export function checkedId(id: number, vocabSize: number): number {
  if (Number.isInteger(id) && id >= 0 && id < vocabSize) return id;
  throw new EdgeT5Error(
    "E_INPUT",
    `Token id ${id} is outside the vocabulary of ${vocabSize}. Encode with the model's own tokenizer.`,
  );
}
