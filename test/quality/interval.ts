/** How far two models are apart on the same rows, and how much of that the choice of rows may be. */
import { RandomNumbers } from "../../src/training/data/random.ts";

export interface Difference {
  value: number;
  /** The ends of its 95 % interval. */
  low: number;
  high: number;
}

const RESAMPLES = 1000;
const SEED = 1;
const PURPOSE = 0;

/**
 * Paired bootstrap (Koehn 2004): both models are scored on the same rows, drawn anew with replacement. Rows of one input are
 * drawn together, for they have one answer.
 *
 * @param inputs of the rows
 * @param ours, theirs what each row adds to a score
 */
export function differenceOf<Part>(
  inputs: readonly string[],
  ours: readonly Part[],
  theirs: readonly Part[],
  score: (parts: readonly Part[]) => number,
): Difference {
  const rowsOf = new Map<string, number[]>();
  for (const [row, input] of inputs.entries()) {
    const rows = rowsOf.get(input);
    if (rows) rows.push(row);
    else rowsOf.set(input, [row]);
  }
  const groups = [...rowsOf.values()];
  const between = (rows: readonly number[]) =>
    score(rows.map((row) => ours[row] as Part)) - score(rows.map((row) => theirs[row] as Part));
  const drawn = Array.from({ length: RESAMPLES }, (_, i) => {
    const random = new RandomNumbers(SEED, PURPOSE, i);
    return between(groups.flatMap(() => groups[random.below(groups.length)] as number[]));
  }).sort((a, b) => a - b);
  const at = (share: number) => drawn[Math.floor(share * (RESAMPLES - 1))] as number;
  return { value: between([...inputs.keys()]), low: at(0.025), high: at(0.975) };
}

/** Whether the rows rule out that the difference is within `tolerance`, to either side. */
export function isBeyond({ low, high }: Difference, tolerance: number): boolean {
  return low > tolerance || high < -tolerance;
}
