/** The page's samples: run as they stand, they send what the page sends. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SCRIPT } from "../../functions/console/build/script.ts";
import { bundleConsole } from "../../functions/console/build.ts";
import {
  bodyOf,
  type Call,
  curlOf,
  formFields,
  openAiOf,
  shellWord,
  typeScriptOf,
} from "../../functions/console/call.ts";

import { EXAMPLES } from "../../functions/console/examples.ts";
import { DEMO_TASKS } from "../../src/local/demo.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const KEY = "et5_0123456789";
const ODD = 'It\'s "odd": $HOME `id` \\n\n@ü– 100% <&>!';

interface Received {
  url: string;
  key: string;
  /** A JSON body, or a form's texts; a file as `name;type;text`. */
  content: unknown;
}

let server: Server;
let origin: string;
let received: Received[];
let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "edge-t5-console-"));
  // Where the samples find the openai client.
  await symlink(join(ROOT, "node_modules"), join(dir, "node_modules"));
  server = createServer(async (request, response) => {
    const { url = "", method = "" } = request;
    const sent = new Request(new URL(url, origin), {
      method,
      headers: request.headers as Record<string, string>,
      body: new Uint8Array(await buffer(request)),
    });
    const isForm = sent.headers.get("content-type")?.startsWith("multipart/form-data");
    const content = isForm ? await formOf(await sent.formData()) : await sent.json();
    received.push({ url, key: sent.headers.get("authorization") ?? "", content });
    const isStreamed = isForm ? (content as { stream?: string }).stream === "true" : content.stream === true;
    response.setHeader("content-type", isStreamed ? "text/event-stream" : "application/json");
    if (!isStreamed) return response.end(JSON.stringify({ output: "Das Haus.", choices: [{ text: "Das Haus." }] }));
    const events = [
      { text: "Das", choices: [{ text: "Das" }] },
      { text: " Haus.", choices: [{ text: " Haus." }] },
    ];
    for (const event of [...events, { usage: { total_tokens: 3 }, choices: [] }]) {
      response.write(`data: ${JSON.stringify(event)}\n\n`);
    }
    response.end("data: [DONE]\n\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.close();
  await rm(dir, { recursive: true, force: true });
});

async function formOf(form: FormData): Promise<Record<string, string>> {
  const told = [...form].map(async ([name, value]) =>
    typeof value === "string" ? [name, value] : [name, `${value.name};${value.type};${await value.text()}`],
  );
  return Object.fromEntries(await Promise.all(told));
}

async function shell(command: string): Promise<string> {
  received = [];
  const env = { ...process.env, EDGE_T5_KEY: KEY };
  return (await promisify(execFile)("sh", ["-c", command.replace(/^curl/, "curl -sS")], { cwd: dir, env })).stdout;
}

async function node(program: string): Promise<string> {
  await writeFile(join(dir, "sample.ts"), program);
  return shell(`${shellWord(process.execPath)} sample.ts`);
}

const asking = (call: Partial<Call>): Call => ({
  ...{ origin, task: "translate-de", input: "The house.", file: null, fields: {} },
  ...call,
});

describe("a text, fields, parameters", () => {
  test.each([
    ["a text", {}],
    ["streamed", { fields: { stream: true } }],
    ["odd characters", { input: ODD, fields: { num_beams: 4, stop: "'" } }],
    ["several fields", { task: "any.where", input: { language: "German", text: ODD }, fields: { explain: true } }],
  ] as const)("%s", async (_, given) => {
    const call = asking(given);
    const expected = [{ url: `/v1/tasks/${call.task}`, key: `Bearer ${KEY}`, content: bodyOf(call) }];
    expect(await shell(curlOf(call))).toContain("Haus.");
    expect(received).toEqual(expected);
    expect(await node(typeScriptOf(call))).toContain("Das Haus.");
    expect(received).toEqual(expected);
  });

  test("OpenAI's client", async () => {
    for (const fields of [{ stream: true, num_beams: 4, explain: true }, { max_tokens: 3 }]) {
      const sample = openAiOf(asking({ input: ODD, fields }));
      expect(await node(sample ?? "")).toContain("Das Haus.");
      const { explain: _, ...sent } = fields as Record<string, unknown>;
      const content = { model: "translate-de", prompt: ODD, ...sent };
      expect(received).toEqual([{ url: "/v1/completions", key: `Bearer ${KEY}`, content }]);
    }
    expect(openAiOf(asking({ input: { text: "a" } }))).toBeNull();
    expect(openAiOf(asking({ input: null }))).toBeNull();
  });
});

test.each([
  ["report.csv", "text/csv"],
  ['it\'s; a, "new" one@2.pdf', "application/pdf"],
  ["untyped", ""],
])("a file: %s", async (name, type) => {
  await writeFile(join(dir, name), "a,b\n1,2\n");
  const attached = { name, type, content: new Blob(), text: null };
  const call = asking({ input: null, file: attached, fields: { stream: true, seed: 7, stop: "12", echo: "@x" } });
  expect(formFields(call)).toEqual([
    ["stream", "true"],
    ["seed", "7"],
    ["stop", '"12"'],
    ["echo", "@x"],
  ]);
  const file = `${name};${type || "application/octet-stream"};a,b\n1,2\n`;
  const content = { file, stream: "true", seed: "7", stop: '"12"', echo: "@x" };
  const expected = [{ url: "/v1/tasks/translate-de", key: `Bearer ${KEY}`, content }];
  await shell(curlOf(call));
  expect(received).toEqual(expected);
  await node(typeScriptOf(call));
  expect(received).toEqual(expected);
});

test("a table that was written, beside another field: a file by standard input", async () => {
  const text = `name,says\nAda,"${ODD}"\nEND\n`;
  const file = { name: "table.csv", type: "text/csv", content: new Blob([text]), text };
  const call = asking({ input: { question: ODD }, file });
  const content = { file: `table.csv;text/csv;${text}`, input: JSON.stringify({ question: ODD }) };
  const expected = [{ url: "/v1/tasks/translate-de", key: `Bearer ${KEY}`, content }];
  await shell(curlOf(call));
  expect(received).toEqual(expected);
  await node(typeScriptOf(call));
  expect(received).toEqual(expected);
});

test("the first run's tasks have examples", () => {
  expect(DEMO_TASKS.map(({ template, example }) => [template, example])).toEqual(Object.entries(EXAMPLES));
});

test("a shell's words are what they were", async () => {
  const text = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\0", ""));
  await fc.assert(
    fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 50 }), async (texts) => {
      const said = await shell(`printf '%s\\0' ${texts.map(shellWord).join(" ")}`);
      expect(said.split("\0").slice(0, -1)).toEqual(texts);
    }),
    { numRuns: 20 },
  );
});

test("the script that is served is of these sources: npm run build makes it anew", async () => {
  expect(SCRIPT === (await bundleConsole())).toBe(true);
});
