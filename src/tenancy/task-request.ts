/** A request of a task: the model's texts of its inputs, and how they are generated under the task's rules. */

import * as z from "zod";
import { type Generation, type GenerationFields, resolveGeneration } from "../api/generation.ts";
import { parseWith } from "../api/parse.ts";
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import { readJsonValue } from "../readers/json-rows.ts";
import type { GenerationParams } from "../t5/generation/config.ts";
import { fillTemplate, parseTemplate, type Template } from "../t5/template.ts";
import type { Content, Document, Table } from "../t5/text-to-text/content.ts";
import { documentParts, documentText, textOfParts } from "../t5/text-to-text/document.ts";
import { type LongBounds, type Section, sectionsOf } from "../t5/text-to-text/long/index.ts";
import { linearizeTable } from "../t5/text-to-text/table.ts";
import { contentField, type InputKind, isContentKind, longField, OVERRIDABLE } from "./task-definition.ts";
import { takesNoFile } from "./task-example.ts";
import { type TableChoice, tableText } from "./task-table.ts";
import type { Task } from "./tasks.ts";

export type { TableChoice } from "./task-table.ts";

/**
 * How the request is to be generated: its fields over the task's own, if there is one, over the model's.
 *
 * @throws ApiError 400 `parameter_not_allowed` for a field that the task keeps to itself, and as `resolveGeneration`
 */
export function generationUnder(
  task: Pick<Task, "name" | "definition"> | null,
  defaults: Partial<GenerationParams>,
  fields: GenerationFields,
): Generation {
  if (!task) return resolveGeneration(fields, defaults);
  const { overridable, generation } = task.definition;
  for (const name of OVERRIDABLE) {
    if (fields[name] == null || overridable.includes(name)) continue;
    const may = overridable.length > 0 ? `may give ${overridable.join(", ")}` : "may give no parameters";
    const fix = `Leave it out; or whoever owns the task lets requests give it: PUT /v1/tasks/${task.name} with ${name} in overridable`;
    throw new ApiError(
      400,
      "parameter_not_allowed",
      `The task ${task.name} keeps ${name} to itself: its requests ${may}. ${fix}.`,
      { param: name },
    );
  }
  return resolveGeneration(fields, { ...defaults, ...generation });
}

/** A task's input as JSON has it: a text for a template of one field, else the fields by name. */
export type TaskInput = string | Readonly<Record<string, unknown>>;

/** A task whose inputs become texts; its name is for errors. */
export type RenderedTask = Pick<Task, "definition"> & Partial<Pick<Task, "name">>;

/** Where inputs are more than text. */
export interface Sources {
  /** Of the file that came beside the input. */
  content?: Content | null | undefined;
  select?: TableChoice | undefined;
  /** Reads a file that stands in the input. */
  read?: ((file: InlineFile) => Promise<Content>) | undefined;
  /** For tables, whose rows are dropped from the end until they fit. */
  bounds: Pick<LongBounds, "count" | "maxInputTokens">;
}

/** A file inside of JSON. */
export interface InlineFile {
  bytes: Uint8Array<ArrayBuffer>;
  type: string | undefined;
  filename: string | undefined;
}

/** An input as the model is given it. */
export interface RenderedInput {
  /** All of it in one. */
  prompt: string;
  /** What goes piece by piece, where the task has it so. */
  long: LongInput | null;
  /** What was left out or guessed, for people. */
  notes: readonly string[];
}

export interface LongInput {
  mode: "sentences" | "sections" | "windows";
  text: string;
  /** Of a file. */
  document: Document | null;
  /** The document's, by `sections`. */
  sections: readonly Section[] | null;
  /** A piece's prompt. */
  fill: (text: string) => string;
}

/**
 * The model's texts of a task's inputs, which are texts.
 *
 * @throws ApiError 400 `invalid_type`, `missing_field`, `unknown_field`, `empty_prompt`
 */
export function promptsOf(task: RenderedTask, inputs: readonly TaskInput[], param: string): string[] {
  return renderTexts(task, inputs, param).map(({ prompt }) => prompt);
}

/** As {@link promptsOf}, for texts of any length. */
export function renderTexts(task: RenderedTask, inputs: readonly TaskInput[], param: string): RenderedInput[] {
  const { definition } = task;
  const template = parseTemplate(definition.template);
  return inputs.map((input, i) => {
    const at = inputs.length > 1 ? `${param}.${i}` : param;
    const given = fieldsOf(template, task, input, at);
    const texts = mapValues(given, (value, field) => textOf(value, field, at));
    return { prompt: fillTemplate(template, texts), long: longOf(template, definition, texts), notes: [] };
  });
}

/** What goes piece by piece; null where the task does not have it so, or there is no telling what. */
function longOf(
  template: Template,
  definition: Task["definition"],
  texts: Readonly<Record<string, string>>,
  document: Document | null = null,
): LongInput | null {
  const { long: mode } = definition;
  const field = longField(definition);
  if (mode === "refuse" || field === null) return null;
  const tableText = (table: Table) => linearizeTable(table, { form: "tapex" }).text;
  const sections = document && mode === "sections" ? sectionsOf(document, tableText) : null;
  const fill = (text: string) => fillTemplate(template, { ...texts, [field]: text });
  return { mode, text: texts[field] ?? "", document, sections, fill };
}

/**
 * As {@link promptsOf}, for inputs that may be tables, documents or images, and of any length.
 *
 * @param input null where all there is is a file
 * @throws ApiError also `missing_file`, and 400 `invalid_value` for what a table has no such part of; what `read` throws
 */
export async function renderInput(
  task: RenderedTask,
  input: TaskInput | null,
  param: string,
  sources: Sources,
): Promise<RenderedInput> {
  const { definition } = task;
  const template = parseTemplate(definition.template);
  const kind = definition.input;
  if (sources.select && kind !== "table") {
    throw new ApiError(
      400,
      "invalid_value",
      `Only a task whose input is "table" takes select; this one's is "${kind}". Leave it out.`,
      { param: "select" },
    );
  }
  const contentName = isContentKind(kind) ? contentField(definition.template, kind) : null;
  const given = fieldsOf(template, task, input ?? {}, param, sources.content ? contentName : null);
  const notes: string[] = [];
  const texts: Record<string, string> = {};
  let content: Content | string | null = null;
  for (const [field, value] of Object.entries(given)) {
    const isNamed = typeof input === "object" && input !== null && Object.hasOwn(input, field);
    if (field === contentName) content = await contentOf(value, kind, isNamed ? `${param}.${field}` : param, sources);
    else texts[field] = textOf(value, field, param);
  }
  if (contentName !== null && sources.content) content = sources.content;
  const fillWith = (field: string) => (text: string) => fillTemplate(template, { ...texts, [field]: text });
  let document: Document | null = null;
  if (contentName !== null && content !== null) {
    if (typeof content === "string") texts[contentName] = content;
    else if (content.kind === "tables") {
      const { table } = definition;
      const { select, bounds } = sources;
      const told = tableText(content, { table, select, fill: fillWith(contentName), bounds }, param);
      texts[contentName] = told.text;
      notes.push(...told.notes);
    } else {
      document = content.document;
      const isTranslated = definition.long === "sentences";
      texts[contentName] = isTranslated ? textOfParts(documentParts(document)) : documentText(document);
      notes.push(...content.notes);
    }
    if (texts[contentName]?.trim() === "") throw noText(content, param);
  }
  return { prompt: fillTemplate(template, texts), long: longOf(template, definition, texts, document), notes };
}

/** Of what its reader said of it: an image without writing, say. */
function noText(content: Content | string, param: string): ApiError {
  const notes = typeof content === "string" ? [] : content.notes;
  const why = notes.length > 0 ? notes.join(" ") : "Send one that has some.";
  return new ApiError(400, "empty_prompt", `There is no text in what ${param} was given. ${why}`, { param });
}

/** A task's fields by name, all of them and no others. @param elsewhere one that is given in another way */
function fieldsOf(
  { fields }: Template,
  task: RenderedTask,
  input: TaskInput,
  param: string,
  elsewhere: string | null = null,
): Record<string, unknown> {
  const { input: kind } = task.definition;
  const refuse = (code: string, message: string, at = param) => new ApiError(400, code, message, { param: at });
  const [only] = fields;
  if (typeof input === "string" && (fields.length > 1 || only === undefined)) {
    throw refuse("invalid_type", `${param} must be an object with the fields ${fields.join(", ")}: each a text.`);
  }
  const isValue = only !== undefined && fields.length === 1 && elsewhere === null;
  // What a lone field takes may stand in its place: rows, a file.
  const isAlone = isValue && isContentKind(kind) && typeof input !== "string" && !Object.hasOwn(input, only);
  const values: Readonly<Record<string, unknown>> =
    typeof input === "string" || isAlone ? { [only as string]: input } : input;
  const asked = fields.filter((field) => field !== elsewhere);
  for (const field of asked) {
    if (Object.hasOwn(values, field) && values[field] !== undefined) continue;
    if (Object.hasOwn(values, "file") && !isContentKind(kind)) throw takesNoFile(task, param);
    throw refuse("missing_field", `${param} has no ${field}. This task takes ${fields.join(", ")}.`);
  }
  const unknown = Object.keys(values).find((name) => !asked.includes(name));
  if (unknown !== undefined && unknown === elsewhere) {
    const own = typeof input === "string" ? param : `${param}.${unknown}`;
    throw refuse(
      "unknown_field",
      `The file and ${own} are both given for the task's field ${unknown}. Send one of the two.`,
      own,
    );
  }
  if (unknown !== undefined) {
    throw refuse(
      "unknown_field",
      `${param} has ${unknown}, which this task does not take. Its fields are ${fields.join(", ")}.`,
    );
  }
  return Object.fromEntries(asked.map((field) => [field, values[field]]));
}

function textOf(value: unknown, field: string, param: string): string {
  if (typeof value !== "string") {
    throw new ApiError(400, "invalid_type", `${field} of ${param} must be a text.`, { param: `${param}.${field}` });
  }
  if (value.trim() === "") {
    throw new ApiError(400, "empty_prompt", `${field} of ${param} is empty. Give it a text.`, { param });
  }
  return value;
}

const inlineFile = z.strictObject({
  data: z.base64(),
  content_type: z.string().max(200).optional(),
  filename: z.string().max(500).optional(),
});

async function contentOf(value: unknown, kind: InputKind, param: string, { read }: Sources): Promise<Content | string> {
  if (typeof value === "string") {
    if (kind === "document") return textOf(value, kind, param);
    const wanted = kind === "table" ? "its rows: {rows: […]}, or a file" : "a file";
    throw new ApiError(400, "invalid_type", `${param} must be ${wanted}, not a text.`, { param });
  }
  const isFile = typeof value === "object" && value !== null && Object.hasOwn(value, "file");
  if (isFile && read) {
    const { data, content_type, filename } = parseWith(
      inlineFile,
      (value as { file: unknown }).file,
      "a file",
      `${param}.file`,
    );
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    return read({ bytes, type: content_type, filename });
  }
  if (kind === "table") return tablesOf(value, param);
  const wanted = kind === "document" ? "a text, or a file" : "a file";
  const message = `${param} must be ${wanted}: {"file": {"data": …, "content_type": …}}, data in base64.`;
  throw new ApiError(400, "missing_file", message, { param });
}

function tablesOf(value: unknown, param: string): Content {
  try {
    return readJsonValue(value);
  } catch (error) {
    // A file would be at fault by its format, a field is by its value.
    if (!(error instanceof EdgeT5Error && error.code === "E_FORMAT")) throw error;
    throw new ApiError(400, "invalid_value", error.message, { param, cause: error });
  }
}

function mapValues<T, U>(record: Readonly<Record<string, T>>, map: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]));
}
