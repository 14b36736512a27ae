/** What `edge-t5 generate --task` is given: a file, JSON of the task's fields or a text, and fields beside it. */
import { readFile, stat } from "node:fs/promises";
import { EdgeT5Error } from "../errors.ts";
import { contentOfPages } from "../readers/image/ocr.ts";
import { imageFormat } from "../readers/image/size.ts";
import { createOcrThread } from "../readers/image/thread.ts";
import { readContent } from "../readers/index.ts";
import { parseTemplate } from "../t5/template.ts";
import type { Content } from "../t5/text-to-text/content.ts";
import { contentField, isContentKind, type TaskDefinition } from "../tenancy/task-definition.ts";
import type { TaskInput } from "../tenancy/task-request.ts";
import type { GivenPrompt } from "./stdin.ts";
import type { TaskRun } from "./task-run-options.ts";

/** One word that ends as files do that are read here. */
const NAMES_A_FILE = /^\S+\.(?:pdf|docx|xlsx|csv|tsv|json|html?|md|eml|txt|png|jpe?g|webp|tiff?)$/i;

/** What stands in a task's fields: a file where one is given, and the others. */
export interface GivenInput {
  input: TaskInput | null;
  content: Content | null;
}

/**
 * What an input is: a file or its path, JSON of a task's fields, or a text. A field that takes files may be a path, too.
 *
 * @param given what the fields beside it leave open; null where they are all
 * @throws EdgeT5Error `E_USAGE` for fields that do not fit; `E_INPUT` for a file that is not there, or that the task does not
 * take, and as `readContent`
 */
export async function taskInputOf(
  given: GivenPrompt | null,
  task: Pick<TaskRun, "name" | "definition" | "fields">,
  signal: AbortSignal,
): Promise<GivenInput> {
  const { name, definition } = task;
  const names = parseTemplate(definition.template).fields;
  const unknown = Object.keys(task.fields).find((each) => !names.includes(each));
  if (unknown !== undefined) {
    throw new EdgeT5Error("E_USAGE", `--field ${unknown} is none of --task ${name}, which has ${names.join(", ")}.`);
  }
  const file = given && (await fileOf(given, task));
  if (file) {
    if (!isContentKind(definition.input)) throw takesNoFile(name, definition, file.path);
    const hasFields = Object.keys(task.fields).length > 0;
    return { input: hasFields ? task.fields : null, content: await readAny(file.bytes, file.path, definition, signal) };
  }
  const { fields, content } = await withFile(task, signal);
  if (!given || "file" in given) return { input: fields, content };
  const hasFields = Object.keys(task.fields).length > 0;
  const json = definition.input === "text" ? null : objectOr(given.text);
  if (!hasFields) {
    if (!json && names.length > 1) refuseBroken(given.text);
    return { input: json ?? given.text, content };
  }
  if (json && names.some((each) => Object.hasOwn(json, each))) return { input: together(json, fields), content };
  const open = names.filter((each) => !Object.hasOwn(task.fields, each));
  const [only] = open;
  if (only === undefined || open.length > 1) {
    const which = only === undefined ? "--field gives all of them" : `--field leaves open ${open.join(" and ")}`;
    throw new EdgeT5Error(
      "E_USAGE",
      `PROMPT is one field of --task ${name}, which has ${names.join(", ")}; ${which}. Give one of them as PROMPT, the others by --field.`,
    );
  }
  return { input: { ...fields, [only]: json ?? given.text }, content };
}

interface FoundFile {
  bytes: Uint8Array<ArrayBuffer>;
  path: string | undefined;
}

/** The file that is on stdin, or at the path that was typed. */
async function fileOf(given: GivenPrompt, task: Pick<TaskRun, "definition" | "fields">): Promise<FoundFile | null> {
  if ("file" in given) return { bytes: given.file, path: undefined };
  if (given.from === "argument") return fileAt(given.text);
  const field = contentFieldOf(task.definition);
  // Rows are no text: JSON of fields, or a file.
  if (task.definition.input !== "table" || field === null || Object.hasOwn(task.fields, field)) return null;
  if (objectOr(given.text)) return null;
  return { bytes: new TextEncoder().encode(given.text), path: undefined };
}

/** Null for what is a text. @throws EdgeT5Error `E_INPUT` for what is only named as a file is */
async function fileAt(path: string): Promise<FoundFile | null> {
  const found = path.length < 4096 ? await stat(path).catch(() => null) : null;
  // Not Node's Buffer: pdf.js refuses it.
  if (found?.isFile()) return { bytes: new Uint8Array(await readFile(path)), path };
  if (!found && !NAMES_A_FILE.test(path)) return null;
  const what = found?.isDirectory() ? "a folder" : "no file";
  const fix = "Name a file, or send a text that looks like it on stdin: -";
  throw new EdgeT5Error("E_INPUT", `${path} is ${what}. ${fix}.`);
}

/** Whether a prompt without a task is a file's path. */
export async function isFilePath(prompt: string): Promise<boolean> {
  return NAMES_A_FILE.test(prompt) && (await stat(prompt).catch(() => null))?.isFile() === true;
}

function contentFieldOf({ template, input }: TaskDefinition): string | null {
  return isContentKind(input) ? contentField(template, input) : null;
}

/** The fields, and the file that one of them names. */
async function withFile(
  { definition, fields }: Pick<TaskRun, "definition" | "fields">,
  signal: AbortSignal,
): Promise<{ fields: Readonly<Record<string, string>>; content: Content | null }> {
  const field = contentFieldOf(definition);
  const { [field ?? ""]: path, ...others } = fields;
  const file = path === undefined ? null : await fileAt(path);
  if (!file) return { fields, content: null };
  return { fields: others, content: await readAny(file.bytes, file.path, definition, signal) };
}

function takesNoFile(name: string, { input }: TaskDefinition, path: string | undefined): EdgeT5Error {
  if (path === undefined) {
    return new EdgeT5Error(
      "E_INPUT",
      `What is on stdin is no text in UTF-8, and --task ${name} takes no file. Send a text, or name a task whose input is document.`,
    );
  }
  return new EdgeT5Error(
    "E_INPUT",
    `--task ${name} takes ${input === "pair" ? "texts" : "a text"}, no file: a definition whose input is document takes one, in the field of that name or in its only one. Change it, or send the text on stdin: -.`,
  );
}

/** Null for what is a text, be it one that begins with a brace. */
function objectOr(text: string): Readonly<Record<string, unknown>> | null {
  if (!/^\s*\{/.test(text)) return null;
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return null;
  }
}

/** Of a task of several fields. @throws EdgeT5Error `E_INPUT` for a text that was to be JSON */
function refuseBroken(text: string): void {
  if (!/^\s*\{\s*"/.test(text)) return;
  try {
    JSON.parse(text);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new EdgeT5Error("E_INPUT", `The input begins as JSON and is none: ${why}. Mend it.`, { cause });
  }
}

/** @throws EdgeT5Error `E_USAGE` */
function together(json: Readonly<Record<string, unknown>>, fields: Readonly<Record<string, string>>): TaskInput {
  const twice = Object.keys(fields).find((each) => Object.hasOwn(json, each));
  if (twice === undefined) return { ...json, ...fields };
  throw new EdgeT5Error("E_USAGE", `--field ${twice} is in PROMPT, too. Drop one of the two.`);
}

/** A file's content, as the task takes it. @throws EdgeT5Error as `readContent` */
export async function readAny(
  bytes: Uint8Array<ArrayBuffer>,
  filename: string | undefined,
  { input, image }: TaskDefinition,
  signal: AbortSignal,
): Promise<Content> {
  if (imageFormat(bytes)) {
    if (image.read === "caption") {
      throw new EdgeT5Error(
        "E_INPUT",
        "Captions are made by a deployment's Workers AI, not here. Set image.read to text.",
      );
    }
    const ocr = createOcrThread();
    try {
      return contentOfPages(await ocr.recognize(bytes, { languages: image.languages, signal }), image.languages);
    } finally {
      ocr.release();
    }
  }
  return readContent(bytes, { filename, as: input === "table" ? "table" : "document", signal });
}
