/** chrF (Popović 2015) as sacrebleu computes it: character 6-grams without spaces, β = 2; chrF++ adds word bigrams. */
import { ngramCounts } from "./bleu.ts";
import { checkRows } from "./rows.ts";

const CHARACTER_ORDER = 6;
const BETA_SQUARED = 4;

export interface ChrfOptions {
  /** Longest word n-gram: 0 for chrF2, 2 for chrF2++. Default: 0. */
  wordOrder?: number;
}

/** Of one order: n-grams of hypotheses (those that have a reference of that order), of references, and of both. */
interface Counts {
  hypothesis: number;
  reference: number;
  matched: number;
}

/**
 * @returns 0 to 100
 * @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none
 */
export function chrf(
  hypotheses: readonly string[],
  references: readonly string[],
  { wordOrder = 0 }: ChrfOptions = {},
): number {
  checkRows(hypotheses, references);
  const sums: Counts[] = Array.from({ length: CHARACTER_ORDER + wordOrder }, () => ({
    hypothesis: 0,
    reference: 0,
    matched: 0,
  }));
  for (const [i, hypothesis] of hypotheses.entries()) {
    const counts = countRow(hypothesis, references[i] ?? "", wordOrder);
    for (const [order, { hypothesis: own, reference, matched }] of counts.entries()) {
      const sum = sums[order] as Counts;
      sum.hypothesis += own;
      sum.reference += reference;
      sum.matched += matched;
    }
  }
  const effective = sums.filter(({ hypothesis, reference }) => hypothesis > 0 && reference > 0);
  if (effective.length === 0) return 0;
  const mean = (value: (counts: Counts) => number) =>
    effective.reduce((sum, counts) => sum + value(counts), 0) / effective.length;
  const precision = mean(({ matched, hypothesis }) => matched / hypothesis);
  const recall = mean(({ matched, reference }) => matched / reference);
  if (precision + recall === 0) return 0;
  return (100 * (1 + BETA_SQUARED) * precision * recall) / (BETA_SQUARED * precision + recall);
}

function countRow(hypothesis: string, reference: string, wordOrder: number): Counts[] {
  const count = (own: readonly string[], target: readonly string[], n: number): Counts => {
    const available = ngramCounts(target, n);
    const counts: Counts = { hypothesis: 0, reference: Math.max(0, target.length - n + 1), matched: 0 };
    for (const [ngram, times] of ngramCounts(own, n)) {
      if (available.size > 0) counts.hypothesis += times;
      counts.matched += Math.min(times, available.get(ngram) ?? 0);
    }
    return counts;
  };
  const characters = [hypothesis, reference].map((text) => [...text.replace(/\s+/gu, "")]) as [string[], string[]];
  const words = [hypothesis, reference].map(wordsOf) as [string[], string[]];
  return [
    ...Array.from({ length: CHARACTER_ORDER }, (_, i) => count(...characters, i + 1)),
    ...Array.from({ length: wordOrder }, (_, i) => count(...words, i + 1)),
  ];
}

/** Words, a punctuation mark at one end of a word apart. */
function wordsOf(text: string): string[] {
  const words = text.split(/\s+/u).filter((word) => word !== "");
  return words.flatMap((word) => {
    if ([...word].length === 1) return [word];
    if (isPunctuation(word.at(-1))) return [word.slice(0, -1), word.slice(-1)];
    return isPunctuation(word[0]) ? [word.slice(0, 1), word.slice(1)] : [word];
  });
}

/** ASCII punctuation, as Python's `string.punctuation` has it. */
function isPunctuation(character: string | undefined): boolean {
  return character !== undefined && /[!-/:-@[-`{-~]/.test(character);
}
