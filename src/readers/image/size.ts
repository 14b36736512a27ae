/**
 * What an image's headers say of it: format, pages, their sizes and orientations. Nothing is decoded, so that what is too
 * large or cut off is refused before it costs memory.
 */
import { EdgeT5Error } from "../../errors.ts";
import { type ReadLimits, tooLarge } from "../limits.ts";
import { Bytes } from "./bytes.ts";
import { jpegPage } from "./jpeg.ts";
import { pngPage } from "./png.ts";
import { tiffPages } from "./tiff.ts";
import { webpPage } from "./webp.ts";

export type ImageFormat = "png" | "jpeg" | "webp" | "tiff";

/** As Exif and TIFF number them: to be upright, 3 is turned by 180°, 6 by 90° clockwise, 8 by 270°; 2, 4, 5, 7 are mirrored. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

export interface ImagePage {
  /** As stored, before it is turned as `orientation` says. */
  readonly width: number;
  readonly height: number;
  readonly orientation: Orientation;
  /** What tesseract's decoder holds at its peak. */
  readonly bytesPerPixel: number;
  /** Whether it can be decoded here, row by row, in next to no memory. */
  readonly isByRows: boolean;
  /** Of a TIFF file: where its directory begins. */
  readonly directory?: number;
}

export interface ImageInfo {
  readonly format: ImageFormat;
  readonly pages: readonly ImagePage[];
}

export const FORMAT_NAMES: Record<ImageFormat, string> = { png: "PNG", jpeg: "JPEG", webp: "WebP", tiff: "TIFF" };

/** Of one side, in pixels: tesseract counts them in 16 bits. */
const LONGEST_SIDE = 30_000;

/** The format that the first bytes are of; null for any that is not read. */
export function imageFormat(bytes: Uint8Array): ImageFormat | null {
  const starts = (...expected: number[]) => expected.every((byte, i) => bytes[i] === byte);
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return "png";
  if (starts(0xff, 0xd8, 0xff)) return "jpeg";
  if (starts(0x52, 0x49, 0x46, 0x46) && bytes[8] === 0x57 && bytes[9] === 0x45 && bytes[10] === 0x42) return "webp";
  for (const version of [42, 43]) {
    if (starts(0x49, 0x49, version, 0) || starts(0x4d, 0x4d, 0, version)) return "tiff";
  }
  return null;
}

/**
 * @throws EdgeT5Error `E_FORMAT` for another format; `E_DAMAGED` when headers contradict each other or the file is cut off;
 *   `E_TOO_LARGE` over `maxBytes`, `maxPages` or, in one page, `maxPixels`
 */
export function imageInfo(bytes: Uint8Array, limits: ReadLimits): ImageInfo {
  if (bytes.length > limits.maxBytes) {
    throw tooLarge(`The image has ${bytes.length.toLocaleString("en")} bytes`, "maxBytes", limits);
  }
  const format = imageFormat(bytes);
  if (!format) {
    throw new EdgeT5Error("E_FORMAT", "The file is no image that can be read: send PNG, JPEG, WebP or TIFF.");
  }
  const pages = pagesOf(format, bytes, limits);
  for (const { width, height } of pages) {
    if (width < 1 || height < 1) throw new Bytes(bytes, FORMAT_NAMES[format]).damaged("it says that it has no pixels");
    if (width * height > limits.maxPixels) {
      const size = `${width.toLocaleString("en")} × ${height.toLocaleString("en")} pixels`;
      throw tooLarge(`The image has ${size}`, "maxPixels", limits, "Send it with fewer pixels");
    }
    if (Math.max(width, height) > LONGEST_SIDE) {
      const most = LONGEST_SIDE.toLocaleString("en");
      throw new EdgeT5Error("E_TOO_LARGE", `A side of an image has at most ${most} pixels. Send it in parts.`);
    }
  }
  return { format, pages };
}

function pagesOf(format: ImageFormat, bytes: Uint8Array, limits: ReadLimits): readonly ImagePage[] {
  switch (format) {
    case "png":
      return [pngPage(bytes)];
    case "jpeg":
      return [jpegPage(bytes)];
    case "webp":
      return [webpPage(bytes)];
    case "tiff":
      return tiffPages(bytes, limits);
  }
}
