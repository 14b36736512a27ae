/** A document's blocks as a reader makes them, one by one, within its limits. */
import type { Block, Document } from "../t5/text-to-text/content.ts";
import type { ReadLimits } from "./limits.ts";
import { Meter } from "./meter.ts";
import { tableOf } from "./table-rows.ts";

/** Text is set down with its white space as one; empty text is no block. */
export class BlockList {
  readonly #meter: Meter;
  readonly #blocks: Block[] = [];
  #characters = 0;
  #section: string | null = null;
  #firstHeading: string | null = null;

  constructor(limits: ReadLimits) {
    this.#meter = new Meter(limits);
  }

  get characters(): number {
    return this.#characters;
  }

  /** The first of the first level. */
  get firstHeading(): string | null {
    return this.#firstHeading;
  }

  heading(level: number, text: string): void {
    const line = oneLine(text);
    if (line === "") return;
    this.#section = line;
    if (level <= 1) this.#firstHeading ??= line;
    this.#add({ kind: "heading", level: Math.min(Math.max(level, 1), 6), text: line }, line.length);
  }

  paragraph(text: string): void {
    const kept = keptLines(text);
    if (kept !== "") this.#add({ kind: "paragraph", text: kept }, kept.length);
  }

  /** A paragraph that no translation touches. */
  verbatim(text: string): void {
    const kept = keptLines(text);
    if (kept !== "") this.#add({ kind: "paragraph", text: kept, isVerbatim: true }, kept.length);
  }

  /** The same, with its lines, and the white space in them, as they are. */
  code(text: string): void {
    const kept = text
      .replace(/\r\n?/g, "\n")
      .replace(/^(?:[^\S\n]*\n)+/, "")
      .trimEnd();
    if (kept !== "") this.#add({ kind: "paragraph", text: kept, isVerbatim: true }, kept.length);
  }

  /** @param marker its number, as it stands before the text */
  item(depth: number, text: string, marker?: string, isVerbatim = false): void {
    const kept = keptLines(text);
    if (kept === "") return;
    const own = { ...(marker !== undefined && { marker }), ...(isVerbatim && { isVerbatim }) };
    this.#add({ kind: "item", depth, text: kept, ...own }, kept.length + (marker?.length ?? 0));
  }

  /**
   * @param rows header first; short ones are filled up, empty ones left out
   * @param caption stands in for the heading that the table is under
   * @param shown the first row, where it shows otherwise
   */
  table(rows: readonly (readonly string[])[], caption: string | null = null, shown?: readonly string[]): void {
    const filled = rows.filter((row) => row.some((cell) => cell !== ""));
    if (filled.length === 0) return;
    const meter = this.#meter;
    const width = filled.reduce((most, { length }) => Math.max(most, length), 0);
    meter.tables(1);
    meter.columns(width);
    meter.rows(filled.length);
    meter.cells(width * filled.length);
    const characters = filled.reduce((sum, row) => row.reduce((sum, cell) => sum + cell.length, sum), 0);
    const options = { section: caption || this.#section, shown: filled[0] === rows[0] ? shown : undefined };
    this.#add({ kind: "table", table: tableOf(filled, options) }, characters);
  }

  /** Another list's blocks, after these. */
  append(other: BlockList): void {
    for (const block of other.#blocks) this.#add(block, 0);
    this.#meter.characters(other.#characters);
    this.#characters += other.#characters;
  }

  /** @param title default: the first block, if it is a heading of the first level */
  document(title: string | null): Document {
    const [first] = this.#blocks;
    const own = title && oneLine(title);
    const named = own || (first?.kind === "heading" && first.level === 1 ? first.text : null);
    const blocks = this.#blocks.map((block) =>
      block.kind === "table" ? { ...block, table: { ...block.table, title: named } } : block,
    );
    return { title: named, blocks };
  }

  #add(block: Block, characters: number): void {
    this.#meter.blocks(1);
    this.#meter.characters(characters);
    this.#characters += characters;
    this.#blocks.push(block);
  }
}

/** White space of any kind, an end of a line too, as one space; what is not seen, such as a place to divide a word, left out. */
export function oneLine(text: string): string {
  return text
    .replace(/[\u00ad\u200b\ufeff]/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

/** The same within lines; their ends stay. */
function keptLines(text: string): string {
  if (!text.includes("\n")) return oneLine(text);
  return text
    .split("\n")
    .map(oneLine)
    .filter((line) => line !== "")
    .join("\n");
}
