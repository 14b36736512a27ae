/** OCR on a thread: the same answers and errors, and an end in the middle of a page. */
import { expect, test } from "vitest";
import { createOcrThread } from "../../src/readers/image/thread.ts";
import { characterErrorRate, pngOf, renderPage } from "./image-pages.ts";

const page = renderPage({ lines: 2 });
const languages = ["eng"];

test("answers in order, errors with their codes", async () => {
  const ocr = createOcrThread();
  const refused = ocr.recognize(Buffer.from("no image"), { languages });
  const answered = ocr.recognize(pngOf(page.image), { languages });
  await expect(refused).rejects.toMatchObject({ code: "E_FORMAT", status: 415 });
  expect(characterErrorRate(page.text, (await answered)[0]?.text ?? "")).toBeLessThanOrEqual(0.01);
  expect(ocr.bytes).toBeGreaterThan(0);
  ocr.release();
  expect(ocr.bytes).toBe(0);
});

test("who gives up is answered at once, who takes too long too; and the next image is read", async () => {
  const long = pngOf(renderPage({ lines: 60 }).image);
  const ocr = createOcrThread();
  const controller = new AbortController();
  const given = ocr.recognize(long, { languages, signal: controller.signal });
  const next = ocr.recognize(pngOf(page.image), { languages });
  await new Promise(setImmediate);
  controller.abort();
  await expect(given).rejects.toMatchObject({ name: "AbortError" });
  expect(characterErrorRate(page.text, (await next)[0]?.text ?? "")).toBeLessThanOrEqual(0.01);
  ocr.release();

  const hasty = createOcrThread({ maxSeconds: 0.2 });
  await expect(hasty.recognize(long, { languages })).rejects.toThrow(/0.2 seconds.*maxSeconds/);
});
