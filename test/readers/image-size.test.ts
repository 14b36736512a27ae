/** What headers say of an image, and what is refused for them before anything is decoded. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import type { GreyImage } from "../../src/readers/image/grey.ts";
import { imageInfo, type Orientation } from "../../src/readers/image/size.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";
import { jpegOf, jpegWithExif, pngChunk, pngOf, tiffOf, webpOf, webpWithExif } from "./image-pages.ts";

const ORIENTATIONS: readonly Orientation[] = [1, 2, 3, 4, 5, 6, 7, 8];

function image(width: number, height: number): GreyImage {
  return { width, height, pixels: Uint8Array.from({ length: width * height }, (_, i) => (i * 37) % 256) };
}

const SMALL = image(30, 20);

function codeOf(bytes: Uint8Array, limits = DEFAULT_LIMITS): string {
  try {
    imageInfo(bytes, limits);
    return "none";
  } catch (error) {
    if (error instanceof EdgeT5Error) return error.code;
    throw error;
  }
}

/** A PNG's header that says anything. */
function pngClaiming(width: number, height: number): Uint8Array {
  const bytes = Buffer.from(pngOf(SMALL));
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
}

describe("size and orientation", () => {
  const formats: Record<string, (orientation: Orientation) => Uint8Array> = {
    png: (orientation) => pngOf(SMALL, { orientation }),
    jpeg: (orientation) => jpegWithExif(jpegOf(SMALL), orientation),
    webp: (orientation) => webpWithExif(webpOf(SMALL), SMALL, orientation),
  };
  test.each(Object.keys(formats))("of %s, in every orientation that Exif has", (format) => {
    for (const orientation of ORIENTATIONS) {
      const bytes = formats[format]!(orientation);
      expect(imageInfo(bytes, DEFAULT_LIMITS)).toMatchObject({
        format,
        pages: [{ width: 30, height: 20, orientation }],
      });
    }
  });

  test("of a plain JPEG and a plain WebP: upright", () => {
    for (const bytes of [jpegOf(SMALL), webpOf(SMALL)]) {
      expect(imageInfo(bytes, DEFAULT_LIMITS).pages).toMatchObject([{ width: 30, height: 20, orientation: 1 }]);
    }
  });

  test.each([
    { isLittle: true, isBig: false },
    { isLittle: false, isBig: false },
    { isLittle: true, isBig: true },
    { isLittle: false, isBig: true },
  ])("of every page of a TIFF: %o", (options) => {
    const bytes = tiffOf([SMALL, image(8, 50), image(1, 1)], options);
    const { format, pages } = imageInfo(bytes, DEFAULT_LIMITS);
    expect(format).toBe("tiff");
    expect(pages.map(({ width, height }) => [width, height])).toEqual([
      [30, 20],
      [8, 50],
      [1, 1],
    ]);
  });
});

describe("refused by its headers", () => {
  test("what is no image, or one of another kind, for its format", () => {
    const others = [
      Buffer.alloc(0),
      Buffer.from("%PDF-1.7\n"),
      Buffer.from("GIF89a\x01\0\x01\0"),
      Buffer.from("BM"),
      Buffer.from("<svg/>"),
    ];
    expect(others.map((bytes) => codeOf(bytes))).toEqual(others.map(() => "E_FORMAT"));
  });

  test("more bytes, pixels or pages than the limits allow, with the limit named", () => {
    const limits = { ...DEFAULT_LIMITS, maxBytes: 100_000, maxPixels: 1_000_000, maxPages: 3 };
    expect(() => imageInfo(new Uint8Array(100_001), limits)).toThrow(/maxBytes/);
    expect(() => imageInfo(pngClaiming(10_000, 10_000), limits)).toThrow(/10,000 × 10,000 pixels.*maxPixels/);
    expect(() => imageInfo(pngClaiming(30_001, 1), limits)).toThrow(/30,000 pixels/);
    expect(() => imageInfo(pngClaiming(0xffffffff, 0xffffffff), limits)).toThrow(/maxPixels/);
    expect(() => imageInfo(tiffOf(Array(4).fill(image(2, 2))), limits)).toThrow(/more than 3 pages.*maxPages/);
    expect(codeOf(tiffOf(Array(3).fill(image(2, 2))), limits)).toBe("none");
  });

  test("a TIFF of 10,000 pages", () => {
    expect(codeOf(tiffOf(Array(10_000).fill(image(2, 2))))).toBe("E_TOO_LARGE");
  });

  test("a TIFF whose directories go round in a circle", () => {
    const bytes = Buffer.from(tiffOf([image(4, 4), image(4, 4)]));
    bytes.writeUInt32LE(bytes.readUInt32LE(4), bytes.length - 4);
    expect(() => imageInfo(bytes, DEFAULT_LIMITS)).toThrow(/circle/);
  });

  test("a TIFF whose pages all name one huge table", () => {
    // Strips: as many as half the file has words, for every page anew.
    const pages = Array.from({ length: 400 }, () => image(1, 1));
    const bytes = Buffer.concat([tiffOf(pages), Buffer.alloc(400_000)]);
    for (let at = bytes.readUInt32LE(4); at !== 0; at = bytes.readUInt32LE(at + 134)) {
      for (const entry of [5, 9]) {
        bytes.writeUInt32LE(90_000, at + 2 + entry * 12 + 4);
        bytes.writeUInt32LE(bytes.length - 400_000, at + 2 + entry * 12 + 8);
      }
    }
    expect(() => imageInfo(bytes, DEFAULT_LIMITS)).toThrow(/share their tables/);
  });

  test("a PNG whose chunks lie about their length, or that has no pixels", () => {
    const bytes = Buffer.from(pngOf(SMALL));
    const idat = bytes.indexOf("IDAT");
    const longer = Buffer.from(bytes);
    longer.writeUInt32BE(0x7fffffff, idat - 4);
    const none = Buffer.concat([bytes.subarray(0, idat - 4), pngChunk("IEND", Buffer.alloc(0))]);
    expect([longer, none, pngClaiming(0, 20)].map((each) => codeOf(each))).toEqual(Array(3).fill("E_DAMAGED"));
  });

  test("a header of a kind that there is not", () => {
    for (const [at, value] of [
      [24, 3],
      [25, 5],
      [26, 1],
      [28, 2],
    ] as const) {
      const bytes = Buffer.from(pngOf(SMALL));
      bytes[at] = value;
      expect(codeOf(bytes)).toBe("E_DAMAGED");
    }
  });

  test("a WebP that moves, and a JPEG of a coding that is not read", () => {
    const moving = Buffer.from(webpWithExif(webpOf(SMALL), SMALL, 1));
    moving[20]! |= 0x02;
    const arithmetic = Buffer.from(jpegOf(SMALL));
    arithmetic[arithmetic.indexOf(Buffer.from([0xff, 0xc0])) + 1] = 0xc9;
    expect([moving, arithmetic].map((each) => codeOf(each))).toEqual(["E_FORMAT", "E_FORMAT"]);
  });
});

describe("cut off anywhere", () => {
  test.each([
    ["png", pngOf(SMALL)],
    ["jpeg", jpegOf(SMALL)],
    ["webp", webpOf(SMALL)],
    ["tiff", tiffOf([SMALL, SMALL])],
  ])("a %s is damaged, or too short to be one", (_, bytes) => {
    for (let length = 0; length < bytes.length; length++) {
      expect(["E_DAMAGED", "E_FORMAT"], `${length} of ${bytes.length}`).toContain(codeOf(bytes.subarray(0, length)));
    }
  });
});

test("any bytes after any format's first ones have an answer or an error of ours", () => {
  const heads = [pngOf(SMALL), jpegOf(SMALL), webpOf(SMALL), tiffOf([SMALL]), tiffOf([SMALL], { isBig: true })];
  const edits = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.constantFrom(...heads), edits, (head, edits) => {
      const bytes = Uint8Array.from(head);
      for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value;
      codeOf(bytes);
    }),
    { numRuns: 3000 },
  );
});
