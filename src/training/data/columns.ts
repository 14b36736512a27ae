/** Which columns of a table are what: the fields of a template, and the target. */
import { EdgeT5Error } from "../../errors.ts";
import { fillTemplate, parseTemplate, type Template } from "../../t5/template.ts";
import type { Problem, Row } from "./rows.ts";

/** What a row becomes. A task's own `template` and `labels` go here: the same rows train, test and serve it. */
export interface PairFormat {
  /** Makes the input of a row's fields. Default: `{input}`, the input as it is. */
  template?: string | undefined;
  /** Columns by the template's fields, where they are called otherwise: `{ input: "description" }`; "1" is the first one. */
  columns?: Readonly<Record<string, string>> | undefined;
  /** Column of the target. */
  target?: string | undefined;
  /** The only targets that there may be. */
  labels?: readonly string[] | null | undefined;
  /** Most characters of a field, cut at a space: `{ description: 320 }`. */
  cut?: Readonly<Record<string, number>> | undefined;
}

export interface Pair {
  input: string;
  target: string;
}

/** What input and target are called where nobody says; in this order. */
const USUAL = [
  ["input", "target"],
  ["input", "reference"],
  ["source", "target"],
  ["prompt", "completion"],
  ["text", "label"],
] as const;

/** Makes pairs of rows. */
export class PairMaker {
  readonly #template: Template;
  readonly #format: PairFormat;
  readonly #labels: ReadonlySet<string> | null;

  /** @throws EdgeT5Error `E_INPUT` for a template that is none, `E_DATA_COLUMN` for columns of fields that it has not */
  constructor(format: PairFormat) {
    this.#template = parseTemplate(format.template ?? "{input}");
    this.#format = format;
    this.#labels = format.labels ? new Set(format.labels) : null;
    const { fields } = this.#template;
    for (const field of [...Object.keys(format.columns ?? {}), ...Object.keys(format.cut ?? {})]) {
      if (fields.includes(field)) continue;
      throw new EdgeT5Error("E_DATA_COLUMN", `The template has no field ${field} (it has: ${fields.join(", ")}).`);
    }
  }

  /** Whether a table's first row names the columns: where columns are asked for by name, or it has the usual names. */
  isHeader(cells: readonly string[]): boolean {
    const { fields } = this.#template;
    const asked = fields.map((field) => this.#format.columns?.[field] ?? (fields.length > 1 ? field : undefined));
    if ([...asked, this.#format.target].some((name) => name !== undefined && !isNumber(name))) return true;
    return usualIn(cells.map((cell) => cell.trim())) !== undefined;
  }

  /**
   * Columns of a file, by its first row.
   *
   * @throws EdgeT5Error `E_DATA_COLUMN` naming what is asked for and what is there
   */
  columnsOf({ where, values }: Row): ColumnsOfFile {
    const names = Object.keys(values);
    const { fields } = this.#template;
    // A table of two without a header has them in this order.
    const usual = usualIn(names) ?? (names.join() === "1,2" ? ["1", "2"] : undefined);
    const find = (what: string, column: string): string => {
      if (names.includes(column)) return column;
      const byNumber = isNumber(column) ? names[Number(column) - 1] : undefined;
      if (byNumber !== undefined) return byNumber;
      throw new EdgeT5Error(
        "E_DATA_COLUMN",
        `${where} has no column ${JSON.stringify(column)} (it has: ${names.join(", ") || "nothing"}). Say which one ${what} is.`,
      );
    };
    const columns = fields.map((field): [string, string] => {
      const isTheInput = fields.length === 1 && !names.includes(field) && usual;
      return [field, find(`{${field}}`, this.#format.columns?.[field] ?? (isTheInput ? (usual[0] as string) : field))];
    });
    const target = this.#format.target ?? usual?.[1] ?? names.find((name) => name === "label") ?? "target";
    return { fields: new Map(columns), target: find("the target", target) };
  }

  /** A row's pair, or why there is none. */
  pairOf({ where, values }: Row, columns: ColumnsOfFile): Pair | Problem {
    const taken: Record<string, string> = {};
    let isEmpty = true;
    for (const [field, column] of columns.fields) {
      const value = values[column];
      if (value === undefined) return lacks(where, column, values);
      if (value.trim() !== "") isEmpty = false;
      const most = this.#format.cut?.[field];
      taken[field] = most === undefined ? value : cutAtSpace(value, most);
    }
    const target = values[columns.target];
    if (target === undefined) return lacks(where, columns.target, values);
    if (isEmpty) return { code: "E_DATA_EMPTY", where, reason: "its input is empty" };
    if (target.trim() === "") return { code: "E_DATA_EMPTY", where, reason: "its target is empty" };
    if (this.#labels && !this.#labels.has(target)) {
      return { code: "E_DATA_LABEL", where, reason: `its target ${shorten(target)} is none of the labels` };
    }
    return { input: fillTemplate(this.#template, taken), target };
  }
}

/** What is input, and what is target, of these columns; in capitals or not. */
function usualIn(names: readonly string[]): string[] | undefined {
  const find = (usual: string) => names.find((name) => name.toLowerCase() === usual);
  return USUAL.map((usual) => usual.map(find)).find((found) => !found.includes(undefined)) as string[] | undefined;
}

function isNumber(column: string): boolean {
  return /^\d+$/.test(column);
}

export interface ColumnsOfFile {
  /** Column of each field. */
  fields: ReadonlyMap<string, string>;
  target: string;
}

function lacks(where: string, column: string, values: Row["values"]): Problem {
  const has = Object.keys(values).join(", ") || "nothing";
  return { code: "E_DATA_ROW", where, reason: `it has no text ${JSON.stringify(column)} (it has: ${has})` };
}

/** Of at most `most` characters, up to a space where there is one. */
export function cutAtSpace(text: string, most: number): string {
  if (text.length <= most) return text;
  const space = text.lastIndexOf(" ", most);
  return text.slice(0, space > 0 ? space : most).trimEnd();
}

function shorten(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 39)}…` : text);
}
