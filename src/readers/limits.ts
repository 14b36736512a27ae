/**
 * How much a reader takes from one file. A limit is checked before the work that it bounds: what a file declares first,
 * then what really comes out of it. The defaults let a reader run beside a model in an isolate of 128 MB.
 */
import { EdgeT5Error } from "../errors.ts";

export interface ReadLimits {
  /** Bytes of the file as it came. */
  readonly maxBytes: number;
  /** Bytes of all that is inflated from one archive or compressed stream. */
  readonly maxInflatedBytes: number;
  /** Entries of an archive, parts of a message. */
  readonly maxEntries: number;
  /** Inflated size ÷ compressed size of one entry that inflates to more than 1 MB. Deflate's own bound is 1032. */
  readonly maxRatio: number;
  /** Elements inside elements (XML, HTML), messages inside messages. */
  readonly maxDepth: number;
  /** Pages of a document, images of a multi-page image. */
  readonly maxPages: number;
  /** Blocks of a document: headings, paragraphs, items, tables. */
  readonly maxBlocks: number;
  /** Tables of a file: sheets of a workbook, tables of a page. */
  readonly maxTables: number;
  /** Rows of one table, its header among them. */
  readonly maxRows: number;
  /** Columns of one table. */
  readonly maxColumns: number;
  /** Cells of all tables of a file, fillers of short rows and repeated values of merged cells among them. */
  readonly maxCells: number;
  /** Characters (UTF-16 units) of all text that is made. */
  readonly maxCharacters: number;
  /** Width × height of one image, by its header. */
  readonly maxPixels: number;
}

export const DEFAULT_LIMITS: ReadLimits = {
  maxBytes: 20_000_000,
  maxInflatedBytes: 64_000_000,
  maxEntries: 2000,
  maxRatio: 200,
  maxDepth: 256,
  maxPages: 500,
  maxBlocks: 100_000,
  maxTables: 1000,
  maxRows: 200_000,
  maxColumns: 1000,
  maxCells: 500_000,
  maxCharacters: 5_000_000,
  maxPixels: 40_000_000,
};

/**
 * What every reader throws over a limit.
 *
 * @param what with its number, as far as it is known: "The sheet has 600,000 cells"
 * @param fix what one can do, where "Send a smaller file" would not say enough
 */
export function tooLarge(what: string, limit: keyof ReadLimits, limits: ReadLimits, fix = "Send a smaller file") {
  const most = limits[limit].toLocaleString("en");
  return new EdgeT5Error("E_TOO_LARGE", `${what}; the limit is ${most} (${limit}). ${fix}.`);
}
