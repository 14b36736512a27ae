/** Rows to evaluate on: inputs and references, from TSV or JSON lines, gzipped or not. */
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { EdgeT5Error } from "../errors.ts";

export interface Row {
  input: string;
  reference: string;
}

export interface RowFields {
  /** Fields of JSON lines; default: `input` and `reference`. */
  input?: string | undefined;
  reference?: string | undefined;
}

/** A first line of a TSV that names its columns. */
const HEADERS: ReadonlySet<string> = new Set(["input\treference", "source\ttarget", "input\ttarget", "text\tlabel"]);

/** @throws EdgeT5Error `E_INPUT` naming file and line; `E_IO` from the operating system */
export async function readRows(path: string, fields: RowFields = {}): Promise<Row[]> {
  const bytes = await readFile(path);
  let text: string;
  try {
    text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  } catch (cause) {
    throw new EdgeT5Error("E_INPUT", `${path} is not a whole gzip file. Download it again.`, { cause });
  }
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const isJson = /\.(jsonl|ndjson|json)(\.gz)?$/.test(path);
  const rows: Row[] = [];
  for (const [i, line] of lines.entries()) {
    if (line === "" || (i === 0 && HEADERS.has(line.toLowerCase()))) continue;
    rows.push(isJson ? fromJson(line, `${path}:${i + 1}`, fields) : fromTsv(line, `${path}:${i + 1}`));
  }
  if (rows.length === 0)
    throw new EdgeT5Error("E_INPUT", `${path} has no rows. Give a line an input and its reference.`);
  return rows;
}

function fromTsv(line: string, where: string): Row {
  const columns = line.split("\t");
  if (columns.length === 2) return { input: columns[0] as string, reference: columns[1] as string };
  throw new EdgeT5Error(
    "E_INPUT",
    `${where} has ${columns.length} column(s). A line is input, a tab, reference; for JSON name the file .jsonl.`,
  );
}

function fromJson(line: string, where: string, { input = "input", reference = "reference" }: RowFields): Row {
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line);
  } catch (cause) {
    throw new EdgeT5Error("E_INPUT", `${where} is not JSON. A line is one object.`, { cause });
  }
  const text = (field: string): string => {
    const value = row?.[field];
    if (typeof value === "string") return value;
    const has = Object.keys(row ?? {}).join(", ");
    throw new EdgeT5Error(
      "E_INPUT",
      `${where} has no text ${JSON.stringify(field)} (it has: ${has}). Name the fields with --input-field and --reference-field.`,
    );
  };
  return { input: text(input), reference: text(reference) };
}
