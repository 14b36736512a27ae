/** ROUGE (Lin 2004) as Google's rouge-score computes it: F-measures, mean over the rows, times 100. */
import { ngramCounts } from "./bleu.ts";
import { porterStem } from "./porter.ts";
import { checkRows } from "./rows.ts";

export interface RougeOptions {
  /** Compare word stems (Porter). Default: false. */
  stemmer?: boolean;
}

/** All 0 to 100. */
export interface Rouge {
  rouge1: number;
  rouge2: number;
  /** Longest common subsequence of the whole texts. */
  rougeL: number;
  /** Union of the longest common subsequences of their lines. */
  rougeLsum: number;
}

/** @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none */
export function rouge(
  hypotheses: readonly string[],
  references: readonly string[],
  { stemmer = false }: RougeOptions = {},
): Rouge {
  checkRows(hypotheses, references);
  const sum: Rouge = { rouge1: 0, rouge2: 0, rougeL: 0, rougeLsum: 0 };
  for (const [i, hypothesis] of hypotheses.entries()) {
    const reference = references[i] ?? "";
    const candidate = tokenize(hypothesis, stemmer);
    const target = tokenize(reference, stemmer);
    sum.rouge1 += ngramF(candidate, target, 1);
    sum.rouge2 += ngramF(candidate, target, 2);
    sum.rougeL += fMeasure(commonIndices(target, candidate).length, candidate.length, target.length);
    sum.rougeLsum += summaryF(lines(hypothesis, stemmer), lines(reference, stemmer));
  }
  const mean = (value: number) => (100 * value) / hypotheses.length;
  return {
    rouge1: mean(sum.rouge1),
    rouge2: mean(sum.rouge2),
    rougeL: mean(sum.rougeL),
    rougeLsum: mean(sum.rougeLsum),
  };
}

/** Runs of a–z and 0–9 in lower case; words of more than three letters are stemmed. */
function tokenize(text: string, stemmer: boolean): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return stemmer ? words.map((word) => (word.length > 3 ? porterStem(word) : word)) : words;
}

function lines(text: string, stemmer: boolean): string[][] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => tokenize(line, stemmer));
}

function fMeasure(hits: number, candidates: number, targets: number): number {
  return hits === 0 ? 0 : (2 * hits) / (candidates + targets);
}

function ngramF(candidate: readonly string[], target: readonly string[], n: number): number {
  const available = ngramCounts(target, n);
  let hits = 0;
  for (const [ngram, count] of ngramCounts(candidate, n)) hits += Math.min(count, available.get(ngram) ?? 0);
  return fMeasure(hits, Math.max(candidate.length - n + 1, 0), Math.max(target.length - n + 1, 0));
}

/** Indices in `target` of one longest common subsequence. */
function commonIndices(target: readonly string[], candidate: readonly string[]): number[] {
  const width = candidate.length + 1;
  const lengths = new Int32Array((target.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j]!;
  for (let i = 1; i <= target.length; i++) {
    for (let j = 1; j <= candidate.length; j++) {
      lengths[i * width + j] =
        target[i - 1] === candidate[j - 1] ? at(i - 1, j - 1) + 1 : Math.max(at(i - 1, j), at(i, j - 1));
    }
  }
  const indices: number[] = [];
  for (let i = target.length, j = candidate.length; i > 0 && j > 0; ) {
    if (target[i - 1] === candidate[j - 1]) {
      indices.push(i - 1);
      i--;
      j--;
    } else if (at(i, j - 1) > at(i - 1, j)) j--;
    else i--;
  }
  return indices;
}

/** Words of each reference line that are in a common subsequence with any candidate line; a word counts once. */
function summaryF(candidates: readonly string[][], targets: readonly string[][]): number {
  const candidateCounts = ngramCounts(candidates.flat(), 1);
  const targetCounts = ngramCounts(targets.flat(), 1);
  let hits = 0;
  for (const target of targets) {
    const union = new Set(candidates.flatMap((candidate) => commonIndices(target, candidate)));
    for (const index of union) {
      const word = target[index]!;
      const left = candidateCounts.get(word) ?? 0;
      const leftInTarget = targetCounts.get(word) ?? 0;
      if (left === 0 || leftInTarget === 0) continue;
      candidateCounts.set(word, left - 1);
      targetCounts.set(word, leftInTarget - 1);
      hits++;
    }
  }
  return fMeasure(hits, candidates.flat().length, targets.flat().length);
}
