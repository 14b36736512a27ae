/** Pages rendered from known text, in the formats that scanners and cameras make: for the tests and for the bench. */
import { createRequire } from "node:module";
import { crc32, deflateSync } from "node:zlib";
import { type Canvas, createCanvas, GlobalFonts, ImageData } from "@napi-rs/canvas";
import type { GreyImage } from "../../src/readers/image/grey.ts";
import type { Orientation } from "../../src/readers/image/size.ts";
import sentences from "../fixtures/image/sentences.json" with { type: "json" };

const packages = createRequire(import.meta.url);

/** Of fonts that npm packages bring: the same pages on every machine. */
export const FONTS = {
  serif: "tinos",
  sans: "arimo",
  monospace: "cousine",
  "old style": "eb-garamond",
} as const;

export type Font = keyof typeof FONTS;
export type Language = "eng" | "deu" | "fra";

for (const [family, font] of Object.entries(FONTS)) {
  GlobalFonts.registerFromPath(packages.resolve(`@fontsource/${font}/files/${font}-latin-400-normal.woff2`), family);
}

export interface PageStyle {
  readonly language: Language;
  readonly font: Font;
  readonly points: number;
  readonly dpi: number;
  readonly lines: number;
  /** In inches; margins of half an inch are in it. */
  readonly width: number;
  /** Which of the sentences come first: pages of one style differ by it. */
  readonly from: number;
  /** Degrees clockwise, of the sheet on the scanner. */
  readonly skew: number;
  /** Degrees clockwise, by quarters. */
  readonly turn: number;
  /** Standard deviation of what is added to every pixel, of 255. */
  readonly noise: number;
}

export const PLAIN: PageStyle = {
  language: "eng",
  font: "serif",
  points: 11,
  dpi: 200,
  lines: 10,
  width: 5.5,
  from: 0,
  skew: 0,
  turn: 0,
  noise: 0,
};

export interface RenderedPage {
  readonly image: GreyImage;
  readonly text: string;
}

const MARGIN_INCHES = 0.5;
const LEADING = 1.35;

export function renderPage(style: Partial<PageStyle>): RenderedPage {
  const page = { ...PLAIN, ...style };
  const size = (page.points / 72) * page.dpi;
  const margin = MARGIN_INCHES * page.dpi;
  const width = Math.round(page.width * page.dpi);
  const height = Math.round(2 * margin + page.lines * size * LEADING);
  const canvas = createCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.translate(width / 2, height / 2);
  context.rotate((page.skew / 180) * Math.PI);
  context.translate(-width / 2, -height / 2);
  context.fillStyle = "#000";
  context.font = `${size}px "${page.font}"`;
  const fits = (line: string) => context.measureText(line).width <= width - 2 * margin;
  const lines = breakLines(textFrom(page.language, page.from), page.lines, fits);
  for (const [i, line] of lines.entries()) context.fillText(line, margin, margin + (i + 0.8) * size * LEADING);
  return { image: withNoise(greyOf(turnCanvas(canvas, page.turn)), page.noise), text: lines.join(" ") };
}

/** These lines, as a screen shows a list. @param turn degrees clockwise, by quarters */
export function renderLines(lines: readonly string[], turn = 0): GreyImage {
  const size = 32;
  const canvas = createCanvas(1000, (lines.length + 1) * size * 2);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#000";
  context.font = `${size}px "sans"`;
  for (const [i, line] of lines.entries()) context.fillText(line, size, (i + 1) * size * 2);
  return greyOf(turnCanvas(canvas, turn));
}

function textFrom(language: Language, from: number): string[] {
  const all = sentences[language];
  return all
    .map((_, i) => all[(from + i) % all.length]!)
    .join(" ")
    .split(" ");
}

function breakLines(words: readonly string[], count: number, fits: (line: string) => boolean): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (fits(longer)) {
      line = longer;
      continue;
    }
    lines.push(line);
    if (lines.length === count) break;
    line = word;
  }
  return lines;
}

function turnCanvas(canvas: Canvas, degrees: number): Canvas {
  if (degrees === 0) return canvas;
  const isOnSide = degrees % 180 !== 0;
  const result = createCanvas(isOnSide ? canvas.height : canvas.width, isOnSide ? canvas.width : canvas.height);
  const context = result.getContext("2d");
  context.translate(result.width / 2, result.height / 2);
  context.rotate((degrees / 180) * Math.PI);
  context.drawImage(canvas, -canvas.width / 2, -canvas.height / 2);
  return result;
}

function greyOf(canvas: Canvas): GreyImage {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  return { width, height, pixels: Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]!) };
}

function withNoise(image: GreyImage, deviation: number): GreyImage {
  if (deviation === 0) return image;
  const random = mulberry32(1);
  const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const pixels = image.pixels.map((grey) => Math.max(0, Math.min(255, Math.round(grey + deviation * gaussian()))));
  return { ...image, pixels };
}

/** The same numbers on every run. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function canvasOf({ width, height, pixels }: GreyImage): Canvas {
  const canvas = createCanvas(width, height);
  const data = new Uint8ClampedArray(width * height * 4);
  for (const [i, grey] of pixels.entries()) data.set([grey, grey, grey, 255], 4 * i);
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

/** In colour, as cameras make them. */
export function jpegOf(image: GreyImage, quality = 90): Uint8Array {
  return canvasOf(image).toBuffer("image/jpeg", quality);
}

export function webpOf(image: GreyImage): Uint8Array {
  return canvasOf(image).toBuffer("image/webp", 90);
}

/** As the page is stored whose orientation is said to be `orientation`: rows and columns as the Exif standard numbers them. */
export function storedAs(image: GreyImage, orientation: Orientation): GreyImage {
  const { width: w, height: h } = image;
  const isTransposed = orientation >= 5;
  const [width, height] = isTransposed ? [h, w] : [w, h];
  const shown: Record<Orientation, (row: number, column: number) => [number, number]> = {
    1: (r, c) => [c, r],
    2: (r, c) => [w - 1 - c, r],
    3: (r, c) => [w - 1 - c, h - 1 - r],
    4: (r, c) => [c, h - 1 - r],
    5: (r, c) => [r, c],
    6: (r, c) => [w - 1 - r, c],
    7: (r, c) => [w - 1 - r, h - 1 - c],
    8: (r, c) => [r, h - 1 - c],
  };
  const pixels = new Uint8Array(width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const [x, y] = shown[orientation](row, column);
      pixels[row * width + column] = image.pixels[y * w + x]!;
    }
  }
  return { width, height, pixels };
}

function exifOf(orientation: Orientation): Buffer {
  const exif = Buffer.alloc(26);
  exif.write("MM\0*", 0, "latin1");
  exif.writeUInt32BE(8, 4);
  exif.writeUInt16BE(1, 8);
  exif.writeUInt16BE(274, 10);
  exif.writeUInt16BE(3, 12);
  exif.writeUInt32BE(1, 14);
  exif.writeUInt16BE(orientation, 18);
  return exif;
}

export function jpegWithExif(jpeg: Uint8Array, orientation: Orientation): Uint8Array {
  const data = Buffer.concat([Buffer.from("Exif\0\0", "latin1"), exifOf(orientation)]);
  const head = Buffer.from([0xff, 0xe1, 0, data.length + 2]);
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)]);
}

/** The extended form: what canvas makes, with the chunk before it that says more follows. */
export function webpWithExif(webp: Uint8Array, { width, height }: GreyImage, orientation: Orientation): Uint8Array {
  const size = Buffer.alloc(10);
  size[0] = 0x08;
  size.writeUIntLE(width - 1, 4, 3);
  size.writeUIntLE(height - 1, 7, 3);
  const chunks = [riffChunk("VP8X", size), Buffer.from(webp.subarray(12)), riffChunk("EXIF", exifOf(orientation))];
  return riffChunk("RIFF", Buffer.concat([Buffer.from("WEBP"), ...chunks]));
}

function riffChunk(name: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(name, "latin1");
  head.writeUInt32LE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(data.length & 1)]);
}

export interface PngOptions {
  readonly colourType: 0 | 2 | 3 | 4 | 6;
  readonly depth: 1 | 2 | 4 | 8 | 16;
  /** Of every row, in turn: all five. */
  readonly filters: readonly number[];
  readonly orientation?: Orientation;
  /** How many bytes of pixels a chunk has. */
  readonly chunkBytes: number;
}

/** Every kind of PNG that is not interlaced. Of a palette, colour 0 is black. */
export function pngOf(image: GreyImage, options: Partial<PngOptions> = {}): Uint8Array {
  const { colourType, depth, filters, orientation, chunkBytes } = {
    ...{ colourType: 0, depth: 8, filters: [0], chunkBytes: 1 << 16 },
    ...options,
  };
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[colourType] ?? 1;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(image.width, 0);
  header.writeUInt32BE(image.height, 4);
  header.set([depth, colourType, 0, 0, 0], 8);
  const levels = Array.from({ length: 2 ** Math.min(8, depth) }, (_, i) =>
    Math.round((255 * i) / (2 ** Math.min(8, depth) - 1)),
  );
  const packed = deflateSync(filtered(image, samples, depth, colourType, filters));
  const parts: Buffer[] = [];
  for (let at = 0; at < packed.length; at += chunkBytes)
    parts.push(pngChunk("IDAT", packed.subarray(at, at + chunkBytes)));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk("IHDR", header),
    ...(orientation ? [pngChunk("eXIf", exifOf(orientation))] : []),
    ...(colourType === 3 ? [pngChunk("PLTE", Buffer.from(levels.flatMap((grey) => [grey, grey, grey])))] : []),
    ...parts,
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

export function pngChunk(name: string, data: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length, 0);
  head.write(name, 4, "latin1");
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(data, crc32(head.subarray(4))), 0);
  return Buffer.concat([head, data, check]);
}

function filtered(
  image: GreyImage,
  samples: number,
  depth: number,
  colourType: number,
  filters: readonly number[],
): Buffer {
  const pixelBytes = Math.max(1, (samples * depth) / 8);
  let above = new Uint8Array(Math.ceil((image.width * samples * depth) / 8));
  const rows: Uint8Array[] = [];
  for (let y = 0; y < image.height; y++) {
    const filter = filters[y % filters.length] ?? 0;
    const row = packRow(image, y, samples, depth, colourType);
    const predict = (i: number) => {
      const left = i < pixelBytes ? 0 : row[i - pixelBytes]!;
      const corner = i < pixelBytes ? 0 : above[i - pixelBytes]!;
      if (filter === 1) return left;
      if (filter === 2) return above[i]!;
      if (filter === 3) return (left + above[i]!) >> 1;
      return filter === 4 ? paeth(left, above[i]!, corner) : 0;
    };
    rows.push(
      Uint8Array.of(filter),
      row.map((byte, i) => byte - predict(i)),
    );
    above = row;
  }
  return Buffer.concat(rows);
}

function paeth(a: number, b: number, c: number): number {
  const nearest = [a, b, c].map((each) => Math.abs(a + b - c - each));
  const least = Math.min(...nearest);
  return [a, b, c][nearest.indexOf(least)] ?? 0;
}

/** Ink is in colour and in alpha: where there is alpha, all is black on nothing. */
function packRow(
  image: GreyImage,
  y: number,
  samples: number,
  depth: number,
  colourType: number,
): Uint8Array<ArrayBuffer> {
  const row = new Uint8Array(Math.ceil((image.width * samples * depth) / 8));
  const hasAlpha = colourType === 4 || colourType === 6;
  for (let x = 0; x < image.width; x++) {
    const grey = image.pixels[y * image.width + x]!;
    const values = Array.from({ length: samples }, (_, i) => (hasAlpha ? (i === samples - 1 ? 255 - grey : 0) : grey));
    for (const [i, value] of values.entries()) {
      const sample = x * samples + i;
      if (depth === 16) row[2 * sample] = value;
      else if (depth === 8) row[sample] = value;
      else
        row[Math.floor((x * depth) / 8)]! |=
          Math.round((value / 255) * (2 ** depth - 1)) << (8 - depth - ((x * depth) % 8));
    }
  }
  return row;
}

export interface TiffOptions {
  readonly compression: "none" | "deflate" | "packbits";
  readonly isLittle: boolean;
  readonly isBig: boolean;
  readonly orientation: Orientation;
  /** 1 for grey, 3 for RGB. */
  readonly samples: 1 | 3;
  /** 16 only where the upper bits come first. */
  readonly depth: PngOptions["depth"];
  readonly rowsPerStrip: number;
  /** Of a sample to the one before it, instead of the sample; of 8 bits. */
  readonly hasDifferences: boolean;
  readonly whiteIsZero: boolean;
}

const TIFF_DEFAULTS: TiffOptions = {
  compression: "none",
  isLittle: true,
  isBig: false,
  orientation: 1,
  samples: 1,
  depth: 8,
  rowsPerStrip: 1 << 15,
  hasDifferences: false,
  whiteIsZero: false,
};

export function tiffOf(pages: readonly GreyImage[], options: Partial<TiffOptions> = {}): Uint8Array {
  const all = { ...TIFF_DEFAULTS, ...options };
  const { compression, isLittle, isBig, samples, depth } = all;
  const word = isBig ? 8 : 4;
  const number = (value: number, bytes: number) => {
    const buffer = Buffer.alloc(8);
    if (bytes === 8 && isLittle) buffer.writeBigUInt64LE(BigInt(value));
    else if (bytes === 8) buffer.writeBigUInt64BE(BigInt(value));
    else if (isLittle) buffer.writeUIntLE(value, 0, bytes);
    else buffer.writeUIntBE(value, 0, bytes);
    return buffer.subarray(0, bytes);
  };
  const entry = (tag: number, value: number, type = 4, count = 1) => {
    const padded = Buffer.alloc(word);
    number(value, type === 3 ? 2 : 4).copy(padded);
    return Buffer.concat([number(tag, 2), number(type, 2), number(count, word), padded]);
  };
  const parts: Buffer[] = [
    Buffer.from(isLittle ? "II" : "MM"),
    number(isBig ? 43 : 42, 2),
    ...(isBig ? [number(8, 2), number(0, 2)] : []),
  ];
  let at = Buffer.concat(parts).length + word;
  for (const image of pages) {
    const strips = stripsOf(image, all);
    const starts = strips.map((_, i) => at + strips.slice(0, i).reduce((sum, { length }) => sum + length, 0));
    const tables = at + strips.reduce((sum, { length }) => sum + length, 0);
    // One strip's place and size are in the entry itself.
    const isOne = strips.length === 1;
    const lists = isOne ? [] : [...starts, ...strips.map(({ length }) => length)].map((value) => number(value, 4));
    const entries = [
      entry(256, image.width),
      entry(257, image.height),
      entry(258, depth, 3),
      entry(259, { none: 1, deflate: 8, packbits: 32773 }[compression], 3),
      entry(262, samples === 3 ? 2 : all.whiteIsZero ? 0 : 1, 3),
      entry(273, isOne ? starts[0]! : tables, 4, strips.length),
      entry(274, all.orientation, 3),
      entry(277, samples, 3),
      entry(278, Math.min(all.rowsPerStrip, image.height)),
      entry(279, isOne ? strips[0]!.length : tables + 4 * strips.length, 4, strips.length),
      entry(317, all.hasDifferences ? 2 : 1, 3),
    ];
    const body = Buffer.concat([...strips, ...lists]);
    const padding = Buffer.alloc(body.length & 1);
    const directory = at + body.length + padding.length;
    const bytes = Buffer.concat([number(entries.length, isBig ? 8 : 2), ...entries]);
    parts.push(number(directory, word), body, padding, bytes);
    at = directory + bytes.length + word;
  }
  return Buffer.concat([...parts, number(0, word)]);
}

function stripsOf(image: GreyImage, options: TiffOptions): Buffer[] {
  const { samples, depth, hasDifferences, whiteIsZero, rowsPerStrip, compression } = options;
  const shown = whiteIsZero ? { ...image, pixels: image.pixels.map((grey) => 255 - grey) } : image;
  const rows = Array.from({ length: image.height }, (_, y) => {
    const row = packRow(shown, y, samples, depth, samples === 3 ? 2 : 0);
    return hasDifferences ? row.map((byte, i) => byte - (i < samples ? 0 : row[i - samples]!)) : row;
  });
  const strips: Buffer[] = [];
  for (let y = 0; y < rows.length; y += rowsPerStrip) {
    const strip = rows.slice(y, y + rowsPerStrip);
    if (compression === "packbits") strips.push(Buffer.concat(strip.map(packBits)));
    else strips.push(compression === "deflate" ? deflateSync(Buffer.concat(strip)) : Buffer.concat(strip));
  }
  return strips;
}

/** Without repeats: literals only. */
function packBits(row: Uint8Array): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < row.length; at += 128) {
    const literal = row.subarray(at, at + 128);
    parts.push(Buffer.from([literal.length - 1]), Buffer.from(literal));
  }
  return Buffer.concat(parts);
}

/** Edits ÷ characters of what is right. Spaces count as one, line breaks as spaces, and all quotation marks as two kinds. */
export function characterErrorRate(expected: string, actual: string): number {
  const [right, read] = [normal(expected), normal(actual)];
  let row = Array.from({ length: read.length + 1 }, (_, i) => i);
  for (let i = 1; i <= right.length; i++) {
    const next = [i];
    for (let j = 1; j <= read.length; j++) {
      const replaced = row[j - 1]! + (right[i - 1] === read[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[read.length]! / Math.max(1, right.length);
}

function normal(text: string): string {
  const marks = text.replace(/[‘’‚`´]/g, "'").replace(/[“”„«»]/g, '"');
  return marks.replace(/\s+/g, " ").trim();
}
