/** What `edge-t5 generate --task` is given: a file, JSON of the task's fields or a text, and fields beside it. */
import { readFile, stat } from "node:fs/promises";
import { EdgeT5Error } from "../errors.ts";
import { contentOfPages } from "../readers/image/ocr.ts";
import { imageFormat } from "../readers/image/size.ts";
import { createOcrThread } from "../readers/image/thread.ts";
import { readContent } from "../readers/index.ts";
import { parseTemplate } from "../t5/template.ts";
import type { Content } from "../t5/text-to-text/content.ts";
import { isContentKind, type TaskDefinition } from "../tenancy/task-definition.ts";
import type { TaskInput } from "../tenancy/task-request.ts";
import type { TaskRun } from "./task-run-options.ts";

/** One word that ends as files do that are read here. */
const NAMES_A_FILE = /^\S+\.(?:pdf|docx|xlsx|csv|tsv|json|html?|md|eml|txt|png|jpe?g|webp|tiff?)$/i;

/** What stands in a task's fields: a file where one is given, and the others. */
export interface GivenInput {
  input: TaskInput | null;
  content: Content | null;
}

/**
 * What an input is: a file's path, JSON of a task's fields, or a text.
 *
 * @param given what the fields beside it leave open; empty where they are all
 * @throws EdgeT5Error `E_USAGE` for fields that do not fit; `E_INPUT` for a file that is not there, or that the task does not
 * take, and as `readContent`
 */
export async function taskInputOf(
  given: string,
  { name, definition, fields }: Pick<TaskRun, "name" | "definition" | "fields">,
  signal: AbortSignal,
): Promise<GivenInput> {
  const names = parseTemplate(definition.template).fields;
  const unknown = Object.keys(fields).find((each) => !names.includes(each));
  if (unknown !== undefined) {
    throw new EdgeT5Error("E_USAGE", `--field ${unknown} is none of --task ${name}, which has ${names.join(", ")}.`);
  }
  const hasFields = Object.keys(fields).length > 0;
  if (given === "") return { input: fields, content: null };
  const found = given.length < 4096 ? await stat(given).catch(() => null) : null;
  if (found?.isFile()) {
    if (!isContentKind(definition.input)) throw takesNoFile(name, definition);
    // Not Node's Buffer: pdf.js refuses it.
    const bytes = new Uint8Array(await readFile(given));
    return { input: hasFields ? fields : null, content: await readAny(bytes, given, definition, signal) };
  }
  if (found || NAMES_A_FILE.test(given)) {
    throw new EdgeT5Error("E_INPUT", `${given} is no file. Name one, or send a text that looks like it on stdin: -.`);
  }
  const json = definition.input === "text" ? null : objectOr(given);
  if (!hasFields) return { input: json ?? given, content: null };
  if (json && names.some((each) => Object.hasOwn(json, each))) return { input: together(json, fields), content: null };
  const open = names.filter((each) => !Object.hasOwn(fields, each));
  const [only] = open;
  if (only === undefined || open.length > 1) {
    const which = only === undefined ? "--field gives all of them" : `--field leaves open ${open.join(" and ")}`;
    throw new EdgeT5Error(
      "E_USAGE",
      `PROMPT is one field of --task ${name}, which has ${names.join(", ")}; ${which}. Give one of them as PROMPT, the others by --field.`,
    );
  }
  return { input: { ...fields, [only]: json ?? given }, content: null };
}

function takesNoFile(name: string, { input }: TaskDefinition): EdgeT5Error {
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
