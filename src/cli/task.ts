/** `edge-t5 task put|list|show|delete` */
import { readFile } from "node:fs/promises";
import { type ArgsDef, defineCommand } from "citty";
import { EdgeT5Error } from "../errors.ts";
import { wholeNumber } from "./arguments.ts";
import { controlPlane, controlPlaneOptions, listAll } from "./control-plane.ts";
import { given, limitOf, listOf } from "./limit-options.ts";
import { formatTable, printJson } from "./output.ts";

interface Task {
  id: string;
  version: number;
  created_at: string;
  fields: string[];
  definition: { model: string; template: string; labels: string[] | null; adapter: string | null };
}

const tenant = { type: "positional", required: true, description: "The tenant's id" } as const;
const name = { type: "positional", required: true, description: "The task's name" } as const;
const ifMatch = {
  "if-match": { type: "string", valueHint: "version", description: "Refuse when the task is at another version" },
} as const;
const common = {
  ...controlPlaneOptions,
  json: { type: "boolean", description: "Print one JSON object instead of text" },
} as const satisfies ArgsDef;

const definition = {
  model: { type: "string", description: "The model's name" },
  template: { type: "string", description: "The model's input, with fields in braces: 'summarize: {input}'" },
  input: {
    type: "string",
    valueHint: "kind",
    description: "What the only field, or the one called so, takes: text, table, document or image",
  },
  table: { type: "string", valueHint: "json", description: 'A table\'s form and columns: {"form":"totto"}' },
  image: { type: "string", valueHint: "json", description: 'What is read of images: {"languages":["deu"]}' },
  long: {
    type: "string",
    valueHint: "how",
    description: "Texts longer than the model takes: by sentences, sections or windows; or refuse",
  },
  words: { type: "string", valueHint: "n", description: "Of a summary by sections" },
  labels: { type: "string", valueHint: "a,b", description: "Answer with one of these, and scores" },
  generation: {
    type: "string",
    valueHint: "json",
    description: 'How to generate, in Hugging Face\'s names: {"num_beams":4}',
  },
  overridable: { type: "string", valueHint: "a,b", description: "Parameters that requests may give: max_tokens,seed" },
  adapter: { type: "string", description: "One of the tenant's adapters, or none" },
  "max-input-tokens": { type: "string", valueHint: "n", description: "Longest input" },
  "max-output-tokens": { type: "string", valueHint: "n", description: "Longest answer" },
  placement: {
    type: "string",
    valueHint: "json",
    description: 'Where it runs: {"run":"origin"}, or the bounds of the edge: {"edge":{"inputs":4}}',
  },
  "cache-seconds": { type: "string", valueHint: "n", description: "Give the same answer again for so long" },
} as const satisfies ArgsDef;

type DefinitionArgs = { [Name in keyof typeof definition]?: string | undefined };

export const put = defineCommand({
  meta: { name: "put", description: "Define a task, or change it: a new version, where it differs" },
  args: {
    tenant,
    name,
    file: { type: "string", valueHint: "file", description: "The definition as JSON; options below go over it" },
    ...definition,
    ...ifMatch,
    ...common,
  },
  async run({ args }) {
    const base = args.file === undefined ? {} : await readDefinition(args.file);
    const body = { ...base, ...definitionOf(args) };
    const { request } = await controlPlane(args);
    const path = pathOf(args.tenant, args.name);
    const task = (await request("PUT", path, body, matchHeader(args["if-match"]))) as Task;
    if (args.json) return printJson(task);
    console.log(`${task.id} of ${args.tenant} is at version ${task.version}; its fields: ${task.fields.join(", ")}.`);
  },
});

export const list = defineCommand({
  meta: { name: "list", description: "List a tenant's tasks" },
  args: { tenant, ...common },
  async run({ args }) {
    const data = await listAll<Task>(await controlPlane(args), pathOf(args.tenant));
    if (args.json) return printJson({ data });
    if (data.length === 0) return console.log(`${args.tenant} has no tasks. Define one: edge-t5 task put --help.`);
    console.log(
      formatTable(
        ["TASK", "VERSION", "MODEL", "ADAPTER", "ANSWERS", "TEMPLATE"],
        data.map(({ id, version, definition: { model, adapter, labels, template } }) => [
          id,
          version,
          model,
          adapter ?? "",
          labels ? `${labels.length} labels` : "text",
          shorten(template),
        ]),
      ),
    );
  },
});

export const show = defineCommand({
  meta: { name: "show", description: "Show a task's definition, as task put --file takes it" },
  args: {
    tenant,
    name,
    version: { type: "string", valueHint: "n", description: "An earlier version; default: the newest" },
    ...common,
  },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const version =
      args.version === undefined ? "" : `?version=${wholeNumber("--version", args.version, 1, 999_999_999)}`;
    const task = (await request("GET", pathOf(args.tenant, args.name) + version)) as Task;
    if (args.json) return printJson(task);
    console.error(`${task.id} of ${args.tenant}, version ${task.version} of ${task.created_at}`);
    console.log(JSON.stringify(task.definition, null, 2));
  },
});

export const remove = defineCommand({
  meta: { name: "delete", description: "Delete a task; its versions stay readable" },
  args: { tenant, name, ...ifMatch, ...common },
  async run({ args }) {
    const { request } = await controlPlane(args);
    const path = pathOf(args.tenant, args.name);
    const deleted = (await request("DELETE", path, undefined, matchHeader(args["if-match"]))) as { version: number };
    if (args.json) return printJson(deleted);
    console.log(
      `${args.name} of ${args.tenant} is deleted (version ${deleted.version}); edge-t5 task show --version reads what it was.`,
    );
  },
});

function pathOf(tenant: string, task?: string): string {
  const path = `/admin/tenants/${encodeURIComponent(tenant)}/tasks`;
  return task === undefined ? path : `${path}/${encodeURIComponent(task)}`;
}

function matchHeader(version: string | undefined): Record<string, string> {
  return version === undefined ? {} : { "if-match": String(wholeNumber("--if-match", version, 1, 999_999_999)) };
}

/** @throws EdgeT5Error `E_USAGE` for what is no JSON object */
async function readDefinition(file: string): Promise<object> {
  return parseObject(`--file ${file}`, await readFile(file, "utf8"));
}

function definitionOf(args: DefinitionArgs) {
  const seconds = limitOf("--cache-seconds", args["cache-seconds"]);
  return given({
    model: args.model,
    template: args.template,
    input: args.input,
    table: args.table === undefined ? undefined : parseObject("--table", args.table),
    image: args.image === undefined ? undefined : parseObject("--image", args.image),
    long: args.long,
    words: limitOf("--words", args.words),
    labels: listOf("--labels", args.labels),
    generation: args.generation === undefined ? undefined : parseObject("--generation", args.generation),
    overridable: listOf("--overridable", args.overridable),
    adapter: args.adapter === "none" ? null : args.adapter,
    max_input_tokens: limitOf("--max-input-tokens", args["max-input-tokens"]),
    max_output_tokens: limitOf("--max-output-tokens", args["max-output-tokens"]),
    placement: args.placement === undefined ? undefined : parseObject("--placement", args.placement),
    cache:
      seconds === undefined
        ? undefined
        : seconds === null
          ? { policy: "none" }
          : { policy: "answers", ttl_seconds: seconds },
  });
}

function parseObject(what: string, text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw new EdgeT5Error("E_USAGE", `${what} is no JSON object. Write {"name": value}.`);
}

/** On one line of a table. */
function shorten(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > 50 ? `${line.slice(0, 49)}…` : line;
}
