/** Drafts from the prompt: what they foresee, and that they change nothing but the number of passes. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/t5/engine.ts";
import { type GenerationInput, generate } from "../../src/t5/generate.ts";
import { parseGenerationParams } from "../../src/t5/generation/config.ts";
import { PromptLookup } from "../../src/t5/generation/prompt-lookup.ts";
import { someIds, tinyEngine } from "../engines/tiny.ts";

/** A lookup whose answer began with `answer`, a token a pass. */
function lookupIn(prompt: readonly number[], answer: readonly number[] = []): PromptLookup {
  const lookup = new PromptLookup(prompt, 8, 1);
  for (const token of answer) {
    lookup.draft(8);
    lookup.push(token);
  }
  return lookup;
}

describe("PromptLookup", () => {
  const counting = Array.from({ length: 60 }, (_, i) => i + 10);

  test("drafts what followed the last tokens in the prompt; nothing before there are any, or where they do not stand", () => {
    expect(lookupIn(counting).draft(8)).toEqual([]);
    expect(lookupIn(counting, [20]).draft(8)).toEqual([21]);
    expect(lookupIn(counting, [20]).draft(0)).toEqual([]);
    expect(lookupIn(counting, [20, 5]).draft(8)).toEqual([]);
  });

  test("prefers the longer match, then the first place; looks into its own answer too, but not for a single token", () => {
    expect(lookupIn([11, 12, 13, 19, 12, 13, 14], [11, 12, 13]).draft(1)).toEqual([19]);
    expect(lookupIn([11, 12, 13, 19, 12, 13, 14], [12, 13]).draft(1)).toEqual([19]);
    expect(lookupIn([50], [21, 22, 23, 24, 21, 22]).draft(1)).toEqual([23]);
    expect(lookupIn([50], [21, 22, 23, 24, 21]).draft(1)).toEqual([]);
  });

  test("a draft is as long as it is probably right: longer in an answer that copies, none in one that does not", () => {
    const lengthAfter = (answer: readonly number[]) => lookupIn(counting, answer).draft(99).length;
    expect(lengthAfter(counting.slice(0, 2))).toBe(2);
    expect(lengthAfter(counting.slice(0, 8))).toBeGreaterThan(lengthAfter(counting.slice(0, 2)));
    expect(lengthAfter(counting.slice(0, 30))).toBe(8);
    const jumping = [20, 30, 40, 50, 60, 25, 35, 45];
    expect(lengthAfter(jumping)).toBe(0);
    // It may still begin to copy.
    expect(lengthAfter([...jumping, ...counting.slice(0, 20)])).toBeGreaterThan(1);
  });

  test("never drafts the end: nothing would be saved", () => {
    expect(lookupIn([10, 11, 1], [10]).draft(8)).toEqual([11]);
    expect(lookupIn([10, 11, 1], [11]).draft(8)).toEqual([]);
  });
});

describe("a step that is fed several tokens of a sequence", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await tinyEngine(8, { maxNewTokens: 40 });
  });

  test("gives what steps of one token give, bit by bit, beside other sequences", async () => {
    const { encoder, decoder } = engine;
    const hidden = await encoder.encode(someIds(11, 4));
    const tokens = [0, 7, 19, 33, 5, 60];
    const alone = await decoder.open(hidden, 12);
    const logits: Float32Array[] = [];
    const best: number[] = [];
    for (const token of tokens) {
      const output = await decoder.step([alone], [token]);
      logits.push(output.logits(0).slice());
      best.push(output.argmax(0));
    }
    const [sequence, other] = (await decoder.openAll([{ hidden, maxNewTokens: 12, copies: 2 }])) as [never, never];
    await decoder.step([sequence], [0]);
    const output = await decoder.step(
      [other, sequence, sequence, sequence, sequence, sequence],
      [0, ...tokens.slice(1)],
    );
    expect([1, 2, 3, 4, 5].map((row) => output.argmax(row))).toEqual(best.slice(1));
    expect(output.logits(5)).toEqual(logits[5]);
    expect(output.logits(0)).toEqual(logits[0]);
    decoder.rewind(sequence, 3);
    const again = await decoder.step([sequence], [tokens[3]!]);
    expect(again.logits(0)).toEqual(logits[3]);
    for (const each of [alone, sequence, other]) decoder.close(each);
  });

  test("refuses more than there is room for, and more than it takes", async () => {
    const { encoder, decoder } = engine;
    const hidden = await encoder.encode(someIds(5, 4));
    const short = await decoder.open(hidden, 3);
    await expect(decoder.step([short, short, short, short], [0, 1, 2, 3])).rejects.toThrow("full");
    expect(() => decoder.rewind(short, 1)).toThrow("taken back");
    decoder.close(short);
    const long = await decoder.open(hidden, 40);
    const many = decoder.lookahead + 1;
    await expect(decoder.step(Array(many).fill(long), Array(many).fill(2))).rejects.toThrow("a step takes it");
    decoder.close(long);
  });

  test("answers are the same with and without drafts, whatever the prompt, the limit and the batch; with fewer passes", async () => {
    const { encoder, decoder } = engine;
    const answer = async (prompts: readonly (readonly number[])[], maxNewTokens: number, draft: number) => {
      const params = parseGenerationParams({ prompt_lookup_num_tokens: draft });
      const inputs: GenerationInput[] = [];
      for (const prompt of prompts) inputs.push({ hidden: await encoder.encode(prompt), prompt, maxNewTokens, params });
      const before = decoder.steps;
      const events: unknown[][] = prompts.map(() => []);
      for await (const { index, token, finishReason } of generate(decoder, inputs)) {
        events[index]?.push([token, finishReason]);
      }
      return { events, passes: decoder.steps - before };
    };
    let saved = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.integer({ min: 2, max: 12 }), { minLength: 1, maxLength: 30 }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 15 }),
        async (prompts, maxNewTokens, draft) => {
          const plain = await answer(prompts, maxNewTokens, 0);
          const drafted = await answer(prompts, maxNewTokens, draft);
          expect(drafted.events).toEqual(plain.events);
          saved += plain.passes - drafted.passes;
          expect(decoder.openSequences).toBe(0);
        },
      ),
      { numRuns: 40, seed: 11 },
    );
    expect(saved).toBeGreaterThan(0);
  });
});
