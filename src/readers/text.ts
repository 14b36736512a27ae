/** Plain text: paragraphs lie between blank lines and page breaks. Lines that were only wrapped are joined, those of verse kept. */
import type { Document } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import type { ReadLimits } from "./limits.ts";
import { hyphenatedIn, joinLines } from "./lines.ts";

/** Nobody wraps lines at more: longer ones are a paragraph each. */
const WIDEST_WRAP = 120;
/** Nobody wraps prose at less. */
const NARROWEST_WRAP = 40;
/** Of a paragraph's line ends, those that a wrap at the text's width explains. */
const WRAPPED_SHARE = 0.8;

const END_OF_FILE = "\u001a";

const ITEM = /^(\s*)(?:[-*•–‣]|(\d{1,3}[.)]))\s+(?=\S)/;

/** @throws EdgeT5Error `E_TOO_LARGE` over a limit */
export function readText(text: string, limits: ReadLimits): Document {
  const blocks = new BlockList(limits);
  writeText(text, blocks);
  return blocks.document(null);
}

export function writeText(text: string, into: BlockList): void {
  // DOS ended files with one.
  for (const part of paragraphsOf(text.endsWith(END_OF_FILE) ? text.slice(0, -1) : text)) {
    if (part.kind === "item") into.item(part.depth, part.text, part.marker);
    else into.paragraph(part.text);
  }
}

type Part =
  | { kind: "paragraph"; text: string }
  | { kind: "item"; depth: number; text: string; marker: string | undefined };

function* paragraphsOf(text: string): Generator<Part> {
  const lines = text.split(/\r\n?|\n|\u2028|\u0085/);
  const width = widthOf(lines);
  const hyphenated = hyphenatedIn(lines);
  for (const paragraph of groupsOf(lines)) {
    if (ITEM.test(paragraph[0]!)) yield* itemsOf(paragraph, hyphenated);
    else if (width > WIDEST_WRAP) for (const line of paragraph) yield { kind: "paragraph", text: line };
    else if (isWrapped(paragraph, width)) yield { kind: "paragraph", text: joinLines(paragraph, hyphenated) };
    else yield { kind: "paragraph", text: paragraph.join("\n") };
  }
}

/** What nine of ten lines keep to: an address may be longer. */
function widthOf(lines: readonly string[]): number {
  const lengths = lines.map((line) => line.trimEnd().length).filter((length) => length > 0);
  return lengths.sort((a, b) => a - b)[Math.floor(lengths.length * 0.9)] ?? 0;
}

/** Runs of lines without a blank one between them. */
function* groupsOf(lines: readonly string[]): Generator<string[]> {
  let group: string[] = [];
  for (const line of lines.flatMap((line) => (line.includes("\f") ? separated(line) : [line]))) {
    if (line.trim() !== "") {
      group.push(line);
      continue;
    }
    if (group.length > 0) yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** A page's break ends a paragraph. */
function separated(line: string): string[] {
  return line.split("\f").flatMap((part, i) => (i > 0 ? ["", part] : [part]));
}

/** Whether the next line's first word would not have fitted. */
function isWrapped(lines: readonly string[], width: number): boolean {
  if (lines.length < 2) return true;
  if (width < NARROWEST_WRAP) return false;
  let explained = 0;
  for (let i = 1; i < lines.length; i++) {
    const word = lines[i]!.trim().split(/\s/, 1)[0] ?? "";
    // A few characters less: not everyone fills lines to the last.
    if (lines[i - 1]!.trimEnd().length + 1 + word.length > width - 4) explained++;
  }
  return explained >= (lines.length - 1) * WRAPPED_SHARE;
}

/** Items, each with the lines that go on under it. */
function* itemsOf(lines: readonly string[], hyphenated: ReadonlySet<string>): Generator<Part> {
  const starts = lines.flatMap((line, i) => (ITEM.test(line) ? [i] : []));
  const indents = [...new Set(starts.map((i) => indentOf(lines[i]!)))].sort((a, b) => a - b);
  for (const [n, start] of starts.entries()) {
    const own = lines.slice(start, starts[n + 1] ?? lines.length);
    const text = joinLines([own[0]!.replace(ITEM, ""), ...own.slice(1)], hyphenated);
    const marker = ITEM.exec(own[0]!)?.[2];
    yield { kind: "item", depth: indents.indexOf(indentOf(lines[start]!)), text, marker };
  }
}

function indentOf(line: string): number {
  return /^\s*/.exec(line)![0].replace(/\t/g, "    ").length;
}
