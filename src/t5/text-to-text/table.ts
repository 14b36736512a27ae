/**
 * A table as the text that a model reads: the parts that are asked for, in one of the forms that the literature trains on,
 * within a budget of tokens. Places are ToTTo's: row 0 is the header, row 1 the first below it (TAPEX's `row 1`); columns
 * are named, or numbered from 0.
 */
import { EdgeT5Error } from "../../errors.ts";
import type { Table } from "./content.ts";

export interface TableSelection {
  /** In the order in which they shall stand; all unless given. */
  columns?: readonly (string | number)[];
  rows?: {
    /** The first, from 1 on. */
    from?: number;
    /** The last, itself included; rows that the table has not are none. */
    to?: number;
    /** Only rows with these values, exactly, by column. */
    where?: Readonly<Record<string, string>>;
  };
}

/** @throws EdgeT5Error `E_INPUT` for a column that the table has not, or one that is named twice, and rows out of order */
export function selectTable(table: Table, { columns, rows = {} }: TableSelection): Table {
  const places = columns?.map((column) => placeOf(table, column)) ?? table.columns.map((_, i) => i);
  const twice = places.find((place, i) => places.indexOf(place) !== i);
  if (twice !== undefined) throw input(`The column ${name(table, twice)} is selected twice. Name it once.`);
  const { from = 1, to = table.rows.length, where = {} } = rows;
  for (const [key, row] of Object.entries({ from, to })) {
    if (!Number.isInteger(row) || row < 0) throw input(`rows.${key} is ${row}. Give a row's number, from 1 on.`);
  }
  if (from < 1) throw input("rows.from is 0. Rows are numbered from 1 on; the header always stays.");
  if (rows.to !== undefined && from > to) throw input(`rows.from is ${from}, after rows.to, ${to}. Turn them around.`);
  const wanted = Object.entries(where).map(([column, value]) => [placeOf(table, column), value] as const);
  const selected = table.rows
    .slice(from - 1, to)
    .filter((row) => wanted.every(([place, value]) => row[place] === value));
  return {
    ...table,
    columns: places.map((place) => table.columns[place]!),
    ...(table.headers && { headers: places.map((place) => table.headers![place]!) }),
    rows: selected.map((row) => places.map((place) => row[place]!)),
  };
}

export interface TokenBudget {
  /** How many tokens a text takes. */
  count(text: string): number;
  limit: number;
}

/** `[row, column]`, as ToTTo's `highlighted_cells`. */
export type CellPlace = readonly [row: number, column: string | number];

export interface LinearizeOptions {
  form: "totto" | "tapex";
  /** Of ToTTo's form: only these cells, in this order. */
  highlighted?: readonly CellPlace[];
  /** Of ToTTo's form: the first column's cells are their rows' headers. */
  rowHeaders?: boolean;
  budget?: TokenBudget;
}

export interface LinearizedTable {
  text: string;
  /** How many rows it has. With highlighted cells: how many of those that they stand in. */
  rows: number;
  /** How many are left out, from the end, for the budget's sake. */
  rowsDropped: number;
}

/**
 * - `totto`: `<page_title> … </page_title> <section_title> … </section_title> <table> <cell> value <col_header> h
 *   </col_header> </cell> … </table>` with highlighted cells only, as the paper's best baseline; without any, all rows,
 *   the header first, each in `<row> … </row>`. As `linearize_subtable` and `linearize_full_table` in ToTTo's
 *   baseline_preprocessing/preprocess_utils.py: an empty cell leaves two spaces, tags inside a value stay as they are, and
 *   a row header precedes its cell's end (in the header row every name to the left is one).
 * - `tapex`: `col : a | b row 1 : x | y row 2 : …`, as `IndexedRowTableLinearize` in TAPEX's table_linearize.py: a `|`
 *   inside a value stays as it is, nothing stands for an empty cell, and titles are no part of it. The case is kept; the
 *   published checkpoints want lower case.
 *
 * Line breaks in cells become spaces: neither form has lines.
 *
 * @throws EdgeT5Error `E_INPUT` for cells that the table has not, highlighted cells or row headers in TAPEX's form, and a
 * budget that is too small for one row
 */
export function linearizeTable(table: Table, options: LinearizeOptions): LinearizedTable {
  const form = options.form === "totto" ? toTTo(table, options) : tapex(table, options);
  const rows = options.budget ? fittingRows(form, options.budget) : form.rows;
  return { text: form.text(rows), rows, rowsDropped: form.rows - rows };
}

interface Form {
  rows: number;
  /** Of the first ones. */
  text(rows: number): string;
}

/** A form in which rows follow each other. @param row its text, by its index from 0 on */
function rowByRow(start: string, row: (index: number) => string, end: string, rows: number): Form {
  const texts: string[] = [];
  return {
    rows,
    text(first) {
      while (texts.length < first) texts.push(row(texts.length));
      return (start + texts.slice(0, first).join("") + end).trim();
    },
  };
}

function toTTo(table: Table, { highlighted, rowHeaders = false }: LinearizeOptions): Form {
  const start = `${tagged("page_title", table.title)}${tagged("section_title", table.section)}<table> `;
  const line = (row: number) => (row === 0 ? table.columns : table.rows[row - 1]!);
  const cell = (row: number, column: number) => {
    let text = `<cell> ${flat(line(row)[column]!)} `;
    if (row > 0) text += `<col_header> ${flat(table.columns[column]!)} </col_header> `;
    const headers = row === 0 ? column : rowHeaders ? Math.min(column, 1) : 0;
    for (let i = 0; i < headers; i++) text += `<row_header> ${flat(line(row)[i]!)} </row_header> `;
    return `${text}</cell> `;
  };
  if (!highlighted || highlighted.length === 0) {
    const row = (index: number) => `<row> ${table.columns.map((_, column) => cell(index, column)).join("")}</row> `;
    return rowByRow(start + row(0), (index) => row(index + 1), "</table>", table.rows.length);
  }
  const cells = highlighted.map(([row, column]) => {
    if (!Number.isInteger(row) || row < 0 || row > table.rows.length) {
      throw input(
        `The cell [${row}, ${column}] is highlighted; the table's rows are 0 (its header) to ${table.rows.length}.`,
      );
    }
    return { row, column: placeOf(table, column) };
  });
  const rows = [...new Set(cells.map(({ row }) => row))];
  return {
    rows: rows.length,
    text(first) {
      const kept = new Set(rows.slice(0, first));
      const texts = cells.filter(({ row }) => kept.has(row)).map(({ row, column }) => cell(row, column));
      return `${start}${texts.join("")}</table>`;
    },
  };
}

function tapex(table: Table, { highlighted = [], rowHeaders = false }: LinearizeOptions): Form {
  if (highlighted.length > 0 || rowHeaders) {
    throw input("TAPEX's form has no highlighted cells and no row headers. Leave them out, or take the form totto.");
  }
  const row = (index: number) => `row ${index + 1} : ${table.rows[index]!.map(flat).join(" | ")} `;
  return rowByRow(`col : ${table.columns.map(flat).join(" | ")} `, row, "", table.rows.length);
}

/**
 * The most rows that fit, by doubling and then halving: the tokenizer runs a few times over texts of the budget's size, not
 * over the table's.
 */
function fittingRows({ rows, text }: Form, { count, limit }: TokenBudget): number {
  const least = Math.min(rows, 1);
  const tokens = count(text(least));
  if (tokens > limit) {
    const what = rows === 0 ? "The table's header takes" : "The table's header and first row take";
    throw input(`${what} ${tokens} tokens; there is room for ${limit}. Select fewer columns, or shorten the rest.`);
  }
  let fits = least;
  let over = rows + 1;
  for (let next = 2 * fits; fits < rows && next < over; next = Math.min(2 * fits, rows)) {
    if (count(text(next)) <= limit) fits = next;
    else over = next;
  }
  while (over - fits > 1 && fits < rows) {
    const middle = (fits + over) >> 1;
    if (count(text(middle)) <= limit) fits = middle;
    else over = middle;
  }
  return fits;
}

function placeOf(table: Table, column: string | number): number {
  const place = typeof column === "number" ? column : table.columns.indexOf(column);
  if (Number.isInteger(place) && place >= 0 && place < table.columns.length) return place;
  const known = table.columns.slice(0, 50).map((_, i) => name(table, i));
  const more = table.columns.length > known.length ? ", …" : "";
  throw input(`The table has no column ${JSON.stringify(column)}. Its columns are ${known.join(", ")}${more}.`);
}

function name(table: Table, place: number): string {
  return JSON.stringify(table.columns[place]);
}

function tagged(tag: string, text: string | null): string {
  return text ? `<${tag}> ${flat(text)} </${tag}> ` : "";
}

function flat(text: string): string {
  const lines = text.split(/[\r\n\u2028\u2029]+/);
  return lines.length === 1
    ? text
    : lines
        .map((line) => line.trim())
        .join(" ")
        .trim();
}

function input(message: string): EdgeT5Error {
  return new EdgeT5Error("E_INPUT", message);
}
