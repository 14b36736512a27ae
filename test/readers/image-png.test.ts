/** PNG's pixels, row by row: every kind, against what was written; scaled down as an average. */
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type GreyImage, GreyScaler } from "../../src/readers/image/grey.ts";
import { readPngRows } from "../../src/readers/image/png.ts";
import { type PngOptions, pngChunk, pngOf } from "./image-pages.ts";

const KINDS: readonly Pick<PngOptions, "colourType" | "depth">[] = [
  ...([1, 2, 4, 8, 16] as const).map((depth) => ({ colourType: 0 as const, depth })),
  ...([8, 16] as const).flatMap((depth) => ([2, 4, 6] as const).map((colourType) => ({ colourType, depth }))),
  ...([1, 2, 4, 8] as const).map((depth) => ({ colourType: 3 as const, depth })),
];

/** Greys that every depth has: of one bit, black and white. */
function pattern(width: number, height: number, depth: number): GreyImage {
  const levels = 2 ** Math.min(depth, 8) - 1;
  const grey = (i: number) => Math.round((255 * ((i * i * 7 + i) % (levels + 1))) / levels);
  return { width, height, pixels: Uint8Array.from({ length: width * height }, (_, i) => grey(i)) };
}

test.each(KINDS)("every pixel, through all filters: $colourType of $depth bits", async ({ colourType, depth }) => {
  for (const width of [1, 7, 64]) {
    const image = pattern(width, 11, depth);
    const bytes = pngOf(image, { colourType, depth, filters: [0, 1, 2, 3, 4], chunkBytes: 13 });
    const read = await readPngRows(bytes, 1e6);
    const off = read.pixels.map((grey, i) => Math.abs(grey - image.pixels[i]!));
    // Grey out of three colours is rounded.
    expect([read.width, read.height, Math.max(...off) <= 1]).toEqual([width, 11, true]);
  }
});

describe("scaling down", () => {
  const sides = fc.integer({ min: 1, max: 60 });
  test("keeps to the bound and the mean of the greys", () => {
    fc.assert(
      fc.property(sides, sides, fc.integer({ min: 1, max: 2000 }), fc.integer(), (width, height, most, seed) => {
        const pixels = Uint8Array.from({ length: width * height }, (_, i) => (Math.imul(i + 1, seed | 1) >>> 8) % 256);
        const scaler = new GreyScaler(width, height, most);
        for (let y = 0; y < height; y++) scaler.push(pixels.subarray(y * width, (y + 1) * width));
        const { image } = scaler;
        const mean = (greys: Uint8Array) => greys.reduce((sum, grey) => sum + grey, 0) / greys.length;
        expect(scaler.isFull).toBe(true);
        expect(image.width * image.height).toBeLessThanOrEqual(Math.max(most, image.width, image.height));
        expect(Math.abs(mean(image.pixels) - mean(pixels))).toBeLessThan(1.5);
      }),
    );
  });

  test("of an even colour is that colour, whatever the factor", () => {
    fc.assert(
      fc.property(sides, sides, fc.integer({ min: 1, max: 2000 }), fc.nat(255), (width, height, most, grey) => {
        const scaler = new GreyScaler(width, height, most);
        for (let y = 0; y < height; y++) scaler.push(new Uint8Array(width).fill(grey));
        expect([...scaler.image.pixels].every((each) => Math.abs(each - grey) <= 1)).toBe(true);
      }),
    );
  });
});

describe("damaged", () => {
  const image = pattern(40, 30, 8);
  const whole = pngOf(image);
  const idat = Buffer.from(whole).indexOf("IDAT");

  test("pixels that cannot be unpacked, too few of them, and a filter that there is not", async () => {
    const broken = Buffer.from(whole);
    broken.fill(0xff, idat + 4, idat + 12);
    const taller = Buffer.from(whole);
    taller.writeUInt32BE(300, 20);
    const filter = pngOf(image, { filters: [9] });
    const data = whole.subarray(idat + 4, idat + 40);
    const short = Buffer.concat([
      whole.subarray(0, idat - 4),
      pngChunk("IDAT", data),
      pngChunk("IEND", Buffer.alloc(0)),
    ]);
    for (const bytes of [broken, taller, filter, short]) {
      await expect(readPngRows(bytes, 1e6)).rejects.toMatchObject({ code: "E_DAMAGED" });
    }
  });

  test("a bomb's pixels are unpacked no further than the header says", async () => {
    // 40 MB for a picture of 1,200 pixels.
    const bomb = pngChunk("IDAT", deflateSync(Buffer.alloc(40_000_000)));
    const bytes = Buffer.concat([whole.subarray(0, idat - 4), bomb, pngChunk("IEND", Buffer.alloc(0))]);
    expect((await readPngRows(bytes, 1e6)).pixels).toEqual(new Uint8Array(1200));
  });
});
