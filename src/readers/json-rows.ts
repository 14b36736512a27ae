/** Rows of JSON, or JSON Lines, to a table. */
import { EdgeT5Error } from "../errors.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "./limits.ts";
import { Meter } from "./meter.ts";
import { columnNames, type Tables, tableOf } from "./table-rows.ts";

export interface JsonRowsOptions {
  /** Whether the first of rows that are lists names the columns; true unless given. */
  header?: boolean;
  title?: string | null;
  section?: string | null;
  limits?: ReadLimits;
}

/**
 * A list of objects, a list of lists, `{"rows": […]}` (with `columns`, `title` and `section`, if it likes), or a row a
 * line. Columns stand in the order in which they first appear. A missing value or null is an empty cell, lists and
 * objects are compact JSON, numbers keep all digits.
 *
 * @throws EdgeT5Error `E_DAMAGED` for what is no JSON, naming the line in JSON Lines; `E_FORMAT` for JSON that is no
 * table; `E_TOO_LARGE`
 */
export function readJsonRows(text: string, options: JsonRowsOptions = {}): Tables {
  const limits = options.limits ?? DEFAULT_LIMITS;
  if (text.length > limits.maxBytes) throw tooLarge("The text is too long", "maxBytes", limits);
  const body = text.startsWith("\ufeff") ? text.slice(1) : text;
  checkNesting(body, limits);
  return readJsonValue(isLines(body) ? parseLines(body) : parseWhole(body), options);
}

/** The same of a value: the body of a request, say. @throws as {@link readJsonRows}, but `E_DAMAGED` */
export function readJsonValue(value: unknown, options: JsonRowsOptions = {}): Tables {
  const { header = true, limits = DEFAULT_LIMITS } = options;
  const meter = new Meter(limits);
  const given = Array.isArray(value) ? { rows: value as unknown[] } : wrapped(value);
  const labels = { title: given.title ?? options.title ?? null, section: given.section ?? options.section ?? null };
  const { rows, columns } = given;
  meter.rows(rows.length + 1);
  if (columns) meter.columns(columns.length);
  const first = rows[0] ?? [];
  if (columns?.length === 0 || (rows.length === 0 && !columns)) throw noTable("it has no rows");
  const table = Array.isArray(first)
    ? tableOf(ofLists(rows, columns, meter), { ...labels, header: header || columns !== undefined })
    : { ...labels, ...ofObjects(rows, columns, meter) };
  return { kind: "tables", tables: [table], notes: [] };
}

interface Given {
  rows: readonly unknown[];
  columns?: readonly string[];
  title?: string;
  section?: string;
}

function wrapped(value: unknown): Given {
  if (typeof value !== "object" || value === null) throw noTable("it is a single value");
  const { columns, rows, title, section } = value as Record<string, unknown>;
  if (!Array.isArray(rows)) throw noTable("it is an object without rows");
  const isNamed = Array.isArray(columns) && columns.every((name) => typeof name === "string");
  if (columns !== undefined && !isNamed) throw noTable("its columns are no list of texts");
  return {
    rows,
    ...(isNamed && { columns }),
    ...(typeof title === "string" ? { title } : {}),
    ...(typeof section === "string" ? { section } : {}),
  };
}

/** The header first. */
function ofLists(rows: readonly unknown[], columns: readonly string[] | undefined, meter: Meter): string[][] {
  let width = columns?.length;
  const cells = rows.map((row, i) => {
    if (!Array.isArray(row)) throw noTable(`row ${i + 1} is no list, as the first is`);
    width ??= row.length;
    if (row.length > width) throw noTable(`row ${i + 1} has ${row.length} values for ${width} columns`);
    meter.columns(width);
    meter.cells(width);
    return row.map((value) => cellOf(value, meter));
  });
  return columns ? [[...columns], ...cells] : cells;
}

function ofObjects(rows: readonly unknown[], columns: readonly string[] | undefined, meter: Meter) {
  const places = new Map((columns ?? []).map((name, i) => [name, i]));
  const objects = rows.map((row, i) => {
    if (typeof row !== "object" || row === null || Array.isArray(row)) {
      throw noTable(`row ${i + 1} is no object, as the first is`);
    }
    for (const name of Object.keys(row)) {
      if (places.has(name) || columns) continue;
      places.set(name, places.size);
      meter.columns(places.size);
      meter.characters(name.length);
    }
    return row as Record<string, unknown>;
  });
  if (places.size === 0) throw noTable("its rows are empty");
  meter.cells(objects.length * places.size);
  const cells = objects.map((row) => {
    const texts = Array<string>(places.size).fill("");
    for (const [name, value] of Object.entries(row)) {
      const place = places.get(name);
      if (place !== undefined) texts[place] = cellOf(value, meter);
    }
    return texts;
  });
  return { columns: columnNames([...places.keys()]), rows: cells };
}

function cellOf(value: unknown, meter: Meter): string {
  const text =
    value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  meter.characters(text.length);
  return text;
}

/** Two lines that are JSON each are not JSON together. */
function isLines(text: string): boolean {
  const [first = "", second = ""] = firstLines(text);
  if (!/^[{[]/.test(first) || second === "") return false;
  try {
    JSON.parse(first);
    return true;
  } catch {
    return false;
  }
}

/** The first two that are not blank, trimmed. */
function firstLines(text: string): string[] {
  const lines: string[] = [];
  for (let at = 0; at < text.length && lines.length < 2; ) {
    const end = text.indexOf("\n", at);
    const line = text.slice(at, end < 0 ? text.length : end).trim();
    if (line !== "") lines.push(line);
    if (end < 0) break;
    at = end + 1;
  }
  return lines;
}

function parseLines(text: string): unknown[] {
  const rows: unknown[] = [];
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trim() !== "") rows.push(parse(line, `Line ${i + 1}`));
  }
  return rows;
}

function parseWhole(text: string): unknown {
  const value = parse(text, "The text");
  // A single line of JSON Lines.
  const isRow = typeof value === "object" && value !== null && !Array.isArray(value) && !("rows" in value);
  return isRow ? [value] : value;
}

function parse(text: string, what: string): unknown {
  try {
    // Numbers that lose digits stay as they are written; only then is each value looked at.
    return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EdgeT5Error("E_DAMAGED", `${what} is not JSON (${reason}). Send it whole, in UTF-8.`, { cause });
  }
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  const loses = typeof value === "number" && source !== undefined && /^-?\d{16,}$/.test(source);
  return loses && !Number.isSafeInteger(value) ? source : value;
}

/** Before it is parsed: how deep it goes, and how many values it makes, nested ones too. */
function checkNesting(text: string, limits: ReadLimits): void {
  // A row of one cell is two values.
  const most = limits.maxCells * 3;
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) at = endOfString(text, at);
    else if (code === 0x5b || code === 0x7b) {
      values++;
      if (++depth > limits.maxDepth) throw tooLarge("The JSON is nested too deep", "maxDepth", limits);
    } else if (code === 0x5d || code === 0x7d) depth--;
    else if (code === 0x2c) values++;
    if (values > most) throw tooLarge("The JSON has too many values", "maxCells", limits);
  }
}

/** @param at of its opening quote */
function endOfString(text: string, at: number): number {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return end;
  }
  return text.length;
}

function noTable(why: string): EdgeT5Error {
  const message = `The JSON is no table: ${why}. Send a list of objects, a list of lists, or {"columns": […], "rows": […]}.`;
  return new EdgeT5Error("E_FORMAT", message);
}
