/** Metrics by the names that the command line and task definitions use. */
import { accuracy, chrf, corpusBleu, exactMatch, f1, rouge } from "../t5/metrics/index.ts";

type Texts = readonly string[];

/** Name → figures, 0 to 100, by the names they are printed under. */
export const METRICS = {
  /** sacreBLEU: 13a, exp smoothing. */
  bleu: (hypotheses: Texts, references: Texts) => ({ BLEU: corpusBleu(hypotheses, references).score }),
  /** sacreBLEU: chrF2 and chrF2++. */
  chrf: (hypotheses: Texts, references: Texts) => ({
    chrF2: chrf(hypotheses, references),
    "chrF2++": chrf(hypotheses, references, { wordOrder: 2 }),
  }),
  /** rouge-score with its stemmer: F-measures. */
  rouge: (hypotheses: Texts, references: Texts) => {
    const { rouge1, rouge2, rougeL, rougeLsum } = rouge(hypotheses, references, { stemmer: true });
    return { "ROUGE-1": rouge1, "ROUGE-2": rouge2, "ROUGE-L": rougeL, "ROUGE-Lsum": rougeLsum };
  },
  /** SQuAD: case, punctuation and articles aside. */
  exact: (hypotheses: Texts, references: Texts) => ({ exact: exactMatch(hypotheses, references) }),
  f1: (hypotheses: Texts, references: Texts) => ({ F1: f1(hypotheses, references) }),
  /** To the letter, spaces around aside. */
  accuracy: (hypotheses: Texts, references: Texts) => ({ accuracy: accuracy(hypotheses, references) }),
} satisfies Record<string, (hypotheses: Texts, references: Texts) => Record<string, number>>;

export type MetricName = keyof typeof METRICS;

export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];

/** All figures of some metrics. @throws EdgeT5Error `E_INPUT` for lists of different lengths, or of none */
export function measure(names: readonly MetricName[], hypotheses: Texts, references: Texts): Record<string, number> {
  return Object.assign({}, ...names.map((name) => METRICS[name](hypotheses, references)));
}
