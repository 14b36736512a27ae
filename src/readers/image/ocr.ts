/**
 * The text in images: PNG, JPEG, WebP, TIFF of many pages, whichever way up, by tesseract. One instance is kept between
 * calls and shared by them; pages of several calls take turns on it.
 */
import { EdgeT5Error } from "../../errors.ts";
import type { Block, Content } from "../../t5/text-to-text/content.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "../limits.ts";
import type { GreyImage } from "./grey.ts";
import { readJpegRows } from "./jpeg-rows.ts";
import { densestPart, type Turn, turnBy, turned } from "./orientation.ts";
import { paragraphsOf } from "./paragraphs.ts";
import { readPngRows } from "./png.ts";
import { FORMAT_NAMES, type ImageInfo, type ImagePage, imageInfo } from "./size.ts";
import { OutOfMemory, type Recognized, type RecognizedParagraph, Tesseract } from "./tesseract.ts";
import { readTiffPage, tiffFrom } from "./tiff.ts";

/** Trained data for tesseract's LSTM engine, by language, as tesseract names them: "eng", "deu". Read when first asked for. */
export type TrainedData = Readonly<Record<string, () => Promise<Uint8Array>>>;

export interface OcrOptions {
  /** tesseract-core-simd-lstm.wasm of tesseract.js-core. */
  readonly wasm: WebAssembly.Module;
  readonly data: TrainedData;
  /** Most that tesseract's memory grows to. Default: {@link MEMORY_BYTES}. */
  readonly memoryBytes?: number;
}

export interface OcrRequest {
  /** Of the text, likeliest first. Each costs time and memory. */
  readonly languages: readonly string[];
  readonly signal?: AbortSignal;
  /** Default: {@link DEFAULT_LIMITS}. */
  readonly limits?: ReadLimits;
}

export interface OcrPage {
  /** A line a line, paragraphs apart by an empty one; empty when there is none. */
  readonly text: string;
  /** Of its words, 0 to 100, as tesseract counts it; 0 when there are none. */
  readonly confidence: number;
  /** Clockwise, by which it was turned to be read, after what its file says of it. */
  readonly turn: Turn;
  /** Without line breaks; each line of a list is one. */
  readonly paragraphs: readonly { readonly text: string; readonly confidence: number }[];
}

export interface Ocr {
  /** Bytes of WASM memory that it holds. */
  readonly bytes: number;
  /**
   * @throws EdgeT5Error `E_INPUT` for a language without data; `E_FORMAT`, `E_DAMAGED`, `E_TOO_LARGE` for what cannot be
   *   read; what aborts `signal`, between pages
   */
  recognize(bytes: Uint8Array, request: OcrRequest): Promise<OcrPage[]>;
  /** Gives its memory back; what is asked for next makes it anew. */
  release(): void;
}

/** What an isolate of 128 MB has for it, beside JavaScript's heap and the image itself. */
export const MEMORY_BYTES = 88_000_000;
/** Of an image as it is read: a page of A4 at 300 dpi has 8.7 million. Larger ones are scaled down to it. */
const WORK_PIXELS = 9_000_000;
/** An instance without languages or image. */
const IDLE_BYTES = 18_000_000;
/** What can be decoded while languages stay loaded. */
const SMALL_BYTES = 24_000_000;
/** Text of less mean confidence may stand on its head: there, it is some 35. */
const GOOD_CONFIDENCE = 75;
/** Likeliest first. */
const OTHER_TURNS: readonly Turn[] = [180, 90, 270];
/** By how much another way up must be better. */
const BETTER_CONFIDENCE = 8;

export function createOcr(options: OcrOptions): Ocr {
  return new TesseractOcr(options);
}

class TesseractOcr implements Ocr {
  readonly #options: OcrOptions;
  readonly #memoryBytes: number;
  #tesseract: Tesseract | null = null;
  #creating: Promise<Tesseract> | null = null;

  constructor(options: OcrOptions) {
    this.#options = options;
    this.#memoryBytes = options.memoryBytes ?? MEMORY_BYTES;
  }

  get bytes(): number {
    return this.#tesseract?.bytes ?? 0;
  }

  release(): void {
    this.#tesseract = null;
  }

  async recognize(bytes: Uint8Array, { languages, signal, limits = DEFAULT_LIMITS }: OcrRequest): Promise<OcrPage[]> {
    this.#checkLanguages(languages);
    const info = imageInfo(bytes, limits);
    for (const page of info.pages) this.#checkMemory(page);
    const pages: OcrPage[] = [];
    let characters = 0;
    for (const page of info.pages) {
      signal?.throwIfAborted();
      const image = await this.#decode(bytes, info, page);
      const read = await this.#fresh((tesseract) => readPage(tesseract, image, page), languages);
      characters += read.text.length;
      if (characters > limits.maxCharacters) {
        throw tooLarge(`The image has ${characters.toLocaleString("en")} characters`, "maxCharacters", limits);
      }
      pages.push(read);
    }
    return pages;
  }

  #checkLanguages(languages: readonly string[]): void {
    const known = Object.keys(this.#options.data);
    const unknown = languages.find((language) => !known.includes(language));
    if (unknown === undefined && languages.length > 0 && new Set(languages).size === languages.length) return;
    const what =
      unknown === undefined ? "Name one or more languages, each once" : `There is no trained data for "${unknown}"`;
    throw new EdgeT5Error("E_INPUT", `${what}. Languages of texts in images: ${known.join(", ")}.`);
  }

  /** Whether tesseract's memory is enough to decode it. */
  #fits({ width, height, bytesPerPixel }: ImagePage): boolean {
    return width * height * bytesPerPixel <= this.#memoryBytes - IDLE_BYTES;
  }

  /** Before anything is decoded. */
  #checkMemory(page: ImagePage): void {
    if (page.isByRows || this.#fits(page)) return;
    const { width, height, bytesPerPixel } = page;
    const most = Math.floor((this.#memoryBytes - IDLE_BYTES) / bytesPerPixel / 1e5) / 10;
    const what = `The image has ${width} × ${height} pixels; of its kind ${most} million fit the ${Math.floor(this.#memoryBytes / 1e6)} MB of its reader's memory (memoryBytes)`;
    throw new EdgeT5Error(
      "E_TOO_LARGE",
      `${what}. Send it with fewer pixels, as PNG or as baseline JPEG, or read it where there is more memory.`,
    );
  }

  async #decode(bytes: Uint8Array, { format }: ImageInfo, page: ImagePage): Promise<GreyImage> {
    const { directory, isByRows } = page;
    if (format === "png" && isByRows) return await readPngRows(bytes, WORK_PIXELS);
    if (format === "jpeg" && isByRows && !this.#fits(page)) return readJpegRows(bytes, WORK_PIXELS);
    if (directory !== undefined && isByRows) return await readTiffPage(bytes, directory, WORK_PIXELS);
    const isSmall = page.width * page.height * page.bytesPerPixel <= SMALL_BYTES;
    const file = directory === undefined ? bytes : tiffFrom(bytes, directory);
    return this.#fresh((tesseract) => {
      if (!isSmall) tesseract.unload();
      return tesseract.decode(file, FORMAT_NAMES[format], WORK_PIXELS);
    });
  }

  /**
   * Runs `work`, which does not wait, on the instance; once more on a new one, where memory ran out that the old one had
   * in pieces.
   */
  async #fresh<T>(work: (tesseract: Tesseract) => T, languages?: readonly string[]): Promise<T> {
    const isNew = this.#tesseract === null;
    try {
      return await this.#use(work, languages);
    } catch (error) {
      if (isNew || !(error instanceof OutOfMemory)) throw error;
      return await this.#use(work, languages);
    }
  }

  async #use<T>(work: (tesseract: Tesseract) => T, languages?: readonly string[]): Promise<T> {
    try {
      for (;;) {
        const tesseract = await this.#instance();
        // Another call may have loaded others meanwhile.
        if (!languages || isSame(tesseract.languages, languages)) return work(tesseract);
        const data = await this.#dataOf(languages);
        if (tesseract === this.#tesseract) tesseract.load(data);
      }
    } finally {
      if (this.#tesseract?.isBroken) this.#tesseract = null;
    }
  }

  /** Making one waits for no other request: who comes meanwhile may wait for it. */
  async #instance(): Promise<Tesseract> {
    if (this.#tesseract) return this.#tesseract;
    this.#creating ??= Tesseract.create(this.#options.wasm, this.#memoryBytes);
    try {
      this.#tesseract = await this.#creating;
      return this.#tesseract;
    } finally {
      this.#creating = null;
    }
  }

  async #dataOf(languages: readonly string[]): Promise<Map<string, Uint8Array>> {
    const data = new Map<string, Uint8Array>();
    for (const language of languages) {
      const read = this.#options.data[language];
      if (read) data.set(language, await read());
    }
    return data;
  }
}

function readPage(tesseract: Tesseract, image: GreyImage, { orientation }: ImagePage): OcrPage {
  const read = tesseract.recognize(image, orientation);
  if (read.confidence >= GOOD_CONFIDENCE) return pageOf(read, 0);
  const part = densestPart(image);
  const least = (hasWords(read) ? read.confidence : 0) + BETTER_CONFIDENCE;
  for (const turn of OTHER_TURNS) {
    const sample = tesseract.recognize(part, turned(orientation, turn));
    if (!hasWords(sample) || sample.confidence < least) continue;
    const other = tesseract.recognize(image, turned(orientation, turn));
    if (other.confidence >= least) return pageOf(other, turn);
  }
  return pageOf(read, 0);
}

/** @param turned before tesseract turned it further */
function pageOf({ paragraphs, confidence, turn }: Recognized, turned: Turn): OcrPage {
  const read = paragraphs.filter(isText);
  return {
    text: read.map(({ lines }) => lines.map((line) => line.text).join("\n")).join("\n\n"),
    confidence: read.length > 0 ? confidence : 0,
    turn: read.length > 0 ? turnBy(turned, turn) : 0,
    paragraphs: read.flatMap(({ lines, blockEnd, confidence }) =>
      paragraphsOf(lines, blockEnd).map((text) => ({ text, confidence: Math.round(confidence) })),
    ),
  };
}

function hasWords({ paragraphs }: Recognized): boolean {
  return paragraphs.some(({ lines }) => lines.some(({ text }) => /\p{L}{2}/u.test(text)));
}

/** Specks and rules are read as strokes and dots. */
function isText({ lines }: RecognizedParagraph): boolean {
  return lines.some(({ text }) => /[\p{L}\p{N}]/u.test(text));
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}

/** What was read, as other readers answer it. */
export function contentOfPages(pages: readonly OcrPage[], languages: readonly string[]): Content {
  const blocks: Block[] = pages.flatMap(({ paragraphs }) =>
    paragraphs.map(({ text }) => ({ kind: "paragraph" as const, text })),
  );
  const notes = blocks.length > 0 ? pages.map(noteOf(pages.length, languages)) : [emptyNote(languages)];
  return { kind: "document", document: { title: null, blocks }, notes };
}

function emptyNote(languages: readonly string[]): string {
  return `No writing was found in the image (OCR in ${languages.join(", ")}). Send a sharper or larger one, or one in such a language.`;
}

function noteOf(count: number, languages: readonly string[]) {
  const all = languages.join(", ");
  return ({ text, confidence, turn }: OcrPage, i: number): string => {
    const name = count === 1 ? "The image" : `Page ${i + 1}`;
    if (text === "") return `No writing was found on page ${i + 1} (OCR in ${all}).`;
    const way = turn === 0 ? "" : `, turned by ${turn}°`;
    return `${name} was read by OCR (${all})${way}: confidence ${Math.round(confidence)} of 100.`;
  };
}
