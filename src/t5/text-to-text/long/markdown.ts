/** What stands in a text as Markdown and is no prose: fenced code stays as it is, a table is of cells. */
import type { TextPart } from "../content.ts";

const LINE = /[^\n]*(?:\n|$)/y;
/** Within lists and quotations too. */
const FENCE = /^[ \t>]*(`{3,}(?!`)(?!.*`)|~{3,})/;
/** Between a table's header and its rows. */
const RULE = /^(?=.*\|)\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?$/;
const BAR = /(?<!\\)\|/;

/** Parts that are the text when they are joined as `textOfParts` does. */
export function* textParts(text: string): Generator<TextPart, void, undefined> {
  if (!/^[ \t>]*(?:```|~~~)|\|/m.test(text)) {
    yield { text, kind: "prose" };
    return;
  }
  const lines = linesOf(text);
  const closing = closingFences(lines);
  let prose = "";
  for (let i = 0; i < lines.length; ) {
    const end = closing.get(i) ?? tableEnd(lines, i);
    if (end === i) {
      prose += lines[i++];
      continue;
    }
    if (prose !== "") yield { text: prose, kind: "prose" };
    prose = "";
    const own = lines.slice(i, end);
    if (closing.has(i)) yield { text: own.join(""), kind: "fixed" };
    else for (const line of own) yield* rowParts(line);
    i = end;
  }
  if (prose !== "") yield { text: prose, kind: "prose" };
}

function linesOf(text: string): string[] {
  const lines: string[] = [];
  LINE.lastIndex = 0;
  while (LINE.lastIndex < text.length) lines.push(LINE.exec(text)?.[0] ?? "");
  return lines;
}

/** By the lines that open a fence, where the lines after it begin. One that nothing closes is none. */
function closingFences(lines: readonly string[]): Map<number, number> {
  const ends = new Map<number, number>();
  let open: { at: number; fence: string } | null = null;
  for (const [i, line] of lines.entries()) {
    const fence = FENCE.exec(line);
    if (!fence) continue;
    const [all, marks = ""] = fence;
    if (!open) open = { at: i, fence: marks };
    else if (marks.startsWith(open.fence) && line.slice(all.length).trim() === "") {
      ends.set(open.at, i + 1);
      open = null;
    }
  }
  return ends;
}

/** @returns `start` where no table begins */
function tableEnd(lines: readonly string[], start: number): number {
  if (!BAR.test(lines[start] ?? "") || !isRule(lines[start + 1] ?? "")) return start;
  let end = start + 2;
  while (BAR.test(lines[end] ?? "")) end++;
  return end;
}

function isRule(line: string): boolean {
  return RULE.test(line.trim());
}

function* rowParts(line: string): Generator<TextPart> {
  if (isRule(line)) {
    yield { text: line, kind: "fixed" };
    return;
  }
  for (const [column, written] of line.split(BAR).entries()) {
    const cell = written.trim();
    const start = written.length - written.trimStart().length;
    yield { text: (column > 0 ? "|" : "") + written.slice(0, start), kind: "fixed" };
    yield { text: cell.replaceAll("\\|", "|"), kind: "cell" };
    yield { text: written.slice(start + cell.length), kind: "fixed" };
  }
}
