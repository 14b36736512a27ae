/** Text of images, by the real tesseract: formats, whichever way up, many pages, languages; and what it may cost. */
import { beforeAll, describe, expect, test } from "vitest";
import { createNodeOcr } from "../../src/readers/image/node.ts";
import { contentOfPages, MEMORY_BYTES, type Ocr, type OcrPage } from "../../src/readers/image/ocr.ts";
import type { Orientation } from "../../src/readers/image/size.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";
import {
  characterErrorRate,
  jpegOf,
  jpegWithExif,
  pngOf,
  renderPage,
  storedAs,
  tiffOf,
  webpOf,
  webpWithExif,
} from "./image-pages.ts";

/** Of clean pages; the bench measures 0 to 0.14 %. */
const CLEAN = 0.01;

const page = renderPage({ lines: 3 });
let ocr: Ocr;

beforeAll(async () => {
  ocr = await createNodeOcr();
});

async function read(bytes: Uint8Array, languages = ["eng"]): Promise<OcrPage[]> {
  return ocr.recognize(bytes, { languages });
}

function errorRate(expected: string, [first]: readonly OcrPage[]): number {
  return characterErrorRate(expected, first?.text ?? "");
}

describe("clean pages", () => {
  test.each([
    ["PNG", pngOf(page.image)],
    ["PNG in colour", pngOf(page.image, { colourType: 2 })],
    ["PNG, black on nothing", pngOf(page.image, { colourType: 6 })],
    ["PNG of one bit", pngOf(page.image, { depth: 1 })],
    ["JPEG", jpegOf(page.image)],
    ["WebP", webpOf(page.image)],
    ["TIFF", tiffOf([page.image])],
    ["TIFF, deflate", tiffOf([page.image], { compression: "deflate", isLittle: false, rowsPerStrip: 16 })],
    ["BigTIFF, PackBits", tiffOf([page.image], { compression: "packbits", isBig: true })],
  ])("as %s", async (_, bytes) => {
    const pages = await read(bytes);
    expect(errorRate(page.text, pages)).toBeLessThanOrEqual(CLEAN);
    expect(pages).toMatchObject([{ turn: 0 }]);
    expect(pages[0]?.confidence).toBeGreaterThan(85);
  });

  test.each(["eng", "deu", "fra"] as const)("in %s", async (language) => {
    const { image, text } = renderPage({ lines: 6, language, from: 5 });
    expect(errorRate(text, await read(pngOf(image), [language]))).toBeLessThanOrEqual(CLEAN);
  });

  test("in two languages at once", async () => {
    const { image, text } = renderPage({ lines: 3, language: "deu" });
    expect(errorRate(text, await read(pngOf(image), ["eng", "deu"]))).toBeLessThanOrEqual(0.03);
  });
});

describe("whichever way up", () => {
  test.each([90, 180, 270])("turned by %i°", async (turn) => {
    const { image, text } = renderPage({ lines: 6, turn });
    const pages = await read(pngOf(image));
    expect(errorRate(text, pages)).toBeLessThanOrEqual(CLEAN);
    expect(pages[0]?.turn).toBe(360 - turn);
  });

  test("as Exif says, mirrored or not", async () => {
    for (const orientation of [2, 3, 5, 6, 7, 8] as Orientation[]) {
      const stored = storedAs(page.image, orientation);
      const pages = await read(jpegWithExif(jpegOf(stored), orientation));
      expect([orientation, errorRate(page.text, pages) <= CLEAN, pages[0]?.turn]).toEqual([orientation, true, 0]);
    }
    for (const orientation of [4, 6] as Orientation[]) {
      const stored = storedAs(page.image, orientation);
      expect(errorRate(page.text, await read(pngOf(stored, { orientation })))).toBeLessThanOrEqual(CLEAN);
      const webp = webpWithExif(webpOf(stored), stored, orientation);
      expect(errorRate(page.text, await read(webp))).toBeLessThanOrEqual(CLEAN);
      for (const compression of ["none", "deflate"] as const) {
        const tiff = tiffOf([stored], { orientation, compression });
        expect(errorRate(page.text, await read(tiff))).toBeLessThanOrEqual(CLEAN);
      }
    }
  });

  test("askew by two degrees", async () => {
    const { image, text } = renderPage({ lines: 6, skew: 2 });
    expect(errorRate(text, await read(pngOf(image)))).toBeLessThanOrEqual(0.02);
  });
});

describe("several pages", () => {
  const other = renderPage({ lines: 2, from: 12 });
  const empty = { width: 400, height: 300, pixels: new Uint8Array(120_000).fill(255) };
  const file = tiffOf([page.image, empty, other.image], { compression: "deflate" });

  test("are read in order; one without text is empty", async () => {
    const pages = await read(file);
    expect(pages.map(({ text }) => characterErrorRate(page.text, text) <= CLEAN)).toEqual([true, false, false]);
    expect(pages[1]).toEqual({ text: "", confidence: 0, turn: 0, paragraphs: [] });
    expect(characterErrorRate(other.text, pages[2]?.text ?? "")).toBeLessThanOrEqual(CLEAN);
    const content = contentOfPages(pages, ["eng"]);
    expect(content.kind === "document" && content.document.blocks.every(({ kind }) => kind === "paragraph")).toBe(true);
    expect(content.notes).toMatchObject([
      expect.stringMatching(/^Page 1 was read by OCR \(eng\): confidence 9\d of 100\.$/),
      "No writing was found on page 2 (OCR in eng).",
      expect.stringMatching(/^Page 3/),
    ]);
  });

  test("end where who asked gives up", async () => {
    const controller = new AbortController();
    const reading = ocr.recognize(file, { languages: ["eng"], signal: controller.signal });
    controller.abort();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  });

  test("of calls at once, in different languages, do not mix", async () => {
    const german = renderPage({ lines: 2, language: "deu", from: 3 });
    const [english, deutsch] = await Promise.all([read(pngOf(page.image)), read(pngOf(german.image), ["deu"])]);
    expect(errorRate(page.text, english)).toBeLessThanOrEqual(CLEAN);
    expect(errorRate(german.text, deutsch)).toBeLessThanOrEqual(CLEAN);
  });
});

test("images too small for a letter have no text", async () => {
  for (const [width, height] of [
    [1, 1],
    [9, 400],
    [400, 9],
    [12, 12],
    [2000, 11],
  ] as const) {
    const pixels = Uint8Array.from({ length: width * height }, (_, i) => (i % 3 === 0 ? 0 : 255));
    expect(await read(pngOf({ width, height, pixels }))).toMatchObject([{ turn: expect.any(Number) }]);
  }
});

describe("limits", () => {
  test("a language without data is named with those that have some", async () => {
    await expect(read(pngOf(page.image), ["eng", "xyz"])).rejects.toThrow(/"xyz".*eng, deu, fra/);
    await expect(read(pngOf(page.image), [])).rejects.toMatchObject({ code: "E_INPUT" });
  });

  test("more text than the limit", async () => {
    const limits = { ...DEFAULT_LIMITS, maxCharacters: 20 };
    await expect(ocr.recognize(pngOf(page.image), { languages: ["eng"], limits })).rejects.toThrow(/maxCharacters/);
  });

  test("what its kind needs of memory is refused before it is decoded", async () => {
    const small = await createNodeOcr(21_500_000);
    const large = renderPage({ lines: 10, dpi: 300 });
    await expect(small.recognize(webpOf(large.image), { languages: ["eng"] })).rejects.toThrow(/memoryBytes/);
    expect(small.bytes).toBe(0);
    // A JPEG is decoded by rows instead.
    const pages = await small.recognize(jpegOf(page.image), { languages: ["eng"] });
    expect(errorRate(page.text, pages)).toBeLessThanOrEqual(CLEAN);
  });

  test("memory that runs out within is an error, and the next image is read", async () => {
    const tight = await createNodeOcr(26_000_000);
    const { image } = renderPage({ lines: 14, dpi: 400 });
    await expect(tight.recognize(pngOf(image), { languages: ["eng", "deu", "fra"] })).rejects.toMatchObject({
      code: "E_TOO_LARGE",
    });
    expect(errorRate(page.text, await tight.recognize(pngOf(page.image), { languages: ["eng"] }))).toBeLessThanOrEqual(
      CLEAN,
    );
  });

  test("its memory keeps to its bound, and release gives it back", async () => {
    expect(ocr.bytes).toBeGreaterThan(0);
    expect(ocr.bytes).toBeLessThanOrEqual(MEMORY_BYTES);
    ocr.release();
    expect(ocr.bytes).toBe(0);
    expect(errorRate(page.text, await read(pngOf(page.image)))).toBeLessThanOrEqual(CLEAN);
  });
});

describe("hostile images", () => {
  const small = renderPage({ lines: 1 });
  const whole = {
    png: pngOf(small.image),
    jpeg: Buffer.from(jpegOf(small.image)),
    webp: Buffer.from(webpOf(small.image)),
    tiff: tiffOf([small.image], { compression: "deflate" }),
  };

  test("cut off at many places: an error of ours each, and the next image is read", async () => {
    for (const bytes of Object.values(whole)) {
      for (const share of [0.05, 0.2, 0.5, 0.8, 0.95, 0.999]) {
        const cut = bytes.subarray(0, Math.floor(bytes.length * share));
        await expect(read(cut)).rejects.toMatchObject({ code: expect.stringMatching(/^E_(DAMAGED|FORMAT)$/) });
      }
    }
    expect(errorRate(page.text, await read(pngOf(page.image)))).toBeLessThanOrEqual(CLEAN);
  });

  test("changed at random: an answer or an error of ours each, and the next image is read", {
    timeout: 120_000,
  }, async () => {
    let state = 7;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    const tiny = renderPage({ lines: 1, dpi: 60 }).image;
    for (const bytes of [pngOf(tiny), jpegOf(tiny), webpOf(tiny), tiffOf([tiny], { compression: "deflate" })]) {
      for (let round = 0; round < 12; round++) {
        const changed = Uint8Array.from(bytes);
        for (let i = 0; i <= round; i++) changed[12 + random(bytes.length - 12)] = random(256);
        const outcome = await read(changed).then(
          () => "read",
          (error) => error.code,
        );
        expect(["read", "E_DAMAGED", "E_FORMAT", "E_TOO_LARGE"]).toContain(outcome);
      }
    }
    expect(errorRate(page.text, await read(pngOf(page.image)))).toBeLessThanOrEqual(CLEAN);
  });
});
