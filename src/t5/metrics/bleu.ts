/**
 * BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018): tokenizer 13a, exponential smoothing, up to
 * 4-grams, one reference a row.
 */
import { checkRows } from "./rows.ts";

const MAX_ORDER = 4;

export interface BleuOptions {
  lowercase?: boolean;
}

export interface Bleu {
  /** 0 to 100. */
  score: number;
  /** Of 1- to 4-grams, in percent, smoothed. */
  precisions: number[];
  brevityPenalty: number;
}

/** What BLEU needs of a row: it adds up over the rows of a corpus. */
export interface BleuCounts {
  hypothesisLength: number;
  referenceLength: number;
  /** N-grams of the hypotheses, and those found in their references, by order. */
  total: number[];
  matched: number[];
}

/** @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly string[],
  { lowercase = false }: BleuOptions = {},
): Bleu {
  checkRows(hypotheses, references);
  return bleuOf(hypotheses.map((hypothesis, i) => bleuCounts(hypothesis, references[i] ?? "", { lowercase })));
}

/** BLEU of the corpus of these rows. */
export function bleuOf(rows: readonly BleuCounts[]): Bleu {
  const sum: BleuCounts = { hypothesisLength: 0, referenceLength: 0, total: zeros(), matched: zeros() };
  for (const counts of rows) {
    sum.hypothesisLength += counts.hypothesisLength;
    sum.referenceLength += counts.referenceLength;
    for (let n = 0; n < MAX_ORDER; n++) {
      sum.total[n]! += counts.total[n]!;
      sum.matched[n]! += counts.matched[n]!;
    }
  }
  return score(sum, false);
}

/** BLEU of one sentence; orders that the hypothesis is too short for do not count (sacrebleu's effective order). */
export function sentenceBleu(hypothesis: string, reference: string, { lowercase = false }: BleuOptions = {}): Bleu {
  return score(bleuCounts(hypothesis, reference, { lowercase }), true);
}

function zeros(): number[] {
  return new Array<number>(MAX_ORDER).fill(0);
}

export function bleuCounts(hypothesis: string, reference: string, { lowercase = false }: BleuOptions = {}): BleuCounts {
  const prepare = (text: string) => tokenize13a(lowercase ? text.toLowerCase() : text);
  const tokens = prepare(hypothesis);
  const referenceTokens = prepare(reference);
  const total = zeros();
  const matched = zeros();
  for (let n = 1; n <= MAX_ORDER; n++) {
    const available = ngramCounts(referenceTokens, n);
    for (const [ngram, count] of ngramCounts(tokens, n)) {
      total[n - 1]! += count;
      matched[n - 1]! += Math.min(count, available.get(ngram) ?? 0);
    }
  }
  return { hypothesisLength: tokens.length, referenceLength: referenceTokens.length, total, matched };
}

/** How often each n-gram occurs; the tokens of a key are joined by a space, which no token holds. */
export function ngramCounts(tokens: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= tokens.length; i++) {
    const ngram = tokens.slice(i, i + n).join(" ");
    counts.set(ngram, (counts.get(ngram) ?? 0) + 1);
  }
  return counts;
}

function score({ hypothesisLength, referenceLength, total, matched }: BleuCounts, effectiveOrder: boolean): Bleu {
  const brevityPenalty =
    hypothesisLength >= referenceLength
      ? 1
      : hypothesisLength === 0
        ? 0
        : Math.exp(1 - referenceLength / hypothesisLength);
  const precisions = zeros();
  if (matched.every((count) => count === 0)) return { score: 0, precisions, brevityPenalty };
  // Each order without a match halves the count that stands for it (NIST's mteval-v13a).
  let smoothing = 1;
  let orders = MAX_ORDER;
  for (let n = 0; n < MAX_ORDER; n++) {
    if (total[n] === 0) {
      if (effectiveOrder) orders = n;
      break;
    }
    if (matched[n] === 0) smoothing *= 2;
    precisions[n] = matched[n] === 0 ? 100 / (smoothing * total[n]!) : (100 * matched[n]!) / total[n]!;
  }
  const logs = precisions.slice(0, orders).map(Math.log);
  return {
    score: brevityPenalty * Math.exp(logs.reduce((sum, log) => sum + log, 0) / orders),
    precisions,
    brevityPenalty,
  };
}

/** The tokenizer of NIST's mteval-v13a for Western text: punctuation apart, except within numbers. */
function tokenize13a(text: string): string[] {
  return ` ${text.trimEnd()} `
    .replaceAll("<skipped>", "")
    .replaceAll("-\n", "")
    .replaceAll("\n", " ")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replace(/[{-~[-` -&(-+:-@/]/gu, " $& ")
    .replace(/([^0-9])([.,])/gu, "$1 $2 ")
    .replace(/([.,])([^0-9])/gu, " $1 $2")
    .replace(/([0-9])(-)/gu, "$1 $2 ")
    .split(/\s+/u)
    .filter((token) => token !== "");
}
