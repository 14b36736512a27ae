/**
 * `node test/bench/readers.ts [NAME…]`: time and memory of reading one file, each in a process of its own whose JavaScript
 * heap has 100 MB, about what an isolate of 128 MB leaves. Memory is what the process grew by at most, buffers included.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { PDFDocument, StandardFonts } from "pdf-lib";
import { readContent } from "../../src/readers/index.ts";

const HEAP_MB = 100;
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
const mail =
  "From: a@example.org\r\nTo: b@example.org\r\nSubject: S\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
const base64 = `${"QUJD".repeat(19)}\r\n`;

const FILES: Readonly<Record<string, () => Promise<Uint8Array>>> = {
  "PDF of 40 pages": () => pdfOf(40),
  "PDF of 200 pages": () => pdfOf(200),
  "page of 100 kB": async () => utf8(`<title>T</title><main>${repeated(1e5, (i) => `<p>${sentence(i)}</p>`)}</main>`),
  "page of 1 MB": async () => utf8(`<title>T</title><main>${repeated(1e6, (i) => `<p>${sentence(i)}</p>`)}</main>`),
  "page of 5 MB": async () =>
    utf8(`<!doctype html><main>${repeated(5e6, (i) => `<div class="a b"><p>${sentence(i)}</p></div>`)}</main>`),
  "Markdown of 3 MB": async () => utf8(repeated(3e6, (i) => `${i % 9 ? "" : `# Part ${i}\n\n`}*${sentence(i)}*\n\n`)),
  "text of 4 MB": async () => utf8(repeated(4e6, (i) => `${sentence(i)}\n${i % 5 ? "" : "\n"}`)),
  "mail of 10 MB": async () =>
    utf8(
      `${mail}--b\r\n\r\n${sentence(1)}\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n${repeated(1e7, () => base64)}--b--`,
    ),
};

async function measure(name: string): Promise<void> {
  const bytes = await FILES[name]!();
  const before = process.memoryUsage().rss;
  const began = performance.now();
  const content = await readContent(bytes, { as: "document" });
  const ms = Math.round(performance.now() - began);
  const peak = process.resourceUsage().maxRSS * 1024;
  const blocks = content.kind === "document" ? content.document.blocks.length : 0;
  const grown = Math.max(0, Math.round((peak - before) / 1e6));
  console.log(`${name} (${(bytes.length / 1e6).toFixed(2)} MB): ${ms} ms, ${grown} MB, ${blocks} blocks`);
}

const [first, child] = process.argv.slice(2);
if (first === "--child") await measure(child!);
else {
  const wanted = process.argv.slice(2);
  for (const name of Object.keys(FILES).filter((name) => wanted.length === 0 || wanted.includes(name))) {
    const self = fileURLToPath(import.meta.url);
    const run = spawnSync(process.execPath, [`--max-old-space-size=${HEAP_MB}`, self, "--child", name], {
      encoding: "utf8",
    });
    console.log(run.status === 0 ? run.stdout.trim() : `${name}: more than ${HEAP_MB} MB of heap`);
  }
}
