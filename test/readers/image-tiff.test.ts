/** Deflated TIFF: every kind of pixels that is read, against what was written. */
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import type { GreyImage } from "../../src/readers/image/grey.ts";
import { imageInfo } from "../../src/readers/image/size.ts";
import { readTiffPage } from "../../src/readers/image/tiff.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";
import { type TiffOptions, tiffOf } from "./image-pages.ts";

function pattern(width: number, height: number, depth: number): GreyImage {
  const levels = 2 ** Math.min(depth, 8) - 1;
  const grey = (i: number) => Math.round((255 * ((i * i * 7 + i) % (levels + 1))) / levels);
  return { width, height, pixels: Uint8Array.from({ length: width * height }, (_, i) => grey(i)) };
}

async function read(bytes: Uint8Array, page = 0): Promise<GreyImage> {
  const directory = imageInfo(bytes, DEFAULT_LIMITS).pages[page]?.directory ?? 0;
  return readTiffPage(bytes, directory, 1e6);
}

test.each<Partial<TiffOptions>>([
  { depth: 1 },
  { depth: 1, whiteIsZero: true },
  { depth: 4 },
  { depth: 8 },
  { depth: 8, whiteIsZero: true, isBig: true },
  { depth: 8, hasDifferences: true },
  { depth: 16, isLittle: false },
  { samples: 3 },
  { samples: 3, hasDifferences: true, isLittle: false },
])("every pixel: %o", async (options) => {
  for (const rowsPerStrip of [1, 4, 100]) {
    const image = pattern(37, 11, options.depth ?? 8);
    const bytes = tiffOf([pattern(3, 3, 8), image], { compression: "deflate", rowsPerStrip, ...options });
    const { width, height, pixels } = await read(bytes, 1);
    // Grey out of three colours is rounded.
    const isClose = pixels.every((grey, i) => Math.abs(grey - image.pixels[i]!) <= 1);
    expect([width, height, isClose]).toEqual([37, 11, true]);
  }
});

describe("refused", () => {
  const whole = tiffOf([pattern(40, 30, 8)], { compression: "deflate" });

  /** @param tag its value is of two bytes */
  function edited(tag: number, value: number): Uint8Array {
    const bytes = Buffer.from(whole);
    const directory = bytes.readUInt32LE(4);
    for (let entry = directory + 2; entry < bytes.length - 4; entry += 12) {
      if (bytes.readUInt16LE(entry) === tag) bytes.writeUInt32LE(value, entry + 8);
    }
    return bytes;
  }

  test("another colour model, or a depth that there is not", async () => {
    for (const bytes of [edited(262, 5), edited(258, 7), edited(277, 40)]) {
      await expect(read(bytes)).rejects.toMatchObject({ code: "E_FORMAT" });
    }
  });

  test("fewer rows than it says, or what cannot be unpacked", async () => {
    const broken = Buffer.from(whole);
    broken.fill(0xff, 8, 20);
    for (const bytes of [edited(257, 31), broken]) {
      await expect(read(bytes)).rejects.toMatchObject({ code: "E_DAMAGED" });
    }
  });

  test("a compression that is not read, by its number", () => {
    expect(() => imageInfo(edited(259, 9), DEFAULT_LIMITS)).toThrow(EdgeT5Error);
    expect(() => imageInfo(edited(259, 9), DEFAULT_LIMITS)).toThrow(/number 9/);
  });
});
