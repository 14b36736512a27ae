/**
 * Translation of a text of any length: sentence by sentence, all of them one list, put out in order with everything that
 * stands between them.
 */
import { EdgeT5Error } from "../../../errors.ts";
import type { Document, TextPart } from "../content.ts";
import { documentParts, markdownCell } from "../document.ts";
import { cutToFit } from "./cut.ts";
import { plainOf, rewrap, unwrappedOf } from "./lines.ts";
import { textParts } from "./markdown.ts";
import {
  type LongBounds,
  type LongEnd,
  type LongModel,
  type LongOptions,
  type LongPiece,
  type LongRunOptions,
  type LongSize,
  noteOf,
  roomOf,
} from "./model.ts";
import { type Piece, splitSentences } from "./sentences.ts";
import { MOST_CHARACTERS } from "./windows.ts";

export interface TranslationPlan {
  /** Every sentence once, in the order in which they first stand in the text. */
  readonly prompts: readonly string[];
  readonly size: LongSize;
  /** Of one answer, at most. */
  readonly newTokens: number;
  /** The text: joined with the sentences' own texts, cells written as such, it is as it was. */
  readonly parts: readonly TranslationPart[];
  /** Sentences that were cut, as no window holds them. */
  readonly cut: number;
}

export interface TranslationPart {
  readonly text: string;
  /** Which prompt's answer comes in its place; null: it stays. */
  readonly prompt: number | null;
  /** Whether it is written, as its answer is, as a table's cell in Markdown. */
  readonly isCell: boolean;
}

/**
 * A sentence's tokens, times this, are room for its translation: of 517 pairs of Tatoeba with 12 tokens and more (T5's
 * vocabulary) English to German takes 1.2 in the median and 1.9 in 99 of 100, English to French 1.4 and 2.25.
 */
const ANSWER_RATIO = 2;

/** And so many more, as a word alone may become several: no pair of all 3,334 takes both. */
const SHORT_ANSWER = 16;

function hasWords(text: string): boolean {
  return /\p{L}/u.test(text);
}

/** Values, each a whole text, that are written with letters and are the same in every language. */
const VALUES = [
  // Addresses.
  /^(?:https?:\/\/|www\.)\S*$|^[^@\s]+@[^@\s]+$/i,
  // Dates with a time (ISO 8601).
  /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?$/,
  // Numbers with an exponent, hexadecimal ones, UUIDs.
  /^[+\-−]?\d+(?:[.,]\d+)?e[+\-−]?\d+$|^0x[\da-f]+$|^[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12}$/i,
  // What a spreadsheet shows for truth values and errors.
  /^(?:TRUE|FALSE|#(?:N\/A|DIV\/0!|REF!|NAME\?|VALUE!|NUM!|NULL!))$/,
  // Codes, of capitals with digits: AB-1234.
  /^(?=.*\d)[A-Z\d]+(?:[-_./][A-Z\d]+)*$/,
];

/** What has no letter, and what is but a value, says the same in every language. */
function isUntranslated(sentence: string): boolean {
  return !hasWords(sentence) || VALUES.some((value) => value.test(sentence));
}

/**
 * Splits a text into the sentences that are to be translated, but for fenced code in it, and cell by cell where it has a
 * table in Markdown; of a document, what {@link documentParts} makes of it: no sentence goes from one block or cell to the
 * next. One that no window holds, or whose translation would be longer than an
 * answer may be, is cut: where a clause ends, else between words, inside a word only when that alone is too long. Sentences
 * without any letter (numbers, rules: `-----`) and those that are but a value (an address, a time, a code) stay untouched. A
 * sentence that comes again is translated once.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room, `E_INPUT` for a locale that is none
 */
export function planTranslation(
  source: string | Document,
  bounds: LongBounds,
  { fill, locale }: LongOptions,
): TranslationPlan {
  const room = roomOf(bounds, fill);
  const own = bounds.maxInputTokens - room;
  const most = own + Math.max(4, Math.min(room, Math.floor(bounds.maxNewTokens / ANSWER_RATIO)));
  const tokens = new Map<string, number>();
  const tokensOf = (prompt: string) => {
    const known = tokens.get(prompt) ?? bounds.count(prompt);
    tokens.set(prompt, known);
    return known;
  };
  const fits = (part: string) => part.length <= most * MOST_CHARACTERS && tokensOf(fill(part)) <= most;
  const indices = new Map<string, number>();
  const indexOf = (prompt: string) => {
    const index = indices.get(prompt) ?? indices.size;
    indices.set(prompt, index);
    return index;
  };
  const parts: TranslationPart[] = [];
  let cut = 0;
  // Tables repeat their cells.
  const cells = new Map<string, readonly TranslationPart[]>();
  const split = (text: string, isCell: boolean) => {
    const { pieces, cut: own } = fittingPieces(text, fits, locale);
    cut += own;
    return pieces.map((piece): TranslationPart => {
      return { text: piece.text, prompt: piece.isSentence ? indexOf(fill(plainOf(piece.text))) : null, isCell };
    });
  };
  const all: Iterable<TextPart> = typeof source === "string" ? textParts(source) : documentParts(source);
  for (const { text, kind } of all) {
    const isCell = kind === "cell";
    if (text === "") continue;
    if (kind === "fixed" || !hasWords(text)) parts.push({ text, prompt: null, isCell });
    else {
      const pieces = (isCell && cells.get(text)) || split(text, isCell);
      if (isCell) cells.set(text, pieces);
      for (const piece of pieces) parts.push(piece);
    }
  }
  const prompts = [...indices.keys()];
  const counts = prompts.map(tokensOf);
  const size = {
    prompts: prompts.length,
    promptTokens: counts.reduce((sum, each) => sum + each, 0),
    longest: counts.reduce((longest, each) => Math.max(longest, each), 0),
  };
  const newTokens = Math.min(bounds.maxNewTokens, ANSWER_RATIO * Math.max(0, size.longest - own) + SHORT_ANSWER);
  return { prompts, size, newTokens, parts, cut };
}

/** Sentences that fit, and what stays: joined they are the text. */
function fittingPieces(text: string, fits: (part: string) => boolean, locale: string | undefined) {
  const pieces: Piece[] = [];
  let cut = 0;
  const add = (text: string, isSentence: boolean) => {
    if (text !== "") pieces.push({ text, isSentence: isSentence && !isUntranslated(text) });
  };
  for (const { text: piece, isSentence } of splitSentences(text, locale)) {
    if (!isSentence || isUntranslated(piece) || fits(plainOf(piece))) add(piece, isSentence);
    else {
      cut++;
      let start = 0;
      for (const part of cutToFit(unwrappedOf(piece), fits)) {
        const first = start + part.length - part.trimStart().length;
        const last = start + part.trimEnd().length;
        add(piece.slice(start, first), false);
        add(piece.slice(first, last), true);
        start += part.length;
        add(piece.slice(last, start), false);
      }
    }
  }
  return { pieces, cut };
}

/**
 * The translation, in order, as soon as it is certain: a sentence that is done early waits for those before it. Line
 * breaks, blank lines, indentation and list markers are where they were; a line break inside a sentence comes at the blank
 * nearest to the same share of its translation. A sentence that comes back empty stays as it was.
 *
 * @param pieces of the answers to the plan's prompts, in any order
 */
export async function* translated(
  { prompts, parts, cut }: TranslationPlan,
  pieces: AsyncIterable<LongPiece>,
): AsyncGenerator<string, LongEnd, undefined> {
  const answers = prompts.map(() => new Answer());
  let at = 0;
  /** Characters of part `at` that are out. */
  let given = 0;
  const advance = (): string => {
    let out = "";
    for (; at < parts.length; at++, given = 0) {
      const { text, prompt, isCell } = parts[at] as TranslationPart;
      const written = isCell ? markdownCell : (own: string) => own;
      const answer = prompt === null ? null : (answers[prompt] as Answer);
      if (!answer) {
        out += written(text);
        continue;
      }
      const wraps = plainOf(text) !== text;
      if (answer.isDone) {
        const whole = answer.text === "" ? text : wraps ? rewrap(text, answer.text) : answer.text;
        out += written(whole.slice(given));
      } else {
        if (wraps) break;
        out += written(answer.text.slice(given));
        given = answer.text.length;
        break;
      }
    }
    return out;
  };
  const first = advance();
  if (first) yield first;
  for await (const piece of pieces) {
    const answer = answers[piece.index];
    if (!answer) throw new EdgeT5Error("E_INTERNAL", `The model answered prompt ${piece.index}, which there is not.`);
    answer.push(piece);
    const next = advance();
    if (next) yield next;
  }
  const missing = answers.findIndex(({ isDone }) => !isDone);
  if (missing >= 0) throw new EdgeT5Error("E_INTERNAL", `The model left prompt ${missing} without an answer.`);
  const count = (is: (answer: Answer) => boolean) => answers.filter(is).length;
  return {
    notes: [
      ...noteOf(cut, "sentence was too long for the model: it was cut.", "sentences were too long for the model: cut."),
      ...noteOf(
        count(({ isCut }) => isCut),
        "translation ends early: it came to the limit of new tokens.",
        "translations end early: they came to the limit of new tokens.",
      ),
      ...noteOf(
        count(({ text }) => text === ""),
        "sentence came back empty and stands as it was.",
        "sentences came back empty and stand as they were.",
      ),
    ],
  };
}

/**
 * Translates a text or document of any length; what is promised says {@link planTranslation} and {@link translated}.
 *
 * @throws EdgeT5Error as they do
 */
export async function* translateLong(
  model: LongModel,
  source: string | Document,
  { signal, ...options }: LongRunOptions,
): AsyncGenerator<string, LongEnd, undefined> {
  const plan = planTranslation(source, model, options);
  const { prompts, newTokens } = plan;
  return yield* translated(
    plan,
    prompts.length === 0 ? none() : model.generate(prompts, { maxNewTokens: newTokens, signal }),
  );
}

async function* none(): AsyncGenerator<LongPiece, void, undefined> {}

/** A sentence's translation while it comes: in one line, no blank at its beginning and end. */
class Answer {
  text = "";
  isDone = false;
  isCut = false;
  /** Given out when more comes. */
  #blanks = "";

  push({ text, finishReason }: LongPiece): void {
    const all = this.#blanks + text.replace(/[\n\v\f\r\x85\u2028\u2029]/g, " ");
    const more = this.text === "" ? all.trimStart() : all;
    const words = more.trimEnd();
    this.text += words;
    this.#blanks = more.slice(words.length);
    if (finishReason === null) return;
    this.isDone = true;
    this.isCut = finishReason === "length";
  }
}
