/** Tasks for tables and documents: as JSON, as a form, as the body; and texts that are longer than the model takes. */
import { beforeAll, describe, expect, test } from "vitest";
import { taskCache } from "../../src/tenancy/tasks.ts";
import { type ErrorBody, makeKey, putModel, send, sendAs } from "./isolate.ts";

interface Result {
  output?: string;
  label?: string;
  scores?: { label: string; score: number }[];
  results?: Result[];
  notes?: string[];
  explain?: { inputs: string[]; total: number; notes?: string[] };
  usage: { input_tokens: number; output_tokens: number; total_tokens: number; cost: string };
}

const GERMAN = "translate English to German: ";
const ROWS = [
  { city: "Bonn", people: 330000 },
  { city: "Ulm", people: 126000 },
];
const CSV = "city,people\nBonn,330000\nUlm,126000\n";
const LABELS = ["net", "libs", "games"];

let key: string;
beforeAll(async () => {
  await putModel("content");
  key = await makeKey("contents");
  const put = async (name: string, definition: object) => {
    const { status } = await sendAs(key, "PUT", `/v1/tasks/${name}`, { model: "content", ...definition });
    expect(status).toBe(201);
  };
  await put("answer", { template: "question: {question} {table}", input: "table" });
  await put("tell", {
    template: "summarize: {input}",
    input: "table",
    table: { form: "totto", columns: ["city", "people"], row_headers: true },
  });
  await put("small", { template: "summarize: {input}", input: "table", max_input_tokens: 40 });
  await put("brief", { template: "summarize: {input}", input: "document" });
  await put("letter", { template: `${GERMAN}{input}`, input: "document", long: "sentences" });
  await put("bounded", {
    ...{ template: `${GERMAN}{input}`, input: "document", long: "sentences" },
    overridable: ["max_tokens", "stop", "n", "num_beams"],
  });
  await put("digest", {
    ...{ template: "summarize: {input}", long: "sections", words: 12 },
    cache: { policy: "answers" },
  });
  await put("kept", { template: `${GERMAN}{input}`, long: "sentences", cache: { policy: "answers" } });
  await put("report", { template: "summarize: {input}", input: "document", long: "sections" });
  await put("kind", { template: "classify package: {input}", input: "document", labels: LABELS, long: "windows" });
  await put("plain", { template: `${GERMAN}{input}` });
  taskCache.clear();
});

const run = <Json = Result>(name: string, body: object) => sendAs<Json>(key, "POST", `/v1/tasks/${name}`, body);

async function post<Json = Result>(path: string, body: BodyInit, headers: Record<string, string> = {}) {
  const init = { method: "POST", body, headers: { authorization: `Bearer ${key}`, ...headers } };
  const response = await send(path, init);
  return { status: response.status, json: (await response.json()) as Json };
}

function form(file: Blob, name: string, fields: Record<string, string> = {}): FormData {
  const all = new FormData();
  for (const [field, value] of Object.entries(fields)) all.set(field, value);
  all.set("file", file, name);
  return all;
}

describe("tables", () => {
  const TAPEX = "col : city | people row 1 : Bonn | 330000 row 2 : Ulm | 126000";

  test("as rows beside other fields; the answer says what the model was given", async () => {
    const { status, json } = await run("answer", {
      input: { question: "How many?", table: { rows: ROWS } },
      explain: true,
    });
    expect(status).toBe(200);
    expect(json.explain).toEqual({ inputs: [`question: How many? ${TAPEX}`], total: 1 });
  });

  test("as a form's file, with the other fields as JSON, and a part of it selected", async () => {
    const fields = {
      input: '{"question":"Where?"}',
      explain: "true",
      select: '{"columns":["city"],"rows":{"from":2}}',
    };
    const { json } = await post("/v1/tasks/answer", form(new Blob([CSV], { type: "text/csv" }), "towns.csv", fields));
    expect(json.explain?.inputs).toEqual(["question: Where? col : city row 1 : Ulm"]);
  });

  test("as the body, in the form and columns that the task has", async () => {
    const { json } = await post("/v1/tasks/tell?explain=true", CSV, { "content-type": "text/csv" });
    expect(json.explain?.inputs[0]).toContain(
      "330000 <col_header> people </col_header> <row_header> Bonn </row_header>",
    );
  });

  test("rows that do not fit are left out, whole, and it is said", async () => {
    const rows = Array.from({ length: 40 }, (_, i) => ({ name: `place ${i}`, size: i }));
    const { json } = await run("small", { input: { rows }, explain: true });
    const told = json.explain?.inputs[0] ?? "";
    const kept = [...told.matchAll(/row \d+ :/g)].length;
    expect(kept).toBeGreaterThan(0);
    expect(told.endsWith(`row ${kept} : place ${kept - 1} | ${kept - 1}`)).toBe(true);
    expect(json.notes?.[0]).toContain(`The last ${40 - kept} rows were left out`);
    expect(json.usage.input_tokens).toBeLessThanOrEqual(40);
  });
});

test("a form without its boundary is a bad request, and of several tables the ones left out are named", async () => {
  const { status } = await post("/v1/tasks/brief", "x", { "content-type": "multipart/form-data" });
  expect(status).toBe(400);
  const table = (name: string) => `<table><tr><th>${name}</th><th>n</th></tr><tr><td>x</td><td>1</td></tr></table>`;
  const page = table("a") + table("b");
  const { json } = await post("/v1/tasks/small", page, { "content-type": "text/html" });
  expect(json.notes).toEqual(["Only the first table was taken. select.table takes another: 1."]);
});

describe("documents", () => {
  const HTML =
    "<html><head><title>T</title><script>x()</script></head><body><nav><a href=/>Home</a></nav><article><h1>Ports</h1><p>It lists open ports of a host.</p></article></body></html>";

  test("a page as the body: its text, without what stands around it", async () => {
    const { json } = await post("/v1/tasks/brief?explain=true", HTML, { "content-type": "text/html" });
    expect(json.explain?.inputs[0]).toContain("It lists open ports of a host.");
    expect(json.explain?.inputs[0]).not.toContain("x()");
  });

  test("text as the body, as JSON, and as a file in JSON are the same", async () => {
    const text = "It lists open ports of a host.";
    const answers = [
      await post("/v1/tasks/brief", text, { "content-type": "text/plain" }),
      await run("brief", { input: text }),
      await run("brief", { input: { file: { data: btoa(text), content_type: "text/plain" } } }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(answers.map(({ json }) => json.output)).size).toBe(1);
  });
});

describe("texts of any length", () => {
  const SENTENCES = ["The house is old.", "Where is my book?", "I am hungry.", "It is raining.", "Tom sleeps."];

  test("a translation has the text's lines, and each sentence's own translation in its place", async () => {
    const each = await Promise.all(SENTENCES.map((input) => run("plain", { input })));
    const own = each.map(({ json }) => json.output ?? "");
    const text = `${SENTENCES[0]} ${SENTENCES[1]}\n\n- ${SENTENCES[2]}\n- ${SENTENCES[3]}\n\n${SENTENCES[4]}\n`;
    const { json } = await run("letter", { input: text });
    expect(json.output).toBe(`${own[0]} ${own[1]}\n\n- ${own[2]}\n- ${own[3]}\n\n${own[4]}\n`);
    const tokens = each.reduce((sum, { json }) => sum + json.usage.input_tokens, 0);
    expect(json.usage.input_tokens).toBe(tokens);
  });

  test("a long one streams in order, and is what it is as a whole", async () => {
    const text = Array.from({ length: 40 }, (_, i) => SENTENCES[i % 5]?.replace(".", ` ${i}.`)).join(" ");
    const whole = await run("letter", { input: text });
    const init = { method: "POST", headers: { authorization: `Bearer ${key}` } };
    const response = await send("/v1/tasks/letter", { ...init, body: JSON.stringify({ input: text, stream: true }) });
    const events = (await response.text())
      .trim()
      .split("\n\n")
      .map((event) => event.replace(/^data: /, ""));
    expect(events.at(-1)).toBe("[DONE]");
    const parts = events.slice(0, -1).map((event) => JSON.parse(event) as { text?: string; usage?: object });
    expect(parts.map((part) => part.text ?? "").join("")).toBe(whole.json.output);
    expect(parts.length).toBeGreaterThan(20);
    expect(parts.at(-1)?.usage).toEqual(whole.json.usage);
  });

  test("a list of long and short ones: each as it is alone, whole, kept and streamed, with notes of its own", async () => {
    // No blank in it: it is cut, and told of.
    const word = `${"Donaudampfschiffahrt".repeat(10)}.`;
    const input = [`${SENTENCES[0]} ${SENTENCES[1]}`, word, SENTENCES[2] ?? ""];
    const each = await Promise.all(input.map((text) => run("letter", { input: text })));
    const told = each.map(({ json: { output, notes } }) => ({ output, notes: notes ?? [] }));
    expect(told[1]?.notes).not.toEqual([]);
    const { json } = await run("letter", { input, explain: true });
    expect(json.results?.map(({ output, notes = [] }) => ({ output, notes }))).toEqual(told);
    expect(json.explain?.inputs.slice(0, 2)).toEqual([`${GERMAN}${SENTENCES[0]}`, `${GERMAN}${SENTENCES[1]}`]);
    const kept = [await run("kept", { input }), await run("kept", { input })];
    expect(kept.map(({ headers }) => headers.get("x-edge-t5-served-by"))).toEqual(["edge", "cache"]);
    expect(kept.map(({ json: { results } }) => results)).toEqual([json.results, json.results]);
    const init = { method: "POST", headers: { authorization: `Bearer ${key}` } };
    const streamed = await send("/v1/tasks/letter", { ...init, body: JSON.stringify({ input, stream: true }) });
    const again = input.map(() => ({ output: "", notes: [] as string[] }));
    for (const event of (await streamed.text()).trim().split("\n\n").slice(0, -2)) {
      const {
        index,
        text = "",
        notes = [],
      } = JSON.parse(event.replace(/^data: /, "")) as {
        index: number;
        text?: string;
        notes?: string[];
      };
      const own = again[index];
      if (!own) throw new Error(`There is no text ${index}.`);
      own.output += text;
      own.notes.push(...notes);
    }
    expect(again).toEqual(told);
  });

  test("what is kept is the answer to all of it: not that of the same sentences on other lines, nor in other words", async () => {
    const [first, second] = [`${SENTENCES[0]} ${SENTENCES[1]}`, `${SENTENCES[0]}\n\n${SENTENCES[1]}`];
    const servedBy = async (name: string, body: object) => {
      const { headers, json } = await run(name, body);
      return [headers.get("x-edge-t5-served-by"), json.output ?? json.results?.map(({ output }) => output)];
    };
    const [, one] = await servedBy("kept", { input: first });
    expect(await servedBy("kept", { input: first })).toEqual(["cache", one]);
    const [at, other] = await servedBy("kept", { input: second });
    expect([at, other]).toEqual(["edge", String(one).replace(". ", ".\n\n")]);
    const lists = [
      [first, "1"],
      [SENTENCES[0] ?? "", `${SENTENCES[1]} 1`],
    ];
    for (const input of lists) expect((await servedBy("kept", { input }))[0]).toBe("edge");
    const report = "It lists open files. ".repeat(60);
    for (const body of [{}, { words: 20 }])
      expect((await servedBy("digest", { input: report, ...body }))[0]).toBe("edge");
    expect((await servedBy("digest", { input: report, words: 12 }))[0]).toBe("cache");
  });

  test("what one prompt's answer has alone is had by a text that fits, which goes whole; a document keeps its parts", async () => {
    const both = `${SENTENCES[0]} ${SENTENCES[1]}`;
    const whole = { inputs: [GERMAN + both], total: 1 };
    const pieces = { inputs: [SENTENCES[0], SENTENCES[1]].map((sentence) => GERMAN + sentence), total: 2 };
    const ask = async (fields: object, input: unknown = both) =>
      (await run("bounded", { input, explain: true, ...fields })).json;
    expect((await ask({})).explain).toEqual(pieces);
    for (const fields of [{ max_tokens: 3 }, { stop: "." }]) {
      const { explain, usage, output } = await ask(fields);
      expect([explain, usage.output_tokens <= 20, output?.includes(".")]).toEqual([whole, true, false]);
    }
    const several = await run<{ outputs: string[] }>("bounded", { input: both, n: 2, num_beams: 2 });
    expect(several.json.outputs).toHaveLength(2);
    const page = `<p>${SENTENCES[0]}</p><p>${SENTENCES[1]}</p>`;
    const file = { file: { data: btoa(page), content_type: "text/html" } };
    expect((await ask({ max_tokens: 30 }, file)).explain).toEqual(pieces);
    expect((await ask({ max_tokens: 30 }, [file])).explain).toEqual(pieces);
    const long = { input: "word ".repeat(600), n: 2, num_beams: 2 };
    const { status, json } = await run<ErrorBody>("bounded", long);
    expect([status, json.error.code, json.error.param]).toEqual([400, "invalid_value", "n"]);
  });

  test("a list's summaries have the words that were asked for, each as it has alone", async () => {
    const input = ["It lists open files. ".repeat(60), "A tool for sockets. ".repeat(20)];
    const each = await Promise.all(input.map((text) => run("report", { input: text, words: 12 })));
    const { json } = await run("report", { input, words: 12 });
    expect(json.results?.map(({ output }) => output)).toEqual(each.map((one) => one.json.output));
  });

  test("a summary by sections has the words that were asked for, or says why not", async () => {
    const section = "This package has a tool that lists open files of a process. It reads the kernel's tables. ";
    const text = Array.from({ length: 30 }, (_, i) => section.replace("files", `files number ${i}`)).join("\n\n");
    const { status, json } = await run("report", { input: text, words: 30 });
    expect(status).toBe(200);
    const words = (json.output ?? "").split(/\s+/).filter(Boolean).length;
    if (!json.notes?.some((note) => note.includes("were asked for"))) expect(words).toBeGreaterThanOrEqual(27);
    expect(words).toBeLessThanOrEqual(33);
    expect(words).toBeGreaterThan(0);
  });

  test("a label by windows: of one the model's own, of several their mean", async () => {
    const short = await run("kind", { input: "a library for sockets" });
    expect(short.json.notes).toBeUndefined();
    const long = await run("kind", { input: "A library for sockets of all kinds. ".repeat(120) });
    expect(long.json.notes?.[0]).toMatch(/in \d+ windows/);
    expect(long.json.scores?.reduce((sum, { score }) => sum + score, 0)).toBeCloseTo(1, 6);
    expect(long.json.usage.input_tokens).toBeGreaterThan(512);
  });
});

test("of many inputs the first are told, and that there are more", async () => {
  const sentences = Array.from({ length: 40 }, (_, i) => `Tom has ${i} books.`);
  const { json } = await run("letter", { input: sentences.join(" "), explain: true });
  expect(json.explain).toMatchObject({ total: 40, notes: ["Only the first 32 of 40 are told."] });
  expect(json.explain?.inputs).toHaveLength(32);
  const few = await run("letter", { input: "The house is old.", explain: true });
  expect(few.json.explain).not.toHaveProperty("notes");
});

describe("files that are sent in a way that is not taken", () => {
  const PDF = "%PDF-1.7\n1 0 obj\n<<";
  const FORM = "application/x-www-form-urlencoded";
  const of = (...parts: [name: string, value: string | Blob][]) => {
    const all = new FormData();
    for (const [name, value] of parts) all.append(name, value);
    return all;
  };
  const file = new Blob([CSV], { type: "text/csv" });
  const inline = { file: { data: btoa("text"), content_type: "text/plain" } };
  const cases: [what: string, send: () => ReturnType<typeof post<ErrorBody>>, code: string, message: RegExp][] = [
    [
      "to a task of texts, as the body",
      () => post<ErrorBody>("/v1/tasks/plain", CSV, { "content-type": "text/csv" }),
      ...([
        "invalid_value",
        /^The task plain takes a text, no file\. Send \{"input": "…"\} as JSON, or .*"document"/,
      ] as const),
    ],
    [
      "to a task of texts, in another encoding",
      () => post<ErrorBody>("/v1/tasks/plain", Uint8Array.of(0xe4), { "content-type": "text/plain" }),
      ...(["invalid_value", /^The body is no UTF-8 text\./] as const),
    ],
    [
      "to a task of texts, as a form",
      () => post<ErrorBody>("/v1/tasks/plain", of(["file", file])),
      ...(["invalid_value", /^The task plain takes a text, no file\./] as const),
    ],
    [
      "to a task of texts, in JSON",
      () => run<ErrorBody>("plain", { input: inline }),
      ...(["invalid_value", /^The task plain takes a text, no file\. Send \{"input": "…"\} as JSON, or /] as const),
    ],
    [
      "to a task of texts, as curl sends a file",
      () => post<ErrorBody>("/v1/tasks/plain", PDF, { "content-type": FORM }),
      ...(["invalid_value", /^The task plain takes a text, no file\./] as const),
    ],
    [
      "as curl sends a file",
      () => post<ErrorBody>("/v1/tasks/brief", PDF, { "content-type": FORM }),
      ...([
        "invalid_json",
        /it looks like a PDF\. Say so, -H 'content-type: application\/pdf', or .*-F file=@FILE\.$/,
      ] as const),
    ],
    [
      "as JSON, which it is not",
      () => post<ErrorBody>("/v1/tasks/tell", CSV + CSV, { "content-type": "application/json" }),
      ...(["invalid_json", /it looks like CSV\. Say so, -H 'content-type: text\/csv'/] as const),
    ],
    [
      "as rows that are JSON, beside the input",
      () => post<ErrorBody>("/v1/tasks/tell", JSON.stringify(ROWS), { "content-type": "application/json" }),
      ...(["invalid_type", /^The body is a list, .*\{"input": \{"rows": \[…\]\}\}\.$/] as const),
    ],
    [
      "a text that is no JSON",
      () => post<ErrorBody>("/v1/tasks/answer", "What is it?", { "content-type": FORM }),
      ...(["invalid_json", /send \{"input": \{"question": "…", "table": \{"rows": /] as const),
    ],
    [
      "larger than JSON may be",
      () => post<ErrorBody>("/v1/tasks/brief", PDF.padEnd(20_000), { "content-type": FORM }),
      ...(["request_too_large", /over 10000 bytes\. .* a file may have 2000000, as a form, -F file=@FILE/] as const),
    ],
    [
      "under another name",
      () => post<ErrorBody>("/v1/tasks/brief", of(["document", file])),
      ...([
        "unknown_parameter",
        /^The form has a file as "document"\. Call the file's part file: .* texts: input, explain, select/,
      ] as const),
    ],
    [
      "two of them",
      () => post<ErrorBody>("/v1/tasks/brief", of(["file", file], ["file", file])),
      ...(["invalid_value", /^The form has several files\. A request takes one\.$/] as const),
    ],
    [
      "with fields in the query, which count beside a body that is the file",
      () => post<ErrorBody>("/v1/tasks/brief?explain=true", of(["file", file])),
      ...(["unknown_parameter", /^explain is in the query, .* Put it into the form\.$/] as const),
    ],
    [
      "in JSON, with fields in the query",
      () => post<ErrorBody>("/v1/tasks/brief?words=50", JSON.stringify({ input: inline })),
      ...(["unknown_parameter", /^words is in the query, .* Put it into JSON\.$/] as const),
    ],
    [
      "a name in its place",
      () => post<ErrorBody>("/v1/tasks/brief", of(["file", "report.pdf"])),
      ...(["missing_file", /is a text, not a file\. Put @ before the file's name/] as const),
    ],
    [
      "a field twice",
      () => post<ErrorBody>("/v1/tasks/brief", of(["input", "a"], ["input", "b"])),
      ...(["invalid_value", /^The form has input twice\. Send it once\.$/] as const),
    ],
    [
      "a field of the query twice",
      () => post<ErrorBody>("/v1/tasks/brief?explain=true&explain=false", CSV, { "content-type": "text/csv" }),
      ...(["invalid_value", /^The query has explain twice\. Send it once\.$/] as const),
    ],
    [
      "beside an input",
      () => post<ErrorBody>("/v1/tasks/brief", of(["input", "hello"], ["file", file])),
      ...([
        "unknown_field",
        /^The file and input are both given for the task's field input\. Send one of the two\.$/,
      ] as const),
    ],
    [
      "beside the table that they are",
      () => post<ErrorBody>("/v1/tasks/answer", of(["input", '{"question":"?","table":{}}'], ["file", file])),
      ...(["unknown_field", /^The file and input\.table are both given for the task's field table\. /] as const),
    ],
    [
      "as an image that nothing reads",
      () => post<ErrorBody>("/v1/tasks/brief", "GIF89a", { "content-type": "image/gif" }),
      ...([
        "unsupported_format",
        /^The file is an image in GIF\. Of images PNG, JPEG, WebP and TIFF are read, GIF is not\./,
      ] as const),
    ],
    [
      "a field that would be cut",
      () => post<ErrorBody>("/v1/tasks/brief", of(["input", "a".repeat(10_001)])),
      ...(["request_too_large", /^The form's input is longer than the 10000 bytes/] as const),
    ],
    [
      "nothing",
      () => run<ErrorBody>("answer", {}),
      ...([
        "missing_required_parameter",
        /Send \{"input": \{"question": "…", "table": .*, or a file: -F file=@FILE\.$/,
      ] as const),
    ],
    ["no text", () => run<ErrorBody>("brief", { input: {} }), "missing_file", /must be a text, or a file: \{"file": /],
  ];
  test.each(cases)("%s", async (_, sent, code, message) => {
    const { status, json } = await sent();
    expect([status, json.error.code, json.error.message]).toEqual([
      code === "request_too_large" ? 413 : code === "unsupported_format" ? 415 : 400,
      code,
      expect.stringMatching(message),
    ]);
  });
});

test.each<[what: string, task: string, input: object, param: string, message: RegExp]>([
  ["an address in a file's place", "brief", { file: "http://x" }, "input.file", /^input\.file: give an object, not /],
  [
    "an address, under the field's name",
    "brief",
    { input: { file: "x" } },
    "input.input.file",
    /^input\.input\.file: /,
  ],
  ["bad base64", "brief", { file: { data: "%" } }, "input.file.data", /^input\.file\.data: give base64/],
  ["no bytes", "tell", { file: {} }, "input.file.data", /^input\.file\.data is missing from a file: /],
  [
    "bad base64 of a table",
    "answer",
    { question: "?", table: { file: { data: "%" } } },
    "input.table.file.data",
    /^input\.table\.file\.data: /,
  ],
  [
    "a part that a file has not",
    "brief",
    { file: { data: "", url: "" } },
    "input.file.url",
    /^input\.file\.url is no part of a file\./,
  ],
])("%s is told by where it stands", async (_, task, input, param, message) => {
  const { status, json } = await run<ErrorBody>(task, { input });
  expect([status, json.error.param, json.error.message]).toEqual([400, param, expect.stringMatching(message)]);
});

test("rows are chosen from 1 on", async () => {
  const { status, json } = await run<ErrorBody>("tell", { input: { rows: ROWS }, select: { rows: { from: 0 } } });
  expect([status, json.error.param, json.error.message]).toEqual([
    400,
    "select.rows.from",
    "select.rows.from: rows are numbered from 1 on; the header always stays.",
  ]);
});

describe("bad input", () => {
  const pdf = (bytes: string) => new Blob([bytes], { type: "application/pdf" });
  const cases: [what: string, send: () => ReturnType<typeof post<ErrorBody>>, status: number, code: string][] = [
    ["no input and no file", () => run<ErrorBody>("brief", {}), 400, "missing_required_parameter"],
    ["a table that is a text", () => run<ErrorBody>("tell", { input: "a,b" }), 400, "invalid_type"],
    [
      "a column that is not there",
      () => run<ErrorBody>("answer", { input: { question: "?", table: { rows: ROWS } }, select: { columns: ["x"] } }),
      400,
      "invalid_value",
    ],
    [
      "a table that is not there",
      () => run<ErrorBody>("tell", { input: { rows: ROWS }, select: { table: 3 } }),
      400,
      "invalid_value",
    ],
    [
      "a file that is not what it is called",
      () => post<ErrorBody>("/v1/tasks/brief", form(pdf("just text"), "a.pdf")),
      415,
      "unsupported_format",
    ],
    [
      "a file that was cut off",
      () => post<ErrorBody>("/v1/tasks/brief", form(pdf("%PDF-1.7\n1 0 obj\n<<"), "a.pdf")),
      422,
      "damaged_file",
    ],
    [
      "a file with a list",
      () => post<ErrorBody>("/v1/tasks/brief", form(new Blob(["a"]), "a.txt", { input: '["b"]' })),
      400,
      "invalid_value",
    ],
    [
      "words of a task that has no length",
      () => run<ErrorBody>("letter", { input: "a", words: 50 }),
      400,
      "invalid_value",
    ],
    ["words of a task that labels", () => run<ErrorBody>("kind", { input: "a", words: 50 }), 400, "invalid_value"],
    [
      "a part of what is no table",
      () => run<ErrorBody>("brief", { input: "a", select: { table: 0 } }),
      400,
      "invalid_value",
    ],
    [
      "a part of a file that a text is made of",
      () => post<ErrorBody>("/v1/tasks/brief", form(new Blob([CSV]), "a.csv", { select: '{"rows":{"from":2}}' })),
      400,
      "invalid_value",
    ],
    [
      "several answers of a long text",
      () => run<ErrorBody>("letter", { input: "A dog. A cat.", n: 2 }),
      400,
      "parameter_not_allowed",
    ],
    [
      "a form without end",
      () =>
        post<ErrorBody>("/v1/tasks/brief", "--x\r\ncontent-disposition: form-data", {
          "content-type": "multipart/form-data; boundary=x",
        }),
      400,
      "invalid_body",
    ],
    [
      "an empty document",
      () => post<ErrorBody>("/v1/tasks/brief", "<html><body></body></html>", { "content-type": "text/html" }),
      400,
      "empty_prompt",
    ],
  ];
  test.each(cases)("%s", async (_, sent, status, code) => {
    const answer = await sent();
    expect([answer.status, answer.json.error.code]).toEqual([status, code]);
    expect(answer.json.error.message).toMatch(/\.$/);
  });
});
