/** One call of `POST /v1/tasks/{name}`: what is sent, and the same in a shell and in TypeScript. */

/** A text where a template has one field, else its fields by name. */
export type Input = string | Readonly<Record<string, string>>;

/** A file, or a text that is sent as one. */
export interface Attached {
  name: string;
  type: string;
  content: Blob;
  /** Of a text that lies in no file. */
  text: string | null;
}

export interface Call {
  /** `https://edge-t5.example.org` */
  origin: string;
  task: string;
  /** Null where a file is all there is. */
  input: Input | null;
  file: Attached | null;
  /** Beside the input: `stream`, and parameters. */
  fields: Readonly<Record<string, string | number | boolean>>;
}

/** Where a key is read from in the samples. */
const KEY = "EDGE_T5_KEY";

export function urlOf({ origin, task }: Call): string {
  return `${origin}/v1/tasks/${encodeURIComponent(task)}`;
}

export function bodyOf({ input, fields }: Call): object {
  return { ...(input !== null && { input }), ...fields };
}

/** A form's fields are read as JSON where they are JSON: a text that would be is sent as JSON's. */
export function formFields(call: Call): [name: string, value: string][] {
  return Object.entries(bodyOf(call)).map(([name, value]) => [
    name,
    typeof value === "string" && !isJson(value) ? value : JSON.stringify(value),
  ]);
}

export function curlOf(call: Call): string {
  const { file, fields } = call;
  const content = file
    ? [
        `-F ${shellWord(`file=${curlFile(file)}${file.type && `;type=${file.type}`}`)}`,
        ...formFields(call).map(([name, value]) => `--form-string ${shellWord(`${name}=${value}`)}`),
      ]
    : ["-H 'content-type: application/json'", `-d ${shellWord(JSON.stringify(bodyOf(call)))}`];
  const command = `curl ${fields.stream ? "-N " : ""}${shellWord(urlOf(call))}`;
  const whole = [command, `-H "authorization: Bearer $${KEY}"`, ...content].join(" \\\n  ");
  return file?.text == null ? whole : `${whole} ${hereDocument(file.text)}`;
}

export function typeScriptOf(call: Call): string {
  const { file, fields } = call;
  const type = file?.type ? `, { type: ${literal(file.type)} }` : "";
  const form = file && [
    ...(file.text === null ? ['import { openAsBlob } from "node:fs";', ""] : []),
    "const body = new FormData();",
    file.text === null
      ? `body.append("file", await openAsBlob(${literal(file.name)}${type}), ${literal(file.name)});`
      : `body.append("file", new Blob([${literal(file.text)}]${type}), ${literal(file.name)});`,
    ...formFields(call).map(([name, value]) => `body.append(${literal(name)}, ${literal(value)});`),
    "",
  ];
  return [
    ...(form ?? []),
    `const response = await fetch(${literal(urlOf(call))}, {`,
    '  method: "POST",',
    ...(form
      ? [`  headers: { authorization: \`Bearer \${process.env.${KEY}}\` },`, "  body,"]
      : [
          `  headers: { authorization: \`Bearer \${process.env.${KEY}}\`, "content-type": "application/json" },`,
          `  body: JSON.stringify(${literal(bodyOf(call))}),`,
        ]),
    "});",
    ...(fields.stream ? READ_STREAM : READ_WHOLE),
  ].join("\n");
}

const READ_WHOLE = [
  "const answer = await response.json();",
  "if (!response.ok) throw new Error(answer.error.message);",
  "console.log(answer);",
];

const READ_STREAM = [
  "if (!response.ok || !response.body) throw new Error((await response.json()).error.message);",
  'let rest = "";',
  "for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {",
  '  const events = (rest + piece).split("\\n\\n");',
  '  rest = events.pop() ?? "";',
  "  for (const event of events) {",
  '    if (event === "data: [DONE]") break;',
  '    const { text, error, ...told } = JSON.parse(event.slice("data: ".length));',
  "    if (error) throw new Error(error.message);",
  "    if (text !== undefined) process.stdout.write(text);",
  '    else if (told.object !== "task.progress") console.log("\\n", told);',
  "  }",
  "}",
];

/** With OpenAI's client, to which a task's name is a model's; null where its shape has no place for the call. */
export function openAiOf({ origin, task, input, fields }: Call): string | null {
  if (typeof input !== "string") return null;
  const { stream, explain: _, words: __, ...parameters } = fields;
  const request = literal({ model: task, prompt: input, ...(stream && { stream }), ...parameters });
  return [
    'import OpenAI from "openai";',
    "",
    `const edge = new OpenAI({ baseURL: ${literal(`${origin}/v1`)}, apiKey: process.env.${KEY} });`,
    ...(stream
      ? [
          `const stream = await edge.completions.create(${request});`,
          'for await (const { choices } of stream) process.stdout.write(choices[0]?.text ?? "");',
        ]
      : [
          `const { choices } = await edge.completions.create(${request});`,
          "for (const { text } of choices) console.log(text);",
        ]),
  ].join("\n");
}

/** A word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A file as `curl -F` reads it, its name quoted where it would end at a comma or semicolon; a text comes by standard input. */
function curlFile({ name, text }: Attached): string {
  const quoted = /[",;\\]/.test(name) ? `"${name.replaceAll(/["\\]/g, "\\$&")}"` : name;
  return text === null ? `@${quoted}` : `@-;filename=${quoted}`;
}

/** @param text ends with a line's end */
function hereDocument(text: string): string {
  let end = "END";
  while (text.split("\n").includes(end)) end += "_";
  return `<<'${end}'\n${text}${end}`;
}

/** JSON's value as it is written in a program: names that need no quotes have none. */
function literal(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(
    ([name, own]) => `${/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)}: ${literal(own)}`,
  );
  return `{ ${entries.join(", ")} }`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
