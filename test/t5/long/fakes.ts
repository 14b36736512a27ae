/** Models of which all is known, and texts in every shape. */
import fc from "fast-check";
import type { Block, Document, Table } from "../../../src/t5/text-to-text/content.ts";
import type { LongModel, LongPiece } from "../../../src/t5/text-to-text/long/index.ts";

export const PREFIX = "translate English to Fake: ";
export const fill = (text: string) => PREFIX + text;

/** Four characters a token, and the end. */
export const count = (text: string) => Math.ceil(text.length / 4) + 1;

export interface Fake extends LongModel {
  /** What it was given, list by list. */
  readonly lists: (readonly string[])[];
}

/**
 * A model that answers with `answer` of what the prefix stands before, cut to the tokens that it may make; pieces of all
 * answers come in an order by `seed`.
 */
export function fake(
  answer: (text: string) => string,
  { maxInputTokens = 128, maxNewTokens = 128, seed = 1 } = {},
): Fake {
  const lists: (readonly string[])[] = [];
  return {
    lists,
    count,
    maxInputTokens,
    maxNewTokens,
    async *generate(prompts, { maxNewTokens: most = maxNewTokens }) {
      lists.push(prompts);
      for (const prompt of prompts) {
        if (!prompt.startsWith(PREFIX)) throw new Error(`A prompt without its template: ${prompt}`);
        if (count(prompt) > maxInputTokens) throw new Error(`A prompt of ${count(prompt)} tokens: ${prompt}`);
      }
      const answers = prompts.map((prompt) => answer(prompt.slice(PREFIX.length)));
      yield* shuffled(
        answers.map((whole) => whole.slice(0, 4 * most)),
        answers.map((whole) => whole.length > 4 * most),
        seed,
      );
    },
    score: async () => [],
  };
}

/** Pieces of texts, the next one of whichever comes: a text's own are in order. */
export function* shuffled(texts: readonly string[], isCut: readonly boolean[], seed: number): Generator<LongPiece> {
  const random = randomOf(seed);
  const open = texts.map((_, index) => ({ index, at: 0 }));
  while (open.length > 0) {
    // Among those that run side by side.
    const place = Math.floor(random() * Math.min(8, open.length));
    const state = open[place] as (typeof open)[number];
    const text = texts[state.index] as string;
    const end = Math.min(text.length, state.at + Math.floor(random() * 12));
    const isLast = end === text.length;
    const finishReason = isLast ? (isCut[state.index] ? "length" : "stop") : null;
    yield { index: state.index, text: text.slice(state.at, end), finishReason };
    state.at = end;
    if (isLast) open.splice(place, 1);
  }
}

export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
}

/** Changes every Latin letter and no text's length, and is its own inverse. */
export function rot13(text: string): string {
  return text.replace(/[a-z]/gi, (letter) => {
    const base = letter <= "Z" ? 65 : 97;
    return String.fromCharCode(((letter.charCodeAt(0) - base + 13) % 26) + base);
  });
}

const word = fc.constantFrom(
  ...[
    "the",
    "House",
    "is",
    "old",
    "und",
    "ging",
    "nach",
    "Übersee",
    "très",
    "bien",
    "Dr.",
    "z. B.",
    "No. 5",
    "3.5",
    "U.S.",
  ],
  ...["am 3. Oktober", "x.org/?A=1", "(see p. 5)", "»Nein!«", "« Va ! »", "well-known", "e.g.", "J. S.", "wait…", "I"],
);
const sentence = fc
  .tuple(
    fc.array(word, { minLength: 1, maxLength: 30 }),
    fc.constantFrom(".", "!", "?", "…", "...", ".”", "", ":", " !"),
  )
  .map(([words, end]) => words.join(" ") + end);
const paragraph = fc.array(sentence, { minLength: 1, maxLength: 6 }).map((sentences) => sentences.join(" "));
const wrapped = fc.tuple(paragraph, fc.integer({ min: 45, max: 80 }), fc.constantFrom("", "> ", "  ")).map(wrap);
const item = fc
  .tuple(fc.constantFrom("- ", "* ", "1. ", "(1) ", "  • ", "# ", "\t12. ", "— "), sentence)
  .map((both) => both.join(""));
const rule = fc.constantFrom("-----", "* * *", "12 345,67", "|---|---|", "", "   ");
const separator = fc.constantFrom("\n", "\n\n", "\r\n", " \n \n", "\n\n\n", "\u2028");

/** Texts with paragraphs, wrapped or not, lists, headings, rules and blank lines. */
export const anyText = fc
  .array(fc.tuple(fc.oneof(paragraph, wrapped, item, item, rule), separator), { maxLength: 12 })
  .map((blocks) => blocks.flat().join(""));

const cell = fc.oneof(
  fc.constantFrom("", "12,5", "—", "a|b", "|", "x\\|y", "back\\", "two\nlines", "12 | 13", "Yes.", "north wheel"),
  paragraph,
  fc.string({ unit: fc.constantFrom("|", "\\", " ", "\r\n", "\u2028", "`", "<", "-", "é", "b"), maxLength: 8 }),
);

export const anyTable: fc.Arbitrary<Table> = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 4 }))
  .chain(([width, height]) => {
    const row = fc.array(cell, { minLength: width, maxLength: width });
    return fc.record({
      ...{ title: fc.constant(null), section: fc.constantFrom(null, "Wheels", "the House") },
      ...{ columns: row, rows: fc.array(row, { minLength: height, maxLength: height }) },
    });
  });

const block: fc.Arbitrary<Block> = fc.oneof(
  fc.record({ kind: fc.constant("heading" as const), level: fc.constant(1), text: sentence }),
  fc.record({ kind: fc.constant("paragraph" as const), text: fc.oneof(paragraph, rule, fc.constant("a|b")) }),
  fc.record({ kind: fc.constant("paragraph" as const), text: sentence, isVerbatim: fc.constant(true) }),
  fc.record({ kind: fc.constant("item" as const), depth: fc.nat(2), text: paragraph }),
  fc.record({ kind: fc.constant("table" as const), table: anyTable }),
);

export const anyDocument: fc.Arbitrary<Document> = fc.record({
  title: fc.constantFrom(null, "The Mill", "the house"),
  blocks: fc.array(block, { maxLength: 8 }),
});

function wrap([text, width, margin]: [string, number, string]): string {
  let line = margin;
  const lines: string[] = [];
  for (const each of text.split(" ")) {
    if (line.length > margin.length && line.length + 1 + each.length > width) {
      lines.push(line);
      line = margin;
    }
    line += line.length > margin.length ? ` ${each}` : each;
  }
  return [...lines, line].join("\n");
}
