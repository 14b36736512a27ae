/** A file's tables as a task's text: the table that a request chooses, what it chooses of it, and what is to be said of that. */
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import type { Content, Table } from "../t5/text-to-text/content.ts";
import type { LongBounds } from "../t5/text-to-text/long/index.ts";
import { type CellPlace, linearizeTable, selectTable, type TableSelection } from "../t5/text-to-text/table.ts";
import type { TaskDefinition } from "./task-definition.ts";

/** What a request chooses of a file's tables, and of one of them. */
export interface TableChoice extends TableSelection {
  /** A sheet or section by its name, or the table's number, from 0. Default: the first. */
  table?: string | number;
  /** Cells that the text is to be about, by their place in what was selected. */
  highlighted?: readonly CellPlace[];
}

type Tables = Extract<Content, { kind: "tables" }>;

/** How a table becomes text. */
export interface TableTextOptions {
  /** As the task has it. */
  table: TaskDefinition["table"];
  select: TableChoice | undefined;
  /** The prompt that a table's text makes. */
  fill: (text: string) => string;
  bounds: Pick<LongBounds, "count" | "maxInputTokens">;
}

/**
 * @param param the field that the tables came in
 * @throws ApiError 400 `invalid_value` for what there is not, naming what there is
 */
export function tableText(
  { tables, notes: read }: Tables,
  { table: { form, columns, row_headers }, select = {}, fill, bounds: { count, maxInputTokens } }: TableTextOptions,
  param: string,
): { text: string; notes: string[] } {
  const table = chosenTable(tables, select.table ?? 0, param);
  const rows = chosenRows(table, select.rows);
  const names = select.columns ?? columns;
  const selected = at(select.columns ? "select.columns" : param, () =>
    selectTable(rows, names ? { columns: names } : {}),
  );
  const budget = { count: (text: string) => count(fill(text)), limit: maxInputTokens };
  const { highlighted } = select;
  const { text, rowsDropped } = at(highlighted ? "select.highlighted" : param, () =>
    linearizeTable(selected, {
      ...{ form, budget },
      ...(highlighted && { highlighted }),
      ...(row_headers && { rowHeaders: true }),
    }),
  );
  const notes = select.table === undefined ? [...read] : read.filter((note) => isOf(table, note));
  if (select.table === undefined && tables.length > 1) {
    notes.push(`Only the first table was taken. select.table takes another: ${listOf(tables, 1)}.`);
  }
  const { to = 0 } = select.rows ?? {};
  if (to > table.rows.length) notes.push(`select.rows.to is ${to}; the table has ${rowsText(table)}.`);
  const dropped = rowsDropped === 1 ? "The last row was" : `The last ${rowsDropped} rows were`;
  if (rowsDropped > 0) notes.push(`${dropped} left out: the model takes ${maxInputTokens} tokens.`);
  return { text, notes };
}

function chosenTable(tables: readonly Table[], which: string | number, param: string): Table {
  const found = typeof which === "number" ? tables.slice(which, which + 1) : tablesNamed(tables, which);
  const [table] = found;
  if (table && found.length === 1) return table;
  const what = table
    ? `${found.length} tables of ${param} are called ${JSON.stringify(which)}. Give one's number`
    : `${param} has no table ${JSON.stringify(which)}. It has`;
  throw refused("select.table", `${what}: ${listOf(tables)}.`);
}

/** By their section; where none has it, by the sheet's name before what stands above the table. */
function tablesNamed(tables: readonly Table[], name: string): Table[] {
  const exact = tables.filter(({ section }) => section === name);
  return exact.length > 0 ? exact : tables.filter(({ section }) => section?.startsWith(`${name}: `));
}

const MOST_LISTED = 50;

/** Their numbers, which tell those apart that are called alike, and their names. */
function listOf(tables: readonly Table[], from = 0): string {
  const to = from + MOST_LISTED;
  const names = tables
    .slice(from, to)
    .map(({ section }, i) => `${from + i}${section === null ? "" : ` ${JSON.stringify(section)}`}`);
  return names.join(", ") + (tables.length > to ? ` and ${tables.length - to} more` : "");
}

function chosenRows(table: Table, rows: TableSelection["rows"]): Table {
  if (!rows) return table;
  const chosen = at("select.rows", () => selectTable(table, { rows }));
  if (chosen.rows.length > 0) return chosen;
  const { from = 1, where = {} } = rows;
  const last = table.rows.length;
  const why =
    from > last
      ? `select.rows.from is ${from}; the table has ${rowsText(table)}`
      : `No row from ${from} to ${Math.min(rows.to ?? last, last)} has ${JSON.stringify(where)}; the table has ${rowsText(table)}`;
  const fix = from > last ? "Choose among them" : "A value must be a cell's whole text, as it stands";
  throw refused("select.rows", `${why}. ${last === 0 ? "Leave select.rows out" : fix}.`);
}

function rowsText({ rows: { length } }: Table): string {
  return length === 0 ? "none below its header" : length === 1 ? "1 row" : `${length} rows`;
}

/** Whether what a reader noted (readers/xlsx.ts) concerns the table, or all of the file. */
function isOf({ section }: Table, note: string): boolean {
  if (note.startsWith("Hidden sheets ")) return false;
  const sheet = section?.split(": ")[0];
  return !note.startsWith("In the sheet ") || note.startsWith(`In the sheet ${sheet}, `);
}

/** What `select` does, with the field that is at fault. */
function at<T>(param: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof EdgeT5Error && error.code === "E_INPUT")) throw error;
    throw refused(param, error.message, error);
  }
}

function refused(param: string, message: string, cause?: unknown): ApiError {
  return new ApiError(400, "invalid_value", message, { param, cause });
}
