/** A document's blocks as a reader makes them, one by one, within its limits. */
import type { Block, Document, Table } from "../t5/text-to-text/content.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

/** Text is set down with its white space as one; empty text is no block. */
export class BlockList {
  readonly #limits: ReadLimits;
  readonly #blocks: Block[] = [];
  #characters = 0;
  #tables = 0;
  #cells = 0;
  #section: string | null = null;
  /** Of what was left out or guessed. */
  readonly notes: string[] = [];

  constructor(limits: ReadLimits) {
    this.#limits = limits;
  }

  get characters(): number {
    return this.#characters;
  }

  get isEmpty(): boolean {
    return this.#blocks.length === 0;
  }

  heading(level: number, text: string): void {
    const line = oneLine(text);
    if (line === "") return;
    this.#section = line;
    this.#add({ kind: "heading", level: Math.min(Math.max(level, 1), 6), text: line }, line.length);
  }

  paragraph(text: string): void {
    const kept = keptLines(text);
    if (kept !== "") this.#add({ kind: "paragraph", text: kept }, kept.length);
  }

  item(depth: number, text: string): void {
    const kept = keptLines(text);
    if (kept !== "") this.#add({ kind: "item", depth, text: kept }, kept.length);
  }

  /**
   * @param rows header first; short ones are filled up, empty ones left out
   * @param caption stands in for the heading that the table is under
   */
  table(rows: readonly (readonly string[])[], caption: string | null = null): void {
    const filled = rows.filter((row) => row.some((cell) => cell !== ""));
    if (filled.length === 0) return;
    const width = filled.reduce((most, { length }) => Math.max(most, length), 0);
    const limits = this.#limits;
    if (++this.#tables > limits.maxTables) throw tooLarge("The file has more tables", "maxTables", limits);
    if (width > limits.maxColumns) throw tooLarge(`A table has ${width} columns`, "maxColumns", limits);
    if (filled.length > limits.maxRows) throw tooLarge(`A table has ${filled.length} rows`, "maxRows", limits);
    this.#cells += width * filled.length;
    if (this.#cells > limits.maxCells) throw tooLarge(`The tables have ${this.#cells} cells`, "maxCells", limits);
    const [columns = [], ...rest] = filled.map((row) => [...row, ...Array<string>(width - row.length).fill("")]);
    const characters = filled.reduce((sum, row) => row.reduce((sum, cell) => sum + cell.length, sum), 0);
    this.#add(
      { kind: "table", table: { title: null, section: caption || this.#section, columns, rows: rest } },
      characters,
    );
  }

  /** Another list's blocks, after these. */
  append(other: BlockList): void {
    for (const block of other.#blocks) this.#add(block, 0);
    this.#characters += other.#characters;
  }

  /** @param title default: the first heading, if it is of the first level */
  document(title: string | null): Document {
    const [first] = this.#blocks;
    const own = title && oneLine(title);
    const named = own || (first?.kind === "heading" && first.level === 1 ? first.text : null);
    const blocks = this.#blocks.map((block) =>
      block.kind === "table" ? { ...block, table: { ...block.table, title: named } satisfies Table } : block,
    );
    return { title: named, blocks };
  }

  #add(block: Block, characters: number): void {
    this.#blocks.push(block);
    this.#characters += characters;
    if (this.#blocks.length > this.#limits.maxBlocks)
      throw tooLarge("The document has more blocks", "maxBlocks", this.#limits);
    if (this.#characters > this.#limits.maxCharacters) {
      throw tooLarge("The document has more characters of text", "maxCharacters", this.#limits);
    }
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
