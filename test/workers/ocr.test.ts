/** The OCR Worker inside workerd, with its WASM and its data as they are deployed. */
import { createExecutionContext } from "cloudflare:test";
import { expect, test } from "vitest";
import worker from "../../functions/ocr/index.ts";
import { type ReaderBindings, readerApp } from "../../functions/reader/routes.ts";
import { errorOf } from "../../functions/shared/error-of.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import page from "../fixtures/image/page.png";

/** What make-page.ts renders. */
const TEXT = "I put the meat we just bought in the freezer. I thought you";
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

test("what it did is in its metrics", async () => {
  const response = await worker.fetch(new Request("http://ocr/metrics"), ENV, createExecutionContext());
  const { workers } = (await response.json()) as { workers: { ocr: { name: string }[] } };
  expect(workers.ocr.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["edge_t5_ocr_pages_total", "edge_t5_wasm_bytes", "edge_t5_requests_total"]),
  );
});
