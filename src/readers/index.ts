/**
 * Files to contents: what a file is, by its bytes, then the reader for it. `import { readContent } from "edge-t5/readers"`,
 * in Node, in Workers and in browsers: bytes in, and nothing is fetched.
 */
import { EdgeT5Error } from "../errors.ts";
import type { Content, Document, Table } from "../t5/text-to-text/content.ts";
import { charsetOf, type Decoded, declaredInMarkup, decodeText } from "./encoding.ts";
import { DEFAULT_LIMITS, type ReadLimits, tooLarge } from "./limits.ts";
import { type FileKind, type Hints, sniff } from "./sniff.ts";
import { outOfTime } from "./time.ts";

export type { Block, Content, Document, Table } from "../t5/text-to-text/content.ts";
export { DEFAULT_LIMITS, type ReadLimits } from "./limits.ts";
export { type FileKind, type Hints, sniff } from "./sniff.ts";

/** What a file is to be read as, and what its sender says of it. */
export interface ReadRequest extends Hints {
  /** What is wanted of the file: its text with all that stands in it, or its tables alone. */
  readonly as: "document" | "table";
  /** When it aborts, reading ends: at once where it waits, at the next page where it computes. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A file's content. Asked for a document, a file of tables gives one that holds them; asked for tables, a document gives
 * those that stand in it.
 *
 * Readers are loaded when a file first needs them, where the bundle has them apart.
 *
 * @param bytes of the whole file
 * @param limits of what is taken from it; each is named by the error of a file that is over it
 * @throws EdgeT5Error `E_FORMAT` for a kind that is not read, images among them, and a declared type that the bytes
 * contradict; `E_DAMAGED` for a broken or cut file; `E_TOO_LARGE` over a limit, of time too; `E_INPUT` for tables of a file
 * that has none
 */
export async function readContent(
  bytes: Uint8Array,
  request: ReadRequest,
  limits: ReadLimits = DEFAULT_LIMITS,
): Promise<Content> {
  const { signal } = request;
  if (signal?.aborted) throw outOfTime(signal);
  if (bytes.length === 0) throw new EdgeT5Error("E_DAMAGED", "The file is empty. Send one with content.");
  if (bytes.length > limits.maxBytes) {
    throw tooLarge(`The file has ${bytes.length.toLocaleString("en")} bytes`, "maxBytes", limits);
  }
  const found = sniff(bytes, request);
  // Two lines with a comma each may be prose: here they are said to be a table.
  const kind = found === "text" && request.as === "table" ? "csv" : found;
  const content = await READERS[kind](bytes, { ...request, kind, limits });
  return request.as === "table" ? asTables(content, kind) : asDocument(content, baseName(request.filename));
}

interface Reading extends ReadRequest {
  kind: FileKind;
  limits: ReadLimits;
}

type Reader = (bytes: Uint8Array, reading: Reading) => Promise<Content>;

const READERS: Readonly<Record<FileKind, Reader>> = {
  pdf: async (bytes, { limits, signal }) => documentOf(await (await import("./pdf.ts")).readPdf(bytes, limits, signal)),
  docx: async (bytes, { limits }) => (await import("./docx.ts")).readDocx(bytes, { limits }),
  xlsx: async (bytes, { limits, filename }) =>
    (await import("./xlsx.ts")).readXlsx(bytes, { limits, title: baseName(filename) }),
  html: readHtmlFile,
  markdown: (bytes, reading) =>
    readTextFile(bytes, reading, async (text, limits) => (await import("./markdown.ts")).readMarkdown(text, limits)),
  text: (bytes, reading) =>
    readTextFile(bytes, reading, async (text, limits) => (await import("./text.ts")).readText(text, limits)),
  eml: async (bytes, { as, limits }) => {
    const { readEml, readEmlTables } = await import("./eml.ts");
    return as === "table" ? tablesOf(await readEmlTables(bytes, limits)) : documentOf(await readEml(bytes, limits));
  },
  csv: readTableFile,
  tsv: readTableFile,
  json: readTableFile,
  jsonl: readTableFile,
  png: refuseImage,
  jpeg: refuseImage,
  webp: refuseImage,
  tiff: refuseImage,
  gif: refuseFormat,
  bmp: refuseFormat,
  heic: refuseFormat,
  avif: refuseFormat,
  zip: async () => {
    throw unread("a ZIP archive that is neither DOCX nor XLSX", "Send the files in it one by one");
  },
  ole: async () => {
    throw unread(
      "an Office file of the kind before 2007 (.doc, .xls, .ppt)",
      "Save it as .docx or .xlsx and send that",
    );
  },
};

async function readHtmlFile(bytes: Uint8Array, reading: Reading): Promise<Content> {
  const { readHtml, readHtmlTables } = await import("./html.ts");
  const { text, notes } = decoded(bytes, reading, declaredInMarkup(bytes));
  if (reading.as === "table") return tablesOf(readHtmlTables(text, reading.limits), notes);
  const { document, notes: own } = readHtml(text, reading.limits);
  return documentOf({ document, notes: [...notes, ...own] });
}

async function readTextFile(
  bytes: Uint8Array,
  reading: Reading,
  read: (text: string, limits: ReadLimits) => Promise<Document>,
): Promise<Content> {
  const { text, notes } = decoded(bytes, reading);
  return documentOf({ document: await read(text, reading.limits), notes });
}

async function readTableFile(bytes: Uint8Array, reading: Reading): Promise<Content> {
  const { kind, filename, limits } = reading;
  const { text, notes } = decoded(bytes, reading);
  const options = { limits, title: baseName(filename) };
  const { readCsv } = await import("./csv.ts");
  const { readJsonRows } = await import("./json-rows.ts");
  const isDelimited = kind === "csv" || kind === "tsv";
  const read = isDelimited
    ? readCsv(text, { ...options, ...(kind === "tsv" && { delimiter: "\t" as const }) })
    : readJsonRows(text, options);
  return { ...read, notes: [...notes, ...read.notes] };
}

async function refuseImage(): Promise<Content> {
  throw unread("an image", "Send it to a task that takes images: its text is read by OCR");
}

async function refuseFormat(_bytes: Uint8Array, { kind }: Reading): Promise<Content> {
  const name = kind.toUpperCase();
  throw new EdgeT5Error(
    "E_FORMAT",
    `The file is an image in ${name}. Of images PNG, JPEG, WebP and TIFF are read, ${name} is not. Save it as one of them.`,
  );
}

function decoded(bytes: Uint8Array, { contentType }: Hints, inFile?: string): Decoded {
  return decodeText(bytes, charsetOf(contentType) ?? inFile);
}

function baseName(filename: string | undefined): string | null {
  return (
    filename
      ?.split(/[\\/]/)
      .at(-1)
      ?.replace(/\.\w+$/, "") || null
  );
}

function documentOf({ document, notes }: { document: Document; notes: readonly string[] }): Content {
  return { kind: "document", document, notes };
}

function tablesOf(tables: readonly Table[], notes: readonly string[] = []): Content {
  return { kind: "tables", tables, notes };
}

function asTables(content: Content, kind: FileKind): Content {
  const tables =
    content.kind === "tables"
      ? content.tables
      : content.document.blocks.flatMap((block) => (block.kind === "table" ? [block.table] : []));
  if (tables.length > 0) return { kind: "tables", tables, notes: content.notes };
  const why = kind === "pdf" ? "tables in a PDF are not told from text" : "there is none in it";
  throw new EdgeT5Error("E_INPUT", `The file gives no table: ${why}. Send CSV, XLSX, or a page with a table.`);
}

/** @param name the file's, which is no title of what it says */
function asDocument(content: Content, name: string | null): Content {
  if (content.kind === "document") return content;
  const { tables, notes } = content;
  const own = tables[0]?.title ?? null;
  const title = own === name ? null : own;
  const isOne = tables.length === 1;
  const blocks = tables.flatMap((table) => [
    ...(isOne || !table.section ? [] : [{ kind: "heading" as const, level: 2, text: table.section }]),
    { kind: "table" as const, table },
  ]);
  return { kind: "document", document: { title, blocks }, notes };
}

function unread(what: string, fix: string): EdgeT5Error {
  return new EdgeT5Error("E_FORMAT", `The file is ${what}, which is not read here. ${fix}.`);
}
