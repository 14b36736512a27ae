/** One table of a page: its cells as they come, then spread out over the rows and columns that they span. */
import { oneLine } from "./blocks.ts";
import type { Attributes } from "./html-events.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";
import { joinedHeader, shownHeader } from "./table-rows.ts";

interface Cell {
  text: string[];
  columns: number;
  /** 0: to the table's end. */
  rows: number;
  isHeader: boolean;
}

interface Spread {
  rows: string[][];
  /** The header with the text of a cell that spans columns in the first alone. */
  shown: string[];
  caption: string | null;
  hasHeader: boolean;
}

/** HTML's own most. */
const WIDEST_SPAN = 1000;
const HIGHEST_SPAN = 65_534;
/** Between them in a cell there is white space. */
const BREAKS = new Set(["br", "p", "div", "li", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "hr"]);

export class TableGrid {
  readonly #limits: ReadLimits;
  readonly #rows: Cell[][] = [];
  #caption: string[] | null = null;
  #target: string[] | null = null;
  #isHead = false;
  #headRows = 0;
  #cells = 0;

  constructor(limits: ReadLimits) {
    this.#limits = limits;
  }

  open(name: string, attributes: Attributes): void {
    if (name === "caption") this.#target = this.#caption ??= [];
    else if (name === "thead") this.#isHead = true;
    else if (name === "tr") this.#openRow();
    else if (name === "td" || name === "th") this.#openCell(name, attributes);
    else if (BREAKS.has(name)) this.#target?.push(" ");
  }

  text(text: string): void {
    this.#target?.push(text);
  }

  close(name: string): void {
    if (name === "thead") this.#isHead = false;
    if (name === "caption" || name === "td" || name === "th" || name === "tr") this.#target = null;
    else if (BREAKS.has(name)) this.#target?.push(" ");
  }

  /**
   * Rows with the header's first, as one. A cell stands in every row that it spans, in the header in every column too; in
   * other rows in its first column only: a sum that spans two columns is one.
   */
  spread(): Spread {
    const head = this.#headRows || this.#leadingHeaders();
    // Of several rows without a heading, the first names the columns.
    const depth = this.#rows.length > 1 ? Math.max(head, 1) : head;
    const rows = this.#grid(this.#rows, depth);
    const own = this.#grid(this.#rows.slice(0, depth), 0);
    const caption = this.#caption && oneLine(this.#caption.join(""));
    const rest = rows.slice(head);
    const header = joinedHeader(rows.slice(0, depth));
    const shown = shownHeader(header, own);
    if (head === 0) return { rows, shown, caption, hasHeader: false };
    return { rows: [header, ...rest], shown, caption, hasHeader: true };
  }

  #openRow(): void {
    this.#rows.push([]);
    if (this.#isHead) this.#headRows++;
    if (this.#rows.length > this.#limits.maxRows) throw tooLarge("A table has more rows", "maxRows", this.#limits);
  }

  #openCell(name: string, { colspan, rowspan }: Attributes): void {
    if (this.#rows.length === 0) this.#openRow();
    if (++this.#cells > this.#limits.maxCells) throw tooLarge("A table has more cells", "maxCells", this.#limits);
    const cell: Cell = {
      text: [],
      columns: Math.max(1, spanOf(colspan, WIDEST_SPAN)),
      rows: spanOf(rowspan, HIGHEST_SPAN),
      isHeader: name === "th",
    };
    this.#rows.at(-1)!.push(cell);
    this.#target = cell.text;
  }

  /** @param head rows of the header */
  #grid(rows: readonly (readonly Cell[])[], head: number): string[][] {
    const grid: string[][] = rows.map(() => []);
    let filled = 0;
    for (const [y, row] of rows.entries()) {
      let x = 0;
      for (const cell of row) {
        while (grid[y]![x] !== undefined) x++;
        const text = oneLine(cell.text.join(""));
        const bottom = cell.rows === 0 ? grid.length : Math.min(grid.length, y + cell.rows);
        const columns = x + cell.columns;
        filled += cell.columns * (bottom - y);
        if (columns > this.#limits.maxColumns)
          throw tooLarge(`A table has ${columns} columns`, "maxColumns", this.#limits);
        if (filled > this.#limits.maxCells) throw tooLarge("A table's cells span more", "maxCells", this.#limits);
        for (let i = y; i < bottom; i++)
          for (let j = x; j < columns; j++) grid[i]![j] ??= i < head || j === x ? text : "";
        x = columns;
      }
    }
    // A cell that spans rows may leave holes before it.
    return grid.map((row) => Array.from(row, (text) => text ?? ""));
  }

  #leadingHeaders(): number {
    const first = this.#rows.findIndex((row) => row.length === 0 || row.some(({ isHeader }) => !isHeader));
    // Where all are headings, only the first row names columns.
    return first < 0 ? Math.min(1, this.#rows.length) : first;
  }
}

function spanOf(value: string | undefined, most: number): number {
  const span = Number.parseInt(value ?? "1", 10);
  return Number.isNaN(span) || span < 0 ? 1 : Math.min(span, most);
}
