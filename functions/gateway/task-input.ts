/**
 * What a task's request brings: JSON; a form with a file; or the file itself, with its content type. Files are read in a
 * Worker of their own, and pass through here as they come.
 */
import { Readable } from "node:stream";
import { Busboy } from "@fastify/busboy";
import type { Context, Next } from "hono";
import { bodyLimit } from "hono/body-limit";
import { parseTaskRun, type TaskRun } from "../../src/api/task-run.ts";
import { ApiError } from "../../src/api-error.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import type { TaskDefinition } from "../../src/tenancy/task-definition.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readJson } from "./body.ts";
import { type GivenFile, readFile } from "./reader.ts";

export interface TaskAsk {
  run: TaskRun;
  /** Of the file that came as a form's part, or as the body. */
  content: Content | null;
}

const MOST_FIELDS = 32;

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

/** @throws ApiError 400 `invalid_json`, `invalid_body`, `missing_file` and as `parseWith`; as {@link readFile} */
export async function readAsk(c: Context<GatewayEnv>, definition: TaskDefinition): Promise<TaskAsk> {
  const type = c.req.header("content-type") ?? "";
  const media = mediaTypeOf(c);
  if (JSON_TYPES.includes(media)) return { run: parseTaskRun(await readJson(c.req.raw)), content: null };
  if (media === "multipart/form-data") return readForm(c, definition, type);
  const { body } = c.req.raw;
  if (!body) throw new ApiError(400, "missing_file", "The body is empty. Send the file, or JSON.");
  const fields = fieldsOf(Object.entries(c.req.query()));
  const filename = c.req.header("x-filename");
  if (media !== "text/plain") {
    const run = parseTaskRun(fields);
    return { run, content: await readFile(c, definition, { stream: body, type, filename }) };
  }
  const bytes = await c.req.arrayBuffer();
  const text = utf8Of(bytes);
  // What JavaScript's fetch calls a string: an object is a request, whatever it is called.
  const json = text === null ? null : jsonOr(text);
  if (typeof json === "object" && json !== null && !Array.isArray(json))
    return { run: parseTaskRun(json), content: null };
  if (text !== null && definition.input !== "table" && definition.input !== "image") {
    return { run: parseTaskRun({ ...fields, input: text }), content: null };
  }
  const stream = new Blob([bytes]).stream();
  return { run: parseTaskRun(fields), content: await readFile(c, definition, { stream, type, filename }) };
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

async function readForm(c: Context<GatewayEnv>, definition: TaskDefinition, type: string): Promise<TaskAsk> {
  const { body } = c.req.raw;
  if (!body || !/;\s*boundary=/i.test(type)) throw notAForm();
  const fields = new Map<string, string>();
  let reading: Promise<Content> | null = null;
  const limits = { fieldSize: c.env.MAX_BODY_BYTES, fields: MOST_FIELDS, files: 1 };
  const parser = Busboy({ headers: { "content-type": type }, limits });
  parser.on("field", (name, value) => fields.set(name, value));
  parser.on("file", (name, stream, filename, _encoding, fileType) => {
    if (name !== "file") return void stream.resume();
    const file: GivenFile = { stream: Readable.toWeb(stream) as never, type: fileType, filename };
    reading = readFile(c, definition, file);
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
    // What the reader said comes first: it broke the form off.
    await (reading as Promise<Content> | null);
    throw notAForm(cause);
  }
  return { run: parseTaskRun(fieldsOf(fields)), content: await (reading as Promise<Content> | null) };
}

function notAForm(cause?: unknown): ApiError {
  return new ApiError(400, "invalid_body", "The form was cut off, or is none. Send it again: -F file=@report.pdf.", {
    cause,
  });
}
