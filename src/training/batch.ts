/** Examples side by side, as the training graph takes them. */
import type { T5Config } from "../t5/config.ts";
import type { Example } from "./example.ts";

/** Labels that do not count, as PyTorch writes them. */
export const IGNORED = -100;

/** Rows are padded to the longest one's length: S tokens of input, T of target. */
export interface Batch {
  rows: number;
  inputLength: number;
  targetLength: number;
  /** `[rows · S]` */
  inputIds: Int32Array;
  /** `[rows · S]`, 1 for what counts. */
  attentionMask: Int32Array;
  /** `[rows · T]`: the target moved right by one. */
  decoderInputIds: Int32Array;
  /** Where in `[rows · T]` a label stands `[M]`, and which one. */
  labelPlaces: Int32Array;
  labels: Int32Array;
  /** Tokens of input and target without padding. */
  tokens: number;
}

/** Negative numbers in a target are labels that do not count. */
export function collate(
  examples: readonly Example[],
  { padTokenId, decoderStartTokenId }: Pick<T5Config, "padTokenId" | "decoderStartTokenId">,
): Batch {
  const rows = examples.length;
  const inputLength = Math.max(...examples.map(({ input }) => input.length));
  const targetLength = Math.max(...examples.map(({ target }) => target.length));
  const inputIds = new Int32Array(rows * inputLength).fill(padTokenId);
  const attentionMask = new Int32Array(rows * inputLength);
  const decoderInputIds = new Int32Array(rows * targetLength).fill(padTokenId);
  const places: number[] = [];
  const labels: number[] = [];
  let tokens = 0;
  for (const [row, { input, target }] of examples.entries()) {
    tokens += input.length + target.length;
    inputIds.set(input, row * inputLength);
    attentionMask.fill(1, row * inputLength, row * inputLength + input.length);
    let before = decoderStartTokenId;
    for (const [i, label] of target.entries()) {
      const place = row * targetLength + i;
      decoderInputIds[place] = before;
      if (label >= 0) {
        places.push(place);
        labels.push(label);
      }
      before = label >= 0 ? label : padTokenId;
    }
  }
  return {
    rows,
    inputLength,
    targetLength,
    inputIds,
    attentionMask,
    decoderInputIds,
    labelPlaces: Int32Array.from(places),
    labels: Int32Array.from(labels),
    tokens,
  };
}
