/** A page's events to blocks: headings, paragraphs, items, tables. */
import type { BlockList } from "./blocks.ts";
import { oneLine } from "./blocks.ts";
import type { Attributes, Sink, Source } from "./html-events.ts";
import { TableGrid } from "./html-table.ts";
import type { ReadLimits } from "./limits.ts";

const BLOCKS = new Set(
  "address article blockquote body center dd details div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main ol p pre section summary ul caption table tbody td tfoot th thead tr".split(
    " ",
  ),
);

/** @param into in reading order, until a limit is reached */
export function writeBlocks(source: Source, into: BlockList, limits: ReadLimits): void {
  const layout = new LayoutTables();
  source(layout);
  const writer = new BlockWriter(into, limits, layout.found);
  source(writer);
  writer.end();
}

/** Tables that hold tables, by their order: these arrange a page. */
class LayoutTables implements Sink {
  readonly found = new Set<number>();
  readonly #open: number[] = [];
  #count = 0;

  open(name: string, { role }: Attributes): void {
    if (name !== "table") return;
    for (const outer of this.#open) this.found.add(outer);
    if (role === "presentation" || role === "none") this.found.add(this.#count);
    this.#open.push(this.#count++);
  }

  text(): void {}

  close(name: string): void {
    if (name === "table") this.#open.pop();
  }
}

interface Item {
  depth: number;
  isBegun: boolean;
}

class BlockWriter implements Sink {
  readonly #blocks: BlockList;
  readonly #limits: ReadLimits;
  readonly #layout: ReadonlySet<number>;
  readonly #lists: string[] = [];
  readonly #items: Item[] = [];
  #tables = 0;
  /** The table that is being read; one that arranges a page is none. */
  #table: TableGrid | null = null;
  #preformatted = 0;
  #text: string[] = [];

  constructor(blocks: BlockList, limits: ReadLimits, layout: ReadonlySet<number>) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.#layout = layout;
  }

  open(name: string, attributes: Attributes): void {
    if (this.#table) {
      this.#table.open(name, attributes);
      return;
    }
    if (name === "br") this.#text.push("\n");
    if (BLOCKS.has(name)) this.#flush();
    if (name === "pre") this.#preformatted++;
    if (name === "ul" || name === "ol") this.#lists.push(name);
    if (name === "li") this.#items.push({ depth: Math.max(0, this.#lists.length - 1), isBegun: false });
    if (name === "table" && !this.#layout.has(this.#tables++)) this.#table = new TableGrid(this.#limits);
  }

  text(text: string): void {
    if (this.#table) this.#table.text(text);
    else this.#text.push(this.#preformatted > 0 ? text : text.replace(/[\r\n]/g, " "));
  }

  close(name: string): void {
    if (this.#table) {
      this.#closeInTable(this.#table, name);
      return;
    }
    const level = /^h([1-6])$/.exec(name)?.[1];
    if (BLOCKS.has(name)) this.#flush(level ? Number(level) : undefined);
    if (name === "pre") this.#preformatted--;
    if (name === "ul" || name === "ol") this.#lists.pop();
    if (name === "li") this.#items.pop();
  }

  end(): void {
    this.#flush();
  }

  #closeInTable(table: TableGrid, name: string): void {
    if (name !== "table") {
      table.close(name);
      return;
    }
    this.#table = null;
    this.#writeTable(table);
  }

  /** @param level of the heading that the text is; default: none */
  #flush(level?: number): void {
    const text = this.#text.join("");
    this.#text = [];
    if (oneLine(text) === "") return;
    const item = this.#items.at(-1);
    if (level) this.#blocks.heading(level, text);
    else if (item && !item.isBegun) this.#blocks.item(item.depth, text);
    else this.#blocks.paragraph(text);
    if (item) item.isBegun = true;
  }

  /** What has one column, or one row without a heading, is no table: its cells are paragraphs. */
  #writeTable(table: TableGrid): void {
    const { rows, caption, hasHeader } = table.spread();
    // What names the table is no part of its text.
    if (caption) this.#blocks.paragraph(caption);
    const width = rows.reduce((most, { length }) => Math.max(most, length), 0);
    if (width > 1 && (rows.length > 1 || hasHeader)) this.#blocks.table(rows, caption);
    else for (const cell of rows.flat()) this.#blocks.paragraph(cell);
  }
}
