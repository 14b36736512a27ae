/** Sequential JPEG by rows, against Skia's decoder; cut and changed files end in an error of ours. */
import { createCanvas, ImageData, loadImage } from "@napi-rs/canvas";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { lumaOf } from "../../src/readers/image/grey.ts";
import { readJpegRows } from "../../src/readers/image/jpeg-rows.ts";
import { imageInfo } from "../../src/readers/image/size.ts";
import { DEFAULT_LIMITS } from "../../src/readers/limits.ts";

/** Slopes, edges and specks, in colour. */
function jpegOf(width: number, height: number, quality: number): Buffer {
  const canvas = createCanvas(width, height);
  const data = new Uint8ClampedArray(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)];
    const speck = (Math.imul(i, 2654435761) >>> 24) % 7 === 0 ? 90 : 0;
    data.set([(x * 3) % 256, (y * 2 + speck) % 256, x > width / 2 ? 30 : 220, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return canvas.toBuffer("image/jpeg", quality);
}

async function lumaBySkia(jpeg: Buffer): Promise<number[]> {
  const image = await loadImage(jpeg);
  const canvas = createCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return Array.from({ length: data.length / 4 }, (_, i) => lumaOf(data[4 * i]!, data[4 * i + 1]!, data[4 * i + 2]!));
}

test.each([
  [1, 1, 90],
  [8, 8, 50],
  [17, 33, 95],
  [150, 70, 20],
  [150, 71, 100],
])("%i × %i of quality %i: as another decoder has it", async (width, height, quality) => {
  const jpeg = jpegOf(width, height, quality);
  expect(imageInfo(jpeg, DEFAULT_LIMITS).pages[0]?.isByRows).toBe(true);
  const read = readJpegRows(jpeg, 1e6);
  const expected = await lumaBySkia(jpeg);
  const off = expected.map((luma, i) => Math.abs(luma - read.pixels[i]!));
  expect([read.width, read.height]).toEqual([width, height]);
  // Skia's colours are clipped to what there is before their brightness is taken.
  expect(off.reduce((sum, each) => sum + each, 0) / off.length).toBeLessThan(2);
});

/** Segments of a grey JPEG whose blocks are even, and restarts between them: what canvas does not write. */
function evenBlocks(greys: readonly number[], across: number, restartInterval: number): Buffer {
  const segment = (marker: number, ...data: number[]) => [0xff, marker, 0, data.length + 2, ...data];
  const lengths = (length: number, count: number) =>
    Array.from({ length: 16 }, (_, i) => (i + 1 === length ? count : 0));
  const size = [0, (greys.length / across) * 8, 0, across * 8];
  // A code of four bits for each size of a difference, and one of one bit that ends a block.
  const head = [
    ...segment(0xdb, 0, ...Array(64).fill(8)),
    ...segment(0xc0, 8, ...size, 1, 1, 0x11, 0),
    ...segment(0xc4, 0x00, ...lengths(4, 9), 0, 1, 2, 3, 4, 5, 6, 7, 8),
    ...segment(0xc4, 0x10, ...lengths(1, 1), 0),
    ...segment(0xdd, 0, restartInterval),
    ...segment(0xda, 1, 1, 0x00, 0, 63, 0),
  ];
  const data: number[] = [];
  for (let first = 0; first < greys.length; first += restartInterval) {
    let before = 0;
    let bits = "";
    for (const grey of greys.slice(first, first + restartInterval)) {
      const difference = grey - 128 - before;
      const length = difference === 0 ? 0 : 32 - Math.clz32(Math.abs(difference));
      const value = difference < 0 ? difference + (1 << length) - 1 : difference;
      const magnitude = length ? value.toString(2).padStart(length, "0") : "";
      bits += `${length.toString(2).padStart(4, "0")}${magnitude}0`;
      before = grey - 128;
    }
    bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
    for (let at = 0; at < bits.length; at += 8) {
      const byte = Number.parseInt(bits.slice(at, at + 8), 2);
      data.push(byte, ...(byte === 0xff ? [0] : []));
    }
    if (first + restartInterval < greys.length) data.push(0xff, 0xd0 + ((first / restartInterval) % 8));
  }
  return Buffer.from([0xff, 0xd8, ...head, ...data, 0xff, 0xd9]);
}

test("restarts, wherever they are", () => {
  const greys = Array.from({ length: 24 }, (_, i) => (i * 53) % 256);
  for (const interval of [1, 2, 5, 6, 24]) {
    const { width, height, pixels } = readJpegRows(evenBlocks(greys, 6, interval), 1e6);
    expect([width, height]).toEqual([48, 32]);
    const read = greys.map((_, i) => pixels[Math.floor(i / 6) * 8 * 48 + (i % 6) * 8 + 3]);
    expect(read).toEqual(greys);
  }
});

describe("hostile", () => {
  const jpeg = jpegOf(90, 60, 80);
  const outcome = (bytes: Uint8Array) => {
    try {
      readJpegRows(bytes, 1e6);
      return "read";
    } catch (error) {
      if (error instanceof EdgeT5Error) return error.code;
      throw error;
    }
  };

  test("cut off anywhere", () => {
    for (let length = 0; length < jpeg.length - 20; length += 7) {
      expect(outcome(jpeg.subarray(0, length))).toBe("E_DAMAGED");
    }
  });

  test("changed anywhere: an answer, or an error of ours", () => {
    let state = 3;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let round = 0; round < 500; round++) {
      const bytes = Uint8Array.from(jpeg);
      for (let i = 0; i <= round % 5; i++) bytes[2 + random(bytes.length - 2)] = random(256);
      try {
        // What the headers refuse never comes here.
        if (!imageInfo(bytes, { ...DEFAULT_LIMITS, maxPixels: 100_000 }).pages[0]?.isByRows) continue;
      } catch {
        continue;
      }
      expect(["read", "E_DAMAGED"]).toContain(outcome(bytes));
    }
  });
});
