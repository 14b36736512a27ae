/** A task's request as a form: one file, which passes through as it comes, and fields beside it. */
import { Readable } from "node:stream";
import { Busboy } from "@fastify/busboy";
import { taskRunSchema } from "../../src/api/task-run.ts";
import { ApiError } from "../../src/api-error.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import type { GivenFile } from "./reader.ts";

/** The file's part. */
const FILE = "file";
/** More are some that nothing takes, or one twice. */
const MOST_FIELDS = 64;

export interface TaskForm {
  fields: ReadonlyMap<string, string>;
  /** Null where the form has no file. */
  content: Content | null;
}

/**
 * @param fieldBytes most that a field may have
 * @param read reads the file, given the fields that came before it
 * @throws ApiError 400 `invalid_body`, `invalid_value`, `missing_file`, `unknown_parameter`; 413 `request_too_large`; and
 * what `read` throws
 */
export async function readForm(
  { body, headers }: Request,
  fieldBytes: number,
  read: (file: GivenFile, before: ReadonlyMap<string, string>) => Promise<Content>,
): Promise<TaskForm> {
  const type = headers.get("content-type") ?? "";
  if (!body || !/;\s*boundary=/i.test(type)) throw notAForm();
  const fields = new Map<string, string>();
  let reading: Promise<Content> | null = null;
  const refused = new AbortController();
  const limits = { fieldSize: fieldBytes, fields: MOST_FIELDS, files: 1 };
  const parser = Busboy({ headers: { "content-type": type }, limits });
  const refuse = (error: ApiError) => {
    // Who reads the file is to leave it at once.
    refused.abort();
    parser.destroy(error);
  };
  parser.on("field", (name, value, _isNameCut, isCut) => {
    if (name === FILE) refuse(noFile());
    else if (fields.has(name)) refuse(twice("form", name));
    else if (isCut) refuse(tooLong(name, fieldBytes));
    else if (name === "languages" && reading) refuse(tooLate(name));
    else fields.set(name, value);
  });
  parser.on("filesLimit", () => refuse(twice("form", FILE)));
  parser.on("file", (name, stream, filename, _encoding, fileType) => {
    if (name !== FILE) return refuse(misnamed(name));
    const file = { stream: Readable.toWeb(stream) as never, type: fileType, filename, signal: refused.signal };
    reading = read(file, fields);
    reading.catch((error: Error) => parser.destroy(error));
  });
  try {
    await new Promise<void>((resolve, reject) => {
      parser.once("finish", resolve).once("error", reject);
      Readable.fromWeb(body as never)
        .once("error", reject)
        .pipe(parser);
    });
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    // What the reader said comes first: it broke the form off.
    await (reading as Promise<Content> | null);
    throw notAForm(cause);
  }
  return { fields, content: await (reading as Promise<Content> | null) };
}

function notAForm(cause?: unknown): ApiError {
  return new ApiError(400, "invalid_body", "The form was cut off, or is none. Send it again: -F file=@report.pdf.", {
    cause,
  });
}

function noFile(): ApiError {
  return new ApiError(
    400,
    "missing_file",
    "The form's part file is a text, not a file. Put @ before the file's name: -F file=@report.pdf.",
    { param: FILE },
  );
}

export function twice(place: "form" | "query", param: string): ApiError {
  const why = param === FILE ? "has several files. A request takes one" : `has ${param} twice. Send it once`;
  return new ApiError(400, "invalid_value", `The ${place} ${why}.`, { param });
}

function tooLate(param: string): ApiError {
  return new ApiError(
    400,
    "invalid_value",
    `The form has ${param} after its file, which is read as it comes. Put it before: -F ${param}=deu -F file=@page.png.`,
    { param },
  );
}

function tooLong(param: string, most: number): ApiError {
  return new ApiError(
    413,
    "request_too_large",
    `The form's ${param} is longer than the ${most} bytes that a field may have. Send a long text as the file.`,
    { param },
  );
}

function misnamed(param: string): ApiError {
  const names = Object.keys(taskRunSchema.shape).join(", ");
  return new ApiError(
    400,
    "unknown_parameter",
    `The form has a file as ${JSON.stringify(param)}. Call the file's part file: -F file=@report.pdf. The other parts are texts: ${names}.`,
    { param },
  );
}
