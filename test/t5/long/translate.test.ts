import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  collectText,
  type LongPiece,
  planTranslation,
  translated,
  translateLong,
} from "../../../src/t5/text-to-text/long/index.ts";
import { anyText, count, fake, fill, PREFIX, rot13 } from "./fakes.ts";

const BOUNDS = { count, maxInputTokens: 128, maxNewTokens: 128 };

describe("a translation", () => {
  test("has every sentence once, in order, and all that was between them, whatever order the answers come in", async () => {
    await fc.assert(
      fc.asyncProperty(anyText, fc.integer(), fc.integer({ min: 30, max: 200 }), async (text, seed, maxInputTokens) => {
        const model = fake(rot13, { seed, maxInputTokens });
        const { text: whole, notes } = await collectText(translateLong(model, text, { fill }));
        expect(whole).toBe(rot13(text));
        expect(notes.filter((note) => !/too long/.test(note))).toEqual([]);
        for (const prompts of model.lists) expect(new Set(prompts).size).toBe(prompts.length);
      }),
      { numRuns: 100 },
    );
  });

  test("of a book, and of real text, loses and doubles nothing", async () => {
    const corpus = gunzipSync(readFileSync(new URL("../../fixtures/corpus.txt.gz", import.meta.url))).toString();
    const book = fc.sample(anyText, { numRuns: 1500, seed: 7 }).join("\n\n");
    expect(book.length).toBeGreaterThan(400_000);
    for (const text of [corpus, corpus.replaceAll("\n", " "), book]) {
      const model = fake(rot13);
      const { text: whole } = await collectText(translateLong(model, text, { fill }));
      expect(whole).toBe(rot13(text));
    }
  });

  test("comes as soon as it is certain: what is done early waits for those before it", async () => {
    const plan = planTranslation("- One. Two.\n\nThree.", BOUNDS, { fill });
    expect(plan.prompts).toEqual(["One.", "Two.", "Three."].map(fill));
    const pieces: [LongPiece, string][] = [
      [piece(2, "Drei."), ""],
      [piece(0, "Ei", null), "Ei"],
      [piece(1, " Zw", null), ""],
      [piece(0, "ns. "), "ns. Zw"],
      [piece(1, "ei."), "ei.\n\nDrei."],
    ];
    const out: string[] = [];
    let given = 0;
    async function* source() {
      for (const [each, expected] of pieces) {
        given = out.length;
        yield each;
        expect(out.slice(given).join("")).toBe(expected);
      }
    }
    for await (const text of translated(plan, source())) out.push(text);
    expect(out.join("")).toBe("- Eins. Zwei.\n\nDrei.");
    expect(out[0]).toBe("- ");
  });

  test("translates what comes again once, and leaves numbers, rules and addresses alone", async () => {
    const model = fake((text) => `<${text}>`);
    const text = "Yes.\n-----\nYes. No.\n3,14\nhttps://x.org/a\nbob@x.org\nYes.";
    const { text: whole } = await collectText(translateLong(model, text, { fill }));
    expect(whole).toBe("<Yes.>\n-----\n<Yes.> <No.>\n3,14\nhttps://x.org/a\nbob@x.org\n<Yes.>");
    expect(model.lists).toEqual([["Yes.", "No."].map(fill)]);
  });

  test("is in one line a sentence, and has wraps at the same share of it", async () => {
    const text =
      "This is a paragraph that was wrapped at a width\nof fifty or so: here it goes on to the next\nline and ends.";
    const { text: whole } = await collectText(
      translateLong(
        fake((each) => `\n${each.toUpperCase()}\n\n`),
        text,
        { fill },
      ),
    );
    expect(whole).toBe(text.toUpperCase());
  });

  test("is of prompts that fit, template included, the true size of which is known before", () => {
    const text = `${"word ".repeat(400)}end. Short one.`;
    const { prompts, size, cut, newTokens } = planTranslation(text, BOUNDS, { fill });
    const tokens = prompts.map(count);
    expect(size).toEqual({
      prompts: prompts.length,
      promptTokens: tokens.reduce((a, b) => a + b),
      longest: Math.max(...tokens),
    });
    expect(size.longest).toBeLessThanOrEqual(128);
    expect(newTokens).toBeLessThanOrEqual(128);
    expect(cut).toBe(1);
    // An answer has room for twice a sentence's tokens.
    const halved = planTranslation(text, { ...BOUNDS, maxNewTokens: 40 }, { fill });
    expect(halved.size.longest - count(PREFIX)).toBeLessThanOrEqual(20);
  });

  test("says what is not as it should be", async () => {
    const model = fake((text) => (text === "Gone." ? "" : text.repeat(200)));
    const { text, notes } = await collectText(translateLong(model, "Gone. Long.", { fill }));
    expect(text).toMatch(/^Gone\. Long\.Long\./);
    expect(notes).toEqual([
      expect.stringMatching(/^One translation ends early/),
      expect.stringMatching(/^One .* empty/),
    ]);
    expect((await collectText(translateLong(model, "", { fill }))).text).toBe("");
    expect(planTranslation("w ".repeat(900), BOUNDS, { fill }).cut).toBe(1);
  });

  test("fails when the model leaves a sentence out or makes one up, or the template leaves no room", async () => {
    const plan = planTranslation("One. Two.", BOUNDS, { fill });
    const run = (...pieces: LongPiece[]) => collectText(translated(plan, iterate(pieces)));
    await expect(run(piece(0, "Eins."))).rejects.toMatchObject({ code: "E_INTERNAL" });
    await expect(run(piece(0, "Eins."), piece(2, "Drei."))).rejects.toMatchObject({ code: "E_INTERNAL" });
    const tight = { ...BOUNDS, maxInputTokens: count(PREFIX) + 5 };
    expect(() => planTranslation("One.", tight, { fill })).toThrow(/template alone/);
  });

  test("stops the model when its reader leaves", async () => {
    let isLeft = false;
    const model = fake(rot13);
    const generate = model.generate.bind(model);
    model.generate = async function* (prompts, options) {
      try {
        yield* generate(prompts, options);
      } finally {
        isLeft = true;
      }
    };
    for await (const text of translateLong(model, "One. Two. Three.", { fill })) if (text) break;
    expect(isLeft).toBe(true);
  });
});

function piece(index: number, text: string, finishReason: LongPiece["finishReason"] = "stop"): LongPiece {
  return { index, text, finishReason };
}

async function* iterate(pieces: readonly LongPiece[]) {
  yield* pieces;
}
