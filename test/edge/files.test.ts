/** Files through all of the kit's Workers, as `npm start` runs them: gateway, reader, OCR, encoder, decoder. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { T5 } from "../../src/index.ts";
import { jpegOf, pngOf, renderPage } from "../readers/image-pages.ts";
import { Kit, makeState } from "./kit.ts";

interface Answer {
  output: string;
  notes?: string[];
  explain?: { inputs: string[]; total: number };
}

let kit: Kit;
let state: Awaited<ReturnType<typeof makeState>>;
/** Two sentences, the second without an end. */
let png: Uint8Array<ArrayBuffer>;
beforeAll(async () => {
  png = new Uint8Array(await readFile(new URL("../fixtures/image/page.png", import.meta.url)));
  state = await makeState();
  kit = await Kit.start(state.state, ["--readers", "all"]);
  const german = { model: "default", template: "translate English to German: {input}", long: "sentences" };
  await put("scan", { ...german, input: "image" });
  await put("letter", { ...german, input: "document" });
  await put("seen", { ...german, input: "image", image: { read: "caption" } });
  await put("facts", { model: "default", template: "summarize: {question} {table}", input: "table" });
}, 180_000);
afterAll(async () => {
  await kit?.stop();
  await state?.remove();
});

async function put(task: string, definition: object): Promise<void> {
  const response = await kit.fetch(`/v1/tasks/${task}`, { method: "PUT", body: JSON.stringify(definition) });
  expect([response.status, await response.text()]).toEqual([201, expect.any(String)]);
}

async function run(task: string, init: RequestInit): Promise<Answer> {
  const response = await kit.fetch(`/v1/tasks/${task}`, { method: "POST", ...init });
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text) as Answer;
}

async function refused(task: string, init: RequestInit): Promise<[status: number, code: string, message: string]> {
  const response = await kit.fetch(`/v1/tasks/${task}`, { method: "POST", ...init });
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  return [response.status, error.code, error.message];
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");

function form(bytes: Uint8Array<ArrayBuffer>, type: string, name: string, fields: Record<string, string> = {}) {
  const body = new FormData();
  body.set("file", new File([bytes], name, { type }));
  for (const [field, value] of Object.entries(fields)) body.set(field, value);
  return { body };
}

test("/healthz tells of the Workers that read, to who may know, and has them load nothing", async () => {
  expect((await kit.health()).reader).toEqual({ status: "ok", ocr: { wasm_bytes: 0, captions: false } });
  expect(await (await fetch(`${kit.url}/healthz`)).json()).toEqual({ status: "ok" });
});

describe("an image with text", () => {
  test.each([
    ["PNG", "image/png", () => png],
    ["JPEG", "image/jpeg", () => Uint8Array.from(jpegOf(renderPage({ lines: 1, points: 14 }).image))],
  ])(
    "%s as JSON, as a form and as the body: its text is what the model is given",
    {
      timeout: 60_000,
    },
    async (_, type, image) => {
      const model = await T5.fromPretrained();
      const sentences = ["I put the meat we just bought in the freezer.", "I thought you"];
      const expected = await model.generate(sentences.map((sentence) => `translate English to German: ${sentence}`));
      const output = expected.map(({ text }) => text).join(" ");
      const file = { data: base64(image()), content_type: type, filename: "scan" };
      const ways: [task: string, init: RequestInit][] = [
        ["scan", { body: JSON.stringify({ input: { file }, explain: true }) }],
        ["scan", form(image(), type, "scan", { explain: "true" })],
        ["scan?explain=true", { body: image(), headers: { "content-type": type } }],
      ];
      for (const way of ways) {
        const answer = await run(...way);
        expect(answer.output).toBe(output);
        expect(answer.explain?.inputs).toEqual(sentences.map((each) => `translate English to German: ${each}`));
        expect(answer.notes).toEqual([
          expect.stringMatching(/^The image was read by OCR \(eng, deu, fra\): confidence/),
        ]);
      }
      expect((await kit.health()).reader?.ocr?.wasm_bytes).toBeGreaterThan(0);
    },
  );

  test("a scanned page as JPEG goes to a task that takes documents", { timeout: 60_000 }, async () => {
    const page = renderPage({ lines: 4 });
    const jpeg = Uint8Array.from(jpegOf(page.image));
    const answer = await run("letter", form(jpeg, "image/jpeg", "scan.jpg", { explain: "true" }));
    const given = answer.explain?.inputs.map((prompt) => prompt.slice("translate English to German: ".length));
    expect(given?.join(" ")).toBe(page.text.replaceAll("\n", " "));
    expect(answer.output.length).toBeGreaterThan(20);
  });
});

describe("what is refused, and why", () => {
  test.each<[string, string, () => RequestInit, number, string, RegExp]>([
    [
      "a content type that the bytes contradict",
      "scan",
      () => ({ body: png, headers: { "content-type": "image/jpeg" } }),
      415,
      "unsupported_format",
      /image\/jpeg.*PNG/,
    ],
    [
      "an image that is declared as a PDF",
      "letter",
      () => form(png, "application/pdf", "a.pdf"),
      415,
      "unsupported_format",
      /application\/pdf.*PNG/,
    ],
    [
      "in JSON, a text that is declared as an image",
      "scan",
      () => ({ body: JSON.stringify({ input: { file: { data: btoa("a text"), content_type: "image/png" } } }) }),
      415,
      "unsupported_format",
      /image\/png/,
    ],
    ["an image that is cut", "scan", () => form(png.slice(0, 900), "image/png", "a.png"), 422, "damaged_file", /./],
    [
      "an image of 100 megapixels",
      "scan",
      () => form(Uint8Array.from(hundredMegapixels()), "image/png", "a.png"),
      413,
      "content_too_large",
      /10,000 × 10,000 pixels.*40,000,000/,
    ],
    [
      "a caption where nothing makes one",
      "seen",
      () => form(png, "image/png", "a.png"),
      400,
      "invalid_value",
      /binding = "AI" into functions\/ocr\/wrangler\.toml/,
    ],
  ])("%s", async (_, task, init, ...[status, code, message]) => {
    expect(await refused(task, init())).toEqual([status, code, expect.stringMatching(message)]);
  });
});

/** The header of one, with a row of data: whoever makes room before looking at it has lost. */
function hundredMegapixels(): Uint8Array {
  const bytes = Uint8Array.from(pngOf({ width: 8, height: 8, pixels: new Uint8Array(64) }));
  const view = new DataView(bytes.buffer);
  view.setUint32(16, 10_000);
  view.setUint32(20, 10_000);
  return bytes;
}

test("a stream tells how far a summary is before there is any of it", { timeout: 60_000 }, async () => {
  await put("brief", { model: "default", template: "summarize: {input}", input: "document", long: "sections" });
  const text = Array.from({ length: 120 }, (_, i) => `Package ${i} is a library for sockets, files and games.`).join(
    " ",
  );
  const body = JSON.stringify({ input: text, words: 40, stream: true });
  const response = await kit.fetch("/v1/tasks/brief", { method: "POST", body });
  expect([response.status, response.headers.get("x-edge-t5-served-by")]).toEqual([200, "edge"]);
  const events = (await response.text()).split("\n\n").flatMap((each) => {
    const data = each.replace(/^data: /, "");
    return data && data !== "[DONE]"
      ? [JSON.parse(data) as { object?: string; done: number; of: number; text?: string }]
      : [];
  });
  const told = events.filter(({ object }) => object === "task.progress");
  expect(told.length).toBeGreaterThan(1);
  expect(told.every(({ done, of }) => done >= 1 && done <= of)).toBe(true);
  const [first] = events;
  expect(first).toMatchObject({ object: "task.progress" });
  expect(events.findLastIndex(({ object }) => object !== undefined)).toBeLessThan(
    events.findIndex(({ text: piece }) => piece),
  );
  const summary = events.map(({ text: piece = "" }) => piece).join("");
  expect(summary.split(" ").length).toBeGreaterThan(3);
});

test("an image that nobody waits for leaves the OCR Worker to the next: its form was refused, or its client left", {
  timeout: 120_000,
}, async () => {
  const page = Uint8Array.from(jpegOf(renderPage({ lines: 12 }).image));
  for (let i = 0; i < 3; i++) {
    const late = await refused("scan", form(page, "image/jpeg", "scan.jpg", { languages: "deu" }));
    expect(late).toEqual([400, "invalid_value", expect.stringMatching(/Put it before/)]);
    const leaving = { ...form(page, "image/jpeg", "scan.jpg"), signal: AbortSignal.timeout(150) };
    await expect(refused("scan", leaving)).rejects.toThrow(/aborted/);
    const started = performance.now();
    await run("scan", form(png, "image/png", "a.png"));
    expect(performance.now() - started).toBeLessThan(15_000);
  }
});

describe("a document's translation", () => {
  const GERMAN = "translate English to German: ";
  /** By the packaged model in this process. */
  async function german(sentences: readonly string[]): Promise<(sentence: string) => string> {
    const model = await T5.fromPretrained();
    const all = await model.generate(sentences.map((sentence) => GERMAN + sentence));
    const texts = new Map(sentences.map((sentence, i) => [sentence, all[i]?.text ?? ""]));
    return (sentence) => texts.get(sentence) ?? `${sentence} was not translated`;
  }

  test("a mail has its subject, and its addresses and date as they were", { timeout: 60_000 }, async () => {
    const head = "From: Rose Field <rose@example.org>\r\nTo: Tom Stone <tom@example.org>, store@example.org\r\n";
    const date = "Tue, 03 Nov 2026 09:15:00 +0100";
    const mail = `${head}Subject: The house is old.\r\nDate: ${date}\r\n\r\nI am hungry.\r\n\r\nWhere is my book?\r\n`;
    const sentences = ["The house is old.", "I am hungry.", "Where is my book?"];
    const answer = await run("letter?explain=true", { body: mail, headers: { "content-type": "message/rfc822" } });
    const [subject, ...text] = sentences.map(await german(sentences));
    const own = [`${head.replaceAll("\r\n", "\n")}Date: ${date}`];
    expect(answer.output).toBe([subject, ...own, ...text].join("\n\n"));
    expect(answer.explain).toEqual({ inputs: sentences.map((each) => GERMAN + each), total: 3 });
  });

  test("a page's table is one in Markdown, cell by cell, each cell translated once", { timeout: 60_000 }, async () => {
    const rows = [
      ["The house", "Price | €"],
      ["I am hungry.", "12.50"],
      ["The house", "3"],
    ];
    const cells = rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("");
    const page = `<title>Where is my book?</title><p>Tom sleeps.</p><table><caption>It is raining.</caption>${cells}</table>`;
    const sentences = ["Where is my book?", "Tom sleeps.", "It is raining.", "The house", "Price | €", "I am hungry."];
    const answer = await run(
      "letter",
      form(Uint8Array.from(Buffer.from(page)), "text/html", "a.html", { explain: "true" }),
    );
    const told = await german(sentences);
    const head = ["Where is my book?", "Tom sleeps.", "It is raining."].map(told);
    const price = told("Price | €").replaceAll("|", "\\|");
    const table = [
      `| ${told("The house")} | ${price} |`,
      "| --- | --- |",
      `| ${told("I am hungry.")} | 12.50 |`,
      `| ${told("The house")} | 3 |`,
    ];
    expect(answer.output).toBe([...head, table.join("\n")].join("\n\n"));
    expect(answer.explain).toEqual({ inputs: sentences.map((each) => GERMAN + each), total: sentences.length });
  });
});

describe("a table", () => {
  test("a CSV in a form, an XLSX as the body with its selection in the query", async () => {
    const csv = new TextEncoder().encode('town,people\r\n"Bonn, am Rhein",330000\r\n');
    const input = JSON.stringify({ question: "Which?" });
    const asked = await run("facts", form(csv, "text/csv", "towns.csv", { input, explain: "true" }));
    expect(asked.explain?.inputs).toEqual(["summarize: Which? col : town | people row 1 : Bonn, am Rhein | 330000"]);
    const workbook = new Uint8Array(await readFile(new URL("../fixtures/office/openpyxl.xlsx", import.meta.url)));
    const select = JSON.stringify({ table: "Merged", columns: ["city", "sum"], rows: { from: 1, to: 1 } });
    const query = new URLSearchParams({ input, select, explain: "true" });
    const type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
    const selected = await run(`facts?${query}`, { body: workbook, headers: { "content-type": type } });
    expect(selected.explain?.inputs).toEqual(["summarize: Which? col : city | sum row 1 : Kiel | 1"]);
  });
});
