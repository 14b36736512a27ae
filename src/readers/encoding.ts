/**
 * Bytes to text: by a byte order mark, by what is declared, as UTF-8 if they are that, else by a guess that is told.
 * Nothing is replaced silently: bytes that an encoding does not have are an error.
 */
import { analyse } from "chardet";
import { EdgeT5Error } from "../errors.ts";

export interface Decoded {
  text: string;
  /** Its name in the Encoding Standard, or `utf-32le`, `utf-32be`. */
  encoding: string;
  /** What was guessed, for people. */
  notes: readonly string[];
}

interface Mark {
  encoding: string;
  bytes: readonly number[];
}

/** UTF-32's first: the little-endian one begins as UTF-16's does, and no text goes on with a NUL. */
const MARKS: readonly Mark[] = [
  { encoding: "utf-32le", bytes: [0xff, 0xfe, 0, 0] },
  { encoding: "utf-32be", bytes: [0, 0, 0xfe, 0xff] },
  { encoding: "utf-8", bytes: [0xef, 0xbb, 0xbf] },
  { encoding: "utf-16le", bytes: [0xff, 0xfe] },
  { encoding: "utf-16be", bytes: [0xfe, 0xff] },
];

/** How far a look at a file's beginning goes. */
const LOOK_BYTES = 16_384;
/** What the guess is made from, around the first byte that is not UTF-8. */
const SAMPLE_BYTES = 65_536;
const SAMPLE_BEFORE = 2048;
/** Of 100. An encoding that is as likely and yet does not fit is that of a damaged text: no other is tried. */
const CERTAIN = 80;
/** So many right sequences for a wrong one are UTF-8 with a stray byte, or cut in a character; no other encoding. */
const UTF8_RIGHT_PER_WRONG = 3;

/**
 * @param declared the encoding's label, as a content type or the file itself declares it
 * @throws EdgeT5Error `E_DAMAGED` for bytes that the encoding does not have, with their offset; `E_FORMAT` for what is no text
 */
export function decodeText(bytes: Uint8Array, declared?: string): Decoded {
  const mark = markOf(bytes);
  if (mark) return strictly(bytes.subarray(mark.bytes.length), mark.encoding, mark.bytes.length);
  const label = declared?.trim();
  const known = label ? knownEncoding(label) : null;
  if (known) return strictly(bytes, known, 0);
  const notes = label ? [`The declared encoding ${quoted(label)} is not known here and was not used.`] : [];
  const { encoding, text, notes: own } = undeclared(bytes);
  return { encoding, text, notes: [...notes, ...own] };
}

/** The charset of a content type. */
export function charsetOf(contentType: string | undefined): string | undefined {
  return /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(contentType ?? "")?.[1];
}

/** What an HTML or XML file's first bytes declare. UTF-16 cannot be declared in ASCII: HTML's rule is that it then is UTF-8. */
export function declaredInMarkup(bytes: Uint8Array): string | undefined {
  const start = ascii(bytes.subarray(0, 4096));
  const xml = /^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w:.-]+)["']/i.exec(start)?.[1];
  const label = xml ?? /<meta\s[^>]*?charset\s*=\s*["']?\s*([\w:.-]+)/i.exec(start)?.[1];
  return label && /^utf-?16/i.test(label) ? "utf-8" : label;
}

/** The beginning as text, for a look at it: not for use, as broken bytes are replaced. */
export function beginningOf(bytes: Uint8Array): string {
  const start = bytes.subarray(0, LOOK_BYTES);
  const mark = markOf(bytes);
  const encoding = mark?.encoding ?? utf16Without(bytes) ?? "utf-8";
  if (encoding.startsWith("utf-32")) return ascii(start.filter((byte) => byte !== 0)).slice(2);
  return new TextDecoder(encoding).decode(start, { stream: true });
}

function markOf(bytes: Uint8Array): Mark | null {
  return MARKS.find(({ bytes: mark }) => mark.every((byte, i) => bytes[i] === byte)) ?? null;
}

/** @returns null for one that no decoder is here for */
function knownEncoding(label: string): string | null {
  if (/^utf-?32-?[lb]e$/i.test(label)) return label.toLowerCase().replace(/^utf-?32-?/, "utf-32");
  try {
    return new TextDecoder(label).encoding;
  } catch {
    return null;
  }
}

function undeclared(bytes: Uint8Array): Decoded {
  const wide = utf16Without(bytes);
  if (wide) {
    const decoded = strictly(bytes, wide, 0);
    return { ...decoded, notes: [guessNote(wide)] };
  }
  const nul = bytes.indexOf(0);
  if (nul >= 0) throw notText(`a NUL at byte ${nul}`);
  const utf8 = tryDecode(bytes, "utf-8");
  if (utf8 !== null) return { text: utf8, encoding: "utf-8", notes: [] };
  return guessed(bytes);
}

function guessed(bytes: Uint8Array): Decoded {
  const offset = firstUndecodable(bytes, "utf-8");
  const from = Math.max(0, offset - SAMPLE_BEFORE);
  const sample = bytes.subarray(from, from + SAMPLE_BYTES);
  if (isMostlyUtf8(sample)) throw undecodable("utf-8", offset);
  for (const { name, confidence } of analyse(sample)) {
    const encoding = /^utf-?8$/i.test(name) ? null : knownEncoding(name);
    const text = encoding && tryDecode(bytes, encoding);
    if (encoding && text === null && confidence >= CERTAIN) {
      throw undecodable(encoding, firstUndecodable(bytes, encoding));
    }
    if (!encoding || typeof text !== "string") continue;
    const controls = countControls(text.slice(0, SAMPLE_BYTES));
    if (controls <= Math.max(1, text.length / 200)) return { text, encoding, notes: [guessNote(encoding)] };
  }
  throw undecodable("utf-8", offset);
}

function guessNote(encoding: string): string {
  return `The encoding is not declared; ${encoding} was guessed. Declare another as "charset" in the content type.`;
}

/** UTF-16 that bears no mark, by where its NULs are: in Latin script every other byte is one. */
function utf16Without(bytes: Uint8Array): "utf-16le" | "utf-16be" | null {
  const length = Math.min(bytes.length, LOOK_BYTES) & ~1;
  if (length < 4) return null;
  const nuls = [0, 0];
  for (let i = 0; i < length; i++) if (bytes[i] === 0) nuls[i & 1]!++;
  const [even = 0, odd = 0] = nuls;
  if (even === 0 && odd > length / 5) return "utf-16le";
  return odd === 0 && even > length / 5 ? "utf-16be" : null;
}

function strictly(bytes: Uint8Array, encoding: string, skipped: number): Decoded {
  const text = tryDecode(bytes, encoding);
  if (text === null) throw undecodable(encoding, skipped + firstUndecodable(bytes, encoding));
  const nul = text.indexOf("\0");
  if (nul >= 0) throw notText(`a NUL at character ${nul}`);
  return { text, encoding, notes: [] };
}

/** @returns null where there are bytes that it does not have */
function tryDecode(bytes: Uint8Array, encoding: string): string | null {
  if (encoding.startsWith("utf-32")) return decodeUtf32(bytes, encoding === "utf-32le").text;
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function decodeUtf32(bytes: Uint8Array, isLittleEndian: boolean): { text: string | null; failedAt: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += 4) {
    const point = at + 4 <= bytes.length ? view.getUint32(at, isLittleEndian) : -1;
    const isCharacter = point >= 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    if (!isCharacter) return { text: null, failedAt: at };
    parts.push(String.fromCodePoint(point));
  }
  return { text: parts.join(""), failedAt: -1 };
}

/** Decoders do not tell where they fail: the shortest beginning that fails ends there, in a character that begins before. */
function firstUndecodable(bytes: Uint8Array, encoding: string): number {
  if (encoding.startsWith("utf-32")) return decodeUtf32(bytes, encoding === "utf-32le").failedAt;
  const fails = (length: number, stream: boolean) => {
    try {
      new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length), { stream });
      return false;
    } catch {
      return true;
    }
  };
  let good = 0;
  // What is only cut does not fail in a stream.
  for (let bad = fails(bytes.length, true) ? bytes.length : 0; bad - good > 1; ) {
    const middle = (good + bad) >> 1;
    if (fails(middle, true)) bad = middle;
    else good = middle;
  }
  if (good === 0 && !fails(bytes.length, true)) good = bytes.length;
  for (let back = 0; back < 4 && good > 0 && fails(good, false); back++) good--;
  return good;
}

/** Sequences of several bytes that are right, against bytes that are not. */
function isMostlyUtf8(bytes: Uint8Array): boolean {
  let right = 0;
  let wrong = 0;
  for (let i = 0; i < bytes.length; ) {
    const byte = bytes[i]!;
    const follow = byte < 0x80 ? 0 : byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : byte >= 0xc2 ? 1 : -1;
    let seen = 0;
    while (seen < follow && (bytes[i + 1 + seen]! & 0xc0) === 0x80) seen++;
    if (follow > 0 && seen === follow) right++;
    else if (follow !== 0) wrong++;
    i += 1 + (seen === follow ? seen : 0);
  }
  return right > 1 && wrong * UTF8_RIGHT_PER_WRONG <= right;
}

/** What stands in no text, but for tabs, line breaks, page breaks, and the old mark of a file's end. */
function countControls(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x7f || (unit >= 0x80 && unit < 0xa0)) count++;
    else if (unit < 32 && unit !== 26 && (unit < 8 || unit > 13)) count++;
  }
  return count;
}

function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function undecodable(encoding: string, offset: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_DAMAGED",
    `The text is not valid ${encoding}: byte ${offset} cannot be decoded. Send the whole file, or declare its encoding as "charset" in the content type.`,
  );
}

function notText(what: string): EdgeT5Error {
  return new EdgeT5Error("E_FORMAT", `The file holds ${what}: it is no text, and no format that is read here.`);
}

/** What a client declares, short enough for a message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
