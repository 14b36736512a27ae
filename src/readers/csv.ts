/**
 * CSV and TSV (RFC 4180, with any of four delimiters) to a table.
 *
 * Own code: without Node's Buffer, csv-parse 7 makes an array of the text's bytes (740 MB for a line of 20 MB) before it
 * asks what the line holds; here cells are slices of the text, and limits stop it at the cell that is too much.
 */
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
    return records(text, delimiter, true, limits, notes);
  } catch (error) {
    if (!(error instanceof QuoteError)) throw error;
    if (delimiter !== "\t") {
      throw damaged(`The quotes at line ${error.line} do not fit`, "Double each quote inside a quoted cell");
    }
  }
  const rows = records(text, delimiter, false, limits, notes);
  notes.push("Quotes are taken as they stand: they do not enclose cells.");
  return rows;
}

/** @param quotes whether they enclose cells @throws QuoteError for one that does not end where its cell does */
function records(text: string, delimiter: Delimiter, quotes: boolean, limits: ReadLimits, notes: string[]): string[][] {
  const meter = new Meter(limits);
  const rows: string[][] = [];
  let short = 0;
  let line = 1;
  for (let at = 0; at < text.length; ) {
    const start = line;
    const cells: string[] = [];
    let blank = true;
    for (let more = true; more; ) {
      const isQuoted = quotes && text[at] === '"';
      const end = isQuoted ? endOfQuoted(text, at, delimiter, line) : endOfCell(text, at, delimiter);
      const cell = isQuoted ? text.slice(at + 1, end - 1).replaceAll('""', '"') : text.slice(at, end);
      cells.push(cell);
      meter.columns(cells.length);
      meter.cells(1);
      meter.characters(cell.length);
      if (isQuoted) line += lineBreaks(cell);
      more = text[end] === delimiter;
      blank &&= end === at && !more;
      at = more ? end + 1 : end;
    }
    at += text.startsWith("\r\n", at) ? 2 : 1;
    line++;
    if (blank) continue;
    const width = rows[0]?.length ?? cells.length;
    while (cells.length > width && cells.at(-1) === "") cells.pop();
    if (cells.length > width) {
      const what = `The row at line ${start} has ${cells.length} cells, the first row ${width}`;
      throw damaged(what, "Quote cells that have the delimiter in them, or name the delimiter");
    }
    if (cells.length < width) {
      meter.cells(width - cells.length);
      short++;
    }
    rows.push(cells);
    meter.rows(rows.length);
  }
  if (short > 0) notes.push(`${short} short row${short === 1 ? " is" : "s are"} filled with empty cells.`);
  return rows;
}

function endOfCell(text: string, start: number, delimiter: Delimiter): number {
  let at = start;
  while (at < text.length && text[at] !== delimiter && !isLineBreak(text[at])) at++;
  return at;
}

/** Behind its closing quote. A doubled one is a character. */
function endOfQuoted(text: string, start: number, delimiter: Delimiter, line: number): number {
  let at = start + 1;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (quote < 0) throw new QuoteError(line);
    at = quote + 2;
    const next = text[quote + 1];
    if (next === '"') continue;
    if (next === undefined || next === delimiter || isLineBreak(next)) return quote + 1;
    throw new QuoteError(line + lineBreaks(text.slice(start, quote)));
  }
}

function isLineBreak(character: string | undefined): boolean {
  return character === "\n" || character === "\r";
}

function lineBreaks(cell: string): number {
  return /[\r\n]/.test(cell) ? cell.split(/\r\n|[\r\n]/).length - 1 : 0;
}

class QuoteError extends Error {
  readonly line: number;

  constructor(line: number) {
    super("quotes do not fit");
    this.line = line;
  }
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

function damaged(what: string, fix: string): EdgeT5Error {
  return new EdgeT5Error("E_DAMAGED", `${what}. ${fix}.`);
}
