/** Files for the readers' bench: of each kind a usual one and one near a limit; and hostile ones. */
import { deflateSync } from "node:zlib";
import { PDFDocument, StandardFonts } from "pdf-lib";
import { zipOf } from "../readers/archives.ts";
import { pngChunk, pngOf, renderPage } from "../readers/image-pages.ts";
import { lzw } from "../readers/lzw.ts";
import { docx, inline, p, xlsx, xlsxFiles } from "../readers/office-files.ts";
import { onePage, rawPdf, stream } from "../readers/raw-pdf.ts";

export interface BenchFile {
  /** Of the file, with its kind's extension. */
  readonly name: string;
  readonly what: string;
  readonly as: "document" | "table";
  readonly isHostile: boolean;
  readonly make: () => Uint8Array | Promise<Uint8Array>;
}

const WORDS = "the mill by the river turns a wheel of oak and stone as long as water comes down from the hills".split(
  " ",
);

/** The same words in another order each time. */
function sentence(seed: number): string {
  const words = Array.from({ length: 14 }, (_, i) => WORDS[(seed * 7 + i * (1 + (seed % 5))) % WORDS.length]);
  return `In year ${seed} ${words.join(" ")}.`;
}

function repeated(bytes: number, piece: (i: number) => string): string {
  const parts: string[] = [];
  for (let i = 0, length = 0; length < bytes; i++) length += parts[parts.push(piece(i)) - 1]!.length;
  return parts.join("");
}

async function pdfOf(pages: number): Promise<Uint8Array> {
  const pdf = await PDFDocument.create();
  const font = await pdf.embedFont(StandardFonts.TimesRoman);
  for (let page = 0; page < pages; page++) {
    const lines = Array.from({ length: 45 }, (_, i) => sentence(page * 45 + i));
    pdf.addPage().drawText(lines.join("\n"), { x: 40, y: 780, size: 9, lineHeight: 12, font });
  }
  return pdf.save();
}

const utf8 = (text: string) => new TextEncoder().encode(text);

const row = (i: number) => [`wheel ${i}`, `${i * 7919}`, `${(i * 3) % 100}.5`, WORDS[i % WORDS.length]!, "flour"];
const rows = (count: number) => Array.from({ length: count }, (_, i) => row(i));
const csv = (count: number) => utf8(`name,number,share,word,use\n${rows(count).join("\n")}\n`);
const json = (count: number) =>
  utf8(
    JSON.stringify(
      rows(count).map(([name, number, share, word, use]) => ({ name, number: Number(number), share, word, use })),
    ),
  );
const workbook = (count: number) =>
  xlsx([{ name: "Wheels", rows: inline([["name", "number", "share", "word", "use"], ...rows(count)]) }]);
const page = (bytes: number) =>
  utf8(
    `<!doctype html><title>T</title><main>${repeated(bytes, (i) => `<div class="a b"><p>${sentence(i)}</p></div>`)}</main>`,
  );
const markdown = (bytes: number) =>
  utf8(repeated(bytes, (i) => `${i % 9 ? "" : `# Part ${i}\n\n`}*${sentence(i)}*\n\n`));
const text = (bytes: number) => utf8(repeated(bytes, (i) => `${sentence(i)}\n${i % 5 ? "" : "\n"}`));
const base64 = `${"QUJD".repeat(19)}\r\n`;
const mail = (bytes: number) =>
  utf8(
    [
      "From: a@example.org\r\nTo: b@example.org\r\nSubject: S\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
      `--b\r\n\r\n${repeated(bytes / 10, sentence)}\r\n--b\r\nContent-Type: image/png\r\n`,
      `Content-Transfer-Encoding: base64\r\n\r\n${repeated(bytes * 0.9, () => base64)}--b--`,
    ].join(""),
  );

/** 8.27 × 11.7 inches at 200 dpi, full of text. */
const scan = () => pngOf(renderPage({ dpi: 200, width: 8.27, lines: 52 }).image);

/** Nothing but a header and pixels that are all alike. */
function hugePng(side: number): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  header.set([8, 0, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const pixels = deflateSync(Buffer.alloc((side + 1) * side));
  return Buffer.concat([
    signature,
    pngChunk("IHDR", header),
    pngChunk("IDAT", pixels),
    pngChunk("IEND", Buffer.alloc(0)),
  ]);
}

function manyPages(count: number): Uint8Array {
  const pages = `<< /Type /Pages /Kids [${"3 0 R ".repeat(count)}] /Count ${count} >>`;
  return rawPdf(["<< /Type /Catalog /Pages 2 0 R >>", pages, "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"]);
}

function emptyRows(count: number): Uint8Array {
  const empty = Array.from({ length: count }, (_, i) => `<row r="${i + 3}" spans="1:3"/>`).join("");
  return xlsx([{ name: "S", rows: inline([["a"], ["b"]]) + empty }]);
}

function laughs(): Uint8Array {
  const entities = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join("");
  return docx("<w:p><w:r><w:t>&l9;</w:t></w:r></w:p>", { before: `<!DOCTYPE lolz [<!ENTITY l0 "lol">${entities}]>` });
}

const usual = (name: string, what: string, make: BenchFile["make"], as: BenchFile["as"] = "document"): BenchFile => ({
  name,
  what,
  as,
  make,
  isHostile: false,
});
const hostile = (name: string, what: string, make: BenchFile["make"]): BenchFile => ({
  ...usual(name, what, make),
  isHostile: true,
});

/** Limits are those of functions/reader: 10 MB, 200,000 cells, 5,000,000 characters, 300 pages. */
export const FILES: readonly BenchFile[] = [
  usual("usual.csv", "CSV, 1,000 rows", () => csv(1000), "table"),
  usual("large.csv", "CSV, 195,000 cells", () => csv(39_000), "table"),
  usual("usual.json", "JSON, 1,000 rows", () => json(1000), "table"),
  usual("large.json", "JSON, 195,000 cells", () => json(39_000), "table"),
  usual("usual.xlsx", "XLSX, 1,000 rows", () => workbook(1000), "table"),
  usual("large.xlsx", "XLSX, 195,000 cells", () => workbook(39_000), "table"),
  usual("usual.docx", "DOCX, 100 kB of text", () => docx(repeated(1e5, (i) => p(sentence(i))))),
  usual("large.docx", "DOCX, 4.5 MB of text", () => docx(repeated(6.5e6, (i) => p(sentence(i))))),
  usual("usual.html", "HTML, 100 kB", () => page(1e5)),
  usual("large.html", "HTML, 5 MB", () => page(5e6)),
  usual("usual.md", "Markdown, 100 kB", () => markdown(1e5)),
  usual("large.md", "Markdown, 4.5 MB", () => markdown(4.5e6)),
  usual("usual.pdf", "PDF, 40 pages", () => pdfOf(40)),
  usual("large.pdf", "PDF, 300 pages", () => pdfOf(300)),
  usual("usual.eml", "mail, 100 kB", () => mail(1e5)),
  usual("large.eml", "mail, 9.5 MB", () => mail(9.5e6)),
  usual("usual.txt", "text, 100 kB", () => text(1e5)),
  usual("large.txt", "text, 4.5 MB", () => text(4.5e6)),
  usual("page.png", "OCR, A4 at 200 dpi", scan),
  hostile("bomb.xlsx", "XLSX that inflates to 1 GB", () =>
    zipOf({ ...xlsxFiles([{ name: "S" }]), "xl/worksheets/sheet1.xml": new Uint8Array(1e9) }),
  ),
  hostile("rows.xlsx", "XLSX, a million empty rows", () => emptyRows(1_000_000)),
  hostile("laughs.docx", "DOCX with XML entities", laughs),
  hostile("cut.docx", "DOCX that is cut in half", () => {
    const whole = docx(repeated(1e6, (i) => p(sentence(i))));
    return whole.subarray(0, whole.length / 2);
  }),
  hostile("pages.pdf", "PDF, 10,000 pages", () => manyPages(10_000)),
  hostile("bomb.pdf", "PDF that inflates to 1 GB", () =>
    onePage(stream(deflateSync(Buffer.alloc(1e9, 32)), "/Filter /FlateDecode")),
  ),
  hostile("lzw.pdf", "PDF, 100 MB out of LZW", () =>
    onePage(stream(lzw(new Uint8Array(1e8).fill(32)), "/Filter /LZWDecode")),
  ),
  hostile("cut.pdf", "PDF that is cut in half", async () => {
    const whole = await pdfOf(40);
    return whole.subarray(0, whole.length / 2);
  }),
  hostile("lists.md", "Markdown, lists in lists", () => utf8(`${"- ".repeat(2e6)}a`)),
  hostile("lines.md", "Markdown, 2 million lines", () => utf8("-\n".repeat(2e6))),
  hostile("huge.png", "PNG, 100 megapixels", () => hugePng(10_000)),
  hostile("cut.png", "PNG that is cut in half", () => {
    const whole = scan();
    return whole.subarray(0, whole.length / 2);
  }),
];
