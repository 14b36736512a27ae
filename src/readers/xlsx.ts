/**
 * XLSX (ECMA-376, SpreadsheetML) to tables: one or more for each visible sheet that has cells. Parts are read as they inflate, and
 * only cells that hold something are kept: empty rows and what `<dimension>` says cost nothing.
 *
 * Own code over fflate and saxes: hucre 1.0 (37 kB gzip) inflates whole parts and has fixed bounds of 2 GiB and 20 million
 * cells, read-excel-file 9 (16 kB) and exceljs none.
 */
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "./limits.ts";
import { Meter } from "./meter.ts";
import { type OfficeFormat, openOffice, partOf, readMain, readRelationships, unescaped } from "./office.ts";
import { letters } from "./ordinals.ts";
import { hasNumber, type Tables, tableOf } from "./table-rows.ts";
import { type Area, type SheetCells, type SheetTable, type SparseRow, tablesOfSheet } from "./xlsx-tables.ts";
import { builtInFormat, formatOf, GENERAL, type NumberFormat, numberText } from "./xlsx-values.ts";
import { attribute, readXml } from "./xml.ts";
import type { ZipArchive } from "./zip.ts";

export interface XlsxOptions {
  /** Of all tables: the file's name. */
  title?: string | null;
  /** Whether a table's first row names its columns; true unless given. */
  header?: boolean;
  limits?: ReadLimits;
}

const XLSX: OfficeFormat = { name: "XLSX", root: "workbook", old: ".xls" };

/** Excel's own bounds. */
const LAST_ROW = 1_048_576;
const LAST_COLUMN = 16_384;

/**
 * Values as text: numbers as their format shows them, dates and times as ISO 8601, TRUE and FALSE, formulas by the value
 * that was stored with them, errors as they show. A sheet's tables, their headers and merged cells: {@link tablesOfSheet}.
 * Rows and columns without any value are left out, and so are hidden sheets, rows and columns.
 *
 * @throws EdgeT5Error `E_FORMAT` for another format, an older one or an encrypted file; `E_DAMAGED`; `E_TOO_LARGE`
 */
export function readXlsx(bytes: Uint8Array, options: XlsxOptions = {}): Tables {
  const { title = null, header = true, limits = DEFAULT_LIMITS } = options;
  const meter = new Meter(limits);
  const book = readWorkbook(bytes, limits);
  const notes: string[] = [];
  const tables: Tables["tables"][number][] = [];
  for (const { name, part } of book.sheets) {
    const sheet = readSheet(book, part, meter);
    if (sheet.formulas > 0) {
      const count = `${sheet.formulas} formula${sheet.formulas === 1 ? " has" : "s have"}`;
      notes.push(`In the sheet ${name}, ${count} no stored value: save the file with a program that computes them.`);
    }
    notes.push(...hiddenNotes(name, sheet));
    if (sheet.rows.length === 0) continue;
    const sections = new Set<string>();
    for (const table of tablesOfSheet(sheet, header, meter)) {
      meter.tables(1);
      notes.push(...notesOf(name, table, sections.size > 0));
      const own = [name, ...table.heading].join(": ");
      const section = sections.has(own) ? `${own}: table ${sections.size + 1}` : own;
      sections.add(section);
      tables.push(tableOf(table.rows, { title, section, header, shown: table.shown }));
    }
  }
  if (tables.length === 0) notes.push("The workbook has no visible sheet with cells. Send one that has.");
  if (book.hidden.length > 0) notes.push(`Hidden sheets are left out: ${book.hidden.join(", ")}.`);
  return { kind: "tables", tables, notes };
}

function hiddenNotes(sheet: string, { hiddenColumns, hiddenRows }: Sheet): string[] {
  const columns = [...hiddenColumns].sort((a, b) => a - b);
  const named = columns.slice(0, MOST_NAMED).map((column) => letters(column).toUpperCase());
  const more = columns.length > named.length ? ` and ${columns.length - named.length} more` : "";
  const parts = [
    ...(columns.length > 0 ? [`hidden column${columns.length === 1 ? "" : "s"} ${named.join(", ")}${more}`] : []),
    ...(hiddenRows > 0 ? [`${hiddenRows} hidden row${hiddenRows === 1 ? "" : "s"}`] : []),
  ];
  if (parts.length === 0) return [];
  return [
    `In the sheet ${sheet}, ${parts.join(" and ")} ${columns.length + hiddenRows === 1 ? "is" : "are"} left out.`,
  ];
}

const MOST_NAMED = 10;

/** What was guessed. @param isNext whether another table stands above it */
function notesOf(
  sheet: string,
  { top, left, heading, rows, header: { first, last }, isDoubtful, mayBeTwo }: SheetTable,
  isNext: boolean,
): string[] {
  const notes: string[] = [];
  const at = `In the sheet ${sheet},`;
  const from = left === null ? `row ${top}` : `column ${letters(left).toUpperCase()}`;
  if (isNext) notes.push(`${at} what stands from ${from} on is taken for another table.`);
  if (mayBeTwo !== null) {
    const column = letters(mayBeTwo).toUpperCase();
    notes.push(`${at} what stands from column ${column} on is taken for the same table as what stands before it.`);
  }
  if (heading.length > 0) notes.push(`${at} the text above the table is taken for its title.`);
  if (last > first) notes.push(`${at} rows ${first} to ${last} are taken for the header.`);
  if (isDoubtful)
    notes.push(`${at} row ${first} alone is taken for the header, though row ${first + 1} may belong to it.`);
  if (first > 0 && first === last && hasNumber(rows[0]!)) {
    notes.push(`${at} row ${first} is taken for the header, though it holds numbers.`);
  }
  return notes;
}

interface Workbook {
  zip: ZipArchive;
  sheets: { name: string; part: string }[];
  /** Their names. */
  hidden: string[];
  strings: readonly string[];
  /** By the number of a cell's format. */
  formats: readonly NumberFormat[];
  date1904: boolean;
}

function readWorkbook(bytes: Uint8Array, limits: ReadLimits): Workbook {
  const office = openOffice(bytes, XLSX, limits);
  const { zip, main } = office;
  const relationships = readRelationships(zip, main, limits);
  const sheets: Workbook["sheets"] = [];
  const hidden: string[] = [];
  let date1904 = false;
  readMain(office, XLSX, limits, {
    open(name, attributes) {
      if (name === "workbookPr") date1904 = isTrue(attribute(attributes, "date1904"));
      if (name !== "sheet") return;
      if (sheets.length + hidden.length >= limits.maxEntries) {
        throw tooLarge("The workbook has too many sheets", "maxEntries", limits);
      }
      const sheetName = attribute(attributes, "name") ?? "";
      const relationship = relationships.get(attribute(attributes, "id") ?? "");
      // The others are charts and dialogs.
      if (relationship?.type !== "worksheet") return;
      if ((attribute(attributes, "state") ?? "visible") !== "visible") hidden.push(sheetName);
      else sheets.push({ name: sheetName, part: relationship.target });
    },
  });
  const strings = partOf(zip, relationships, "sharedStrings");
  const styles = partOf(zip, relationships, "styles");
  return {
    zip,
    sheets,
    hidden,
    date1904,
    strings: strings === undefined ? [] : readStrings(zip, strings, limits),
    formats: styles === undefined ? [] : readFormats(zip, styles, limits),
  };
}

/** Texts that cells share, by number. Readings (`rPh`, furigana) are no part of them. */
function readStrings(zip: ZipArchive, part: string, limits: ReadLimits): string[] {
  const strings: string[] = [];
  const meter = new Meter(limits);
  let text = "";
  let inText = false;
  let inReading = false;
  readXml(zip, part, limits, {
    open(name) {
      if (name === "si") text = "";
      else if (name === "rPh") inReading = true;
      else if (name === "t") inText = !inReading;
    },
    text(piece) {
      if (!inText) return;
      meter.characters(piece.length);
      text += piece;
    },
    close(name) {
      if (name === "t") inText = false;
      else if (name === "rPh") inReading = false;
      else if (name === "si") {
        // Each is some cell's.
        meter.cells(1);
        strings.push(unescaped(text));
      }
    },
  });
  return strings;
}

function readFormats(zip: ZipArchive, part: string, limits: ReadLimits): NumberFormat[] {
  const own = new Map<string, NumberFormat>();
  const formats: NumberFormat[] = [];
  let inCells = false;
  readXml(zip, part, limits, {
    open(name, attributes) {
      if (name === "numFmt") {
        own.set(attribute(attributes, "numFmtId") ?? "", formatOf(attribute(attributes, "formatCode") ?? ""));
      } else if (name === "cellXfs") inCells = true;
      else if (name === "xf" && inCells) {
        const id = attribute(attributes, "numFmtId") ?? "0";
        formats.push(own.get(id) ?? builtInFormat(Number(id)));
      }
    },
    close(name) {
      if (name === "cellXfs") inCells = false;
    },
  });
  return formats;
}

interface Sheet extends SheetCells {
  /** Those that have cells. */
  hiddenColumns: ReadonlySet<number>;
  hiddenRows: number;
  /** Those without a stored value. */
  formulas: number;
}

function readSheet(book: Workbook, part: string, meter: Meter): Sheet {
  const rows: SparseRow[] = [];
  const columns = new Set<number>();
  const merges: Area[] = [];
  const hidden = new Set<number>();
  const hiddenColumns = new Set<number>();
  let lastColumn = 0;
  let isHidden = false;
  let lastHidden = 0;
  let hiddenRows = 0;
  let formulas = 0;
  let row = 0;
  let cell: Cell | undefined;
  let column = 0;
  let inValue = false;
  let inReading = false;
  const broken = (what: string) =>
    new EdgeT5Error("E_DAMAGED", `${JSON.stringify(part)} has ${what}. Save the file anew.`);
  const keep = (text: string, type: string) => {
    if (hidden.has(column)) hiddenColumns.add(column);
    if (isHidden && lastHidden !== row) {
      hiddenRows++;
      lastHidden = row;
    }
    if (isHidden || hidden.has(column)) return;
    meter.cells(1);
    meter.characters(text.length);
    if (rows.at(-1)?.row !== row) rows.push({ row, lastHidden, columns: [], texts: [], isWords: [] });
    meter.rows(rows.length);
    columns.add(column);
    meter.columns(columns.size);
    const last = rows.at(-1)!;
    last.columns.push(column);
    last.texts.push(text);
    last.isWords.push(TEXTS.has(type) && !/^\P{L}*\d\P{L}*$/u.test(text));
  };
  readXml(book.zip, part, meter.limits, {
    open(name, attributes) {
      if (name === "row") {
        const given = attribute(attributes, "r");
        const next = given === undefined ? row + 1 : Number(given);
        if (!(Number.isInteger(next) && next > row && next <= LAST_ROW)) throw broken("rows out of order");
        row = next;
        column = 0;
        isHidden = isTrue(attribute(attributes, "hidden"));
      } else if (name === "col") {
        const first = Math.max(Number(attribute(attributes, "min")), lastColumn + 1);
        lastColumn = Math.max(lastColumn, Math.min(Number(attribute(attributes, "max")), LAST_COLUMN));
        if (!isTrue(attribute(attributes, "hidden"))) return;
        for (let each = first; each <= lastColumn; each++) hidden.add(each);
      } else if (name === "c") {
        const place = attribute(attributes, "r");
        const next = place === undefined ? column + 1 : columnOf(place);
        if (!(next > column && next <= LAST_COLUMN) || row === 0) throw broken("cells out of order");
        column = next;
        cell = {
          type: attribute(attributes, "t") ?? "n",
          style: Number(attribute(attributes, "s") ?? 0),
          text: "",
          formula: false,
        };
      } else if (name === "rPh") inReading = true;
      else if (name === "v" || name === "t") inValue = !inReading;
      else if (name === "f" && cell) cell.formula = true;
      else if (name === "mergeCell") {
        const area = areaOf(attribute(attributes, "ref") ?? "");
        if (!area) throw broken("a merged cell without a place");
        meter.cells(1);
        merges.push(area);
      }
    },
    text(piece) {
      if (!inValue || !cell) return;
      cell.text += piece;
      if (cell.text.length > meter.limits.maxCharacters) meter.characters(cell.text.length);
    },
    close(name) {
      if (name === "v" || name === "t") inValue = false;
      else if (name === "rPh") inReading = false;
      else if (name === "c" && cell) {
        const text = cellText(cell, book);
        if (text === undefined) throw broken("a cell whose text is not among the shared ones");
        if (text.trim() !== "") keep(text, cell.type);
        else if (!isHidden && !hidden.has(column) && cell.formula && cell.text === "" && cell.type !== "str")
          formulas++;
        cell = undefined;
      }
    },
  });
  return { rows, merges, hidden, hiddenColumns, hiddenRows, formulas };
}

interface Cell {
  type: string;
  /** Number of its format. */
  style: number;
  /** As it stands in the file. */
  text: string;
  formula: boolean;
}

/** Types of cells that hold text. */
const TEXTS = new Set(["s", "str", "inlineStr"]);

/** Nothing, for a shared text that is not there. */
function cellText({ type, style, text }: Cell, book: Workbook): string | undefined {
  if (type === "s") return text.trim() === "" ? "" : book.strings[Number(text)];
  if (type === "b") return text === "" ? "" : isTrue(text) ? "TRUE" : "FALSE";
  if (type === "n") return numberText(text, book.formats[style] ?? GENERAL, book.date1904);
  // Computed text (str), text in place (inlineStr), errors (e) and ISO dates (d) say it themselves.
  return unescaped(text);
}

/** `BC23` → 55; NaN for no place. */
function columnOf(place: string): number {
  let column = 0;
  let at = 0;
  for (; at < place.length; at++) {
    const letter = place.charCodeAt(at) - 64;
    if (letter < 1 || letter > 26) break;
    column = column * 26 + letter;
  }
  return at === 0 || column > LAST_COLUMN ? Number.NaN : column;
}

/** `A1:C3`; a single cell merges nothing, but is one. */
function areaOf(ref: string): Area | undefined {
  const match = /^([A-Z]{1,3})(\d{1,7})(?::([A-Z]{1,3})(\d{1,7}))?$/.exec(ref);
  if (!match) return undefined;
  const [, left = "", top = "", right = left, bottom = top] = match;
  return { top: Number(top), left: columnOf(left), bottom: Number(bottom), right: columnOf(right) };
}

function isTrue(text: string | undefined): boolean {
  return text === "1" || text?.toLowerCase() === "true";
}
