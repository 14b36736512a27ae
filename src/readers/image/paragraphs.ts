/** Lines that were read on a page, as paragraphs: wrapped ones are joined, those of a menu or a form stay apart. */

/** With its edges along the line, in pixels. */
export interface RecognizedLine {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Characters of a block's widest line: nobody wraps text to less … */
const NARROWEST = 25;
/** … and lines that fill so many are wrapped, whatever they begin with. */
const SURELY_WRAPPED = 60;
/** Of a paragraph's line ends, those that a wrap at the block's width explains. */
const WRAPPED_SHARE = 0.5;
/** Of the block's width, what a line fills before a sentence that goes on: people break lines where they like. */
const NEARLY_FULL = 0.85;
const SENTENCE_END = /[.!?:;…]["'”’»)\]]*$/;
/** Characters that a line may fall short of the block's width by: letters are of different widths. */
const TOLERANCE = 1.5;

/**
 * A line goes on in the next where that one's first word had no room on it. Where few lines are so, or none of the next
 * begins with a small letter, they are a list, and each is a paragraph.
 *
 * @param lines that tesseract takes for one paragraph, one at least
 * @param blockEnd where the widest line of their block ends
 */
export function paragraphsOf(lines: readonly RecognizedLine[], blockEnd: number): string[] {
  const width = blockWidth(lines, blockEnd);
  const isFull = fullOnes(lines, blockEnd, width);
  const full = lines.filter((_, i) => isFull[i]);
  const isSure = width >= SURELY_WRAPPED || full.some(({ text }) => goesOn(text));
  const isWrapped = width >= NARROWEST && isSure && full.length >= (lines.length - 1) * WRAPPED_SHARE;
  const paragraphs: string[] = [];
  for (const [i, { text }] of lines.entries()) {
    const last = paragraphs.at(-1);
    const isSplit = last !== undefined && isSplitWord(last, text);
    const isNext = isFull[i] && (isWrapped || (width >= NARROWEST && goesOn(text)));
    if (last !== undefined && (isSplit || isNext)) paragraphs[paragraphs.length - 1] = joined(last, text, isSplit);
    else paragraphs.push(text);
  }
  return paragraphs;
}

/** Of each line, whether the one before is full: its first word had no room there, or a sentence plainly goes on. */
function fullOnes(lines: readonly RecognizedLine[], blockEnd: number, width: number): boolean[] {
  const start = lines.reduce((least, line) => Math.min(least, line.start), blockEnd);
  const isFull: boolean[] = [];
  for (const [i, line] of lines.entries()) {
    const before = lines[i - 1];
    if (!before) {
      isFull.push(false);
      continue;
    }
    const isLong = width >= NARROWEST && before.end - start >= (blockEnd - start) * NEARLY_FULL;
    // A list whose items begin with small letters has no sentence that goes on.
    const isWithin = isFull[i - 1] || !goesOn(before.text);
    const runsOn = isLong && isWithin && /^\p{Ll}/u.test(line.text) && !SENTENCE_END.test(before.text);
    isFull.push(runsOn || hadNoRoom(line, before, blockEnd));
  }
  return isFull;
}

function hadNoRoom(line: RecognizedLine, before: RecognizedLine, blockEnd: number): boolean {
  const character = characterWidth(line);
  const word = line.text.search(/\s|$/);
  return before.end + (1 + word + TOLERANCE) * character > blockEnd;
}

function characterWidth({ text, start, end }: RecognizedLine): number {
  return (end - start) / text.length;
}

/** In characters. */
function blockWidth(lines: readonly RecognizedLine[], blockEnd: number): number {
  const start = lines.reduce((least, line) => Math.min(least, line.start), blockEnd);
  const pixels = lines.reduce((sum, line) => sum + line.end - line.start, 0);
  const characters = lines.reduce((sum, { text }) => sum + text.length, 0);
  return pixels > 0 ? ((blockEnd - start) * characters) / pixels : 0;
}

/** In scripts without capitals any letter may. */
function goesOn(text: string): boolean {
  return /^[\p{Ll}\p{Lo}]/u.test(text);
}

/** A hyphen at a line's end is the line's; but before "und" and its like it is the word's: "Vor- und Nachteile". */
function isSplitWord(before: string, text: string): boolean {
  return /\p{L}[-‐]$/u.test(before) && /^\p{Ll}/u.test(text) && !/^(und|oder|bis|et|ou|and|or)\b/u.test(text);
}

function joined(before: string, text: string, isSplit: boolean): string {
  return isSplit ? before.slice(0, -1) + text : `${before} ${text}`;
}
