/** TIFF in JPEG, as libtiff writes it: strips and tiles whose tables stand apart, against the pixels that were written. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { type GreyImage, lumaOf } from "../../src/readers/image/grey.ts";
import { imageInfo } from "../../src/readers/image/size.ts";
import { readTiffPage } from "../../src/readers/image/tiff.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";

const WIDTH = 100;
const HEIGHT = 70;

function fixture(name: string): Buffer {
  return readFileSync(new URL(`../fixtures/image/tiff-jpeg/${name}.tif`, import.meta.url));
}

async function read(bytes: Uint8Array): Promise<GreyImage> {
  const [page] = imageInfo(bytes, DEFAULT_LIMITS).pages;
  return readTiffPage(bytes, page?.directory ?? 0, 1e6);
}

/** What make-tiff-jpeg.py writes at each pixel. */
const grey = (x: number, y: number) => x + 2 * y;
const green = (x: number, y: number) => Math.floor(grey(x, y) / 2);
const luma = (x: number, y: number) => lumaOf(grey(x, y), green(x, y), 255 - grey(x, y));

test.each([
  ["grey-strips", grey],
  ["grey-tiles", grey],
  ["ycbcr-strip", luma],
  ["ycbcr-tiles", luma],
  // Of red, green and blue, green stands for brightness.
  ["rgb-strips", green],
] as const)("%s", async (name, expected) => {
  const { width, height, pixels } = await read(fixture(name));
  expect([width, height]).toEqual([WIDTH, HEIGHT]);
  const off = Array.from(pixels, (value, i) => Math.abs(value - expected(i % WIDTH, Math.floor(i / WIDTH))));
  expect(Math.max(...off)).toBeLessThanOrEqual(20);
  expect(off.reduce((sum, each) => sum + each, 0) / off.length).toBeLessThan(2);
});

/** A value of two or four bytes that stands in its entry, in another. */
function edited(bytes: Buffer, tag: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  const directory = copy.readUInt32LE(4);
  for (let i = 0, entry = directory + 2; i < copy.readUInt16LE(directory); i++, entry += 12) {
    if (copy.readUInt16LE(entry) !== tag) continue;
    if (copy.readUInt16LE(entry + 2) === 3) copy.writeUInt16LE(value, entry + 8);
    else copy.writeUInt32LE(value, entry + 8);
  }
  return copy;
}

test("white is zero where it says so", async () => {
  const [plain, negative] = [await read(fixture("grey-strips")), await read(edited(fixture("grey-strips"), 262, 0))];
  expect(negative.pixels).toEqual(plain.pixels.map((value) => 255 - value));
});

describe("refused", () => {
  test.each([
    ["four colours", fixture("cmyk"), "E_FORMAT", /colours or planes/],
    ["planes", edited(fixture("ycbcr-strip"), 284, 2), "E_FORMAT", /colours or planes/],
    ["more rows than there are", edited(fixture("grey-strips"), 257, 90), "E_DAMAGED", /fewer rows/],
    ["a width that is another one", edited(fixture("grey-strips"), 256, 101), "E_DAMAGED", /not as wide/],
    ["a strip of more rows than it has", edited(fixture("ycbcr-strip"), 257, 90), "E_DAMAGED", /fewer rows/],
  ])("%s", async (_, bytes, code, message) => {
    await expect(read(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test("JPEG as it was until 1995, before anything is read", () => {
    const old = edited(fixture("ycbcr-strip"), 259, 6);
    expect(() => imageInfo(old, DEFAULT_LIMITS)).toThrow(/compression number 6.*save it with JPEG/);
  });

  test("what is progressive", async () => {
    const bytes = fixture("ycbcr-strip");
    bytes[bytes.indexOf(Buffer.from([0xff, 0xc0]))! + 1] = 0xc2;
    await expect(read(bytes)).rejects.toMatchObject({
      code: "E_FORMAT",
      message: expect.stringMatching(/progressive/),
    });
  });

  test("bytes changed anywhere: read, or an error of ours", async () => {
    for (const name of ["grey-strips", "ycbcr-tiles"]) {
      const whole = fixture(name);
      for (let at = 0; at < whole.length; at += 7) {
        const changed = Buffer.from(whole);
        changed[at]! ^= 0x55;
        const error = await read(changed).catch((error: unknown) => error);
        if (error instanceof Error) expect(error, `${name}, byte ${at}`).toBeInstanceOf(EdgeT5Error);
      }
    }
  });
});
