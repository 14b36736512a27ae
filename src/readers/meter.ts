/** Counts what a reader has made of one file, and stops it at the limit: before the next piece, not after the last. */
import { type ReadLimits, tooLarge } from "./limits.ts";

export class Meter {
  readonly limits: ReadLimits;
  #cells = 0;
  #characters = 0;
  #blocks = 0;
  #tables = 0;

  constructor(limits: ReadLimits) {
    this.limits = limits;
  }

  /** @throws EdgeT5Error `E_TOO_LARGE`, as all of these */
  cells(more: number): void {
    this.#cells += more;
    if (this.#cells > this.limits.maxCells) throw tooLarge("The file has too many cells", "maxCells", this.limits);
  }

  characters(more: number): void {
    this.#characters += more;
    if (this.#characters > this.limits.maxCharacters) {
      throw tooLarge("The file has too much text", "maxCharacters", this.limits);
    }
  }

  blocks(more: number): void {
    this.#blocks += more;
    if (this.#blocks > this.limits.maxBlocks) {
      throw tooLarge("The file has too many paragraphs", "maxBlocks", this.limits);
    }
  }

  tables(more: number): void {
    this.#tables += more;
    if (this.#tables > this.limits.maxTables) throw tooLarge("The file has too many tables", "maxTables", this.limits);
  }

  /** @param rows of one table so far, its header among them */
  rows(rows: number): void {
    if (rows > this.limits.maxRows) throw tooLarge("A table has too many rows", "maxRows", this.limits);
  }

  /** @param columns of one table so far */
  columns(columns: number): void {
    if (columns > this.limits.maxColumns) throw tooLarge("A table has too many columns", "maxColumns", this.limits);
  }
}
