import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  corrupt,
  corruptionOf,
  type Denoiser,
  PREFIX_LM,
  SPAN_CORRUPTION,
  sentinelsOf,
  UL2,
} from "../../src/training/data/denoise.ts";
import { randomSpansMask, spanCounts, spansIn, textLengthFor } from "../../src/training/data/noise.ts";
import { RandomNumbers } from "../../src/training/data/random.ts";
import type { Example } from "../../src/training/example.ts";
import { tokenizer, vocabSize } from "./tokenizer.ts";

const EOS = 1;
const sentinels = sentinelsOf(tokenizer, vocabSize);
const T5_NOISE = { density: 0.15, meanSpan: 3 };

/** The text that an example was made of, by putting each span of the target where its sentinel stands in the input. */
function restored({ input, target }: Example): number[] {
  expect([input.at(-1), target.at(-1)]).toEqual([EOS, EOS]);
  const spans = new Map<number, number[]>();
  let open: number[] = [];
  for (const id of target.subarray(0, -1)) {
    if (sentinels.includes(id)) {
      expect(spans.has(id)).toBe(false);
      open = [];
      spans.set(id, open);
    } else open.push(id);
  }
  const text = [...input.subarray(0, -1)].flatMap((id) => spans.get(id) ?? [id]);
  // In both, sentinels come in their order from the first one on; a last one may close the target.
  const order = (ids: Int32Array) => [...ids].filter((id) => sentinels.includes(id));
  const inInput = order(input);
  expect(inInput).toEqual(sentinels.slice(0, inInput.length));
  const inTarget = order(target);
  expect(inTarget).toEqual(sentinels.slice(0, inTarget.length));
  expect(inTarget.length - inInput.length).toBeLessThanOrEqual(1);
  return text;
}

/** Distinct ids that are no sentinels: a token that is lost, doubled or moved is seen. */
const textOf = (length: number) => Int32Array.from({ length }, (_, i) => 10 + i);

describe("sentinels", () => {
  test("are named <extra_id_0> and so on, and count down from the last id", () => {
    expect(sentinels).toEqual(Array.from({ length: 100 }, (_, i) => vocabSize - 1 - i));
    expect(tokenizer.nameOf(sentinels[0] as number)).toBe("<extra_id_0>");
  });

  test("are needed", () => {
    expect(() => sentinelsOf({ nameOf: () => "a" }, 10)).toThrow(expect.objectContaining({ code: "E_TOKENIZER" }));
  });
});

describe("span corruption", () => {
  test("of the paper's example", () => {
    // "Thank you for inviting me to your party last week": "for inviting" and "last" are taken away (figure 2).
    const words = textOf(10);
    const mask = Uint8Array.of(0, 0, 1, 1, 0, 0, 0, 0, 1, 0);
    const [x, y, z] = sentinels as [number, number, number];
    expect(corrupt(words, mask, sentinels)).toEqual({
      input: Int32Array.of(10, 11, x, 14, 15, 16, 17, y, 19, EOS),
      target: Int32Array.of(x, 12, 13, y, 18, z, EOS),
    });
  });

  test("512 tokens of input come from 568 of text, with 114 of target, as random_spans_helper says", () => {
    const length = textLengthFor(512, T5_NOISE, 100);
    const { tokens, spans } = spanCounts(length, T5_NOISE);
    expect([length, length - tokens + spans + 1, tokens + spans + 1]).toEqual([568, 512, 114]);
    expect(textLengthFor(1024, T5_NOISE, 100)).toBe(1137);
    expect(textLengthFor(128, T5_NOISE, 100)).toBe(141);
  });

  test("keeps every token once, in input or target, with the noise that is asked for", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 700 }),
        fc.double({ min: 0.01, max: 0.6, noNaN: true }),
        fc.double({ min: 1, max: 20, noNaN: true }),
        fc.nat(),
        (length, density, meanSpan, seed) => {
          const noise = { density, meanSpan };
          const counts = spanCounts(length, noise);
          fc.pre(counts.spans <= sentinels.length);
          const mask = randomSpansMask(length, noise, new RandomNumbers(seed, 0, 0));
          expect(mask.reduce((sum, isNoise) => sum + isNoise, 0)).toBe(counts.tokens);
          expect(spansIn(mask)).toBe(counts.spans);
          expect([mask[0], mask.at(-1)]).toEqual([0, 1]);
          expect(Math.abs(counts.tokens - length * density)).toBeLessThanOrEqual(1);
          const example = corrupt(textOf(length), mask, sentinels);
          expect(restored(example)).toEqual([...textOf(length)]);
          expect(example.input.length).toBe(length - counts.tokens + counts.spans + 1);
          expect(example.target.length).toBe(counts.tokens + counts.spans + 1);
        },
      ),
    );
  });

  test("all masks are equally likely", () => {
    // 6 tokens, 3 of them noise in 2 spans: 2 × 2 masks.
    const seen = new Map<string, number>();
    for (let i = 0; i < 4000; i++) {
      const mask = randomSpansMask(6, { density: 0.5, meanSpan: 1.5 }, new RandomNumbers(3, 1, i)).join("");
      seen.set(mask, (seen.get(mask) ?? 0) + 1);
    }
    expect([...seen.keys()].sort()).toEqual(["001011", "001101", "010011", "011001"]);
    // 1,000 expected, a standard deviation of 27.
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(150);
  });
});

describe("each denoiser", () => {
  const iid: Denoiser = { kind: "iid", density: 0.15 };
  const all = [...UL2, ...PREFIX_LM, iid, { ...iid, density: 0.5 }, { ...(UL2[0] as Denoiser), prefix: "[NLU] " }];

  test.each(all)("%j: within the length, nothing lost, the same again", (denoiser) => {
    const prefix = denoiser.prefix ? tokenizer.encode(denoiser.prefix).slice(0, -1) : [];
    fc.assert(
      fc.property(fc.integer({ min: 16, max: 600 }), fc.nat(), (inputLength, seed) => {
        const { textLength, apply } = corruptionOf(denoiser, inputLength, tokenizer, sentinels);
        for (const length of [2, Math.max(2, textLength >> 1), textLength]) {
          const text = textOf(length);
          const example = apply(text, new RandomNumbers(seed, 1, length));
          expect(example).toEqual(apply(text, new RandomNumbers(seed, 1, length)));
          expect(example.input.length).toBeLessThanOrEqual(inputLength);
          expect([...example.input.subarray(0, prefix.length)]).toEqual(prefix);
          const input = example.input.subarray(prefix.length);
          expect(Math.min(input.length, example.target.length)).toBeGreaterThan(1);
          if (denoiser.kind !== "prefix-lm") expect(restored({ ...example, input })).toEqual([...text]);
          else expect([...input.subarray(0, -1), ...example.target.subarray(0, -1)]).toEqual([...text]);
        }
      }),
      { numRuns: 40 },
    );
  });

  test.each<[Denoiser, number]>([
    [SPAN_CORRUPTION[0] as Denoiser, 0.15],
    [iid, 0.15],
    [PREFIX_LM[0] as Denoiser, 0.5],
    [UL2[2] as Denoiser, 0.25],
    [UL2[6] as Denoiser, 0.5],
  ])("%j: takes away its share", (denoiser, share) => {
    const { textLength, apply } = corruptionOf(denoiser, 256, tokenizer, sentinels);
    let noise = 0;
    for (let i = 0; i < 400; i++) {
      const { target } = apply(textOf(textLength), new RandomNumbers(1, 1, i));
      noise += target.filter((id) => id !== EOS && !sentinels.includes(id)).length;
    }
    // Of a prefix, the standard deviation of the mean is 0.014.
    expect(Math.abs(noise / (400 * textLength) - share)).toBeLessThan(0.05);
  });

  test.each<[string, Denoiser, number]>([
    ["no room", { kind: "spans", density: 0.15, meanSpan: 3 }, 5],
    ["no noise", { kind: "iid", density: 0 }, 128],
    ["nothing but noise", { kind: "spans", density: 1, meanSpan: 3 }, 128],
    ["spans of nothing", { kind: "spans", density: 0.15, meanSpan: 0 }, 128],
  ])("%s is refused", (_, denoiser, inputLength) => {
    expect(() => corruptionOf(denoiser, inputLength, tokenizer, sentinels)).toThrow(
      expect.objectContaining({ code: "E_USAGE" }),
    );
  });
});
