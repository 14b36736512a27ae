/**
 * CSV and TSV (RFC 4180, with any of four delimiters) to a table.
 *
 * Own code: without Node's Buffer, csv-parse 7 makes an array of the text's bytes (740 MB for a line of 20 MB) before it
 * asks what the line holds; here cells are slices of the text, and limits stop it at the cell that is too much.
 */
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "./limits.ts";
import { Meter } from "./meter.ts";
import { hasNumber, type Tables, tableOf } from "./table-rows.ts";

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
 * than another is filled with empty cells, one that is longer than the first makes columns without a name, and empty cells
 * beyond the first's end are dropped. A quote inside an unquoted cell is a character; in tab-separated text quotes mean
 * nothing where they do not fit. Excel's first line `sep=;` names the delimiter; text above a header that has more cells is
 * the table's title.
 *
 * @param text decoded; a byte order mark is passed over
 * @throws EdgeT5Error `E_DAMAGED` for rows of so many lengths that no delimiter is sure, broken quotes, no rows at all;
 * `E_TOO_LARGE`
 */
export function readCsv(text: string, options: CsvOptions = {}): Tables {
  const { header = true, title = null, section = null, limits = DEFAULT_LIMITS } = options;
  if (text.length > limits.maxBytes) throw tooLarge("The text is too long", "maxBytes", limits);
  const body = text.startsWith("\ufeff") ? text.slice(1) : text;
  const [line = "", announced] = ANNOUNCED.exec(body) ?? [];
  const delimiter = options.delimiter ?? DELIMITERS.find((one) => one === announced) ?? findDelimiter(body);
  const meter = new Meter(limits);
  const { records: all, notes } = readRecords(body, line.length, delimiter, meter);
  const titles = header ? titleRows(all) : 0;
  const heading = all.slice(0, titles).map(({ cells }) => cells[0]!.replace(/^#+\s*/, "").trim());
  const records = withoutSurplus(all.slice(titles));
  if (records.length === 0) throw new EdgeT5Error("E_DAMAGED", "The text has no rows. Send a header and rows.");
  if (options.delimiter === undefined) checkLengths(records);
  notes.unshift(...lengthNotes(records, meter));
  if (titles > 0) notes.unshift("The text above the table is taken for its title.");
  const rows = records.map(({ cells }) => cells);
  if (header && hasNumber(rows[0]!)) notes.unshift("The first row is taken for the header, though it holds numbers.");
  const named = [section, ...heading].filter(Boolean).join(": ") || null;
  return { kind: "tables", tables: [tableOf(rows, { title, section: named, header })], notes };
}

/** Excel's own first line. */
const ANNOUNCED = /^sep=([\t|;,])[ \t]*(?:\r\n|[\r\n])/i;

/** People write no more above a table. */
const MOST_TITLE_ROWS = 10;

/** How many rows of one text stand above a header: names in each of its cells, above rows most of which are as long. */
function titleRows(records: readonly CsvRecord[]): number {
  const at = records.slice(0, MOST_TITLE_ROWS + 1).findIndex(({ cells }) => filledOf(cells) > 1);
  const [head, ...below] = withoutSurplus(records.slice(Math.max(at, 0)));
  if (at < 1 || !head || !records.slice(0, at).every(({ cells }) => cells[0] && filledOf(cells) === 1)) return 0;
  const isHeader = head.cells.every((cell) => cell.trim() !== "") && !hasNumber(head.cells);
  const alike = below.filter(({ cells }) => cells.length === head.cells.length);
  if (!isHeader || below.length === 0 || alike.length * 2 < below.length) return 0;
  // A first row that is as long may be a header of which one cell has a name.
  const isPadded = records.slice(0, at).some(({ cells }) => cells.length > 1);
  return isPadded && !alike.some(({ cells }) => hasNumber(cells)) ? 0 : at;
}

function filledOf(cells: readonly string[]): number {
  return cells.filter((cell) => cell.trim() !== "").length;
}

/** Without empty cells beyond the first row's end. */
function withoutSurplus(records: readonly CsvRecord[]): CsvRecord[] {
  const width = records[0]?.cells.length ?? 0;
  return records.map(({ cells, line }) => {
    let length = cells.length;
    while (length > width && cells[length - 1] === "") length--;
    return { cells: length === cells.length ? cells : cells.slice(0, length), line };
  });
}

interface CsvRecord {
  cells: string[];
  /** That it begins at, as an editor counts. */
  line: number;
}

function readRecords(
  text: string,
  from: number,
  delimiter: Delimiter,
  meter: Meter,
): { records: CsvRecord[]; notes: string[] } {
  try {
    return { records: recordsOf(text, from, delimiter, true, meter), notes: [] };
  } catch (error) {
    if (!(error instanceof QuoteError)) throw error;
    if (delimiter !== "\t") {
      throw damaged(`The quotes at line ${error.line} do not fit`, "Double each quote inside a quoted cell");
    }
  }
  const records = recordsOf(text, from, delimiter, false, new Meter(meter.limits));
  return { records, notes: ["Quotes are taken as they stand: they do not enclose cells."] };
}

/** Where some rows are longer than the first, half of the others must be of one length. Short ones are as long as the first. */
function checkLengths([first, ...others]: readonly CsvRecord[]): void {
  const least = first!.cells.length;
  const long = others.find(({ cells }) => cells.length > least);
  if (!long) return;
  const counts = new Map<number, number>();
  for (const { cells } of others) {
    const length = Math.max(cells.length, least);
    counts.set(length, (counts.get(length) ?? 0) + 1);
  }
  const most = [...counts.values()].reduce((a, b) => Math.max(a, b));
  if (most * 2 >= others.length) return;
  const what = `The rows have too many lengths, ${counts.size}: the first has ${least} cells, the one at line ${long.line} has ${long.cells.length}`;
  throw damaged(what, "Save the table with quotes around cells that have a comma or semicolon in them, or as XLSX");
}

const MOST_LINES_NAMED = 5;

function lengthNotes(records: readonly CsvRecord[], meter: Meter): string[] {
  const first = records[0]!.cells.length;
  const width = records.reduce((most, { cells }) => Math.max(most, cells.length), 0);
  meter.cells(records.reduce((sum, { cells }) => sum + width - cells.length, 0));
  const notes: string[] = [];
  const long = records.filter(({ cells }) => cells.length > first);
  if (long.length > 0) {
    const named = long.slice(0, MOST_LINES_NAMED).map(({ line }) => line);
    const more = long.length > named.length ? ` and ${long.length - named.length} more` : "";
    const what = long.length === 1 ? "1 row is" : `${long.length} rows are`;
    const at = `${long.length === 1 ? "line" : "lines"} ${named.join(", ")}${more}`;
    notes.push(`${what} longer than the first (${at}): columns without a name are added for the cells.`);
  }
  const short = records.filter(({ cells }) => cells.length < first).length;
  if (short > 0) notes.push(`${short} short row${short === 1 ? " is" : "s are"} filled with empty cells.`);
  return notes;
}

/**
 * @param from where they begin: at the first line, or the second
 * @param quotes whether they enclose cells
 * @throws QuoteError for one that does not end where its cell does
 */
function recordsOf(text: string, from: number, delimiter: Delimiter, quotes: boolean, meter: Meter): CsvRecord[] {
  const records: CsvRecord[] = [];
  let line = from > 0 ? 2 : 1;
  for (let at = from; at < text.length; ) {
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
    records.push({ cells, line: start });
    meter.rows(records.length);
  }
  return records;
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

/** Of the rows below a title, how many must agree. */
const TITLED_SHARE = 0.5;
/** How much text is looked at. */
const SAMPLE = 65_536;

/**
 * The delimiter that occurs equally often in most rows, as often as in the first; or, where a title may stand above, as in
 * the first that has any. A comma where none does.
 */
export function findDelimiter(text: string): Delimiter {
  const all = countDelimiters(text.slice(0, SAMPLE));
  const start = all.slice(0, MOST_TITLE_ROWS + 1).findIndex((row) => DELIMITERS.some((one) => row[one] > 0));
  const counts = start > 0 ? all.slice(start) : all;
  const least = start > 0 ? TITLED_SHARE : 0;
  let best: Delimiter = ",";
  let bestScore = 0;
  for (const delimiter of DELIMITERS) {
    const first = counts[0]?.[delimiter] ?? 0;
    const alike = first === 0 ? 0 : counts.filter((row) => row[delimiter] === first).length / counts.length;
    // Equal shares: more columns are less of a chance.
    const score = alike + Math.min(first, 1000) / 1e6;
    if (alike > least && score > bestScore) [best, bestScore] = [delimiter, score];
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
