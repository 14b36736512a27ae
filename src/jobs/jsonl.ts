/** JSONL, line by line, in bounded memory; what is wrong with a row names file, line and reason. */
import { ApiError } from "../api-error.ts";

/** Longer lines are refused: a row is held in memory. */
const MOST_LINE_BYTES = 1 << 20;

export interface Line {
  /** From 1, as editors count. */
  number: number;
  text: string;
}

/** What is wrong with a row. */
export interface RowProblem {
  line: number;
  code: string;
  message: string;
  param: string | null;
}

/** Lines that are not blank. @throws RowError for what is no UTF-8, or a line that is too long */
export async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Line, void, undefined> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  let number = 0;
  let parts: Uint8Array[] = [];
  let held = 0;
  const take = (): Line | null => {
    number++;
    const bytes = join(parts, held);
    parts = [];
    held = 0;
    try {
      const text = decoder.decode(bytes).replace(/\r$/, "");
      return text.trim() === "" ? null : { number, text };
    } catch {
      throw new RowError({ line: number, code: "invalid_encoding", message: "It is no UTF-8.", param: null });
    }
  };
  for await (const chunk of stream) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, end));
      held += end - from;
      from = end + 1;
      const line = take();
      if (line) yield line;
    }
    // A copy: the chunk's buffer may be filled again.
    parts.push(chunk.slice(from));
    held += chunk.length - from;
    if (held > MOST_LINE_BYTES) {
      const message = `It is longer than ${MOST_LINE_BYTES} bytes.`;
      throw new RowError({ line: number + 1, code: "line_too_long", message, param: null });
    }
  }
  if (held > 0) {
    const line = take();
    if (line) yield line;
  }
}

/** One row that stops the reading. */
export class RowError extends Error {
  readonly problem: RowProblem;

  constructor(problem: RowProblem) {
    super(problem.message);
    this.problem = problem;
  }
}

/** Problems that an answer names; a file that is no JSONL at all has one a line. */
const MOST_PROBLEMS = 20;

/**
 * Reads a file, row by row.
 *
 * @param check given each row's JSON and its line; throws ApiError for what is wrong with it
 * @param most rows that are taken
 * @returns how many rows there are
 * @throws InvalidFile naming file, lines and reasons
 */
export async function checkRows(
  filename: string,
  stream: ReadableStream<Uint8Array>,
  most: number,
  check: (row: unknown, line: number) => void | Promise<void>,
): Promise<number> {
  const problems: RowProblem[] = [];
  let rows = 0;
  try {
    for await (const { number, text } of linesOf(stream)) {
      rows++;
      if (rows > most) {
        const message = `This is row ${rows}, and up to ${most} are taken. Divide the file.`;
        throw new RowError({ line: number, code: "too_many_rows", message, param: null });
      }
      try {
        await check(parseRow(text, number), number);
      } catch (error) {
        if (error instanceof RowError) problems.push(error.problem);
        else if (error instanceof ApiError && error.status < 500) {
          problems.push({ line: number, code: error.code, message: error.message, param: error.param });
        } else throw error;
        if (problems.length === MOST_PROBLEMS) break;
      }
    }
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    problems.push(error.problem);
  }
  if (problems.length > 0) throw new InvalidFile(filename, problems);
  if (rows === 0) {
    throw new ApiError(400, "empty_file", `${filename} has no rows. Write one JSON object a line.`);
  }
  return rows;
}

/** @throws RowError */
export function parseRow(text: string, line: number): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const message = `It is no JSON: ${(cause as Error).message}.`;
    throw new RowError({ line, code: "invalid_json", message, param: null });
  }
}

/** 400 `invalid_file`: the message names the first broken row, `errors` all that were found. */
export class InvalidFile extends ApiError {
  readonly problems: readonly RowProblem[];

  constructor(filename: string, problems: readonly RowProblem[]) {
    const [first] = problems;
    const more = problems.length > 1 ? ` (and ${problems.length - 1} more, in errors)` : "";
    super(400, "invalid_file", `${filename}, line ${first?.line}: ${first?.message}${more}`, {
      param: first?.param ?? null,
    });
    this.problems = problems;
  }

  override body() {
    return { error: { ...super.body().error, errors: this.problems } };
  }
}

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only) return only;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
