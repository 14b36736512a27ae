/**
 * One instance of tesseract in WASM: its memory bounded, every failure of it an error. What has failed is not used again:
 * an abort leaves its memory in any state.
 */
import createCore, {
  type ResultIterator,
  type TessBaseAPI,
  type TesseractCore,
} from "tesseract.js-core/tesseract-core-simd-lstm.js";
import { EdgeT5Error } from "../../errors.ts";
import { damaged } from "./bytes.ts";
import { type GreyImage, GreyScaler, lumaOf, onWhite } from "./grey.ts";
import type { Turn } from "./orientation.ts";
import type { RecognizedLine } from "./paragraphs.ts";
import type { Orientation } from "./size.ts";

/** PSM_AUTO: blocks and columns are found, and pages on their side are turned to lie; whether on their heads, it cannot tell. */
const PAGE = 3;
/** OEM_LSTM_ONLY, all that this build has. */
const LSTM = 1;
/** RIL_BLOCK, RIL_PARA, RIL_TEXTLINE. */
const BLOCK = 0;
const PARAGRAPH = 1;
const LINE = 2;
/** Radians of skew from which the page is turned before it is read. */
const LEAST_SKEW = 0.005;
/** Of an image, in pixels: tesseract reads nothing smaller. */
const SHORTEST_SIDE = 10;
/** Emscripten asks for memory thrice, for less each time. */
const GROW_TRIES = 3;

/** Confidence is tesseract's: 0 to 100. */
export interface RecognizedParagraph {
  /** As they stand on the page. */
  readonly lines: readonly RecognizedLine[];
  /** Where the widest line of the block that it stands in ends. */
  readonly blockEnd: number;
  readonly confidence: number;
}

export interface Recognized {
  readonly paragraphs: readonly RecognizedParagraph[];
  /** Mean of its words'; 0 without any. */
  readonly confidence: number;
  /** By which tesseract turned it further, of its own accord. */
  readonly turn: Turn;
}

export class Tesseract {
  /** Of the data that is loaded, in its order; empty before any is. */
  languages: readonly string[] = [];
  #isBroken = false;
  readonly #core: TesseractCore;
  readonly #memory: BoundedMemory;
  readonly #api: TessBaseAPI;

  private constructor(core: TesseractCore, memory: BoundedMemory) {
    this.#core = core;
    this.#memory = memory;
    this.#api = new core.TessBaseAPI();
  }

  /**
   * Waits for nothing but itself: no other request's work comes between.
   *
   * @param memoryBytes most that its memory grows to
   */
  static async create(wasm: WebAssembly.Module, memoryBytes: number): Promise<Tesseract> {
    let memory: BoundedMemory | undefined;
    const core = await createCore({
      instantiateWasm(imports, receive) {
        const instance = new WebAssembly.Instance(wasm, imports);
        memory = new BoundedMemory(instance, memoryBytes);
        receive(instance);
        return instance.exports;
      },
      print: () => {},
      printErr: () => {},
    });
    if (!memory) throw new EdgeT5Error("E_INTERNAL", "Tesseract's core made no instance.");
    return new Tesseract(core, memory);
  }

  /** Whether it failed once, and must be let go. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  /**
   * In the place of what was loaded before.
   *
   * @param data trained data by language
   * @throws EdgeT5Error `E_INTERNAL` when tesseract cannot use it
   */
  load(data: ReadonlyMap<string, Uint8Array>): void {
    this.#run(() => {
      this.unload();
      const { FS } = this.#core;
      for (const [language, bytes] of data) FS.writeFile(`/${language}.traineddata`, bytes);
      const languages = [...data.keys()];
      if (this.#api.Init("/", languages.join("+"), LSTM) !== 0) {
        throw new EdgeT5Error("E_INTERNAL", `Tesseract cannot use the trained data for ${languages.join(", ")}.`);
      }
      for (const language of languages) FS.unlink(`/${language}.traineddata`);
      this.languages = languages;
    });
  }

  /** Gives the room of the languages to an image that is to be decoded. */
  unload(): void {
    this.#run(() => {
      if (this.languages.length > 0) this.#api.End();
      this.languages = [];
    });
  }

  /**
   * @param format for messages
   * @throws EdgeT5Error `E_DAMAGED`, `E_TOO_LARGE`
   */
  decode(bytes: Uint8Array, format: string, maxPixels: number): GreyImage {
    return this.#run(
      () => {
        const { FS } = this.#core;
        if (this.languages.length === 0) this.#api.InitForAnalysePage();
        FS.writeFile("/input", bytes);
        const isRead = this.#api.SetImageFile(1, 0) === 0;
        FS.unlink("/input");
        if (!isRead) throw damaged(format, "its pixels cannot be decoded");
        const image = this.#readPix(format, maxPixels);
        this.#api.Clear();
        return image;
      },
      () => damaged(format, "its pixels cannot be decoded"),
    );
  }

  /** @throws EdgeT5Error `E_TOO_LARGE` */
  recognize(image: GreyImage, orientation: Orientation): Recognized {
    if (Math.min(image.width, image.height) < SHORTEST_SIDE) return { paragraphs: [], confidence: 0, turn: 0 };
    return this.#run(() => {
      this.#api.SetPageSegMode(PAGE);
      this.#setImage(image, orientation);
      const isRead = this.#api.Recognize(null) === 0;
      const read = isRead ? this.#results() : { paragraphs: [], turn: 0 as const };
      const confidence = isRead ? this.#api.MeanTextConf() : 0;
      this.#api.Clear();
      return { ...read, confidence };
    });
  }

  /** Turned upright, and straight: its skew is measured by its lines first. */
  #setImage({ width, height, pixels }: GreyImage, orientation: Orientation): void {
    const api = this.#api;
    const address = this.#core._malloc(pixels.length);
    if (address === 0) throw new RangeError("no memory");
    new Uint8Array(this.#memory.buffer).set(pixels, address);
    api.SetImage(address, width, height, 1, width, orientation, 0);
    api.FindLines();
    const skew = api.GetGradient();
    if (Math.abs(skew) >= LEAST_SKEW) api.SetImage(address, width, height, 1, width, orientation, skew);
    this.#core._free(address);
  }

  #results(): Omit<Recognized, "confidence"> {
    const found: Found[] = [];
    const iterator = this.#api.GetIterator();
    if (this.#core.getPointer(iterator) === 0) return { paragraphs: [], turn: 0 };
    let block: RecognizedLine[] = [];
    let onSide = 0;
    do {
      if (iterator.IsAtBeginningOf(BLOCK)) block = [];
      if (found.length === 0 || iterator.IsAtBeginningOf(PARAGRAPH)) {
        found.push({ lines: [], block, confidence: iterator.Confidence(PARAGRAPH) });
      }
      const text = iterator.GetUTF8Text(LINE).trim();
      if (text === "") continue;
      const { isTall, ...edges } = this.#edges(iterator);
      const line = { text, ...edges };
      found.at(-1)!.lines.push(line);
      block.push(line);
      onSide += isTall ? 1 : -1;
    } while (iterator.Next(LINE));
    this.#core.destroy(iterator);
    // Tesseract turns what is on its side this way, and does not say so.
    return { paragraphs: found.flatMap(paragraphOf), turn: onSide > 0 ? 270 : 0 };
  }

  /** Of the line, in the image as it was given: there it may run downwards. */
  #edges(iterator: ResultIterator): { start: number; end: number; isTall: boolean } {
    const address = this.#core._malloc(16);
    if (address === 0) throw new RangeError("no memory");
    iterator.BoundingBox(LINE, address, address + 4, address + 8, address + 12);
    const [left = 0, top = 0, right = 0, bottom = 0] = new Int32Array(this.#memory.buffer, address, 4);
    this.#core._free(address);
    const isTall = bottom - top > right - left;
    return isTall ? { start: top, end: bottom, isTall } : { start: left, end: right, isTall };
  }

  /** Leptonica's rows are words of 32 bits, their first pixel in the highest ones. */
  #readPix(format: string, maxPixels: number): GreyImage {
    const pix = this.#api.GetInputImage();
    const isThere = this.#core.getPointer(pix) !== 0;
    const width = isThere ? pix.get_w() : 0;
    const height = isThere ? pix.get_h() : 0;
    if (width < 1 || height < 1) throw damaged(format, "its pixels cannot be decoded");
    const toGrey = wordReader(pix.get_d(), pix.get_spp() === 4);
    if (!toGrey) throw damaged(format, "its pixels are of an unknown depth");
    const wordsPerRow = pix.get_wpl();
    const words = new Uint32Array(this.#memory.buffer, pix.get_data(), wordsPerRow * height);
    const scaler = new GreyScaler(width, height, maxPixels);
    const row = new Uint8Array(width);
    for (let y = 0; y < height; y++) {
      const line = words.subarray(y * wordsPerRow, (y + 1) * wordsPerRow);
      for (let x = 0; x < width; x++) row[x] = toGrey(line, x);
      scaler.push(row);
    }
    return scaler.image;
  }

  /** @param otherwise what a failure of the WASM means, when it was not for memory */
  #run<T>(work: () => T, otherwise?: () => EdgeT5Error): T {
    try {
      const result = work();
      if (!this.#memory.isExhausted) return result;
    } catch (error) {
      this.#isBroken = true;
      if (!this.#memory.isExhausted) {
        if (error instanceof EdgeT5Error) throw error;
        throw otherwise?.() ?? new EdgeT5Error("E_INTERNAL", "Tesseract failed on this image.", { cause: error });
      }
    }
    this.#isBroken = true;
    throw new OutOfMemory(this.#memory.limit);
  }
}

interface Found {
  lines: RecognizedLine[];
  /** All of the block, in the end. */
  block: RecognizedLine[];
  confidence: number;
}

function paragraphOf({ lines, block, confidence }: Found): RecognizedParagraph[] {
  const blockEnd = block.reduce((most, { end }) => Math.max(most, end), 0);
  return lines.length === 0 ? [] : [{ lines, blockEnd, confidence }];
}

/** The image needs more memory than the instance has, or than is left of it. */
export class OutOfMemory extends EdgeT5Error {
  constructor(limit: number) {
    const most = Math.floor(limit / 1e6);
    super(
      "E_TOO_LARGE",
      `The image needs more than the ${most} MB of memory that its reader has (memoryBytes). Send it with fewer pixels or in grey, or read it where there is more memory.`,
    );
  }
}

/** Refuses to grow past its limit, so that malloc fails inside and the isolate does not end. */
class BoundedMemory {
  readonly limit: number;
  /** Whether all that was asked for could not be had, once. */
  isExhausted = false;
  readonly #memory: WebAssembly.Memory;

  constructor(instance: WebAssembly.Instance, limit: number) {
    const memory = Object.values(instance.exports).find((each) => each instanceof WebAssembly.Memory);
    if (!memory) throw new EdgeT5Error("E_INTERNAL", "Tesseract's core exports no memory.");
    this.#memory = memory;
    this.limit = limit;
    let refused = 0;
    memory.grow = (pages) => {
      if (memory.buffer.byteLength + pages * 65536 > limit) {
        refused++;
        if (refused === GROW_TRIES) this.isExhausted = true;
        throw new RangeError("over the limit");
      }
      refused = 0;
      return WebAssembly.Memory.prototype.grow.call(memory, pages);
    };
  }

  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }

  get bytes(): number {
    return this.#memory.buffer.byteLength;
  }
}

function wordReader(depth: number, hasAlpha: boolean): ((line: Uint32Array, x: number) => number) | null {
  switch (depth) {
    case 1:
      return (line, x) => ((line[x >> 5]! >>> (31 - (x & 31))) & 1 ? 0 : 255);
    case 8:
      return (line, x) => (line[x >> 2]! >>> (24 - 8 * (x & 3))) & 255;
    case 16:
      return (line, x) => (line[x >> 1]! >>> (x & 1 ? 8 : 24)) & 255;
    case 32:
      return (line, x) => {
        const word = line[x]!;
        const grey = lumaOf(word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255);
        return hasAlpha ? onWhite(grey, word & 255) : grey;
      };
    default:
      return null;
  }
}
