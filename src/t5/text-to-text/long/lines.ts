/**
 * The lines of a text: what stands before their words (indentation, list markers, marks of quoted mail), and which line
 * breaks are but wraps inside a paragraph.
 */
import { AFTER_ORDINAL } from "./abbreviations.ts";

/** A paragraph, a heading, an item: words without a line break but wraps. */
export interface Run {
  start: number;
  end: number;
}

const LINE_BREAK = /\r\n|[\n\v\f\r\x85\u2028\u2029]/g;
const MARGIN = /[ \t\u00a0\u3000]*(?:>[ \t]?)*[ \t]*/y;
/** Bullets, numbers (`1.`, `1.2.`, `(a)`, `IV.`), headings of Markdown, a dialogue's dash, a box to tick. */
const MARKER =
  /(?:(?:#{1,6}|[-*+•‣▪◦●○■□–—]|\((?:\d{1,3}|[a-z]|[ivx]{2,5})\)|(?:\d{1,3}|[a-z]|[ivx]{2,5})\)|(?:\d{1,3}\.)+|[ivx]{2,5}\.|\[[ xX]\])(?:[ \t]+|$)){1,3}/imy;
const NEXT_WORD = /\p{L}+/uy;

/** A wrap in a sentence, with what stands before the next line's words. Blanks before it are the line's own. */
const WRAP = /(?:\r\n|[\n\v\f\r\x85\u2028\u2029])[ \t\u00a0\u3000>]*/g;

/** Paragraphs are wrapped to widths from here … */
const NARROWEST = 40;
/** … to here: longer lines are paragraphs of their own. */
const WIDEST = 120;
/** Two lines alone, the second of which begins with a capital, are one paragraph when the first is this long. */
const SURELY_WRAPPED = 60;

interface Line {
  start: number;
  /** Where its words begin and end. */
  first: number;
  last: number;
  /** What stands before them is a margin, the same as in the line before: it may go on that line's sentence. */
  goesOn: boolean;
}

/**
 * @returns the runs of words, in order; and the text with wraps as blanks, of the same length
 */
export function runsOf(text: string): { runs: Run[]; unwrapped: string } {
  const runs: Run[] = [];
  const parts: string[] = [];
  let copied = 0;
  for (const block of blocksOf(linesOf(text))) {
    const isWrap = wrapsOf(block, text);
    for (const [i, { first, last }] of block.entries()) {
      const before = runs.at(-1);
      if (before && isWrap[i]) {
        parts.push(text.slice(copied, before.end), " ".repeat(first - before.end));
        copied = first;
        before.end = last;
      } else runs.push({ start: first, end: last });
    }
  }
  return { runs, unwrapped: copied === 0 ? text : parts.join("") + text.slice(copied) };
}

/** A sentence in one line. */
export function plainOf(sentence: string): string {
  return sentence.replace(WRAP, " ");
}

/** A sentence with blanks for its wraps, of the same length. */
export function unwrappedOf(sentence: string): string {
  return sentence.replace(WRAP, (wrap) => " ".repeat(wrap.length));
}

/** Puts the wraps of a sentence into another in its place: each at the blank that is nearest to the same share of it. */
export function rewrap(source: string, text: string): string {
  const plainLength = plainOf(source).length;
  let dropped = 0;
  let wrapped = "";
  let from = 0;
  let left = "";
  for (const { 0: wrap, index } of source.matchAll(WRAP)) {
    const share = (index - dropped) / plainLength;
    dropped += wrap.length - 1;
    const at = left === "" ? nearestBlank(text, Math.round(share * text.length), from) : -1;
    if (at < 0) left += wrap;
    else {
      wrapped += text.slice(from, at) + wrap;
      from = at + 1;
    }
  }
  return wrapped + text.slice(from) + left;
}

/** @returns -1 when there is none from `from` on */
function nearestBlank(text: string, wanted: number, from: number): number {
  const before = text.lastIndexOf(" ", wanted);
  const after = text.indexOf(" ", Math.max(wanted, from));
  if (before < from) return after;
  return after < 0 || wanted - before <= after - wanted ? before : after;
}

function linesOf(text: string): Line[] {
  const lines: Line[] = [];
  let start = 0;
  let margin = "";
  const add = (end: number) => {
    const own = matchAt(MARGIN, text, start, end);
    const marker = matchAt(MARKER, text, start + own.length, end);
    const isMarker = marker !== "" && !isOrdinal(text, start + own.length + marker.length, marker);
    const first = start + own.length + (isMarker ? marker.length : 0);
    const last = first + text.slice(first, end).trimEnd().length;
    const quoted = own.replace(/[^>]/g, "");
    lines.push({ start, first, last, goesOn: !isMarker && quoted === margin });
    margin = quoted;
  };
  for (const { 0: lineBreak, index } of text.matchAll(LINE_BREAK)) {
    add(index);
    start = index + lineBreak.length;
  }
  add(text.length);
  return lines;
}

/** `3. Oktober` at a line's beginning. */
function isOrdinal(text: string, at: number, marker: string): boolean {
  if (!/^\d+\.[ \t]+$/.test(marker)) return false;
  return AFTER_ORDINAL.has(matchAt(NEXT_WORD, text, at, text.length).toLowerCase());
}

function matchAt(pattern: RegExp, text: string, at: number, end: number): string {
  pattern.lastIndex = at;
  const match = pattern.exec(text)?.[0] ?? "";
  return at + match.length <= end ? match : match.slice(0, end - at);
}

/** Lines that may be one paragraph; those without words stand between. */
function* blocksOf(lines: readonly Line[]): Generator<Line[]> {
  let block: Line[] = [];
  for (const line of lines) {
    const isBlank = line.last <= line.first;
    if (block.length > 0 && (isBlank || !line.goesOn)) {
      yield block;
      block = [];
    }
    if (!isBlank) block.push(line);
  }
  if (block.length > 0) yield block;
}

/**
 * Which lines go on the one before: in a block of which (nearly) every line is as long as it could be, those whose first
 * word had no room on it.
 */
function wrapsOf(block: readonly Line[], text: string): boolean[] {
  const none = block.map(() => false);
  const width = block.reduce((most, { start, last }) => Math.max(most, last - start), 0);
  if (block.length < 2 || width < NARROWEST || width > WIDEST) return none;
  const isFull = block.map((line, i) => {
    const before = block[i - 1];
    if (!before) return false;
    const word = text.slice(line.first, line.last).search(/\s|$/);
    return before.last - before.start + 1 + word > width;
  });
  const loose = block.filter((_, i) => i > 0 && !isFull[i] && !endsSentence(text, block[i - 1] as Line)).length;
  if (loose > (block.length - 1) / 4) return none;
  const second = block[1] as Line;
  const isSure = block.length > 2 || width >= SURELY_WRAPPED || /^\p{Ll}/u.test(text.slice(second.first, second.last));
  return isSure ? isFull : none;
}

function endsSentence(text: string, { last }: Line): boolean {
  return /[.!?:…]["'”’“»«)\]]{0,3}$/.test(text.slice(last - 4, last));
}
