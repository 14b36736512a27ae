/** The OCR Worker inside workerd, with its WASM and its data as they are deployed. */
import { createExecutionContext } from "cloudflare:test";
import { beforeAll, describe, expect, test } from "vitest";
import worker from "../../functions/ocr/index.ts";
import { type ReaderBindings, readerApp } from "../../functions/reader/routes.ts";
import { errorOf } from "../../functions/shared/error-of.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import page from "../fixtures/image/page.png";
import { type ErrorBody, makeKey, putModel, send } from "./isolate.ts";

/** What make-page.ts renders. */
const TEXT = "I put the meat we just bought in the freezer. I thought you";
/** 200 by 100 white pixels as PNG: zlib's deflate of 100 rows of 25 bytes 0xff. */
const WHITE = Uint8Array.from(
  atob(
    "iVBORw0KGgoAAAANSUhEUgAAAMgAAABkAQAAAADr/UKmAAAAIElEQVR4nO3JMQEAAAwCIPuX1gRLMHhJLzHGGGOMMY9np/C6xCK4+ggAAAAASUVORK5CYII=",
  ),
  (character) => character.charCodeAt(0),
);
const ENV = { MAX_BYTES: 1_000_000, MAX_PAGES: 20, MAX_PIXELS: 40_000_000 };

async function post(path: string, body: BodyInit | null, headers: Record<string, string> = {}) {
  const request = new Request(`http://ocr${path}`, { method: "POST", body, headers });
  return worker.fetch(request, ENV, createExecutionContext());
}

test("the reader's health has this Worker's, for which nothing is loaded", async () => {
  const context = createExecutionContext();
  const OCR = { fetch: (url: string, init?: RequestInit) => worker.request(url, init, ENV, context) } as Fetcher;
  const bindings = { OCR } as ReaderBindings;
  const response = await readerApp().request("/healthz", {}, bindings, context);
  expect(await response.json()).toEqual({ status: "ok", ocr: { wasm_bytes: 0, captions: false } });
  const broken = { OCR: { fetch: () => Promise.reject(new Error("gone")) } as unknown as Fetcher } as ReaderBindings;
  const refused = await readerApp().request("/healthz", {}, broken, context);
  expect([refused.status, (await errorOf(refused, "reader")).message]).toEqual([
    500,
    expect.stringMatching(/^The OCR Worker does not answer\./),
  ]);
});

test("the text of an image, as a document", async () => {
  const response = await post("/ocr?languages=eng", page, { "content-type": "image/png" });
  expect(response.status).toBe(200);
  const content = (await response.json()) as Content;
  expect(content).toMatchObject({
    kind: "document",
    document: { title: null, blocks: [{ kind: "paragraph", text: TEXT }] },
    notes: [expect.stringMatching(/^The image was read by OCR \(eng\): confidence 9\d of 100\.$/)],
  });
});

test("another language is loaded in the place of the first", async () => {
  const response = await post("/ocr?languages=deu,fra", page);
  const { notes } = (await response.json()) as Content;
  expect(notes).toMatchObject([expect.stringMatching(/^The image was read by OCR \(deu, fra\)/)]);
});

test("requests at once are answered one after the other", async () => {
  const answers = await Promise.all(["eng", "deu", "eng"].map((language) => post(`/ocr?languages=${language}`, page)));
  const contents = (await Promise.all(answers.map((answer) => answer.json()))) as Content[];
  expect(contents.map(({ notes }) => notes[0]?.match(/OCR \((...)\)/)?.[1])).toEqual(["eng", "deu", "eng"]);
});

test("an image that does not come is given up, and leaves the turn to the next", async () => {
  const stalled = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(page, 0, 100)) });
  const waiting = post("/ocr", stalled);
  const next = await post("/ocr", page);
  expect(next.status).toBe(200);
  const refused = await waiting;
  expect([refused.status, await errorOf(refused, "OCR Worker")]).toMatchObject([
    400,
    { code: "E_INPUT", message: "The image did not come within 5 seconds. Send it again." },
  ]);
});

test("errors have the shape and the status of every private Worker's", async () => {
  const refused: [Promise<Response>, number, string][] = [
    [post("/ocr", "no image"), 415, "E_FORMAT"],
    [post("/ocr", page, { "content-type": "image/jpeg" }), 415, "E_FORMAT"],
    [post("/ocr", page.slice(0, page.byteLength / 2)), 422, "E_DAMAGED"],
    [post("/ocr", new Uint8Array(1_000_001)), 413, "E_TOO_LARGE"],
    [post("/ocr?languages=xyz", page), 400, "E_INPUT"],
    [post("/ocr", null), 400, "E_INPUT"],
    [post("/caption", page), 400, "E_INPUT"],
  ];
  for (const [answer, status, code] of refused) {
    const response = await answer;
    expect([response.status, await errorOf(response, "OCR Worker")]).toMatchObject([status, { code }]);
  }
});

describe("a task of images", () => {
  const LIMITS = { MAX_BYTES: 1_000_000, MAX_INFLATED_BYTES: 1, MAX_PAGES: 5, MAX_CHARACTERS: 10_000, MAX_CELLS: 1 };
  let key: string;
  beforeAll(async () => {
    await putModel("seeing");
    key = await makeKey("seers");
    await run("PUT", "/v1/tasks/see", JSON.stringify({ model: "seeing", template: "{input}", input: "image" }));
    await run("PUT", "/v1/tasks/plain", JSON.stringify({ model: "seeing", template: "{input}" }));
  });

  async function run(method: string, path: string, body: BodyInit, headers: Record<string, string> = {}) {
    const context = createExecutionContext();
    const OCR = { fetch: (url: string, init?: RequestInit) => worker.request(url, init, ENV, context) } as Fetcher;
    const limits = { ...LIMITS, MAX_READ_MS: 20_000, OCR };
    const READER = { fetch: (url: string, init?: RequestInit) => readerApp().request(url, init, limits, context) };
    const init = { method, body, headers: { authorization: `Bearer ${key}`, ...headers } };
    const response = await send(path, init, { bindings: { READER: READER as Fetcher } });
    const { error, notes } = (await response.json()) as Partial<ErrorBody> & { notes?: string[] };
    return { status: response.status, error, notes };
  }

  function form(...parts: [name: string, value: string | ArrayBuffer][]): FormData {
    const all = new FormData();
    for (const [name, value] of parts) all.append(name, typeof value === "string" ? value : new Blob([value]));
    return all;
  }

  test("reads in the task's languages, or in those that a request names, however the image comes", async () => {
    const data = btoa(String.fromCharCode(...new Uint8Array(page)));
    const answers = [
      await run("POST", "/v1/tasks/see", page, { "content-type": "image/png" }),
      await run("POST", "/v1/tasks/see?languages=deu", page, { "content-type": "image/png" }),
      await run("POST", "/v1/tasks/see", form(["languages", '["deu","fra"]'], ["file", page])),
      await run("POST", "/v1/tasks/see", JSON.stringify({ input: { file: { data } }, languages: "fra" })),
    ];
    const told = answers.map(({ notes }) => notes?.[0]?.match(/OCR \((.*)\)/)?.[1]);
    expect(told).toEqual(["eng, deu, fra", "deu", "deu, fra", "fra"]);
  });

  test("without writing says that it was looked for, and in which languages", async () => {
    const { status, error } = await run("POST", "/v1/tasks/see?languages=deu", WHITE, { "content-type": "image/png" });
    expect([status, error?.code, error?.message]).toEqual([
      400,
      "empty_prompt",
      "There is no text in what input was given. No writing was found in the image (OCR in deu). Send a sharper or larger one, or one in such a language.",
    ]);
  });

  test.each<[what: string, path: string, body: () => BodyInit, code: string, message: RegExp]>([
    [
      "one that is not read",
      "see",
      () => JSON.stringify({ input: "a", languages: "ita" }),
      "invalid_value",
      /^languages\.0: give "eng", "deu" or "fra", not "ita"\.$/,
    ],
    [
      "of a task of texts",
      "plain",
      () => JSON.stringify({ input: "a", languages: ["deu"] }),
      "invalid_value",
      /^Only a task that reads the writing in images/,
    ],
    [
      "after the file",
      "see",
      () => form(["file", page], ["languages", "deu"]),
      "invalid_value",
      /Put it before: -F languages=deu -F file/,
    ],
  ])("languages %s are refused", async (_, task, body, code, message) => {
    const { status, error } = await run("POST", `/v1/tasks/${task}`, body());
    expect([status, error?.code, error?.param?.split(".")[0], error?.message]).toEqual([
      400,
      code,
      "languages",
      expect.stringMatching(message),
    ]);
  });
});

test("what it did is in its metrics", async () => {
  const response = await worker.fetch(new Request("http://ocr/metrics"), ENV, createExecutionContext());
  const { workers } = (await response.json()) as { workers: { ocr: { name: string }[] } };
  expect(workers.ocr.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["edge_t5_ocr_pages_total", "edge_t5_wasm_bytes", "edge_t5_requests_total"]),
  );
});
