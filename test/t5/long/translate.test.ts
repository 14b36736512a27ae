import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import MarkdownIt from "markdown-it";
import { describe, expect, test } from "vitest";
import type { Document, Table } from "../../../src/t5/text-to-text/content.ts";
import { documentParts, textOfParts } from "../../../src/t5/text-to-text/document.ts";
import {
  collectText,
  type LongPiece,
  planTranslation,
  translated,
  translateLong,
} from "../../../src/t5/text-to-text/long/index.ts";
import { textParts } from "../../../src/t5/text-to-text/long/markdown.ts";
import { anyDocument, anyTable, anyText, count, fake, fill, PREFIX, rot13 } from "./fakes.ts";

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

  test.each([
    "2024-03-09T14:30:05",
    "2024-03-09 14:30:05.25+01:00",
    "2024-03-09T14:30Z",
    "1.50E-07",
    "-6,02e+23",
    "0xFF3a",
    "3F2504e0-4f89-11d3-9a0c-0305e82c3301",
    "TRUE",
    "FALSE",
    "#N/A",
    "#DIV/0!",
    "AB-1234",
    "DE89370400440532013000",
    "2024/W10",
  ])("leaves the value %s alone", async (value) => {
    const model = fake((text) => `<${text}>`);
    const table = { title: null, section: null, columns: ["word", value], rows: [[value, "Yes"]] };
    const document: Document = { title: null, blocks: [{ kind: "table", table }] };
    expect((await collectText(translateLong(model, document, { fill }))).text).toBe(
      `| <word> | ${value} |\n| --- | --- |\n| ${value} | <Yes> |`,
    );
    expect((await collectText(translateLong(model, `${value}\nYes`, { fill }))).text).toBe(`${value}\n<Yes>`);
  });

  test.each(["True", "true", "NOTE", "Room 12", "AB 1234", "Zimmer-12", "E-Mail", "#NOTE", "See AB-1234."])(
    "translates %s, which is no value",
    (text) => {
      expect(planTranslation(text, BOUNDS, { fill }).prompts).toEqual([fill(text)]);
    },
  );

  test("of Markdown leaves fenced code as it is, and takes tables cell by cell", async () => {
    const model = fake((text) => `<${text}>`);
    const code = "```sh\nif a | b\n  ```` c\n| x |\n|---|\n```\n";
    const text = `One.\n${code}\n  ~~~\n  two\n  ~~~~\nRoom | Price\n:--|--:\nBath \\| shower | 5 €\n| Hall. Well. |  \r\nEnd.`;
    const { text: whole } = await collectText(translateLong(model, text, { fill }));
    expect(whole).toBe(
      `<One.>\n${code}\n  ~~~\n  two\n  ~~~~\n<Room> | <Price>\n:--|--:\n<Bath \\| shower> | 5 €\n| <Hall.> <Well.> |  \r\n<End.>`,
    );
    const open = "```\nNo end.\n\na | b\nc | d";
    expect((await collectText(translateLong(model, open, { fill }))).text).toBe("```\n<No end.>\n\n<a | b>\n<c | d>");
  });

  test("of anything like Markdown loses and doubles nothing", () => {
    const mark = fc.constantFrom(
      "```",
      "````",
      "~~~",
      "|",
      "\\|",
      "\\",
      "---",
      " ",
      "\n",
      "\r\n",
      "> ",
      "Yes.",
      "no",
      "-|-\n",
    );
    fc.assert(
      fc.property(fc.array(mark, { maxLength: 40 }), (marks) => {
        const text = marks.join("");
        expect(textOfParts(textParts(text))).toBe(text);
      }),
      { numRuns: 2000 },
    );
    // As much of one character takes no longer than other text.
    for (const long of ["`", " ", "~", "|", "-", "\\"].map((mark) => `a|b\n${mark.repeat(500_000)} x \``)) {
      expect(textOfParts(textParts(long))).toBe(long);
    }
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

describe("a document's translation", () => {
  const BLANK = /^[^\p{L}]*$/u;

  test("has all of its text: each sentence and cell with a letter is of one prompt, that comes once", async () => {
    await fc.assert(
      fc.property(anyDocument, fc.integer({ min: 30, max: 200 }), (document, maxInputTokens) => {
        const source = [...documentParts(document)];
        const { parts, prompts } = planTranslation(document, { ...BOUNDS, maxInputTokens }, { fill });
        const joined = (all: readonly { text: string }[]) => all.map(({ text }) => text).join("");
        expect(joined(parts)).toBe(joined(source));
        expect(new Set(prompts).size).toBe(prompts.length);
        let at = 0;
        for (const { text, kind } of source) {
          for (let length = 0; length < text.length; at++) {
            const part = parts[at];
            if (!part) throw new Error("Parts are missing.");
            length += part.text.length;
            if (kind === "fixed") expect(part.prompt).toBe(null);
            else if (part.prompt === null) expect(part.text).toMatch(BLANK);
            else expect(prompts[part.prompt]).toBe(fill(part.text));
            expect(part.isCell).toBe(kind === "cell");
          }
        }
        expect(at).toBe(parts.length);
        expect(new Set(parts.flatMap(({ prompt }) => prompt ?? [])).size).toBe(prompts.length);
      }),
    );
  });

  test("is the document with each text in its place, what is verbatim as it was", async () => {
    await fc.assert(
      fc.asyncProperty(anyDocument, fc.integer(), async (document, seed) => {
        const { text } = await collectText(translateLong(fake(rot13, { seed }), document, { fill }));
        const parts = [...documentParts(document)];
        expect(text).toBe(
          textOfParts(parts.map((part) => (part.kind === "fixed" ? part : { ...part, text: rot13(part.text) }))),
        );
      }),
    );
  });

  test("has tables of the same rows, columns and cells, as a reader of Markdown finds them", async () => {
    await fc.assert(
      fc.asyncProperty(anyTable, async (table) => {
        const { text } = await collectText(translateLong(fake(rot13), documentOf(table), { fill }));
        const flat = (cell: string) => rot13(cell.replace(/[\r\n\u2028]+/g, " ")).trim();
        expect(tablesOf(text)).toEqual([[table.columns, ...table.rows].map((row) => row.map(flat))]);
      }),
    );
  });

  test("has as many rows and columns whatever the model answers", async () => {
    const answer = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom("|", "\\", "\n", "\r", "\u2028", "\u0085", " ", "-", "`", "x") }),
    );
    await fc.assert(
      fc.asyncProperty(anyTable, fc.array(answer, { minLength: 1 }), fc.integer(), async (table, answers, seed) => {
        const model = fake((text) => answers[text.length % answers.length] ?? "", { seed });
        const { text } = await collectText(translateLong(model, documentOf(table), { fill }));
        const [found = [], ...others] = tablesOf(text);
        expect(others).toEqual([]);
        const { columns, rows } = table;
        expect(found.map(({ length }) => length)).toEqual([columns, ...rows].map(({ length }) => length));
      }),
    );
  });

  function documentOf(table: Table): Document {
    return { title: null, blocks: [{ kind: "table", table: { ...table, section: null } }] };
  }
});

/** Cells of rows of tables. */
function tablesOf(markdown: string): string[][][] {
  const tables: string[][][] = [];
  for (const { type, content } of new MarkdownIt().parse(markdown, {})) {
    if (type === "table_open") tables.push([]);
    else if (type === "tr_open") tables.at(-1)?.push([]);
    else if (type === "inline") tables.at(-1)?.at(-1)?.push(content);
  }
  return tables;
}

function piece(index: number, text: string, finishReason: LongPiece["finishReason"] = "stop"): LongPiece {
  return { index, text, finishReason };
}

async function* iterate(pieces: readonly LongPiece[]) {
  yield* pieces;
}
