/**
 * What a task's request brings: JSON; a form with a file; or the file itself, with its content type. Files are read in a
 * Worker of their own, and pass through here as they come.
 */
import type { Context, Next } from "hono";
import { bodyLimit } from "hono/body-limit";
import { parseTaskRun, type TaskRun } from "../../src/api/task-run.ts";
import { ApiError } from "../../src/api-error.ts";
import { type FileKind, isTextKind, sniff } from "../../src/readers/sniff.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import { isContentKind } from "../../src/tenancy/task-definition.ts";
import { exampleOf, takesNoFile } from "../../src/tenancy/task-example.ts";
import type { Task } from "../../src/tenancy/tasks.ts";
import type { GatewayEnv } from "./bindings.ts";
import { type GivenFile, readFile } from "./reader.ts";
import { readForm, twice } from "./task-form.ts";

export interface TaskAsk {
  run: TaskRun;
  /** Of the file that came as a form's part, or as the body. */
  content: Content | null;
}

const JSON_TYPES = [
  "",
  "application/json",
  /* as curl calls what it was given with -d */ "application/x-www-form-urlencoded",
];

function mediaTypeOf(c: Context<GatewayEnv>): string {
  return (c.req.header("content-type") ?? "").toLowerCase().split(";", 1)[0]?.trim() ?? "";
}

/** Whether the request's body is a file, or a form with one. */
export function bringsFile(c: Context<GatewayEnv>): boolean {
  return c.req.method === "POST" && c.req.path.startsWith("/v1/tasks/") && !JSON_TYPES.includes(mediaTypeOf(c));
}

/** Files stream through: the reader counts what comes, and what says that it is longer does not begin. Texts are counted here. */
export function limitFile(c: Context<GatewayEnv>, next: Next) {
  const most = c.env.MAX_DOCUMENT_BYTES;
  const onError = () => {
    throw new ApiError(413, "request_too_large", `A task's file may have up to ${most} bytes. Send a smaller one.`);
  };
  if (mediaTypeOf(c) === "text/plain") return bodyLimit({ maxSize: most, onError })(c, next);
  return Number(c.req.header("content-length") ?? 0) <= most + c.env.MAX_BODY_BYTES ? next() : onError();
}

/**
 * @throws ApiError 400 `invalid_json`, `missing_file`, `unknown_parameter` for a query that would be passed over,
 * `invalid_value` for a file that the task does not take, and as `parseTaskRun`, {@link readForm} and {@link readFile}
 */
export async function readAsk(c: Context<GatewayEnv>, task: Task): Promise<TaskAsk> {
  const { definition } = task;
  const media = mediaTypeOf(c);
  if (JSON_TYPES.includes(media)) {
    const run = parseTaskRun(await readObject(c, task));
    refuseQuery(c, "JSON");
    return { run, content: null };
  }
  const read = async (file: GivenFile, { languages }: TaskRun) => {
    if (!isContentKind(definition.input)) throw takesNoFile(task, "file");
    return readFile(c, definition, file, languages);
  };
  if (media === "multipart/form-data") {
    refuseQuery(c, "the form");
    const { fields, content } = await readForm(c.req.raw, c.env.MAX_BODY_BYTES, async (file, before) => {
      return read(file, parseTaskRun(fieldsOf(before)));
    });
    return { run: parseTaskRun(fieldsOf(fields)), content };
  }
  const { body } = c.req.raw;
  if (!body) throw new ApiError(400, "missing_file", "The body is empty. Send the file, or JSON.");
  const type = c.req.header("content-type") ?? "";
  const fields = fieldsOf(queryOf(c));
  const filename = c.req.header("x-filename");
  if (media !== "text/plain") {
    const run = parseTaskRun(fields);
    return { run, content: await read({ stream: body, type, filename }, run) };
  }
  const bytes = await c.req.arrayBuffer();
  const text = utf8Of(bytes);
  // What JavaScript's fetch calls a string: an object is a request, whatever it is called.
  const json = text === null ? null : jsonOr(text);
  if (typeof json === "object" && json !== null && !Array.isArray(json)) {
    const run = parseTaskRun(json);
    refuseQuery(c, "JSON");
    return { run, content: null };
  }
  if (text !== null && definition.input !== "table" && definition.input !== "image") {
    return { run: parseTaskRun({ ...fields, input: text }), content: null };
  }
  if (!isContentKind(definition.input)) {
    throw new ApiError(400, "invalid_value", "The body is no UTF-8 text. Send it in UTF-8.", { param: "input" });
  }
  const run = parseTaskRun(fields);
  return { run, content: await read({ stream: new Blob([bytes]).stream(), type, filename }, run) };
}

/** @throws ApiError 400 `invalid_value` for a field that is there twice */
function queryOf(c: Context<GatewayEnv>): [name: string, value: string][] {
  return Object.entries(c.req.queries()).map(([name, [value = "", ...more]]) => {
    if (more.length > 0) throw twice("query", name);
    return [name, value];
  });
}

/** What stands in the query of a request whose fields are elsewhere would be passed over. @throws ApiError 400 */
function refuseQuery(c: Context<GatewayEnv>, place: string): void {
  const [name] = Object.keys(c.req.query());
  if (name === undefined) return;
  const message = `${name} is in the query, which is for a file as the body. Put it into ${place}.`;
  throw new ApiError(400, "unknown_parameter", message, { param: name });
}

/** JSON as the body; a file that is sent as such, as curl does unless it is told the type, is told what to say. */
async function readObject(c: Context<GatewayEnv>, task: Task): Promise<unknown> {
  const bytes = new Uint8Array(await c.req.arrayBuffer());
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw notJson(bytes, task);
  }
  if (!Array.isArray(json)) return json;
  throw new ApiError(
    400,
    "invalid_type",
    'The body is a list, and a request is an object: {"input": …}. Rows of a table are {"input": {"rows": […]}}.',
  );
}

/** Null where it is not UTF-8. */
function utf8Of(bytes: ArrayBuffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    return null;
  }
}

/** A form's fields and a query's are JSON where they can be, else texts. */
function fieldsOf(entries: Iterable<readonly [string, string]>): Record<string, unknown> {
  return Object.fromEntries([...entries].map(([name, value]) => [name, jsonOr(value)]));
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Content types of files, and what people call them. */
const FILES: Partial<Record<FileKind, readonly [type: string, name: string]>> = {
  pdf: ["application/pdf", "a PDF"],
  docx: ["application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a Word document"],
  xlsx: ["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "an Excel workbook"],
  png: ["image/png", "a PNG image"],
  jpeg: ["image/jpeg", "a JPEG image"],
  webp: ["image/webp", "a WebP image"],
  tiff: ["image/tiff", "a TIFF image"],
  html: ["text/html", "HTML"],
  markdown: ["text/markdown", "Markdown"],
  csv: ["text/csv", "CSV"],
  tsv: ["text/tab-separated-values", "tab-separated values"],
  jsonl: ["application/jsonl", "JSON lines"],
  eml: ["message/rfc822", "a mail"],
};

function notJson(bytes: Uint8Array, task: Task): ApiError {
  const kind = kindOf(bytes);
  if (kind !== null && !isTextKind(kind) && !isContentKind(task.definition.input)) return takesNoFile(task, "file");
  const file = kind && FILES[kind];
  const fix = file
    ? `it looks like ${file[1]}. Say so, -H 'content-type: ${file[0]}', or send it as a form: -F file=@FILE`
    : `send ${exampleOf(task)}. A file goes with a content-type of its own, or as a form: -F file=@FILE`;
  return new ApiError(400, "invalid_json", `The body is not JSON: ${fix}.`);
}

function kindOf(bytes: Uint8Array): FileKind | null {
  try {
    return sniff(bytes);
  } catch {
    return null;
  }
}
