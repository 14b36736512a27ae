/** Exact match and F1 of answers as SQuAD v1.1 counts them (Rajpurkar et al. 2016): case, punctuation, articles aside. */
import { checkRows } from "./rows.ts";

/** @returns answers that are their reference, in percent @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none */
export function exactMatch(hypotheses: readonly string[], references: readonly string[]): number {
  return meanOf(hypotheses, references, (own, target) => (own.join(" ") === target.join(" ") ? 1 : 0));
}

/** @returns mean F1 of the words, in percent @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none */
export function f1(hypotheses: readonly string[], references: readonly string[]): number {
  return meanOf(hypotheses, references, (own, target) => {
    const left = new Map<string, number>();
    for (const word of target) left.set(word, (left.get(word) ?? 0) + 1);
    let common = 0;
    for (const word of own) {
      const times = left.get(word) ?? 0;
      if (times > 0) common++;
      left.set(word, times - 1);
    }
    return common === 0 ? 0 : (2 * common) / (own.length + target.length);
  });
}

function meanOf(
  hypotheses: readonly string[],
  references: readonly string[],
  score: (own: string[], target: string[]) => number,
): number {
  checkRows(hypotheses, references);
  const sum = hypotheses.reduce((total, text, i) => total + score(normalize(text), normalize(references[i] ?? "")), 0);
  return (100 * sum) / hypotheses.length;
}

function normalize(text: string): string[] {
  return text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/g, "")
    .replace(/\b(a|an|the)\b/g, " ")
    .split(/\s+/)
    .filter((word) => word !== "");
}
