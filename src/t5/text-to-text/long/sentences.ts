/**
 * Sentences of a text. `Intl.Segmenter` (UAX #29) finds where one may end, rules take back what is none: after
 * abbreviations, initials, ordinals, in addresses, before what closes the sentence that has ended. Line breaks end
 * sentences, but for wraps inside a paragraph.
 */
import { EdgeT5Error } from "../../../errors.ts";
import {
  AFTER_ORDINAL,
  ALWAYS_GOES_ON,
  BEFORE_ORDINAL,
  GOES_ON_BEFORE_NUMBER,
  MOSTLY_GOES_ON,
  STARTERS,
} from "./abbreviations.ts";
import { runsOf } from "./lines.ts";

/** Pieces joined are the text. */
export interface Piece {
  /** A sentence begins and ends with no blank; a line break in it is a wrap, see `plainOf`. */
  readonly text: string;
  /** Else what stands between sentences: blanks, line breaks, indentation, list markers. */
  readonly isSentence: boolean;
}

/**
 * @param locale of the text, as BCP 47 names it. Default: rules that hold for most languages
 * @throws EdgeT5Error `E_INPUT` for a locale that is none
 */
export function splitSentences(text: string, locale?: string): Piece[] {
  const { runs, unwrapped } = runsOf(text);
  const candidates = candidatesOf(unwrapped, locale);
  const pieces: Piece[] = [];
  let done = 0;
  const add = (start: number, end: number) => {
    // Wraps are blanks there: what stands before a line's words is no part of a sentence's beginning and end.
    const words = unwrapped.slice(start, end).trimStart();
    if (words === "") return;
    const first = end - words.length;
    const sentence = text.slice(first, first + words.trimEnd().length);
    if (first > done) pieces.push({ text: text.slice(done, first), isSentence: false });
    pieces.push({ text: sentence, isSentence: true });
    done = first + sentence.length;
  };
  let next = 0;
  for (const run of runs) {
    let { start } = run;
    while ((candidates[next] ?? text.length) <= start) next++;
    for (; (candidates[next] ?? text.length) < run.end; next++) {
      const end = sentenceEnd(unwrapped, start, candidates[next] as number, run.end);
      if (end === null || end <= start) continue;
      add(start, end);
      start = end;
    }
    add(start, run.end);
  }
  if (done < text.length) pieces.push({ text: text.slice(done), isSentence: false });
  return pieces;
}

/** Making one takes milliseconds. */
const segmenters = new Map<string, Intl.Segmenter>();
const MOST_SEGMENTERS = 16;

function segmenterOf(locale: string): Intl.Segmenter {
  let segmenter = segmenters.get(locale);
  if (segmenter) return segmenter;
  try {
    segmenter = new Intl.Segmenter(locale, { granularity: "sentence" });
  } catch (cause) {
    const message = `The locale ${JSON.stringify(locale)} is none. Give a language as BCP 47 names it: en, de, fr-CA.`;
    throw new EdgeT5Error("E_INPUT", message, { cause });
  }
  if (segmenters.size >= MOST_SEGMENTERS) segmenters.clear();
  segmenters.set(locale, segmenter);
  return segmenter;
}

/** Where a sentence may begin, ascending. */
function candidatesOf(text: string, locale = "en"): number[] {
  // To UAX #29 the character … ends nothing: in its place a full stop, as three of them would.
  const view = text.includes("…") ? text.replaceAll("…", ".") : text;
  const candidates: number[] = [];
  for (const { index } of segmenterOf(locale).segment(view)) candidates.push(index);
  return candidates;
}

/** So much is looked at on either side of a candidate. */
const CONTEXT = 64;

/** Marks that close a quotation or bracket, where a sentence has ended before them. */
const CLOSING = /^["'”’»›)\]}]{1,3}(?=[\s.,;:!?…]|$)/;
/** What is left of the number of a footnote, where a sentence ended before it: `.[1] The`. */
const REFERENCE = /^\d{1,3}\](?:\[\d{1,3}\]){0,3}\s{1,3}(?![\s\p{Ll}])/u;
const ENDING = /(\S*?)([.!?…]+)["'”’“»«›‹)\]}]{0,3}$/;

/**
 * @param at a candidate between `start` and `end`
 * @returns where the sentence that began at `start` ends, after its blanks; null when it goes on
 */
function sentenceEnd(text: string, start: number, at: number, end: number): number | null {
  const after = text.slice(at, Math.min(end, at + CONTEXT));
  const isSpaced = /\s/.test(text.charAt(at - 1));
  if (!isSpaced && text.charCodeAt(at - 1) < 0x2e80) {
    // Addresses, and what was typed without a blank. Ideographic full stops have none.
    const reference = text.charAt(at - 1) === "[" ? REFERENCE.exec(after)?.[0] : undefined;
    return reference === undefined ? null : at + reference.length;
  }
  const before = text.slice(Math.max(start, at - CONTEXT), at).trimEnd();
  const closing = CLOSING.exec(after)?.[0];
  if (closing !== undefined) {
    const rest = after.slice(closing.length);
    if (/^\s*\p{Ll}|^\s?[.,;:!?…]/u.test(rest)) return null;
    return at + closing.length + (rest.length - rest.trimStart().length);
  }
  return goesOn(before, after, before.length < CONTEXT - 1) ? null : at;
}

/** @param isWhole whether `before` is all of the sentence so far */
function goesOn(before: string, after: string, isWhole: boolean): boolean {
  const ending = ENDING.exec(before);
  if (!ending) return false;
  const [all, token = "", stops = ""] = ending;
  const isQuoted = token.length + stops.length < all.length;
  // “Go!” she said.
  if (isQuoted && /^[\p{P}\s]*\p{Ll}/u.test(after)) return true;
  if (/[!?]/.test(stops)) return false;
  // An elision in the middle: the old … house.
  if (token === "") return /\s$/.test(before.slice(0, -all.length));
  if (stops !== ".") return false;
  return isAbbreviated(before.slice(0, before.length - all.length), token, after, isWhole);
}

/** Whether a full stop after `token` ends no sentence. */
function isAbbreviated(before: string, token: string, after: string, isWhole: boolean): boolean {
  const opened = token.replace(/^[\p{P}<]+/u, "");
  const word = opened.toLowerCase();
  const [, next = "", stop = ""] = /^[^\p{L}\p{N}]*(\p{L}*)(\.?)/u.exec(after) ?? [];
  const nextWord = next.toLowerCase();
  // An initial is none, whatever its letter: J. A. Smith.
  const isStarterNext = STARTERS.has(nextWord) && !(stop && next.length === 1);
  const isNumberNext = /^[^\p{L}\p{N}]*(?:\p{N}|(?:[VX]|[IVX]{2,})\b)/u.test(after);
  // Only a number or a letter so far: what follows is what it numbers.
  if (isWhole && before === "" && /^(?:\d{1,3}|\p{L}|[IVX]{1,5})$/u.test(opened)) return true;
  if (/^\d{1,3}$/.test(word)) {
    const wordBefore = /(\p{L}+)\s+$/u.exec(before)?.[1]?.toLowerCase() ?? "";
    return AFTER_ORDINAL.has(nextWord) || (BEFORE_ORDINAL.has(wordBefore) && !isStarterNext);
  }
  if (tails(before, word).some((tail) => ALWAYS_GOES_ON.has(tail))) return true;
  if (isNumberNext && GOES_ON_BEFORE_NUMBER.has(word)) return true;
  // The first part of z. B., of p. ex.
  if (/^\p{Ll}$/u.test(opened)) return /^\p{L}{1,2}\./u.test(after);
  const isInitial = /^(?:\p{L}\.)*\p{Lu}$|^(?:\p{L}\.)+\p{L}$|^[IVX]+$/u.test(opened);
  // So do I.
  if (opened === "I" && !/\p{Lu}\S*\s+$/u.test(before)) return false;
  return (isInitial || MOSTLY_GOES_ON.has(word)) && !isStarterNext;
}

/** The last word, and it with the short abbreviated ones before it: `b`, `z.b`. */
function tails(before: string, word: string): string[] {
  const found = [word];
  const shorts = /((?:\S{1,4}\.\s*){1,3})$/.exec(before)?.[1] ?? "";
  let tail = word;
  for (const short of shorts.split(/\s+/).filter(Boolean).reverse()) {
    tail = short.toLowerCase().replace(/^[^\p{L}]+/u, "") + tail;
    found.push(tail);
  }
  return found;
}
