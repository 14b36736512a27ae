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

/**
 * Hidden states of the layers before, where a part of a stack needs them; null where the stack begins.
 *
 * @throws EdgeT5Error `E_INPUT` when they are missing, or are not `[rows, dModel]`
 */
export function checkedHidden(
  before: Float32Array | undefined,
  rows: number,
  { dModel }: T5Config,
  isFirst: boolean,
): Float32Array | null {
  if (isFirst) return null;
  if (before?.length === rows * dModel) return before;
  throw new EdgeT5Error(
    "E_INPUT",
    `These layers go on with hidden states of ${rows} × ${dModel} numbers, and were given ${before?.length ?? "none"}. ` +
      "Run the layers before them first.",
  );
}

/** @throws EdgeT5Error `E_INPUT` for an id outside the vocabulary */
export function checkedId(id: number, vocabSize: number): number {
  if (Number.isInteger(id) && id >= 0 && id < vocabSize) return id;
  throw new EdgeT5Error(
    "E_INPUT",
    `Token id ${id} is outside the vocabulary of ${vocabSize}. Encode with the model's own tokenizer.`,
  );
}
