/** CSV and TSV (RFC 4180, with any of four delimiters) to a table. */
import { CsvError, parse } from "csv-parse/browser/esm/sync";
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "./limits.ts";
import { Meter } from "./meter.ts";
import { type Tables, tableOf } from "./table-rows.ts";

/** Those that are looked for, the rarer in running text first. */
const DELIMITERS = ["\t", "|", ";", ","] as const;

export type Delimiter = (typeof DELIMITERS)[number];

export interface CsvOptions {
  /** Found in the first lines unless given. */
  delimiter?: Delimiter;
  /** Whether the first row names the columns; true unless given. */
  header?: boolean;
  title?: string | null;
  section?: string | null;
  limits?: ReadLimits;
}

/**
 * Cells are as they stand, line breaks in quotes among them; a line without any character is no row. A row that is shorter
 * than the first is filled with empty cells, and empty cells beyond its end are dropped. A quote inside an unquoted cell is
 * a character; in tab-separated text quotes mean nothing where they do not fit.
 *
 * @param text decoded; a byte order mark is passed over
 * @throws EdgeT5Error `E_DAMAGED` for a row that is longer than the first, broken quotes, no rows at all; `E_TOO_LARGE`
 */
export function readCsv(text: string, options: CsvOptions = {}): Tables {
  const { header = true, title = null, section = null, limits = DEFAULT_LIMITS } = options;
  if (text.length > limits.maxBytes) throw tooLarge("The text is too long", "maxBytes", limits);
  const body = text.startsWith("\ufeff") ? text.slice(1) : text;
  const delimiter = options.delimiter ?? findDelimiter(body);
  const notes: string[] = [];
  const rows = readRecords(body, delimiter, limits, notes);
  if (rows.length === 0) throw new EdgeT5Error("E_DAMAGED", "The text has no rows. Send a header and rows.");
  return { kind: "tables", tables: [tableOf(rows, { title, section, header })], notes };
}

function readRecords(text: string, delimiter: Delimiter, limits: ReadLimits, notes: string[]): string[][] {
  try {
    return records(text, delimiter, "strict", limits, notes);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    if (delimiter === "\t") {
      const rows = records(text, delimiter, "none", limits, notes);
      notes.push("Quotes are taken as they stand: they do not enclose cells.");
      return rows;
    }
    if (error.code !== "INVALID_OPENING_QUOTE") throw brokenQuotes(error.lines, error);
  }
  try {
    return records(text, delimiter, "relaxed", limits, notes);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw brokenQuotes(error.lines, error);
  }
}

function records(
  text: string,
  delimiter: Delimiter,
  quotes: "strict" | "relaxed" | "none",
  limits: ReadLimits,
  notes: string[],
): string[][] {
  const meter = new Meter(limits);
  let rows = 0;
  let width: number | undefined;
  let short = 0;
  const parsed = parse(text, {
    delimiter,
    quote: quotes === "none" ? null : '"',
    relax_quotes: quotes === "relaxed",
    record_delimiter: ["\r\n", "\n", "\r"],
    relax_column_count: true,
    skip_empty_lines: true,
    // Before a row is whole: it may be all there is.
    cast: (cell, { index, quoting, lines }) => {
      // Relaxed, a quoted cell that goes on after its end keeps its quotes. Others that begin so are mistaken for it.
      if (quotes === "relaxed" && quoting && cell.startsWith('"')) throw brokenQuotes(lines);
      meter.columns(index + 1);
      meter.cells(1);
      meter.characters(cell.length);
      return cell;
    },
    on_record: (cells: string[], { lines }) => {
      meter.rows(++rows);
      width ??= cells.length;
      if (cells.length < width) {
        meter.cells(width - cells.length);
        short++;
      } else while (cells.length > width && cells.at(-1) === "") cells.pop();
      if (cells.length > width) {
        const what = `The row at line ${lines} has ${cells.length} cells, the first row ${width}`;
        throw damaged(what, "Quote cells that have the delimiter in them, or name the delimiter");
      }
      return cells;
    },
  });
  if (short > 0) notes.push(`${short} short row${short === 1 ? " is" : "s are"} filled with empty cells.`);
  return parsed;
}

/** How much text is looked at. */
const SAMPLE = 65_536;

/** The delimiter that occurs equally often in most rows, as often as in the first. A comma where none does. */
export function findDelimiter(text: string): Delimiter {
  const counts = countDelimiters(text.slice(0, SAMPLE));
  let best: Delimiter = ",";
  let bestScore = 0;
  for (const delimiter of DELIMITERS) {
    const first = counts[0]?.[delimiter] ?? 0;
    const alike = first === 0 ? 0 : counts.filter((row) => row[delimiter] === first).length / counts.length;
    // Equal shares: more columns are less of a chance.
    const score = alike + Math.min(first, 1000) / 1e6;
    if (alike > 0 && score > bestScore) [best, bestScore] = [delimiter, score];
  }
  return best;
}

/** In each row that is whole, outside quotes. */
function countDelimiters(sample: string): Record<Delimiter, number>[] {
  const counts: Record<Delimiter, number>[] = [];
  let row = { "\t": 0, "|": 0, ";": 0, ",": 0 };
  let isEmpty = true;
  let quoted = false;
  let cellStarts = true;
  const endRow = () => {
    if (!isEmpty) counts.push(row);
    row = { "\t": 0, "|": 0, ";": 0, ",": 0 };
    isEmpty = true;
  };
  for (const character of sample) {
    if (character === '"' && (quoted || cellStarts)) {
      // A doubled quote closes and opens again.
      quoted = !quoted;
      cellStarts = !quoted;
      isEmpty = false;
    } else if (quoted) continue;
    else if (character === "\n" || character === "\r") {
      endRow();
      cellStarts = true;
    } else {
      isEmpty = false;
      cellStarts = character in row;
      if (cellStarts) row[character as Delimiter]++;
    }
  }
  if (sample.length < SAMPLE || counts.length === 0) endRow();
  return counts;
}

function brokenQuotes(line: unknown, cause?: unknown): EdgeT5Error {
  return damaged(`The quotes at line ${line} do not fit`, "Double each quote inside a quoted cell", cause);
}

function damaged(what: string, fix: string, cause?: unknown): EdgeT5Error {
  return new EdgeT5Error("E_DAMAGED", `${what}. ${fix}.`, { cause });
}
