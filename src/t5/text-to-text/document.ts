/** A document as plain text: what models are given of it. */
import type { Block, Document, Table, TextPart } from "./content.ts";
import { linearizeTable } from "./table.ts";

/**
 * Its title first, unless a block says it, up to the first heading. Blank lines between blocks, but for items of one list; a
 * heading stands on a line of its own.
 */
export function documentText(document: Document): string {
  let text = "";
  for (const { between, block } of spacedBlocks(document)) text += between + blockText(block);
  return text;
}

/** Items begin with their number or `- `, those in others two spaces further right; tables are in TAPEX's form. */
export function blockText(block: Block): string {
  if (block.kind === "table") return linearizeTable(block.table, { form: "tapex" }).text;
  return marginOf(block) + block.text;
}

/**
 * As {@link documentText}, for translation: tables are in Markdown, cell by cell, under their captions; what is verbatim is
 * fixed, as is all that stands between.
 */
export function* documentParts(document: Document): Generator<TextPart, void, undefined> {
  let heading: string | null = null;
  let before: string | null = null;
  for (const { between, block } of spacedBlocks(document)) {
    if (block.kind === "table") {
      const { section } = block.table;
      const isCaption = section && ![heading, before].some((text) => text !== null && isSame(text, section));
      yield { text: between, kind: "fixed" };
      if (isCaption) yield* [prose(section), { text: "\n\n", kind: "fixed" as const }];
      yield* tableParts(block.table);
      before = null;
    } else {
      yield { text: between + marginOf(block), kind: "fixed" };
      yield block.kind !== "heading" && block.isVerbatim ? { text: block.text, kind: "fixed" } : prose(block.text);
      if (block.kind === "heading") heading = block.text;
      before = block.text;
    }
  }
}

/** The text of a document's parts, as it is written. */
export function textOfParts(parts: Iterable<TextPart>): string {
  let whole = "";
  for (const { text, kind } of parts) whole += kind === "cell" ? markdownCell(text) : text;
  return whole;
}

/** A cell's text within a row of a table in Markdown. */
export function markdownCell(text: string): string {
  return text.replaceAll("|", "\\|");
}

function prose(text: string): TextPart {
  return { text, kind: "prose" };
}

/** Line breaks in cells become blanks. */
function* tableParts({ columns, headers = columns, rows }: Table): Generator<TextPart> {
  for (const [number, row] of [headers, ...rows].entries()) {
    yield { text: number === 0 ? "| " : "\n| ", kind: "fixed" };
    for (const [column, cell] of row.entries()) {
      yield { text: cell.replace(/[\n\v\f\r\x85\u2028\u2029]+/g, " "), kind: "cell" };
      yield { text: column === row.length - 1 ? " |" : " | ", kind: "fixed" };
    }
    if (number === 0) yield { text: `\n|${" --- |".repeat(row.length)}`, kind: "fixed" };
  }
}

function* spacedBlocks(document: Document): Generator<{ between: string; block: Block }> {
  let last: Block | undefined;
  for (const block of titledBlocks(document)) {
    const between = last === undefined ? "" : last.kind === "item" && block.kind === "item" ? "\n" : "\n\n";
    yield { between, block };
    last = block;
  }
}

/** What has text, under the title: that alone is none. */
function titledBlocks({ title, blocks: all }: Document): readonly Block[] {
  const blocks = all.filter((block) => block.kind !== "table" || block.table.columns.length > 0);
  if (!title || blocks.length === 0) return blocks;
  const first = blocks.findIndex(({ kind }) => kind === "heading");
  const opening = blocks.slice(0, first + 1 || 1);
  const isSaid = opening.some((block) => block.kind !== "table" && isSame(block.text, title));
  return isSaid ? blocks : [{ kind: "heading", level: 1, text: title }, ...blocks];
}

/** But for case and white space. */
function isSame(a: string, b: string): boolean {
  const [one, other] = [a, b].map((text) => text.replace(/\s+/g, " ").trim().toLowerCase());
  return one === other;
}

function marginOf(block: Exclude<Block, { kind: "table" }>): string {
  return block.kind === "item" ? `${"  ".repeat(block.depth)}${block.marker ?? "-"} ` : "";
}
