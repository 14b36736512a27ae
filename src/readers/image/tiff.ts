/**
 * TIFF's directories (TIFF 6.0, BigTIFF), which Exif has too; and the pixels of pages that tesseract's decoder cannot read:
 * deflated ones, and those in JPEG.
 */
import { EdgeT5Error } from "../../errors.ts";
import { type ReadLimits, tooLarge } from "../limits.ts";
import { Bytes, damaged } from "./bytes.ts";
import { type GreyImage, GreyScaler, greyLevels, greyRow, lumaOf, type RowFormat } from "./grey.ts";
import { inflatedRows } from "./inflate.ts";
import { openJpeg } from "./jpeg-rows.ts";
import type { ImagePage, Orientation } from "./size.ts";

const TAG = {
  subfileType: 254,
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  rowsPerStrip: 278,
  stripByteCounts: 279,
  planes: 284,
  predictor: 317,
  colourMap: 320,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileByteCounts: 325,
  jpegTables: 347,
} as const;

/** Bytes of a value, by its type's number. */
const TYPE_BYTES: Readonly<Record<number, number>> = { 1: 1, 3: 2, 4: 4, 7: 1, 13: 4, 16: 8, 18: 8 };

/** None, CCITT (three), LZW, PackBits: tesseract's decoder has these. */
const COMPRESSIONS: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 32773]);
/** Two numbers for one: these are inflated here. */
const DEFLATE: ReadonlySet<number> = new Set([8, 32946]);
/** Of TIFF 6.0: each of its writers had its own way. */
const OLD_JPEG = 6;
const JPEG = 7;
const DIFFERENCES = 2;

const WHITE_IS_ZERO = 0;
const RGB = 2;
const PALETTE = 3;
const YCBCR = 6;

/** Pixels of a row of tiles, which is held whole. */
const MOST_BAND = 18_000_000;

interface Values {
  readonly count: number;
  at(i: number): number;
}

interface Directory {
  readonly tags: ReadonlyMap<number, Values>;
  /** Of the next one, 0 after the last. */
  readonly next: number;
}

/** Bytes that tables of all pages may still take: honest ones share none, so that reading them takes no longer than the file. */
interface Budget {
  bytes: number;
}

export function tiffPages(bytes: Uint8Array, limits: ReadLimits): ImagePage[] {
  const file = openTiff(bytes, "TIFF");
  const isBig = file.u16(2) === 43;
  const pages: ImagePage[] = [];
  const budget = { bytes: bytes.length };
  const seen = new Set<number>();
  for (let at = isBig ? file.u64(8) : file.u32(4); at !== 0; ) {
    if (seen.has(at)) throw file.damaged("its pages go round in a circle");
    seen.add(at);
    // Reduced copies of pages count too: the walk itself is what is bounded.
    if (seen.size > limits.maxPages) {
      throw tooLarge(`The TIFF file has more than ${(seen.size - 1).toLocaleString("en")} pages`, "maxPages", limits);
    }
    const { tags, next } = readDirectory(file, at, isBig);
    spend(file, budget, tags.size * 12);
    if (((tags.get(TAG.subfileType)?.at(0) ?? 0) & 1) === 0) pages.push(pageOf(file, tags, at, budget));
    at = next;
  }
  if (pages.length === 0) throw file.damaged("it has no pages");
  return pages;
}

/** The orientation that Exif data names; 1 where they name none, or cannot be read: a picture is not refused for them. */
export function exifOrientation(bytes: Uint8Array): Orientation {
  try {
    const file = openTiff(bytes, "Exif");
    return orientationOf(readDirectory(file, file.u32(4), false).tags);
  } catch {
    return 1;
  }
}

/**
 * The pixels, in grey, of a page that `tiffPages` says is read by rows.
 *
 * @throws EdgeT5Error `E_DAMAGED`; `E_FORMAT` for pixels in planes, of another colour model than grey and RGB (in JPEG,
 * YCbCr too), and deflated ones in tiles
 */
export async function readTiffPage(bytes: Uint8Array, directory: number, maxPixels: number): Promise<GreyImage> {
  const file = openTiff(bytes, "TIFF");
  const { tags } = readDirectory(file, directory, file.u16(2) === 43);
  const isJpeg = tags.get(TAG.compression)?.at(0) === JPEG;
  return isJpeg ? readJpegPage(bytes, file, tags, maxPixels) : await readDeflatedPage(bytes, file, tags, maxPixels);
}

/** Every strip or tile is a JPEG file of its own, whose tables may stand apart. */
function readJpegPage(bytes: Uint8Array, file: Bytes, tags: ReadonlyMap<number, Values>, maxPixels: number): GreyImage {
  const value = (tag: number, otherwise: number) => tags.get(tag)?.at(0) ?? otherwise;
  const [width, height] = [value(TAG.width, 0), value(TAG.height, 0)];
  const hasTiles = tags.has(TAG.tileOffsets);
  const pieceWidth = hasTiles ? value(TAG.tileWidth, width) : width;
  const pieceHeight = hasTiles ? value(TAG.tileHeight, height) : Math.min(height, value(TAG.rowsPerStrip, height));
  const { component, isNegative } = jpegColours(tags);
  const tables = bytesOf(tags.get(TAG.jpegTables));
  const offsets = tags.get(hasTiles ? TAG.tileOffsets : TAG.stripOffsets);
  const sizes = tags.get(hasTiles ? TAG.tileByteCounts : TAG.stripByteCounts);
  const across = Math.ceil(width / pieceWidth);
  if (!offsets || !sizes || !(across >= 1) || pieceHeight < 1) throw file.damaged("it has no strips or tiles");
  if (across * Math.ceil(height / pieceHeight) > offsets.count) throw file.damaged("it has fewer rows than it says");
  const scaler = new GreyScaler(width, height, maxPixels);
  const push = (row: Uint8Array) => scaler.push(isNegative ? row.map((grey) => 255 - grey) : row);
  const rowsOf = (piece: number) => {
    const start = offsets.at(piece);
    const jpeg = openJpeg(bytes.subarray(start, start + sizes.at(piece)), tables, component);
    if (jpeg.width !== pieceWidth) throw file.damaged("a strip or tile is not as wide as it says");
    return jpeg.rows();
  };
  for (let piece = 0; !scaler.isFull; piece += across) {
    const rows = Math.min(pieceHeight, height - (piece / across) * pieceHeight);
    const band = across === 1 ? null : newBand(pieceWidth * across, rows);
    for (let i = 0; i < across; i++) {
      let y = 0;
      for (const row of rowsOf(piece + i)) {
        if (band) band.set(row, y * pieceWidth * across + i * pieceWidth);
        else push(row);
        if (++y === rows) break;
      }
      if (y < rows) throw file.damaged("it has fewer rows than it says");
    }
    for (let y = 0; band && y < rows; y++)
      push(band.subarray(y * pieceWidth * across, y * pieceWidth * across + width));
  }
  return scaler.image;
}

/** Of red, green and blue the green one is next to brightness. */
function jpegColours(tags: ReadonlyMap<number, Values>): { component: number; isNegative: boolean } {
  const value = (tag: number, otherwise: number) => tags.get(tag)?.at(0) ?? otherwise;
  const samples = value(TAG.samplesPerPixel, 1);
  const photometric = value(TAG.photometric, 1);
  const isGrey = photometric <= 1 && samples === 1;
  const isColour = (photometric === RGB || photometric === YCBCR) && samples === 3 && value(TAG.planes, 1) === 1;
  if (!isGrey && !isColour) {
    const what = "The TIFF file is in JPEG, with colours or planes that cannot be read";
    throw new EdgeT5Error("E_FORMAT", `${what}: save it in grey, RGB or YCbCr, or as PNG.`);
  }
  return { component: photometric === RGB ? 1 : 0, isNegative: photometric === WHITE_IS_ZERO };
}

function newBand(width: number, rows: number): Uint8Array {
  if (width * rows <= MOST_BAND) return new Uint8Array(width * rows);
  const most = MOST_BAND.toLocaleString("en");
  throw new EdgeT5Error(
    "E_TOO_LARGE",
    `A row of the TIFF file's tiles has more than ${most} pixels. Save it with smaller tiles, or in strips.`,
  );
}

function bytesOf(values: Values | undefined): Uint8Array | undefined {
  return values && Uint8Array.from({ length: Math.min(values.count, MOST_TABLES) }, (_, i) => values.at(i));
}

/** Of JPEG's eight tables, with much to spare. */
const MOST_TABLES = 10_000;

async function readDeflatedPage(
  bytes: Uint8Array,
  file: Bytes,
  tags: ReadonlyMap<number, Values>,
  maxPixels: number,
): Promise<GreyImage> {
  const value = (tag: number, otherwise: number) => tags.get(tag)?.at(0) ?? otherwise;
  const format = rowFormat(file, tags);
  const { width, samples, depth } = format;
  const height = value(TAG.height, 0);
  const rowBytes = Math.ceil((width * samples * depth) / 8);
  const rowsPerStrip = Math.min(height, value(TAG.rowsPerStrip, height));
  const hasDifferences = value(TAG.predictor, 1) === DIFFERENCES;
  const scaler = new GreyScaler(width, height, maxPixels);
  const toGrey = greyRow(format);
  const offsets = tags.get(TAG.stripOffsets);
  const sizes = tags.get(TAG.stripByteCounts);
  try {
    for (let strip = 0; offsets && sizes && strip < offsets.count && !scaler.isFull; strip++) {
      const start = offsets.at(strip);
      let rows = 0;
      for (const row of inflatedRows([bytes.subarray(start, start + sizes.at(strip))], rowBytes)) {
        if (hasDifferences) addDifferences(row, format);
        scaler.push(toGrey(row));
        if (++rows === rowsPerStrip || scaler.isFull) break;
      }
    }
  } catch (cause) {
    throw damaged("TIFF", "its pixels cannot be unpacked", { cause });
  }
  if (!scaler.isFull) throw file.damaged("it has fewer rows than it says");
  return scaler.image;
}

function rowFormat(file: Bytes, tags: ReadonlyMap<number, Values>): RowFormat {
  const value = (tag: number, otherwise: number) => tags.get(tag)?.at(0) ?? otherwise;
  const samples = value(TAG.samplesPerPixel, 1);
  const depth = value(TAG.bitsPerSample, 1);
  const photometric = value(TAG.photometric, 1);
  const hasColour = photometric === RGB && samples >= 3 && depth >= 8;
  const isGrey = photometric <= 1 && (samples === 1 || depth >= 8);
  const isKnown = hasColour || isGrey || (photometric === PALETTE && samples === 1 && depth <= 8);
  const isPlain = tags.has(TAG.stripOffsets) && (samples === 1 || value(TAG.planes, 1) === 1) && samples <= 8;
  if (!isKnown || !isPlain || ![1, 2, 4, 8, 16].includes(depth)) {
    const what = "The TIFF file is deflated, and its pixels lie in a way that cannot be read";
    throw new EdgeT5Error("E_FORMAT", `${what}: save it in grey or RGB, in strips, or as PNG.`);
  }
  const palette = paletteOf(tags, photometric, depth);
  return { width: value(TAG.width, 0), samples, depth, palette, hasColour, hasAlpha: false, isLittle: file.isLittle };
}

function paletteOf(tags: ReadonlyMap<number, Values>, photometric: number, depth: number): Uint8Array | null {
  if (photometric === WHITE_IS_ZERO) return greyLevels(Math.min(8, depth)).reverse();
  const map = tags.get(TAG.colourMap);
  if (photometric !== PALETTE || !map) return null;
  // All reds, all greens, all blues, of 16 bits each.
  const count = 2 ** depth;
  const upper = (i: number) => map.at(i) >> 8;
  return Uint8Array.from({ length: count }, (_, i) => lumaOf(upper(i), upper(i + count), upper(i + 2 * count)));
}

/** Each sample was written as what it is more than the one before it in its row. */
function addDifferences(row: Uint8Array, { samples, depth, isLittle }: RowFormat): void {
  if (depth === 8) for (let i = samples; i < row.length; i++) row[i]! += row[i - samples]!;
  if (depth !== 16) return;
  const view = new DataView(row.buffer, row.byteOffset, row.byteLength);
  for (let i = 2 * samples; i + 1 < row.length; i += 2) {
    view.setUint16(i, view.getUint16(i, isLittle) + view.getUint16(i - 2 * samples, isLittle), isLittle);
  }
}

/** The same file, opening with another page: what comes before that one is left where it is. */
export function tiffFrom(bytes: Uint8Array, directory: number): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const isLittle = copy[0] === 0x49;
  if (view.getUint16(2, isLittle) === 43) view.setBigUint64(8, BigInt(directory), isLittle);
  else view.setUint32(4, directory, isLittle);
  return copy;
}

function openTiff(bytes: Uint8Array, format: string): Bytes {
  return new Bytes(bytes, format, bytes[0] === 0x49);
}

function readDirectory(file: Bytes, at: number, isBig: boolean): Directory {
  const count = isBig ? file.u64(at) : file.u16(at);
  const entryBytes = isBig ? 20 : 12;
  const first = at + (isBig ? 8 : 2);
  const end = first + count * entryBytes;
  const tags = new Map<number, Values>();
  if (end > file.length) throw file.damaged("it ends before its directory does");
  for (let entry = first; entry < end; entry += entryBytes) {
    const bytes = TYPE_BYTES[file.u16(entry + 2)];
    if (bytes) tags.set(file.u16(entry), valuesOf(file, entry, bytes, isBig));
  }
  return { tags, next: isBig ? file.u64(end) : file.u32(end) };
}

function valuesOf(file: Bytes, entry: number, bytes: number, isBig: boolean): Values {
  const count = isBig ? file.u64(entry + 4) : file.u32(entry + 4);
  const field = entry + (isBig ? 12 : 8);
  const isInline = count * bytes <= (isBig ? 8 : 4);
  const start = isInline ? field : isBig ? file.u64(field) : file.u32(field);
  const read = (i: number) => {
    const at = start + i * bytes;
    if (bytes === 1) return file.u8(at);
    if (bytes === 2) return file.u16(at);
    return bytes === 4 ? file.u32(at) : file.u64(at);
  };
  return { count, at: read };
}

function pageOf(file: Bytes, tags: ReadonlyMap<number, Values>, directory: number, budget: Budget): ImagePage {
  const value = (tag: number) => tags.get(tag)?.at(0);
  const compression = value(TAG.compression) ?? 1;
  const isByRows = DEFLATE.has(compression) || compression === JPEG;
  if (compression === OLD_JPEG) {
    const what = "The TIFF file is in JPEG as it was until 1995 (compression number 6)";
    throw new EdgeT5Error("E_FORMAT", `${what}, which is not read: save it with JPEG, deflate or LZW compression.`);
  }
  if (!COMPRESSIONS.has(compression) && !isByRows) {
    const what = `The TIFF file is compressed in a way that cannot be read (number ${compression})`;
    throw new EdgeT5Error("E_FORMAT", `${what}: save it with JPEG, deflate, LZW or fax compression, or none.`);
  }
  checkData(file, tags, budget);
  const bits = (value(TAG.bitsPerSample) ?? 1) * (value(TAG.samplesPerPixel) ?? 1);
  // Of grey, a byte or less a pixel; else four. Twice while they are handed over, and a page of one strip is read whole.
  const isGrey = bits <= 16 && value(TAG.photometric) !== PALETTE;
  return {
    width: value(TAG.width) ?? 0,
    height: value(TAG.height) ?? 0,
    // Tesseract's decoder turns it by itself.
    orientation: isByRows ? orientationOf(tags) : 1,
    bytesPerPixel: isByRows ? 0 : bits === 1 ? 0.5 : isGrey ? 3 : 12,
    isByRows,
    directory,
  };
}

function spend(file: Bytes, budget: Budget, bytes: number): void {
  budget.bytes -= bytes;
  if (budget.bytes < 0) throw file.damaged("its pages share their tables");
}

/** Strips or tiles lie within the file. */
function checkData(file: Bytes, tags: ReadonlyMap<number, Values>, budget: Budget): void {
  const offsets = tags.get(TAG.stripOffsets) ?? tags.get(TAG.tileOffsets);
  const sizes = tags.get(TAG.stripByteCounts) ?? tags.get(TAG.tileByteCounts);
  if (!offsets || !sizes || offsets.count < 1) throw file.damaged("a page has no pixels");
  if (offsets.count !== sizes.count) throw file.damaged("a page's strips have no sizes");
  spend(file, budget, offsets.count * 2);
  for (let i = 0; i < offsets.count; i++) {
    if (offsets.at(i) + sizes.at(i) > file.length) throw file.damaged("it is cut off");
  }
}

function orientationOf(tags: ReadonlyMap<number, Values>): Orientation {
  const value = tags.get(TAG.orientation)?.at(0) ?? 1;
  return value >= 1 && value <= 8 ? (value as Orientation) : 1;
}
