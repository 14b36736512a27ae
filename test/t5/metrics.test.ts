/** Held to sacrebleu 2.6.0 and rouge-score 0.1.2: test/fixtures/metrics.json is what they computed. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { measure } from "../../src/evaluation/metrics.ts";
import { accuracy, chrf, corpusBleu, exactMatch, f1, rouge, sentenceBleu } from "../../src/t5/metrics/index.ts";
import { porterStem } from "../../src/t5/metrics/porter.ts";

interface Expected {
  hypotheses: string[];
  references: string[];
  bleu: number;
  bleu_precisions: number[];
  brevity_penalty: number;
  bleu_lowercase: number;
  sentence_bleu: number[];
  chrf: number;
  chrf_plus_plus: number;
  rouge: Record<"plain" | "stemmer", Record<"rouge1" | "rouge2" | "rougeL" | "rougeLsum", number>>;
}

const { cases } = JSON.parse(readFileSync(new URL("../fixtures/metrics.json", import.meta.url), "utf8")) as {
  cases: Record<string, Expected>;
};

/** Equal to two decimals and better. */
const near = (value: number) => expect.closeTo(value, 6);

describe.each(Object.entries(cases))("%s", (_, expected) => {
  const { hypotheses, references } = expected;

  test("corpus BLEU", () => {
    const bleu = corpusBleu(hypotheses, references);
    expect(bleu.score).toEqual(near(expected.bleu));
    expect(bleu.brevityPenalty).toEqual(near(expected.brevity_penalty));
    if (bleu.score > 0) expect(bleu.precisions).toEqual(expected.bleu_precisions.map(near));
    expect(corpusBleu(hypotheses, references, { lowercase: true }).score).toEqual(near(expected.bleu_lowercase));
  });

  test("chrF2 and chrF2++", () => {
    expect(chrf(hypotheses, references)).toEqual(near(expected.chrf));
    expect(chrf(hypotheses, references, { wordOrder: 2 })).toEqual(near(expected.chrf_plus_plus));
  });

  test("by the names that edge-t5 eval takes and prints", () => {
    const { rouge1, rouge2, rougeL, rougeLsum } = expected.rouge.stemmer;
    expect(measure(["bleu", "chrf", "rouge"], hypotheses, references)).toEqual({
      BLEU: near(expected.bleu),
      chrF2: near(expected.chrf),
      "chrF2++": near(expected.chrf_plus_plus),
      "ROUGE-1": near(rouge1),
      "ROUGE-2": near(rouge2),
      "ROUGE-L": near(rougeL),
      "ROUGE-Lsum": near(rougeLsum),
    });
  });

  test("sentence BLEU", () => {
    const scores = expected.sentence_bleu.map((_, i) => sentenceBleu(hypotheses[i]!, references[i]!).score);
    expect(scores).toEqual(expected.sentence_bleu.map(near));
  });

  test.each(["plain", "stemmer"] as const)("ROUGE, %s", (kind) => {
    const { rouge1, rouge2, rougeL, rougeLsum } = expected.rouge[kind];
    expect(rouge(hypotheses, references, { stemmer: kind === "stemmer" })).toEqual({
      rouge1: near(rouge1),
      rouge2: near(rouge2),
      rougeL: near(rougeL),
      rougeLsum: near(rougeLsum),
    });
  });
});

test("accuracy is exact, spaces around aside", () => {
  expect(accuracy(["libs ", "admin", "Net", "net"], ["libs", "admins", "net", "net"])).toBe(50);
});

// SQuAD v1.1's evaluate-v1.1.py on the same pairs.
test.each([
  ["The Eiffel Tower.", "eiffel tower", 100, 100],
  ["in the tower", "Eiffel tower", 0, 50],
  ["a b b", "b b c", 0, 80],
  ["nothing", "else", 0, 0],
])("SQuAD: %s for %s", (hypothesis, reference, exact, overlap) => {
  expect(exactMatch([hypothesis], [reference])).toBe(exact);
  expect(f1([hypothesis], [reference])).toBeCloseTo(overlap, 6);
  expect(measure(["exact", "f1"], [hypothesis], [reference])).toEqual({ exact, F1: expect.closeTo(overlap, 6) });
});

test.each([
  ["no rows", [], []],
  ["a reference too few", ["a", "b"], ["a"]],
])("%s: a clear error", (_, hypotheses, references) => {
  for (const metric of [corpusBleu, rouge, accuracy, chrf, exactMatch, f1]) {
    expect(() => metric(hypotheses, references)).toThrow(
      expect.objectContaining({ code: "E_INPUT", message: expect.stringContaining("one reference each") }),
    );
  }
});

test.each([
  // Porter 1980's own examples, and where NLTK departs from them.
  ["caresses", "caress"],
  ["ponies", "poni"],
  ["ties", "tie"],
  ["agreed", "agre"],
  ["feed", "feed"],
  ["motoring", "motor"],
  ["sing", "sing"],
  ["hopping", "hop"],
  ["falling", "fall"],
  ["filing", "file"],
  ["happy", "happi"],
  ["enjoy", "enjoy"],
  ["relational", "relat"],
  ["vietnamization", "vietnam"],
  ["electricity", "electr"],
  ["adjustment", "adjust"],
  ["adoption", "adopt"],
  ["controll", "control"],
  ["probate", "probat"],
  ["skies", "sky"],
  ["dying", "die"],
  ["geology", "geolog"],
])("the stem of %s is %s", (word, stem) => {
  expect(porterStem(word)).toBe(stem);
});
