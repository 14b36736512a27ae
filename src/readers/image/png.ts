/**
 * PNG (W3C Recommendation, third edition): its headers; and its pixels in grey, row by row. Other decoders hold a page's
 * pixels in colour, and often twice: 100 MB where these take 9.
 */
import { Bytes, damaged } from "./bytes.ts";
import { type GreyImage, GreyScaler, greyLevels, greyRow, lumaOf, onWhite } from "./grey.ts";
import { inflatedRows } from "./inflate.ts";
import type { ImagePage, Orientation } from "./size.ts";
import { exifOrientation } from "./tiff.ts";

/** Samples a pixel, and the depths that are allowed, by colour type. */
const COLOUR_TYPES: Readonly<Record<number, { samples: number; depths: readonly number[] }>> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colourType: number;
  readonly samples: number;
  readonly isInterlaced: boolean;
}

interface Chunk {
  readonly name: string;
  readonly data: Uint8Array;
}

export function pngPage(bytes: Uint8Array): ImagePage {
  const file = new Bytes(bytes, "PNG");
  const { width, height, samples, depth, isInterlaced } = readHeader(file);
  let orientation: Orientation = 1;
  let hasPixels = false;
  for (const { name, data } of chunks(bytes)) {
    if (name === "eXIf") orientation = exifOrientation(data);
    if (name === "IDAT") hasPixels = true;
  }
  if (!hasPixels) throw file.damaged("it has no pixels");
  // An interlaced one goes through tesseract's decoder: samples, colour, and twice that while they are handed over.
  const bytesPerPixel = isInterlaced ? (samples * depth) / 8 + (samples > 2 ? 16 : 8) : 0;
  return { width, height, orientation, bytesPerPixel, isByRows: !isInterlaced };
}

/**
 * @param bytes of one that is not interlaced: there, rows are not whole before the last byte
 * @throws EdgeT5Error `E_DAMAGED`
 */
export async function readPngRows(bytes: Uint8Array, maxPixels: number): Promise<GreyImage> {
  const header = readHeader(new Bytes(bytes, "PNG"));
  const all = [...chunks(bytes)];
  const data = (wanted: string) => all.find(({ name }) => name === wanted)?.data;
  const { width, height, samples, depth, colourType } = header;
  const palette = paletteOf(header, data("PLTE"), data("tRNS"));
  const hasColour = colourType === 2 || colourType === 6;
  const hasAlpha = colourType === 4 || colourType === 6;
  const toGrey = greyRow({ width, samples, depth, palette, hasColour, hasAlpha, isLittle: false });
  const scaler = new GreyScaler(width, height, maxPixels);
  const idat = all.filter(({ name }) => name === "IDAT").map(({ data }) => data);
  // The filter's byte comes first.
  const rowBytes = 1 + Math.ceil((width * samples * depth) / 8);
  const above = new Uint8Array(rowBytes);
  try {
    for (const row of inflatedRows(idat, rowBytes)) {
      unfilter(row, above, Math.max(1, (samples * depth) / 8));
      scaler.push(toGrey(row.subarray(1)));
      above.set(row);
      if (scaler.isFull) break;
    }
  } catch (cause) {
    throw damaged("PNG", "its pixels cannot be unpacked", { cause });
  }
  if (!scaler.isFull) throw damaged("PNG", "it has fewer rows than it says");
  return scaler.image;
}

function readHeader(file: Bytes): Header {
  if (file.u32(8) !== 13 || file.name(12) !== "IHDR") throw file.damaged("it does not begin with its size");
  const depth = file.u8(24);
  const colourType = file.u8(25);
  const known = COLOUR_TYPES[colourType];
  const isKnown = known?.depths.includes(depth) && file.u8(26) === 0 && file.u8(27) === 0 && file.u8(28) <= 1;
  if (!known || !isKnown) throw file.damaged("its header names a kind of pixels that there is not");
  const size = { width: file.u32(16), height: file.u32(20) };
  return { ...size, depth, colourType, samples: known.samples, isInterlaced: file.u8(28) === 1 };
}

function* chunks(bytes: Uint8Array): Generator<Chunk, void, undefined> {
  const file = new Bytes(bytes, "PNG");
  for (let at = 8; ; ) {
    const length = file.u32(at);
    const name = file.name(at + 4);
    const start = at + 8;
    if (start + length + 4 > bytes.length) throw file.damaged(`its ${printable(name)} chunk ends after the file`);
    if (name === "IEND") return;
    yield { name, data: bytes.subarray(start, start + length) };
    at = start + length + 4;
  }
}

function printable(name: string): string {
  return /^[A-Za-z]{4}$/.test(name) ? name : "next";
}

function unfilter(row: Uint8Array, above: Uint8Array, pixelBytes: number): void {
  const filter = row[0]!;
  if (filter > 4) throw new RangeError(`filter ${filter}`);
  const first = 1 + pixelBytes;
  const { length } = row;
  if (filter === 1) for (let i = first; i < length; i++) row[i]! += row[i - pixelBytes]!;
  if (filter === 2) for (let i = 1; i < length; i++) row[i]! += above[i]!;
  if (filter === 3) {
    for (let i = 1; i < length; i++) row[i]! += ((i < first ? 0 : row[i - pixelBytes]!) + above[i]!) >> 1;
  }
  if (filter === 4) {
    for (let i = 1; i < length; i++) {
      row[i]! += i < first ? above[i]! : paeth(row[i - pixelBytes]!, above[i]!, above[i - pixelBytes]!);
    }
  }
}

function paeth(left: number, above: number, corner: number): number {
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** Grey of every colour; null where samples are their own. */
function paletteOf(
  { colourType, depth }: Header,
  colours: Uint8Array | undefined,
  alphas: Uint8Array | undefined,
): Uint8Array | null {
  if (colourType === 3) {
    if (!colours) throw damaged("PNG", "it has no palette");
    const greys = new Uint8Array(256);
    for (let i = 0; 3 * i + 2 < colours.length && i < 256; i++) {
      const grey = lumaOf(colours[3 * i]!, colours[3 * i + 1]!, colours[3 * i + 2]!);
      greys[i] = onWhite(grey, alphas?.[i] ?? 255);
    }
    return greys;
  }
  return depth < 8 ? greyLevels(depth) : null;
}
