/**
 * A PDF's streams, held to the limits before pdf.js inflates them, which it does without any. Images are blanked: nobody
 * reads them here, and what calls itself an image can then not be page content that inflates to gigabytes.
 *
 * Streams are found by their keyword, wherever it stands, as pdf.js finds objects that a file's index does not tell of.
 */
import { EdgeT5Error } from "../errors.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

/** Of a predictor: it holds a row at once. */
const WIDEST_ROW = 100_000;
const LONGEST_DICTIONARY = 65_536;

const INFLATING = /^(?:FlateDecode|Fl|LZWDecode|LZW|RunLengthDecode|RL)$/;
const OF_IMAGES = /^(?:DCTDecode|DCT|JPXDecode|JBIG2Decode|CCITTFaxDecode|CCF)$/;

/**
 * @returns a copy to be read
 * @throws EdgeT5Error `E_TOO_LARGE` where streams inflate to too much; `E_FORMAT` for an encrypted file, and for
 * compressions that cannot be held to a limit
 */
export async function guardedPdf(bytes: Uint8Array, limits: ReadLimits, signal?: AbortSignal): Promise<Uint8Array> {
  const copy = bytes.slice();
  let left = limits.maxInflatedBytes;
  for (const { start, dictionary } of streamsOf(bytes)) {
    const filters = filtersOf(dictionary);
    if (/\/Subtype\s*\/Image\b/.test(dictionary) || filters.some((name) => OF_IMAGES.test(name))) {
      blank(copy, start);
      continue;
    }
    check(dictionary, filters);
    const data = /^(?:ASCII85Decode|A85)$/.test(filters[0] ?? "")
      ? decodeAscii85(bytes.subarray(start))
      : bytes.subarray(start);
    left -= await inflatedSize(data, left, signal);
    if (left < 0) throw tooLarge("The PDF's streams inflate to more bytes", "maxInflatedBytes", limits);
  }
  return copy;
}

interface PdfStream {
  /** Of its data. */
  start: number;
  /** What stands before it, from its object's beginning. */
  dictionary: string;
}

function* streamsOf(bytes: Uint8Array): Generator<PdfStream> {
  let object = 0;
  for (let at = 0; at + 6 < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x6f && isAt(bytes, at, "obj") && isDigitBefore(bytes, at)) object = at + 3;
    else if (
      byte === 0x2f &&
      isAt(bytes, at, "/Encrypt") &&
      !/[A-Za-z]/.test(String.fromCharCode(bytes[at + 8] ?? 0))
    ) {
      throw encrypted();
    } else if (byte === 0x73 && isAt(bytes, at, "stream") && bytes[at - 1] !== 0x64) {
      const dictionary = unescaped(bytes.subarray(Math.max(object, at - LONGEST_DICTIONARY), at));
      yield { start: lineAfter(bytes, at + 6), dictionary };
      object = at + 6;
    }
  }
}

function isAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** As in `7 0 obj`. */
function isDigitBefore(bytes: Uint8Array, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && bytes[before]! <= 0x20) before--;
  return bytes[before]! >= 0x30 && bytes[before]! <= 0x39;
}

/** Names may have any character as `#` and two digits. */
function unescaped(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text.replace(/#([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function lineAfter(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== 0x0a && bytes[end] !== 0x0d) end++;
  return bytes[end] === 0x0d && bytes[end + 1] === 0x0a ? end + 2 : end + 1;
}

function filtersOf(dictionary: string): string[] {
  const long = /\/Filter\s*(\[[^\]]*\]|\/\w+|\d+\s+\d+\s+R)/.exec(dictionary)?.[1];
  const found = long ?? /\/F\s*(\[[^\]]*\]|\/\w+)/.exec(dictionary)?.[1] ?? "";
  if (/\d\s+R/.test(found)) throw unusual("names its compression elsewhere");
  return [...found.matchAll(/\/(\w+)/g)].map(([, name = ""]) => name);
}

function check(dictionary: string, filters: readonly string[]): void {
  const inflating = filters.filter((name) => INFLATING.test(name));
  if (inflating.length > 1) throw unusual("is compressed twice");
  if (inflating.some((name) => /^(?:LZW|R)/.test(name)))
    throw unusual(`is compressed by ${inflating[0]}, as until 1996`);
  if (/\/(?:DecodeParms|DP)\s*\[?\s*\d+\s+\d+\s+R/.test(dictionary))
    throw unusual("keeps its compression's parameters elsewhere");
  const columns =
    Number(/\/Columns\s+(\d+)/.exec(dictionary)?.[1] ?? 0) * Number(/\/Colors\s+(\d+)/.exec(dictionary)?.[1] ?? 1);
  if (columns > WIDEST_ROW) throw unusual(`has rows of ${columns} values`);
}

/** The data's first bytes, so that no decompression takes it. */
function blank(bytes: Uint8Array, start: number): void {
  for (let i = start; i < start + 16 && bytes[i] !== 0x65 && i < bytes.length; i++) bytes[i] = 0;
}

/** @returns bytes that come out of zlib's data, as far as `most` and one piece more; 0 for what is no such data */
async function inflatedSize(data: Uint8Array, most: number, signal?: AbortSignal): Promise<number> {
  if (!isZlib(data)) return 0;
  let size = 0;
  for await (const piece of inflated(data)) {
    signal?.throwIfAborted();
    size += piece.length;
    if (size > most) return size;
  }
  return size;
}

function isZlib(data: Uint8Array): boolean {
  const [method = 0, flags = 0] = data;
  return (method & 15) === 8 && (method * 256 + flags) % 31 === 0 && (flags & 32) === 0;
}

/** Until the data ends by itself: what follows it is no error. */
async function* inflated(data: Uint8Array): AsyncGenerator<Uint8Array> {
  const stream = new DecompressionStream("deflate");
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  const feed = async () => {
    for (let at = 0; at < data.length; at += FED) await writer.write(data.slice(at, at + FED));
    await writer.close();
  };
  // It fails where the data ends: the reader is told.
  const fed = feed().catch(() => {});
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch {
    // What is wrong with it, pdf.js will find.
  } finally {
    await reader.cancel().catch(() => {});
    await fed;
  }
}

const FED = 16_384;

function decodeAscii85(data: Uint8Array): Uint8Array {
  const out: number[] = [];
  let group: number[] = [];
  for (const byte of data) {
    if (byte === 0x7e) break;
    if (byte === 0x7a && group.length === 0) out.push(0, 0, 0, 0);
    else if (byte >= 0x21 && byte <= 0x75) group.push(byte - 0x21);
    if (group.length < 5) continue;
    out.push(...bytesOf(group, 4));
    group = [];
  }
  if (group.length > 1) out.push(...bytesOf([...group, 84, 84, 84, 84].slice(0, 5), group.length - 1));
  return Uint8Array.from(out);
}

function bytesOf(group: readonly number[], count: number): number[] {
  const value = group.reduce((sum, digit) => sum * 85 + digit, 0);
  return [24, 16, 8, 0].slice(0, count).map((shift) => Math.floor(value / 2 ** shift) & 255);
}

function unusual(what: string): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    `A stream of the PDF ${what}, which is not read here. Print the file to a new PDF and send that.`,
  );
}

export function encrypted(): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    "The PDF is encrypted. Send a copy without protection: print it to a new PDF, or run qpdf --decrypt IN.pdf OUT.pdf.",
  );
}
