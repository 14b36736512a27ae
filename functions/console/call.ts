/** One call of `POST /v1/tasks/{name}`: what is sent, and the same in a shell and in TypeScript. */
import type { TaskInput } from "../../src/tenancy/task-request.ts";

export interface Call {
  /** `https://edge-t5.example.org` */
  origin: string;
  task: string;
  /** Null where a file is given in its place. */
  input: TaskInput | null;
  file: { name: string; type: string } | null;
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
export function formFields({ fields }: Call): [name: string, value: string][] {
  return Object.entries(fields).map(([name, value]) => [
    name,
    typeof value === "string" && !isJson(value) ? value : JSON.stringify(value),
  ]);
}

export function curlOf(call: Call): string {
  const { file, fields } = call;
  const content = file
    ? [
        `-F ${shellWord(`file=@${curlFile(file.name)}${file.type && `;type=${file.type}`}`)}`,
        ...formFields(call).map(([name, value]) => `--form-string ${shellWord(`${name}=${value}`)}`),
      ]
    : ["-H 'content-type: application/json'", `-d ${shellWord(JSON.stringify(bodyOf(call)))}`];
  const command = `curl ${fields.stream ? "-N " : ""}${shellWord(urlOf(call))}`;
  return [command, `-H "authorization: Bearer $${KEY}"`, ...content].join(" \\\n  ");
}

export function typeScriptOf(call: Call): string {
  const { file, fields } = call;
  const form = file && [
    'import { openAsBlob } from "node:fs";',
    "",
    "const body = new FormData();",
    `body.append("file", await openAsBlob(${literal(file.name)}${file.type && `, { type: ${literal(file.type)} }`}), ${literal(file.name)});`,
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
  '    else console.log("\\n", told);',
  "  }",
  "}",
];

/** With OpenAI's client, to which a task's name is a model's; null where its shape has no place for the call. */
export function openAiOf({ origin, task, input, fields: { explain: _, stream, ...fields } }: Call): string | null {
  if (typeof input !== "string") return null;
  const request = literal({ model: task, prompt: input, ...(stream && { stream }), ...fields });
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

/** A file's name as `curl -F` reads it: quoted where it would end at a comma or semicolon. */
function curlFile(name: string): string {
  return /[",;\\]/.test(name) ? `"${name.replaceAll(/["\\]/g, "\\$&")}"` : name;
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
