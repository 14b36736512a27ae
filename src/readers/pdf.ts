/**
 * The text of a PDF, page by page, by pdf.js (unpdf's build for Workers). Nothing is fetched or rendered, no script runs:
 * what fonts and images a file asks for from outside, it does without.
 */
import { EdgeT5Error } from "../errors.ts";
import type { Document } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";
import { type PdfPage, writePdf } from "./pdf-blocks.ts";
import { passwordNeeded } from "./pdf-encryption.ts";
import { guardedPdf } from "./pdf-guard.ts";
import { type Fragment, fragmentsOf } from "./pdf-layout.ts";
import { outOfTime } from "./time.ts";

type PdfJs = typeof import("unpdf/pdfjs");
type Loaded = Awaited<ReturnType<PdfJs["getDocument"]>["promise"]>;
type TextContent = Awaited<ReturnType<Awaited<ReturnType<Loaded["getPage"]>>["getTextContent"]>>;
type TextItem = Extract<TextContent["items"][number], { str: string }>;

/**
 * @param signal when it aborts, reading ends after the piece of a page that is being read
 * @throws EdgeT5Error `E_FORMAT` for a file that needs a password and one without a text layer; `E_DAMAGED`; `E_TOO_LARGE` over a
 * limit, of time too
 */
export async function readPdf(
  bytes: Uint8Array,
  limits: ReadLimits,
  signal?: AbortSignal,
): Promise<{ document: Document; notes: readonly string[] }> {
  const data = await guardedPdf(bytes, limits, signal).catch((error) => {
    throw told(error, signal);
  });
  // A password that opens nothing: what is encrypted in a way that was not seen is not decrypted by pdf.js either.
  const { getDocument } = await import("unpdf/pdfjs");
  const task = getDocument({ ...WITHOUT_RESOURCES, data, password: crypto.randomUUID() });
  try {
    const loaded = await unlessAborted(task.promise, signal);
    const { pages, characters } = await unlessAborted(readPages(loaded, limits, signal), signal);
    if (characters === 0) throw noTextLayer(loaded.numPages);
    const blocks = new BlockList(limits);
    const notes = writePdf(pages, blocks);
    return { document: blocks.document(await titleOf(loaded, pages)), notes: [...notes, ...notesOf(pages)] };
  } catch (error) {
    throw told(error, signal);
  } finally {
    // Not waited for: where a page was left half read, it waits for who reads on.
    void task.destroy();
  }
}

/** pdf.js that is stopped may never answer. */
async function unlessAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
    // Nobody waits for either any more.
    work.catch(() => {});
  }
}

/** pdf.js asks it for character maps and fonts that a file only names. */
class NothingFetched {
  async fetch(): Promise<never> {
    throw new Error("Nothing is fetched.");
  }
}

const WITHOUT_RESOURCES = {
  verbosity: 0,
  useSystemFonts: false,
  disableFontFace: true,
  useWorkerFetch: false,
  useWasm: false,
  isOffscreenCanvasSupported: false,
  isImageDecoderSupported: false,
  enableXfa: false,
  BinaryDataFactory: NothingFetched,
};

async function readPages(loaded: Loaded, limits: ReadLimits, signal?: AbortSignal) {
  const { numPages } = loaded;
  if (numPages > limits.maxPages)
    throw tooLarge(`The PDF has ${numPages} pages`, "maxPages", limits, "Send fewer pages");
  const pages: PdfPage[] = [];
  let characters = 0;
  for (let number = 1; number <= numPages; number++) {
    signal?.throwIfAborted();
    const page = await loaded.getPage(number);
    const { height, transform } = page.getViewport({ scale: 1 });
    const pieces: Fragment[] = [];
    for await (const chunk of piecesOf(page.streamTextContent(), signal)) {
      for (const item of chunk.items) {
        if (!("str" in item)) continue;
        characters += item.str.trim().length;
        if (item.str.trim() !== "") pieces.push(...pieceOf(item, transform));
      }
      if (characters > limits.maxCharacters) throw tooLarge("The PDF has more characters", "maxCharacters", limits);
    }
    page.cleanup();
    pages.push({ height, fragments: fragmentsOf(pieces) });
  }
  return { pages, characters };
}

/**
 * pdf.js yields to promises alone: timers and requests, the signal's among them, are let in here. It is not told when
 * nobody reads on: what it sends meanwhile would be an error that nobody catches.
 */
async function* piecesOf(stream: ReadableStream<TextContent>, signal?: AbortSignal): AsyncGenerator<TextContent> {
  const reader = stream.getReader();
  for (let count = 0; ; count++) {
    const { done, value } = await reader.read();
    if (done) return;
    if (count % PIECES_A_TURN === PIECES_A_TURN - 1) await new Promise((resolve) => setTimeout(resolve, 0));
    signal?.throwIfAborted();
    yield value;
  }
}

const PIECES_A_TURN = 16;

/** Upright text only: what runs up a page's edge belongs to no line. */
function pieceOf({ str, transform, width, fontName }: TextItem, viewport: readonly number[]): Fragment[] {
  const [a = 1, b = 0, c = 0, d = 1, e = 0, f = 0] = viewport;
  const [ta = 0, tb = 0, tc = 0, td = 0, te = 0, tf = 0] = transform as number[];
  const across = a * ta + c * tb;
  const down = b * ta + d * tb;
  if (across <= 0 || Math.abs(down) > Math.abs(across) * 0.2) return [];
  const left = a * te + c * tf + e;
  return [
    {
      text: withoutControls(str),
      left,
      right: left + width,
      y: b * te + d * tf + f,
      size: Math.hypot(a * tc + c * td, b * tc + d * td) || 1,
      font: fontName,
    },
  ];
}

/** Codes of glyphs that the file gives no character for. */
function withoutControls(text: string): string {
  return text.replace(/\p{Cc}/gu, " ");
}

/** As the file says, if its first page says so too: many are a file's name, or left from another document. */
async function titleOf(loaded: Loaded, [first]: readonly PdfPage[]): Promise<string | null> {
  const { info } = await loaded.getMetadata();
  const title = (info as { Title?: unknown }).Title;
  if (typeof title !== "string" || title.trim() === "") return null;
  const plain = (text: string) => text.replace(/[^\p{L}\p{N}]+/gu, "").toLowerCase();
  const page = first?.fragments.map(({ text }) => text).join(" ") ?? "";
  return plain(page).includes(plain(title)) ? title : null;
}

function notesOf(pages: readonly PdfPage[]): string[] {
  const empty = pages.flatMap(({ fragments }, i) => (fragments.length === 0 ? [i + 1] : []));
  const notes: string[] = [];
  if (empty.length > 0) {
    const more = empty.length > MOST_NAMED ? ` and ${empty.length - MOST_NAMED} more` : "";
    notes.push(`Pages without text, perhaps images: ${empty.slice(0, MOST_NAMED).join(", ")}${more}.`);
  }
  const texts = pages.flatMap(({ fragments }) => fragments.map(({ text }) => text)).join("");
  const unknown = texts.match(/[\ufffd\p{Co}]/gu)?.length ?? 0;
  if (unknown > 0) notes.push(`${unknown} characters are unknown: the PDF's fonts do not say what they are.`);
  return notes;
}

const MOST_NAMED = 20;

function noTextLayer(pages: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_FORMAT",
    `The PDF has no text layer: its pages (${pages}) are images or empty. Send them to OCR: as PNG, JPEG or TIFF to a task that takes images.`,
  );
}

/** pdf.js's errors as ours. */
function told(error: unknown, signal?: AbortSignal): EdgeT5Error {
  if (error instanceof EdgeT5Error) return error;
  if (signal?.aborted) return outOfTime(signal);
  if (error instanceof Error && error.name === "PasswordException") return passwordNeeded();
  return new EdgeT5Error("E_DAMAGED", "The PDF is broken or cut. Send the whole file, or print it to a new PDF.", {
    cause: error,
  });
}
