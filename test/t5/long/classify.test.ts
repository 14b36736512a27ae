import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LabelScores } from "../../../src/t5/generation/labels.ts";
import { classifyLong, combineScores, planClassification } from "../../../src/t5/text-to-text/long/index.ts";
import { anyText, count, fake, fill, PREFIX } from "./fakes.ts";

const BOUNDS = { count, maxInputTokens: 100, maxNewTokens: 16 };
const softmax = (logprobs: readonly number[]) => {
  const powers = logprobs.map(Math.exp);
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
};

describe("windows of a classification", () => {
  test("are one for a text that fits, untouched", () => {
    const text = " One.\n\n- Two. ";
    const { prompts, weights, size } = planClassification(text, BOUNDS, { fill });
    expect([prompts, weights]).toEqual([[fill(text)], [1]]);
    expect(size).toEqual({ prompts: 1, promptTokens: count(fill(text)), longest: count(fill(text)) });
  });

  test("have every word in order, fit, share no more than the overlap, and weigh 1 together", () => {
    const texts = fc.array(anyText, { minLength: 1, maxLength: 6 }).map((all) => all.join("\n"));
    fc.assert(
      fc.property(
        texts,
        fc.constantFrom(0, 0.2, 0.5),
        fc.integer({ min: 40, max: 150 }),
        (text, overlap, maxInputTokens) => {
          const bounds = { ...BOUNDS, maxInputTokens };
          const { prompts, weights, size } = planClassification(text, bounds, { fill, overlap });
          expect(weights).toHaveLength(prompts.length);
          expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
          expect(Math.min(...weights)).toBeGreaterThan(0);
          expect(size.longest).toBeLessThanOrEqual(maxInputTokens);
          const room = maxInputTokens - count(PREFIX);
          let joined = "";
          for (const prompt of prompts) {
            const window = squeezed(prompt.slice(PREFIX.length));
            let shared = Math.min(window.length, joined.length);
            while (!joined.endsWith(window.slice(0, shared))) shared--;
            // What repeats by chance may be longer.
            if (overlap === 0) shared = 0;
            joined += window.slice(shared);
          }
          if (overlap === 0) expect(joined).toBe(squeezed(text));
          const total = prompts.reduce((sum, prompt) => sum + squeezed(prompt.slice(PREFIX.length)).length, 0);
          expect(total).toBeGreaterThanOrEqual(squeezed(text).length);
          expect(total - squeezed(text).length).toBeLessThanOrEqual(overlap * 4 * room * prompts.length);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("begin with the last sentences of the one before", () => {
    const text = Array.from({ length: 30 }, (_, i) => `Sentence number ${i} is here.`).join(" ");
    const { prompts } = planClassification(text, BOUNDS, { fill, overlap: 0.25 });
    const numbers = prompts.map((prompt) => [...prompt.matchAll(/number (\d+)/g)].map((match) => Number(match[1])));
    expect(numbers.length).toBeGreaterThan(2);
    for (const [i, window] of numbers.entries()) {
      if (i === 0) continue;
      const before = numbers[i - 1] as number[];
      expect(before).toContain(window[0]);
      expect(window[0]).toBeGreaterThan(before[0] as number);
      expect(window.at(-1)).toBeGreaterThan(before.at(-1) as number);
    }
    expect([...new Set(numbers.flat())]).toEqual(Array.from({ length: 30 }, (_, i) => i));
  });

  test.each([-0.1, 0.6, Number.NaN])("overlap by no share of %s", (overlap) => {
    expect(() => planClassification("One.", BOUNDS, { fill, overlap })).toThrowError(
      expect.objectContaining({ code: "E_INPUT" }),
    );
  });
});

describe("scores of windows", () => {
  const logprob = fc.double({ min: -60, max: 0, noNaN: true });
  const windowsOf = (labels: number) =>
    fc.array(fc.array(logprob, { minLength: labels, maxLength: labels }), { minLength: 2, maxLength: 6 });

  test("of one window are the model's own", () => {
    const own: LabelScores = { logprobs: [-1, -2.5], scores: [0.81, 0.19] };
    const { windows, ...scores } = combineScores({ weights: [1] }, [own]);
    expect([windows, scores]).toEqual([1, own]);
  });

  test("are the softmax of the labels' weighted mean log-probabilities", () => {
    fc.assert(
      fc.property(
        windowsOf(3),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 6, maxLength: 6 }),
        (rows, tokens) => {
          const own = tokens.slice(0, rows.length);
          const total = own.reduce((sum, each) => sum + each, 0);
          const weights = own.map((each) => each / total);
          const { logprobs, scores } = combineScores(
            { weights },
            rows.map((each) => ({ logprobs: each, scores: softmax(each) })),
          );
          for (const label of [0, 1, 2]) {
            const mean = rows.reduce((sum, row, i) => sum + (own[i] as number) * (row[label] as number), 0) / total;
            expect(logprobs[label]).toBeCloseTo(mean, 9);
          }
          for (const [label, score] of softmax(logprobs).entries()) expect(scores[label]).toBeCloseTo(score, 9);
          // Windows that agree are as sure as each is.
          const agreed = combineScores(
            { weights },
            rows.map(() => ({ logprobs: rows[0]!, scores: [] })),
          );
          for (const [label, score] of softmax(rows[0]!).entries()) expect(agreed.scores[label]).toBeCloseTo(score, 9);
        },
      ),
    );
  });

  test("are of every window, once", async () => {
    expect(() => combineScores({ weights: [0.5, 0.5] }, [{ logprobs: [0], scores: [1] }])).toThrow(/2 windows have 1/);
    const model = fake(String, { maxInputTokens: 60 });
    const given: (readonly string[])[] = [];
    model.score = async (prompts, labels) => {
      given.push(prompts, labels);
      return prompts.map((prompt) => {
        const logprobs = prompt.includes("good") ? [-0.1, -3] : [-1, -0.9];
        return { logprobs, scores: softmax(logprobs) };
      });
    };
    const text = "This is a good sentence. ".repeat(20) + "It is bad. ".repeat(4);
    const { scores, windows } = await classifyLong(model, text, ["good", "bad"], { fill });
    expect(given).toEqual([planClassification(text, model, { fill }).prompts, ["good", "bad"]]);
    expect(windows).toBe(given[0]?.length);
    expect(scores[0]).toBeGreaterThan(0.8);
  });
});

function squeezed(text: string): string {
  return text.replace(/\s+/g, "");
}
