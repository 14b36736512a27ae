/** Rows of cells, as a file has them, made a table: names for all columns, cells for all rows. */
import type { Content, Table } from "../t5/text-to-text/content.ts";

export type Tables = Extract<Content, { kind: "tables" }>;

export interface TableOptions {
  title?: string | null;
  section?: string | null;
  /** Whether the first row names the columns; else they are `column 1`, `column 2`, … */
  header?: boolean;
  /** The first row as the file shows it, where that says the name of a cell that spans columns in each of them. */
  shown?: readonly string[] | undefined;
}

/** Short rows are filled with empty cells, the header with names. No rows at all make a table without columns. */
export function tableOf(rows: readonly (readonly string[])[], options: TableOptions = {}): Table {
  const { title = null, section = null, header = true } = options;
  const width = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const headers = givenNames(header ? (options.shown ?? rows[0] ?? []) : [], width);
  const columns = columnNames(header ? (rows[0] ?? []) : [], width);
  return {
    title,
    section,
    columns,
    ...(columns.some((name, i) => name !== headers[i]) && { headers }),
    rows: (header ? rows.slice(1) : rows).map((row) => filled(row, width)),
  };
}

/**
 * Names without a space at their ends or a line break in them, each once: an empty one becomes `column` and its number
 * from 1 on, the second `name` becomes `name 2`.
 */
export function columnNames(cells: readonly string[], width = cells.length): string[] {
  const given = givenNames(cells, width);
  const taken = new Set(given);
  const seen = new Set<string>();
  const last = new Map<string, number>();
  return given.map((name, i) => {
    const base = name === "" ? "column" : name;
    if (name !== "" && !seen.has(name)) {
      seen.add(name);
      return name;
    }
    let number = name === "" ? i + 1 : (last.get(base) ?? 1) + 1;
    while (taken.has(`${base} ${number}`)) number++;
    last.set(base, number);
    taken.add(`${base} ${number}`);
    return `${base} ${number}`;
  });
}

/** A header as it shows. @param rows that it is made of, with the text of a cell that spans columns in the first alone */
export function shownHeader(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return header.map((name, x) => (rows.every((row) => (row[x] ?? "") === "") ? "" : name));
}

/** Whether there is a number among the texts; years are names. */
export function hasNumber(texts: readonly string[]): boolean {
  return texts.some((text) => NUMBER.test(text.trim()) && !isYear(text.trim()));
}

const NUMBER = /^[+\-−(]?[\p{Sc}\s]*\d[\d.,'\s]*[%)\p{Sc}\s]*$/u;

export function isYear(text: string): boolean {
  return /^(?:19|20)\d\d$/.test(text);
}

function givenNames(cells: readonly string[], width: number): string[] {
  return Array.from({ length: width }, (_, i) => (cells[i] ?? "").trim().replace(/\s+/g, " "));
}

/** Of a header of several rows, one name a column: what stands above it, from the top, each once. */
export function joinedHeader(rows: readonly (readonly string[])[]): string[] {
  const width = rows.reduce((most, { length }) => Math.max(most, length), 0);
  return Array.from({ length: width }, (_, x) => [...new Set(rows.map((row) => row[x] ?? ""))].join(" ").trim());
}

function filled(row: readonly string[], width: number): readonly string[] {
  return row.length === width ? row : [...row, ...Array<string>(width - row.length).fill("")];
}
