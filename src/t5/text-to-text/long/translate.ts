/**
 * Translation of a text of any length: sentence by sentence, all of them one list, put out in order with everything that
 * stands between them.
 */
import { EdgeT5Error } from "../../../errors.ts";
import { cutToFit } from "./cut.ts";
import { plainOf, rewrap, unwrappedOf } from "./lines.ts";
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
import { splitSentences } from "./sentences.ts";
import { MOST_CHARACTERS } from "./windows.ts";

export interface TranslationPlan {
  /** Every sentence once, in the order in which they first stand in the text. */
  readonly prompts: readonly string[];
  readonly size: LongSize;
  /** Of one answer, at most. */
  readonly newTokens: number;
  /** The text: joined with the sentences' own texts it is as it was. */
  readonly parts: readonly TranslationPart[];
  /** Sentences that were cut, as no window holds them. */
  readonly cut: number;
}

export interface TranslationPart {
  readonly text: string;
  /** Which prompt's answer comes in its place; null: it stays. */
  readonly prompt: number | null;
}

/**
 * A sentence's tokens, times this, are room for its translation: of 517 pairs of Tatoeba with 12 tokens and more (T5's
 * vocabulary) English to German takes 1.2 in the median and 1.9 in 99 of 100, English to French 1.4 and 2.25.
 */
const ANSWER_RATIO = 2;

/** And so many more, as a word alone may become several: no pair of all 3,334 takes both. */
const SHORT_ANSWER = 16;

/** What has no letter, and what is but an address, says the same in every language. */
function isUntranslated(sentence: string): boolean {
  if (!/\p{L}/u.test(sentence)) return true;
  return !/\s/.test(sentence) && /^(?:https?:\/\/|www\.)|^[^@]+@[^@]+$/i.test(sentence);
}

/**
 * Splits a text into the sentences that are to be translated. One that no window holds, or whose translation would be
 * longer than an answer may be, is cut: where a clause ends, else between words, inside a word only when that alone is too
 * long. Sentences without any letter (numbers, rules: `-----`) and those that are but an address stay untouched. A sentence
 * that comes again is translated once.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room, `E_INPUT` for a locale that is none
 */
export function planTranslation(text: string, bounds: LongBounds, { fill, locale }: LongOptions): TranslationPlan {
  const room = roomOf(bounds, fill);
  const own = bounds.maxInputTokens - room;
  const most = own + Math.max(4, Math.min(room, Math.floor(bounds.maxNewTokens / ANSWER_RATIO)));
  const tokens = new Map<string, number>();
  const tokensOf = (prompt: string) => {
    const known = tokens.get(prompt) ?? bounds.count(prompt);
    tokens.set(prompt, known);
    return known;
  };
  const indices = new Map<string, number>();
  const parts: TranslationPart[] = [];
  let cut = 0;
  const fits = (part: string) => part.length <= most * MOST_CHARACTERS && tokensOf(fill(part)) <= most;
  const keep = (kept: string) => {
    if (kept !== "") parts.push({ text: kept, prompt: null });
  };
  const add = (sentence: string) => {
    if (isUntranslated(sentence)) return keep(sentence);
    const prompt = fill(plainOf(sentence));
    const index = indices.get(prompt) ?? indices.size;
    indices.set(prompt, index);
    parts.push({ text: sentence, prompt: index });
  };
  for (const piece of splitSentences(text, locale)) {
    if (!piece.isSentence) keep(piece.text);
    else if (isUntranslated(piece.text) || fits(plainOf(piece.text))) add(piece.text);
    else {
      cut++;
      let start = 0;
      for (const part of cutToFit(unwrappedOf(piece.text), fits)) {
        const first = start + part.length - part.trimStart().length;
        const last = start + part.trimEnd().length;
        keep(piece.text.slice(start, first));
        add(piece.text.slice(first, last));
        start += part.length;
        keep(piece.text.slice(last, start));
      }
    }
  }
  const prompts = [...indices.keys()];
  const all = prompts.map(tokensOf);
  const size = {
    prompts: prompts.length,
    promptTokens: all.reduce((sum, each) => sum + each, 0),
    longest: all.reduce((longest, each) => Math.max(longest, each), 0),
  };
  const newTokens = Math.min(bounds.maxNewTokens, ANSWER_RATIO * Math.max(0, size.longest - own) + SHORT_ANSWER);
  return { prompts, size, newTokens, parts, cut };
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
      const { text, prompt } = parts[at] as TranslationPart;
      const answer = prompt === null ? null : (answers[prompt] as Answer);
      if (!answer) {
        out += text;
        continue;
      }
      const wraps = plainOf(text) !== text;
      if (answer.isDone) {
        const whole = answer.text === "" ? text : wraps ? rewrap(text, answer.text) : answer.text;
        out += whole.slice(given);
      } else {
        if (wraps) break;
        out += answer.text.slice(given);
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
 * Translates a text of any length; what is promised says {@link planTranslation} and {@link translated}.
 *
 * @throws EdgeT5Error as they do
 */
export async function* translateLong(
  model: LongModel,
  text: string,
  { signal, ...options }: LongRunOptions,
): AsyncGenerator<string, LongEnd, undefined> {
  const plan = planTranslation(text, model, options);
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
