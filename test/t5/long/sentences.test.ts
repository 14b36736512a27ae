import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cutToFit } from "../../../src/t5/text-to-text/long/cut.ts";
import { plainOf, rewrap } from "../../../src/t5/text-to-text/long/lines.ts";
import { splitSentences } from "../../../src/t5/text-to-text/long/sentences.ts";
import { anyText } from "./fakes.ts";

const sentencesOf = (text: string) =>
  splitSentences(text)
    .filter(({ isSentence }) => isSentence)
    .map((piece) => piece.text);

describe("sentences", () => {
  // Written with | where one ends.
  test.each([
    // English
    "Dr. Smith met Prof. J. S. Bach in Washington, D.C. on Monday. | They talked, e.g. about No. 5 and p. 12.",
    "See Fig. 3 for details. | It cost $3.50. | The U.S. Army left. | He lives in the U.S. | They agreed.",
    "“Go!” she said. | “Why?” | He did not know. | \"Really?\" asked Tom. | 'Yes.' | It ended.",
    "He left (at last!) and slept. | (See above.) | Then it ended [as it had to]. | Good.",
    "Wait... what? | The old … house. | He waited… | Then he left. | [...] | More text.",
    "So do I. | Tom left. | Vitamin C. | The end. | J. A. Smith and J. I. Smith. | World War II. | The end.",
    "I said no. | I left. | He was 5. | Then 6. | It is 5 p.m. | He left. | Johnson Inc. said so. | Smith Inc. | The rest.",
    "Visit https://x.org/?A=1&b=2. | Then mail bob.smith@example.com. | Or www.example.com/A.html. | Node.js is fine.",
    "The end.[1] | Next one.[2][13] | Then. | What?! | Wow! ! | Yes.",
    "They sell apples, pears, etc. | Then they go home at 5 a.m. every day.",
    // German
    "Am 3. Oktober 1990 war es so. | Im 19. Jahrhundert lebte Friedrich II. von Preußen. | Das gilt z. B. für Hunde.",
    "Es kostet 3,5 Mio. Euro. | Vgl. Abb. 3. | Das war 1999. | Dann ging er. | Das heißt, d. h. Der Große, und z.B. Otto.",
    "Hr. Dr. Müller sagte: „Geh!“ | Er ging. | »Nein!«, rief sie. | „Kommst du?“, fragte er. | Ja.",
    "Die Fa. Meyer e. V. Köln hat den 2. Preis. | Er kam u. a. nach Bonn, Hamburg usw. | Danach schlief er.",
    // French
    "M. Dupont et Mme Martin, p. ex., sont venus. | « Va ! » dit-il. | « Va ! » | Il partit. | Vraiment ? | Oui, c.-à-d. non.",
    "Il dit « Va ! ». | Elle part, « Où ? », et voilà. | « Bon… » | Fin.",
    "Voir p. 12, chap. 3. | En 52 av. J.-C. il vint. | Il fait 3,5 °C. | M. C. Bernard est là.",
    // Others
    "こんにちは。|元気ですか？|はい。",
    "Привет. | Как дела? | Хорошо.",
  ])("of %s", (marked) => {
    const blanks = marked.includes(" | ") ? " " : "";
    expect(sentencesOf(marked.replaceAll(/ ?\| ?/g, blanks))).toEqual(marked.split(/ ?\| ?/));
  });

  test("keep markers, margins and rules apart", () => {
    const text =
      "# Title\n\nOne. Two.\n- first\n  1. second. Third\n  b) x\n> mail\n— Oui !\n* [x] done\n3. Oktober war es.\n";
    expect(
      splitSentences(text)
        .map((piece) => (piece.isSentence ? `[${piece.text}]` : piece.text))
        .join(""),
    ).toBe(
      "# [Title]\n\n[One.] [Two.]\n- [first]\n  1. [second.] [Third]\n  b) [x]\n> [mail]\n— [Oui !]\n* [x] [done]\n[3. Oktober war es.]\n",
    );
  });

  test("go on over the wraps of a paragraph, and of quoted mail", () => {
    for (const margin of ["", "> "]) {
      const lines = [
        "This is a paragraph that was wrapped at some",
        "width of about fifty characters, as in old mail",
        "or books of Gutenberg. It was written by Dr.",
        "Smith in 1999.",
      ].map((line) => margin + line);
      const found = sentencesOf(lines.join("\r\n"));
      expect(found.map(plainOf)).toEqual([
        "This is a paragraph that was wrapped at some width of about fifty characters, as in old mail or books of Gutenberg.",
        "It was written by Dr. Smith in 1999.",
      ]);
      expect(found.map((each) => rewrap(each, plainOf(each)))).toEqual(found);
    }
  });

  test("end with the line in verse, in lists without markers, before and after a heading", () => {
    for (const text of [
      "Roses are red,\nviolets are blue\nsugar is sweet",
      "Apples\nPears and other fruit\nBread",
      "Introduction\nA paragraph that is as long as it is, and is not wrapped at all.\nThe next heading\nAnd more of it",
    ]) {
      expect(sentencesOf(text)).toEqual(text.split("\n"));
    }
  });

  test("and what is between them are the text, whatever it is", () => {
    const holds = (text: string) => {
      const pieces = splitSentences(text);
      expect(pieces.map((piece) => piece.text).join("")).toBe(text);
      for (const piece of pieces) {
        expect(piece.text).not.toBe("");
        if (piece.isSentence) expect(plainOf(piece.text).trim()).toBe(plainOf(piece.text));
      }
      for (const [i, piece] of pieces.entries()) {
        // Only where one ideographic sentence follows another is nothing between them.
        if (i > 0 && !piece.isSentence) expect(pieces[i - 1]?.isSentence).toBe(true);
      }
    };
    fc.assert(fc.property(anyText, holds), { numRuns: 200 });
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), holds), { numRuns: 200 });
    const unit = fc.constantFrom(...'aB1.!?…"»«()[]- \n\r\t>#*。\u2028\u00a0\ud800');
    fc.assert(fc.property(fc.string({ unit, maxLength: 60 }), holds), { numRuns: 500 });
  });

  test("of the corpus are its lines, or parts of them", () => {
    const corpus = gunzipSync(readFileSync(new URL("../../fixtures/corpus.txt.gz", import.meta.url))).toString();
    const pieces = splitSentences(corpus, "en");
    expect(pieces.map((piece) => piece.text).join("")).toBe(corpus);
    const lines = new Set(corpus.split("\n"));
    const whole = pieces.filter((piece) => piece.isSentence && lines.has(piece.text)).length;
    // Most lines are a sentence of Tatoeba's.
    expect(whole).toBeGreaterThan(0.9 * lines.size);
  });

  test("of a locale that is none are refused", () => {
    expect(() => splitSentences("One. Two.", "no locale")).toThrowError(expect.objectContaining({ code: "E_INPUT" }));
  });
});

describe("wraps", () => {
  test("are all put back, at the same share of another text", () => {
    expect(rewrap("one two\nthree four", "eins zwei drei vier")).toBe("eins zwei\ndrei vier");
    expect(rewrap("one\n> two\n> three", "eins")).toBe("eins\n> \n> ");
    fc.assert(
      fc.property(fc.array(fc.constantFrom("a", "bb", "c\nd", "e\r\n> f")), fc.lorem(), (words, text) => {
        const source = `x ${words.join(" ")}`;
        const breaks = (each: string) => each.match(/\r\n> |\n/g)?.join("") ?? "";
        const wrapped = rewrap(source, text);
        expect(breaks(wrapped)).toBe(breaks(source));
        expect(wrapped.replace(/\r\n> |\n/g, " ").trim()).toBe(text);
      }),
    );
  });
});

describe("what is too long", () => {
  const atMost = (length: number) => (part: string) => part.length <= length;

  test.each([
    [
      "One clause is here; another, with a comma, is there.",
      32,
      "One clause is here;| another, with a comma, is there.",
    ],
    ["He went home early because he was very tired", 30, "He went home early |because he was very tired"],
    ["aaa bbb ccc ddd", 8, "aaa bbb| ccc ddd"],
    ["aaaaaaaaaa", 5, "aaaaa|aaaaa"],
    ["👩‍👩‍👧👩‍👩‍👧", 8, "👩‍👩‍👧|👩‍👩‍👧"],
  ])("is cut at the best place: %s", (text, most, expected) => {
    expect(cutToFit(text, atMost(most)).join("|")).toBe(expected);
  });

  test("is cut into parts that fit and are the text, words whole where they fit", () => {
    const texts = fc
      .array(fc.constantFrom("a", "bcd", "efghij", "k,", "l;", "–", "und", "  ", "x".repeat(25), "é👩‍👩‍👧"))
      .map((all) => all.join(" "));
    fc.assert(
      fc.property(fc.oneof(texts, fc.string({ unit: "grapheme" })), fc.integer({ min: 2, max: 40 }), (text, most) => {
        const parts = cutToFit(text, atMost(most));
        expect(parts.join("")).toBe(text);
        for (const part of parts) expect(part.trim().length).toBeLessThanOrEqual(most);
        for (const word of text.split(/\s+/)) {
          if (word.length <= most && word.length > 0) expect(parts.some((part) => part.includes(word))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("and cannot be cut is refused", () => {
    expect(() => cutToFit("a", atMost(0))).toThrowError(expect.objectContaining({ code: "E_CONTEXT_LENGTH" }));
  });
});
