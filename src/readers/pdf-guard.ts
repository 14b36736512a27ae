/**
 * A PDF's streams, held to the limits before pdf.js inflates them, which it does without any. What is counted is the copy
 * that pdf.js gets: encrypted streams are decrypted in it first.
 *
 * Streams are found by their keyword, wherever it stands, as pdf.js finds objects that a file's index does not tell of.
 * Images' compressions are made unknown: nobody reads images here, and what calls itself one can then not be page content
 * that inflates to gigabytes.
 */
import { EdgeT5Error } from "../errors.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";
import {
  dictionaryAt,
  indexOfText,
  isDictionary,
  isName,
  isReference,
  isTextAt,
  isWhite,
  nameOf,
  type PdfDictionary,
  type PdfName,
  type PdfValue,
} from "./pdf-dictionary.ts";
import { type Decryption, encryptKeys, openEncryption } from "./pdf-encryption.ts";
import { type Budget, decodeAscii85, decodeAsciiHex, spendInflated, spendLzw, spendRunLength } from "./pdf-filters.ts";

/** Of a predictor: it holds a row at once. */
const WIDEST_ROW = 100_000;

const OF_IMAGES = /^(?:DCTDecode|DCT|JPXDecode|JBIG2Decode|CCITTFaxDecode|CCF)$/;
const FLATE = /^Fl(?:ateDecode)?$/;
const LZW = /^LZW(?:Decode)?$/;
const RUN_LENGTH = /^(?:RunLengthDecode|RL)$/;
const ASCII85 = /^(?:ASCII85Decode|A85)$/;
const ASCII_HEX = /^(?:ASCIIHexDecode|AHx)$/;

/**
 * @returns a copy to be read, without encryption
 * @throws EdgeT5Error `E_TOO_LARGE` where streams inflate to too much; `E_FORMAT` for a file that needs a password, and for
 * compressions that cannot be held to a limit
 */
export async function guardedPdf(bytes: Uint8Array, limits: ReadLimits, signal?: AbortSignal): Promise<Uint8Array> {
  const copy = bytes.slice();
  const keys = encryptKeys(bytes);
  const decryption = keys.length > 0 ? await openEncryption(bytes, keys) : null;
  // No key any more: pdf.js is to decrypt nothing a second time.
  for (const at of keys) copy[at + 1] = 0x58;
  const budget: Budget = { left: limits.maxInflatedBytes };
  const decrypted: Budget = { left: bytes.length };
  for (const stream of streamsOf(bytes)) {
    signal?.throwIfAborted();
    const { start, dictionary } = stream;
    if (!dictionary) continue;
    const filters = filtersOf(dictionary);
    if (nameOf(dictionary.get("Subtype")) === "Image" || filters.some(({ name }) => OF_IMAGES.test(name))) {
      // Names of nothing.
      for (const { start, end } of filters) copy.fill(0x78, start + 1, end);
      copy.fill(0, start, endOf(copy, start, dictionary.get("Length")));
      continue;
    }
    if (decryption) await decryptIn(copy, { ...stream, dictionary }, decryption, decrypted);
    spend(copy.subarray(start), filters, parametersOf(dictionary), budget, signal);
    if (budget.left < 0) throw tooLarge("The PDF's streams inflate to more bytes", "maxInflatedBytes", limits);
  }
  return copy;
}

interface PdfStream {
  /** Of its data. */
  readonly start: number;
  /** Null for a word that merely looks like the keyword. */
  readonly dictionary: PdfDictionary | null;
  readonly object: number;
  readonly generation: number;
}

function* streamsOf(bytes: Uint8Array): Generator<PdfStream> {
  let header = { object: 0, generation: 0, end: 0 };
  let isComment = false;
  for (let at = 0; at + 6 < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x0a || byte === 0x0d) isComment = false;
    else if (byte === 0x25) isComment = true;
    else if (byte === 0x6f && !isComment && isTextAt(bytes, at, "obj")) header = headerAt(bytes, at) ?? header;
    else if (byte === 0x73 && isTextAt(bytes, at, "stream") && bytes[at - 1] !== 0x64) {
      const start = lineAfter(bytes, at + 6);
      yield { ...header, start, dictionary: dictionaryBefore(bytes, header.end, at) };
      header = { ...header, end: at + 6 };
    }
  }
}

/** As in `7 0 obj`. */
function headerAt(bytes: Uint8Array, at: number): { object: number; generation: number; end: number } | null {
  const before = String.fromCharCode(...bytes.subarray(Math.max(0, at - 40), at));
  const [, object, generation] = /(\d+)\s+(\d+)\s*$/.exec(before) ?? [];
  return generation === undefined ? null : { object: Number(object), generation: Number(generation), end: at + 3 };
}

/**
 * @returns null where the word is no keyword: no dictionary ends before it
 * @throws EdgeT5Error `E_FORMAT` for one that may be read in two ways
 */
function dictionaryBefore(bytes: Uint8Array, start: number, at: number): PdfDictionary | null {
  let end = at;
  while (isWhite(bytes[end - 1])) end--;
  const line = String.fromCharCode(...bytes.subarray(Math.max(start, at - 1000), at));
  if (!/>>(?:\s|\0|%[^\r\n]*[\r\n])*$/.test(line)) return null;
  const found = dictionaryAt(bytes, start);
  if (found?.end !== end) throw unusual("has a dictionary that cannot be read");
  return found.dictionary;
}

function lineAfter(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && bytes[end] !== 0x0a && bytes[end] !== 0x0d) end++;
  return bytes[end] === 0x0d && bytes[end + 1] === 0x0a ? end + 2 : end + 1;
}

/** In its place, filled up with spaces. An index is never encrypted, nor is what names a way of its own. */
async function decryptIn(
  copy: Uint8Array,
  { start, dictionary, object, generation }: PdfStream & { dictionary: PdfDictionary },
  decryption: Decryption,
  budget: Budget,
): Promise<void> {
  if (nameOf(dictionary.get("Type")) === "XRef") return;
  if (filtersOf(dictionary).some(({ name }) => name === "Crypt")) return;
  const data = copy.subarray(start, endOf(copy, start, dictionary.get("Length")));
  budget.left -= data.length;
  if (budget.left < 0) throw unusual("lies in another one");
  const plain = await decryption.decrypt(data, object, generation);
  data.set(plain);
  data.fill(0x20, plain.length);
}

function endOf(bytes: Uint8Array, start: number, length: PdfValue | undefined): number {
  if (typeof length === "number" && length >= 0) {
    let after = start + length;
    while (isWhite(bytes[after])) after++;
    if (isTextAt(bytes, after, "endstream")) return start + length;
  }
  const end = indexOfText(bytes, "endstream", start);
  if (bytes[end - 1] === 0x0a) return Math.max(start, bytes[end - 2] === 0x0d ? end - 2 : end - 1);
  return Math.max(start, bytes[end - 1] === 0x0d ? end - 1 : end);
}

function filtersOf(dictionary: PdfDictionary): readonly PdfName[] {
  const value = dictionary.get("F") ?? dictionary.get("Filter");
  const values: readonly PdfValue[] = Array.isArray(value) ? value : [value ?? null];
  if (values.some(isReference)) throw unusual("names its compression elsewhere");
  return values.filter(isName);
}

/** Of the compression that has any: the last. */
function parametersOf(dictionary: PdfDictionary): PdfDictionary | null {
  const value = dictionary.get("DP") ?? dictionary.get("DecodeParms");
  const values: readonly PdfValue[] = Array.isArray(value) ? value : [value ?? null];
  if (values.some(isReference)) throw unusual("keeps its compression's parameters elsewhere");
  return values.findLast(isDictionary) ?? null;
}

function spend(
  data: Uint8Array,
  filters: readonly PdfName[],
  parameters: PdfDictionary | null,
  budget: Budget,
  signal?: AbortSignal,
): void {
  check(filters, parameters);
  let packed = data;
  for (const { name } of filters) {
    if (ASCII85.test(name)) packed = decodeAscii85(packed, budget);
    else if (ASCII_HEX.test(name)) packed = decodeAsciiHex(packed, budget);
    else if (LZW.test(name)) spendLzw(packed, numberOf(parameters, "EarlyChange", 1), budget);
    else if (RUN_LENGTH.test(name)) spendRunLength(packed, budget);
    else if (FLATE.test(name)) inflateWithin(packed, budget, signal);
  }
}

function inflateWithin(data: Uint8Array, budget: Budget, signal?: AbortSignal): void {
  try {
    spendInflated(data, budget, signal);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    const what = "A stream of the PDF is damaged: it cannot be unpacked";
    throw new EdgeT5Error("E_DAMAGED", `${what}. Save or download the file again, or print it to a new PDF.`, {
      cause,
    });
  }
}

function check(filters: readonly PdfName[], parameters: PdfDictionary | null): void {
  const packing = filters.filter(({ name }) => !ASCII85.test(name) && !ASCII_HEX.test(name) && name !== "Crypt");
  const [first, second] = packing;
  if (second) throw unusual("is compressed twice");
  const isKnown = first === undefined || [FLATE, LZW, RUN_LENGTH].some((known) => known.test(first.name));
  if (!isKnown) throw unusual(`is compressed by ${first.name}`);
  if (filters.length > 3 || (first !== undefined && filters.at(-1) !== first)) throw unusual("is compressed twice");
  if (![0, 1].includes(numberOf(parameters, "EarlyChange", 1))) throw unusual("has codes of no known length");
  const columns = numberOf(parameters, "Columns", 0) * numberOf(parameters, "Colors", 1);
  if (!(columns <= WIDEST_ROW)) throw unusual(`has rows of ${columns} values`);
}

/** NaN for what is no number. */
function numberOf(parameters: PdfDictionary | null, name: string, otherwise: number): number {
  const value = parameters?.get(name) ?? otherwise;
  return typeof value === "number" ? value : Number.NaN;
}

function unusual(what: string): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    `A stream of the PDF ${what}, which is not read here. Print the file to a new PDF and send that.`,
  );
}
