import { checkRows } from "./rows.ts";

/**
 * Rows that are exactly their reference, spaces around them aside, in percent.
 *
 * @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none
 */
export function accuracy(hypotheses: readonly string[], references: readonly string[]): number {
  checkRows(hypotheses, references);
  const right = hypotheses.filter((hypothesis, i) => hypothesis.trim() === references[i]?.trim());
  return (100 * right.length) / hypotheses.length;
}
