/** Rows of JSON lines, CSV and TSV: named values, each row with its place. */
import { Readable } from "node:stream";
import { CsvError, parse } from "csv-parse";
import * as z from "zod";
import { EdgeT5Error, type ErrorCode } from "../../errors.ts";
import { kindOf, linesOf, type ReadOptions } from "./lines.ts";

export interface Row {
  /** `train.csv:17` */
  where: string;
  /** By name; by number, from "1" on, where a table has no header. */
  values: Readonly<Record<string, string>>;
}

/** Why a row cannot be used. */
export interface Problem {
  code: ErrorCode;
  where: string;
  reason: string;
}

export interface RowOptions extends ReadOptions {
  /** Whether a table's first row names its columns. */
  isHeader: (cells: readonly string[]) => boolean;
}

/**
 * Empty lines are skipped. Quotes mean something in CSV only.
 *
 * @throws EdgeT5Error `E_DATA_FILE` for a file of another kind; as {@link linesOf}
 */
export async function* rowsOf(path: string, options: RowOptions): AsyncGenerator<Row | Problem, void, undefined> {
  const kind = kindOf(path);
  if (kind === "text") {
    const message = `${path} is no table. Name it .jsonl, .csv or .tsv (.gz may follow), by what it is.`;
    throw new EdgeT5Error("E_DATA_FILE", message);
  }
  if (kind === "jsonl") {
    for await (const { text, number } of linesOf(path, options)) {
      if (text.trim() !== "") yield fromJson(text, `${path}:${number}`);
    }
    return;
  }
  let names: readonly string[] | undefined;
  for await (const record of kind === "csv" ? csvRecords(path, options) : tsvRecords(path, options)) {
    if ("code" in record) {
      yield record;
      continue;
    }
    const { cells, where } = record;
    if (!names) {
      const isHeader = options.isHeader(cells);
      names = isHeader ? cells.map((name) => name.trim()) : cells.map((_, i) => String(i + 1));
      if (isHeader) continue;
    }
    if (cells.length === names.length) {
      yield { where, values: Object.fromEntries(names.map((name, i) => [name, cells[i] as string])) };
    } else {
      const reason = `it has ${cells.length} column${cells.length === 1 ? "" : "s"}, the first row has ${names.length}`;
      yield { code: "E_DATA_ROW", where, reason };
    }
  }
}

function fromJson(text: string, where: string): Row | Problem {
  const broken = (reason: string): Problem => ({ code: "E_DATA_ROW", where, reason });
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch (error) {
    return broken(`it is not JSON (${(error as Error).message})`);
  }
  if (typeof object !== "object" || object === null || Array.isArray(object)) return broken("it is no JSON object");
  if ("messages" in object) {
    const chat = chatSchema.safeParse(object.messages);
    if (!chat.success) return broken("its messages are not some of a user, and then one of the assistant");
    const texts = chat.data.map(({ content }) => content);
    return { where, values: { prompt: texts.slice(0, -1).join("\n"), completion: texts.at(-1) as string } };
  }
  const entries: [string, string][] = [];
  for (const [name, value] of Object.entries(object)) {
    // A label may be a number.
    if (typeof value === "string") entries.push([name, value]);
    else if (typeof value === "number" || typeof value === "boolean") entries.push([name, String(value)]);
  }
  return { where, values: Object.fromEntries(entries) };
}

/** OpenAI's chat rows for fine-tuning: what comes before the assistant's answer is the prompt. */
const chatSchema = z
  .array(z.looseObject({ role: z.enum(["system", "developer", "user", "assistant"]), content: z.string() }))
  .min(2)
  .refine((messages) => messages.findIndex(({ role }) => role === "assistant") === messages.length - 1);

export interface Cells {
  cells: string[];
  where: string;
}

async function* tsvRecords(path: string, options: ReadOptions): AsyncGenerator<Cells | Problem> {
  for await (const { text, number } of linesOf(path, options)) {
    if (text !== "") yield { cells: text.split("\t"), where: `${path}:${number}` };
  }
}

export async function* csvRecords(path: string, options: ReadOptions): AsyncGenerator<Cells | Problem> {
  const lines = async function* () {
    for await (const { text } of linesOf(path, options)) yield `${text}\n`;
  };
  const parser = parse({ relax_column_count: true, skip_empty_lines: true, info: true });
  const source = Readable.from(lines());
  source.on("error", (error) => parser.destroy(error));
  try {
    for await (const { record, info } of source.pipe(parser) as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      yield { cells: record, where: `${path}:${info.lines}` };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    // Where a quote goes wrong, no row after it can be told.
    const line = typeof error.lines === "number" ? error.lines : 0;
    yield { code: "E_DATA_ROW", where: `${path}:${line}`, reason: `its quotes are broken (${error.message})` };
  } finally {
    source.destroy();
  }
}
