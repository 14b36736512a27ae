/**
 * What a file is. The rule: a file is what its first bytes say and is read as nothing else, whatever follows or hides in
 * it. Text has no such bytes: there a declared type decides, then the file's name, then a look at it. What a client
 * declares may choose among kinds of text; where it contradicts the bytes, the file is refused.
 */
import { EdgeT5Error } from "../errors.ts";
import { beginningOf, quoted } from "./encoding.ts";

/** Kinds that are text, with no bytes of their own to be known by. */
export type TextKind = "html" | "markdown" | "csv" | "tsv" | "json" | "jsonl" | "eml" | "text";
/** What a file may be; `zip`, `ole` and images are known and not read. */
export type FileKind =
  | "pdf"
  | "docx"
  | "xlsx"
  | "zip"
  | "ole"
  | "png"
  | "jpeg"
  | "webp"
  | "tiff"
  | UnreadImage
  | TextKind;
/** Images that nothing here reads. */
export type UnreadImage = "gif" | "bmp" | "heic" | "avif";

/** What is said of a file by who sends it. */
export interface Hints {
  /** As of HTTP: "text/csv; charset=utf-8". */
  readonly contentType?: string | undefined;
  readonly filename?: string | undefined;
}

const TEXT_KINDS: readonly FileKind[] = ["html", "markdown", "csv", "tsv", "json", "jsonl", "eml", "text"];

export function isTextKind(kind: FileKind): kind is TextKind {
  return TEXT_KINDS.includes(kind);
}

/** Kinds by content type; others say nothing. The first is what the type is for. */
const DECLARED: Readonly<Record<string, readonly FileKind[]>> = {
  "application/pdf": ["pdf"],
  "application/x-pdf": ["pdf"],
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ["docx"],
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ["xlsx"],
  "application/zip": ["zip", "docx", "xlsx"],
  "application/x-zip-compressed": ["zip", "docx", "xlsx"],
  "application/msword": ["ole"],
  // Browsers on Windows declare CSV so.
  "application/vnd.ms-excel": ["ole", "csv", "tsv", "text"],
  "image/png": ["png"],
  "image/jpeg": ["jpeg"],
  "image/jpg": ["jpeg"],
  "image/webp": ["webp"],
  "image/tiff": ["tiff"],
  "image/gif": ["gif"],
  "image/bmp": ["bmp"],
  "image/x-ms-bmp": ["bmp"],
  "image/heic": ["heic"],
  "image/heif": ["heic"],
  "image/avif": ["avif"],
  "text/html": ["html"],
  "application/xhtml+xml": ["html"],
  "text/markdown": ["markdown"],
  "text/x-markdown": ["markdown"],
  "text/csv": ["csv"],
  "application/csv": ["csv"],
  "text/tab-separated-values": ["tsv"],
  "application/json": ["json"],
  "application/jsonl": ["jsonl"],
  "application/x-ndjson": ["jsonl"],
  "application/x-jsonlines": ["jsonl"],
  "message/rfc822": ["eml"],
};

const EXTENSIONS: Readonly<Record<string, TextKind>> = {
  html: "html",
  htm: "html",
  xhtml: "html",
  md: "markdown",
  markdown: "markdown",
  csv: "csv",
  tsv: "tsv",
  tab: "tsv",
  json: "json",
  jsonl: "jsonl",
  ndjson: "jsonl",
  eml: "eml",
  txt: "text",
  text: "text",
};

/**
 * What a file is, by its first bytes; of text, by what is said of it, or by a look at it.
 *
 * @throws EdgeT5Error `E_FORMAT` where the declared type contradicts the bytes, and for a PDF whose header is not at its
 * beginning; `E_DAMAGED` for a ZIP archive (DOCX, XLSX) that was cut
 */
export function sniff(bytes: Uint8Array, hints: Hints = {}): FileKind {
  const type = hints.contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  const declared = DECLARED[type];
  const magic = magicOf(bytes);
  const isText = declared?.some(isTextKind) || type.startsWith("text/");
  if (magic) {
    if (isText ? !declared?.includes(magic) : declared && !declared.includes(magic)) throw contradiction(type, magic);
    return magic;
  }
  if (declared && !isText) throw contradiction(type, null);
  const start = beginningOf(bytes);
  const header = start.slice(0, 1024).indexOf("%PDF-");
  if (header > 0 && !isText) {
    throw new EdgeT5Error(
      "E_FORMAT",
      `A PDF's header stands at character ${header} of the file, not at its beginning. Send the PDF without what stands before it.`,
    );
  }
  return declared?.find(isTextKind) ?? kindByName(hints.filename) ?? kindByLook(start);
}

function contradiction(type: string, magic: FileKind | null): EdgeT5Error {
  const found = magic
    ? `its first bytes are those of ${NAMES[magic] ?? magic}`
    : "its first bytes are not of that type";
  return new EdgeT5Error(
    "E_FORMAT",
    `The file is declared as ${quoted(type)}, but ${found}. Declare what it is, or application/octet-stream.`,
  );
}

const NAMES: Partial<Record<FileKind, string>> = {
  pdf: "a PDF",
  docx: "a Word document (DOCX)",
  xlsx: "an Excel workbook (XLSX)",
  zip: "a ZIP archive",
  ole: "an Office file from before 2007",
  png: "a PNG image",
  jpeg: "a JPEG image",
  webp: "a WebP image",
  tiff: "a TIFF image",
  gif: "a GIF image",
  bmp: "a BMP image",
  heic: "a HEIC image",
  avif: "an AVIF image",
};

function magicOf(bytes: Uint8Array): FileKind | null {
  const has = (text: string, at = 0) => [...text].every((character, i) => bytes[at + i] === character.charCodeAt(0));
  if (has("%PDF-")) return "pdf";
  if (has("PK\x03\x04") || has("PK\x05\x06")) return officeKind(bytes);
  if (has("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")) return "ole";
  if (has("\x89PNG\r\n\x1a\n")) return "png";
  if (has("\xff\xd8\xff")) return "jpeg";
  if (has("RIFF") && has("WEBP", 8)) return "webp";
  if (has("II*\0") || has("MM\0*")) return "tiff";
  if (has("GIF87a") || has("GIF89a")) return "gif";
  if (["heic", "heix", "mif1"].some((brand) => has(`ftyp${brand}`, 4))) return "heic";
  if (has("ftypavif", 4)) return "avif";
  // Text may begin with BM: four bytes that are 0, and the length of the next header.
  return has("BM") && has("\0\0\0\0", 6) && has("\0\0\0", 15) ? "bmp" : null;
}

/** By the names in the archive's directory, which is where its readers look. */
function officeKind(bytes: Uint8Array): "docx" | "xlsx" | "zip" {
  const names = zipNames(bytes);
  const isDocx = names.has("word/document.xml");
  const isXlsx = names.has("xl/workbook.xml");
  return isDocx === isXlsx ? "zip" : isDocx ? "docx" : "xlsx";
}

const LONGEST_ZIP_COMMENT = 65_535;
const MOST_NAMES = 5000;

/** Names in a ZIP's central directory, as far as they are read. */
function zipNames(bytes: Uint8Array): Set<string> {
  const names = new Set<string>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && end >= bytes.length - 22 - LONGEST_ZIP_COMMENT && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) {
    throw new EdgeT5Error("E_DAMAGED", "The ZIP archive has no directory at its end: it was cut. Send the whole file.");
  }
  let at = view.getUint32(end + 16, true);
  while (at + 46 <= end && view.getUint32(at, true) === 0x02014b50 && names.size < MOST_NAMES) {
    const length = view.getUint16(at + 28, true);
    names.add(String.fromCharCode(...bytes.subarray(at + 46, at + 46 + Math.min(length, 256))));
    at += 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return names;
}

function kindByName(filename: string | undefined): TextKind | null {
  const extension = /\.(\w+)$/.exec(filename ?? "")?.[1]?.toLowerCase();
  return (extension && EXTENSIONS[extension]) || null;
}

const HTML_START =
  /^<(?:!doctype\s+html|html|head|body|title|meta|link|script|style|main|article|section|div|table|ul|ol|h[1-6]|p|pre|blockquote|center|form)[\s>]/i;
const MAIL_HEADER =
  /^(?:from|to|subject|date|message-id|mime-version|received|return-path|delivered-to|content-type|x-[\w-]+):/i;
const MARKDOWN_SIGNS: readonly RegExp[] = [
  /^#{1,6} \S/m,
  /^(?:```|~~~)/m,
  /^\|?[ \t]*:?-{3,}:?[ \t]*\|/m,
  /^[*-] \S.*\n[*-] \S/m,
  /\[[^\]\n]{1,200}\]\([^)\s]{1,500}\)/,
  /\*\*[^*\n]{1,200}\*\*/,
];

/** @param start the file's beginning, as text */
export function kindByLook(start: string): TextKind {
  const text = start.startsWith("\ufeff") ? start.slice(1) : start;
  if (HTML_START.test(afterComments(text))) return "html";
  if (looksLikeMail(text)) return "eml";
  const json = jsonKind(text);
  if (json) return json;
  const lines = text.split(/\r\n?|\n/).slice(0, 12);
  // The last may be cut, or empty.
  if (lines.length > 1) lines.pop();
  const signs = MARKDOWN_SIGNS.filter((sign) => sign.test(text)).length;
  if (signs > 1 || MARKDOWN_SIGNS[0]!.test(text)) return "markdown";
  return tableKind(lines) ?? "text";
}

/** From the first element on. */
function afterComments(text: string): string {
  let rest = text.trimStart();
  for (const [open, close] of [["<?xml", "?>"], ...Array(20).fill(["<!--", "-->"])]) {
    if (!rest.startsWith(open)) continue;
    const end = rest.indexOf(close);
    rest = end < 0 ? "" : rest.slice(end + close.length).trimStart();
  }
  return rest;
}

function looksLikeMail(text: string): boolean {
  const lines = (text.split(/\r?\n\r?\n/)[0] ?? "").split(/\r?\n/);
  const headers = lines.filter((line) => !/^[ \t]/.test(line) && !line.startsWith("From "));
  if (headers.length < 2 || !headers.every((line) => /^[!-9;-~]+:/.test(line))) return false;
  return headers.filter((line) => MAIL_HEADER.test(line)).length > 1;
}

/** A footnote's number is none: nothing follows its bracket in JSON. */
const JSON_START = /^(?:\{\s*(?:"|\}|$)|\[\s*(?:[[{"\]]|-?\d[\d.eE+-]*\s*(?:,|\]\s*$|$)|(?:true|false|null)\b|$))/;

function jsonKind(text: string): "json" | "jsonl" | null {
  const [first = "", second = ""] = text.trimStart().split(/\r?\n/);
  if (!JSON_START.test(first)) return null;
  return isJson(first) && /^[[{]/.test(second) ? "jsonl" : "json";
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Lines that all have as many of a separator, outside quotes. */
function tableKind(lines: readonly string[]): "csv" | "tsv" | null {
  const filled = lines.filter((line) => line.trim() !== "").map((line) => line.replace(/"(?:[^"]|"")*"/g, ""));
  if (filled.length < 2) return null;
  const same = (separator: string | RegExp) => {
    const counts = filled.map((line) => line.split(separator).length - 1);
    return counts.every((count) => count === counts[0]) ? (counts[0] ?? 0) : 0;
  };
  if (same("\t") > 0) return "tsv";
  // A comma before a space is prose.
  const most = Math.max(same(/,(?! )/), same(";"));
  // Two lines of prose may have a comma each.
  return most > 1 || (most === 1 && filled.length > 2) ? "csv" : null;
}
