/** Texts without a question: documents to pretrain on, and what a tokenizer is trained on. */
import { EdgeT5Error } from "../../errors.ts";
import { kindOf, linesOf, type ReadOptions } from "./lines.ts";
import { csvRecords } from "./rows.ts";

export interface TextOptions extends ReadOptions {
  /** Of JSON lines: the fields to read. Default: every text in a line, as deep as it lies. */
  fields?: readonly string[] | undefined;
}

/**
 * Every line of a text file, every cell of a TSV or CSV, the texts of JSON lines; empty ones left out.
 *
 * @throws EdgeT5Error `E_DATA_ROW` for a line that is not JSON, `E_DATA_COLUMN` for one that lacks a field; as
 * {@link linesOf}
 */
export async function* textsOf(path: string, options: TextOptions = {}): AsyncGenerator<string, void, undefined> {
  for await (const texts of groupsOf(path, options)) {
    for (const text of texts) if (text.trim() !== "") yield text;
  }
}

/** The texts of a line. */
async function* groupsOf(path: string, { fields, ...options }: TextOptions): AsyncGenerator<Iterable<string>> {
  const kind = kindOf(path);
  if (kind === "csv") {
    for await (const record of csvRecords(path, options)) {
      if ("code" in record) throw new EdgeT5Error(record.code, `${record.where}: ${record.reason}. Mend the line.`);
      yield record.cells;
    }
    return;
  }
  for await (const { text, number } of linesOf(path, options)) {
    if (kind !== "jsonl") yield kind === "tsv" ? text.split("\t") : [text];
    else if (text.trim() !== "") yield textsOfJson(text, `${path}:${number}`, fields);
  }
}

function textsOfJson(line: string, where: string, fields: readonly string[] | undefined): Iterable<string> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new EdgeT5Error("E_DATA_ROW", `${where} is not JSON. A line of a .jsonl file is one value.`, { cause });
  }
  return fields ? fields.map((field) => textOf(value, field, where)) : stringsOf(value);
}

function textOf(value: unknown, field: string, where: string): string {
  const object = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  const text = Object.hasOwn(object, field) ? object[field] : undefined;
  if (typeof text === "string") return text;
  const has = Object.keys(object).join(", ") || "nothing";
  throw new EdgeT5Error(
    "E_DATA_COLUMN",
    `${where} has no text ${JSON.stringify(field)} (it has: ${has}). Name another field.`,
  );
}

function* stringsOf(value: unknown): Generator<string, void, undefined> {
  if (typeof value === "string") yield value;
  else if (value && typeof value === "object") for (const each of Object.values(value)) yield* stringsOf(each);
}
