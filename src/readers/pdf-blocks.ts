/** The lines of a PDF's pages to blocks: without running headers and footers, paragraphs by spacing, headings by type. */
import type { BlockList } from "./blocks.ts";
import { leftOut } from "./left-out.ts";
import { hyphenatedIn, joinLines } from "./lines.ts";
import { type Fragment, hadRoom, type Line, median, readingOrder } from "./pdf-layout.ts";

export interface PdfPage {
  height: number;
  fragments: readonly Fragment[];
}

/** Lines at a page's upper and lower edge that may be its header and footer. */
const EDGE_LINES = 3;
/** Of a page's height, where headers and footers stand. */
const MARGIN = 0.15;
/** Of a page's pieces, those that its headers and footers may be: more are a table or a drawing. */
const MOST_IN_MARGINS = 200;
/** Headers of left and right pages differ: each stands on half of them. */
const REPEATED_SHARE = 0.4;
/** Of a page's height, that what is repeated may move by. */
const SAME_PLACE = 0.02;

/** Word's bullets are in a font of symbols. */
const BULLET = /^[•‣◦▪●■∙·\uf0a7\uf0b7\uf0d8\uf0fc]\s+(?=\S)/;
/** A bullet, or what a wrapped line may begin with too: a dash, a number, a letter. */
const ITEM = /^(?:[•‣◦▪●■∙·\uf0a7\uf0b7\uf0d8\uf0fc–—*-]|(\(?\d{1,2}[.)]|\(?[a-z]\)))\s+(?=\S)/;
const SENTENCE_END = /[.!?:;…。！？]["'”’»)\]]*$/;

/** @returns notes on what was left out */
export function writePdf(all: readonly PdfPage[], into: BlockList): string[] {
  const { pages, running } = bodyOf(all);
  const lines = pages.map(({ fragments }) => readingOrder(fragments));
  const style = styleOf(lines.flat());
  const hyphenated = hyphenatedIn(lines.flat().map(({ text }) => text));
  for (const group of groupsOf(lines, style)) {
    const text = joinLines(
      group.map((line) => line.text),
      hyphenated,
    );
    const level = levelOf(group, text, style);
    if (level) into.heading(level, text);
    else if (ITEM.test(text)) into.item(0, text.replace(ITEM, ""), ITEM.exec(text)?.[1]);
    else into.paragraph(text);
  }
  const note = leftOut("running headers and footers", running);
  return note ? [note] : [];
}

interface Seen {
  page: number;
  /** Of the page's height. */
  place: number;
  numbers: readonly number[];
}

/**
 * The pages without their running headers and footers: what stands in the margins of many of them at the same place, the
 * same but for the page's number, with a gap between it and the text.
 */
function bodyOf(pages: readonly PdfPage[]): { pages: PdfPage[]; running: string[] } {
  const seen = new Map<string, Seen[]>();
  for (const [page, { fragments, height }] of pages.entries()) {
    for (const { text, y } of edgesOf(fragments, height)) {
      const key = withoutNumbers(text);
      seen.set(key, [...(seen.get(key) ?? []), { page, place: y / height, numbers: numbersOf(text) }]);
    }
  }
  const needed = Math.max(2, Math.ceil(pages.length * REPEATED_SHARE));
  const isRunning = (text: string, place: number) => {
    const near = (seen.get(withoutNumbers(text)) ?? []).filter((one) => Math.abs(one.place - place) < SAME_PLACE);
    return new Set(near.map(({ page }) => page)).size >= needed && differInPageNumbers(near);
  };
  const gap = gapOf(pages);
  const running = new Map<string, string>();
  const kept = pages.map(({ fragments, height }) => {
    const edges = new Set(edgesOf(fragments, height));
    const body = fragments.filter((fragment) => {
      const { text, y } = fragment;
      if (!edges.has(fragment) || !isRunning(text, y / height)) return true;
      if (goesOn(fragment, { fragments, edges, gap, direction: y < height / 2 ? 1 : -1 })) return true;
      if (!running.has(withoutNumbers(text))) running.set(withoutNumbers(text), text.trim());
      return false;
    });
    return { height, fragments: body };
  });
  return { pages: kept, running: [...running.values()].filter((text) => /\p{L}/u.test(text)) };
}

interface Surroundings {
  fragments: readonly Fragment[];
  edges: ReadonlySet<Fragment>;
  /** In font sizes: what is nearer is the same text. */
  gap: number;
  /** Of the text, seen from the margin: 1 down, -1 up. */
  direction: 1 | -1;
}

/** Whether line upon line of its size leads from it into the text without a gap: then it is the text's. */
function goesOn(fragment: Fragment, around: Surroundings): boolean {
  for (let at = fragment; ; ) {
    const next = nextLine(at, around.fragments, around.direction);
    if (!next || stepBetween(at, next) > around.gap || roundedSize(at) !== roundedSize(next)) return false;
    if (!around.edges.has(next)) return true;
    at = next;
  }
}

/** The nearest above or below it that it stands over or under. */
function nextLine(from: Fragment, fragments: readonly Fragment[], direction: 1 | -1): Fragment | undefined {
  let nearest: Fragment | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const other of fragments) {
    const step = (other.y - from.y) * direction;
    if (step < Math.max(from.size, other.size) * 0.5 || step >= least) continue;
    if (other.left >= from.right || other.right <= from.left) continue;
    nearest = other;
    least = step;
  }
  return nearest;
}

/** From one baseline to the other, in font sizes. */
function stepBetween(one: Fragment, other: Fragment): number {
  return Math.abs(other.y - one.y) / Math.max(one.size, other.size);
}

/** Steps that are looked at, of pages that are. */
const MOST_STEPS = 500;
/** In font sizes: wider ones are neither within paragraphs nor between them. */
const WIDEST_STEP = 2.5;
/** Of the steps between lines, those within paragraphs and between them. */
const USUAL = 0.9;
/** Wider than that, a gap parts what is not the text. */
const WIDER = 1.15;

/** In font sizes: wider than from line to line and, where there are many, from paragraph to paragraph. */
function gapOf(pages: readonly PdfPage[]): number {
  const each = Math.ceil(MOST_STEPS / (pages.length || 1));
  const steps = pages.flatMap(({ fragments }) => {
    const every = Math.ceil(fragments.length / each);
    return fragments.flatMap((fragment, i) => {
      const next = i % every === 0 ? nextLine(fragment, fragments, 1) : undefined;
      return next ? [stepBetween(fragment, next)] : [];
    });
  });
  const usual = steps.filter((step) => step < WIDEST_STEP).sort((a, b) => a - b);
  return Math.max(usual[Math.floor(usual.length * USUAL)] ?? 1.2, (median(usual) || 1.2) * WIDER) * WIDER;
}

/** Larger numbers are a document's own: an invoice's, a year. */
const LARGEST_PAGE_NUMBER = 999;

/** Each number is the same everywhere, or goes along with the page. */
function differInPageNumbers(seen: readonly Seen[]): boolean {
  const [first] = seen;
  if (!first) return false;
  return first.numbers.every((number, i) => {
    const isSame = seen.every(({ numbers }) => numbers[i] === number);
    const ahead = number - first.page;
    const isPage = seen.every(({ page, numbers: { [i]: own = Number.NaN } }) => {
      return own - page === ahead && own <= LARGEST_PAGE_NUMBER;
    });
    return isSame || isPage;
  });
}

function numbersOf(text: string): number[] {
  return (text.match(/\d+/g) ?? []).map(Number);
}

function edgesOf(fragments: readonly Fragment[], height: number): Fragment[] {
  const ys = [...new Set(fragments.map(({ y }) => Math.round(y)))].sort((a, b) => a - b);
  const edges = new Set([...ys.slice(0, EDGE_LINES), ...ys.slice(-EDGE_LINES)]);
  const isInMargin = (y: number) => y < height * MARGIN || y > height * (1 - MARGIN);
  const found = fragments.filter(({ y }) => edges.has(Math.round(y)) && isInMargin(y));
  return found.length > MOST_IN_MARGINS ? [] : found;
}

function withoutNumbers(text: string): string {
  return text.replace(/\s+/g, " ").trim().replace(/\d+/g, "#");
}

interface Style {
  /** Of most of the text. */
  size: number;
  font: string;
  /** From one line's baseline to the next, in font sizes. */
  leading: number;
  /** Sizes of headings, largest first. */
  headings: readonly number[];
}

function styleOf(lines: readonly Line[]): Style {
  const size = mostOf(lines, (line) => roundedSize(line));
  const body = lines.filter((line) => roundedSize(line) === size);
  const steps = body.slice(1).map((line, i) => line.y - body[i]!.y);
  const leading = median(steps.filter((step) => step > size * 0.8 && step < size * 3)) || size * 1.2;
  const larger = new Set(lines.map(roundedSize).filter((other) => other >= size * 1.12));
  const headings = [...larger].sort((a, b) => b - a);
  return { size, font: mostOf(body, ({ font }) => font), leading: leading / (size || 1), headings };
}

function roundedSize({ size }: Fragment): number {
  return Math.round(size * 2) / 2;
}

/** The value that most characters have. */
function mostOf<T>(lines: readonly Line[], of: (line: Line) => T): T {
  const counts = new Map<T, number>();
  for (const line of lines) counts.set(of(line), (counts.get(of(line)) ?? 0) + line.text.length);
  return [...counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [of(lines[0]!), -1] as [
    T,
    number,
  ])[0];
}

/** Lines of one paragraph, or of one heading; a paragraph goes on in the next column and on the next page. */
function groupsOf(pages: readonly (readonly Line[])[], style: Style): Line[][] {
  const groups: Line[][] = [];
  let item: Line | undefined;
  for (const line of pages.flat()) {
    const group = groups.at(-1);
    if (group && !isBreak(group, line, item, style)) {
      group.push(line);
      continue;
    }
    groups.push([line]);
    if (ITEM.test(line.text)) item = line;
  }
  return groups;
}

/** @param item the last that began a list's item */
function isBreak(group: readonly Line[], line: Line, item: Line | undefined, style: Style): boolean {
  const last = group.at(-1)!;
  if (Math.abs(roundedSize(last) - roundedSize(line)) > 1) return true;
  if (isHeadingLine(last, style) !== isHeadingLine(line, style)) return true;
  const endsEarly = last.right < last.columnRight - last.size * 2 && hadRoom(last, line);
  const hasEnded = SENTENCE_END.test(last.text);
  const isItem = ITEM.test(line.text);
  if (isItem && (endsEarly || hasEnded || BULLET.test(line.text) || (item && isNextItem(item, line)))) return true;
  const step = line.y - last.y;
  const hasMoved = step <= 0 || line.columnLeft > last.columnRight || line.columnRight < last.columnLeft;
  if (hasMoved) return endsEarly || (hasEnded && !/^\p{Ll}/u.test(line.text)) || isHeadingLine(last, style);
  if (step > Math.max(style.leading * 1.35, style.leading + 0.25) * Math.max(line.size, last.size)) return true;
  if (endsEarly && (hasEnded || isListed(last, line))) return true;
  const indent = line.left - last.left;
  // What stands further left than a paragraph's first line is its second.
  if (isItem && (indent > line.size * 0.8 || (indent < -line.size * 0.8 && group.length > 1))) return true;
  return indent > line.size * 0.8 && last.left < last.columnLeft + last.size && !ITEM.test(last.text);
}

/** Whether it goes on with a list: with the next number or letter, or the same mark, at the same place. */
function isNextItem(item: Line, line: Line): boolean {
  const mark = markOf(line);
  const place = Math.abs(item.left - item.columnLeft - (line.left - line.columnLeft));
  // Numbers of two digits may begin further left.
  return place < line.size && (mark === markOf(item) ? /\W/.test(mark) : orderOf(mark) === orderOf(markOf(item)) + 1);
}

function markOf({ text }: Line): string {
  return /^\(?(\d+|[a-z]|\S)/.exec(text)?.[1] ?? "";
}

function orderOf(mark: string): number {
  return /^\d/.test(mark) ? Number(mark) : mark.charCodeAt(0);
}

/** Short lines that begin further in than the rest: items whose marks are drawn, an address, verses. */
function isListed(last: Line, line: Line): boolean {
  const isIndented = last.left > last.columnLeft + last.size && Math.abs(line.left - last.left) < line.size * 0.5;
  const isShort = last.right < (last.columnLeft + last.columnRight) / 2;
  return isIndented && isShort && !/^\p{Ll}/u.test(line.text);
}

/** Larger than the text, or in another font than it, alone on its line and without a sentence's end. */
function isHeadingLine(line: Line, style: Style): boolean {
  if (line.size >= style.size * 1.12) return true;
  if (line.font === style.font || line.size < style.size * 0.98) return false;
  const isShort = line.right - line.left < (line.columnRight - line.columnLeft) * 0.8 && line.text.length < 80;
  return isShort && /^[\p{Lu}\d]/u.test(line.text) && !/[.,;:]$/.test(line.text);
}

const LONGEST_HEADING = 200;

function levelOf(lines: readonly Line[], text: string, style: Style): number | null {
  const [first] = lines;
  if (
    !first ||
    text.length > LONGEST_HEADING ||
    !/\p{L}/u.test(text) ||
    !lines.every((line) => isHeadingLine(line, style))
  ) {
    return null;
  }
  const place = style.headings.indexOf(roundedSize(first));
  return place < 0 ? style.headings.length + 1 : place + 1;
}
