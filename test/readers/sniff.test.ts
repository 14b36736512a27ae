import { describe, expect, it } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { type Hints, sniff } from "../../src/readers/sniff.ts";
import { fixture, utf8 } from "./fixture.ts";
import { joined, onePage, shown } from "./raw-pdf.ts";

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]);
const OLE = Uint8Array.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, 0, 0]);
/** An empty archive. */
const ZIP = Uint8Array.from([0x50, 0x4b, 5, 6, ...Array<number>(18).fill(0)]);
const PDF = onePage(shown("a"));

function refusal(bytes: Uint8Array, hints: Hints = {}): string {
  try {
    return sniff(bytes, hints);
  } catch (error) {
    if (error instanceof EdgeT5Error) return `${error.code}: ${error.message}`;
    throw error;
  }
}

describe("sniff", () => {
  it.each([
    ["html", utf8("<!-- a -->\n<!DOCTYPE html><title>a</title>")],
    ["html", utf8('<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml">')],
    ["html", fixture("news.html")],
    ["markdown", utf8("# Title\n\nText, and more text.")],
    ["eml", fixture("parts.eml")],
    ["json", utf8('[\n {"a": 1}\n]')],
    ["json", utf8('{"columns": ["a"], "rows": [[1]]}')],
    ["jsonl", utf8('{"a": 1}\n{"a": 2}\n')],
    ["csv", utf8('a;b;c\n"1;2";2;3\n')],
    ["csv", utf8("a,b\n1,2\n3,4\n")],
    ["tsv", utf8("a\tb\n1\t2\n")],
    ["text", utf8("Dear reader,\n\nthis is prose, with a comma.\nAnd more, of course.\n")],
    ["text", utf8("[1] a footnote\n")],
    ["text", utf8("Note: this is no mail.\nIt is text.")],
    ["text", fixture("mill.utf-16le.txt")],
    ["text", fixture("mill.shift_jis.txt")],
    ["pdf", fixture("two-columns.pdf")],
    ["png", PNG],
    ["ole", OLE],
    ["zip", ZIP],
    ["gif", utf8("GIF89a")],
    ["bmp", utf8("BM\x76\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0")],
    ["text", utf8("BM is the postcode of Bromley.\n")],
    ["heic", utf8("\0\0\0\x18ftypheic\0\0\0\0mif1heic")],
    ["avif", utf8("\0\0\0\x1cftypavif\0\0\0\0mif1avif")],
    ["jpeg", Uint8Array.from([0xff, 0xd8, 0xff, 0xe0])],
    ["tiff", Uint8Array.from([0x49, 0x49, 0x2a, 0])],
    ["webp", utf8("RIFF....WEBPVP8 ")],
  ])("knows %s", (kind, bytes) => {
    expect(sniff(bytes)).toBe(kind);
  });

  it("lets a type, or else a name, choose among kinds of text", () => {
    const text = utf8("a,b\n1,2\n3,4\n");
    expect(sniff(text, { contentType: "text/markdown; charset=utf-8" })).toBe("markdown");
    expect(sniff(text, { filename: "notes.txt" })).toBe("text");
    expect(sniff(text, { contentType: "text/csv", filename: "notes.txt" })).toBe("csv");
    expect(sniff(text, { contentType: "text/plain", filename: "page.HTML" })).toBe("html");
    expect(sniff(text, { contentType: "text/plain" })).toBe("csv");
    expect(sniff(text, { contentType: "application/vnd.ms-excel" })).toBe("csv");
  });

  it.each([undefined, "application/octet-stream", "application/x-www-form-urlencoded", "application/x-unknown"])(
    "takes %s for no declaration",
    (contentType) => {
      expect(sniff(PDF, { contentType })).toBe("pdf");
    },
  );

  it.each([
    ["text/plain", PDF, /^E_FORMAT: .*"text\/plain".*a PDF/],
    ["text/html", ZIP, /"text\/html".*a ZIP archive/],
    ["application/pdf", PNG, /"application\/pdf".*a PNG image/],
    ["image/jpeg", PNG, /"image\/jpeg".*a PNG image/],
    ["application/pdf", utf8("<html>"), /"application\/pdf".*not of that type/],
    ["application/json", PDF, /a PDF/],
    ["application/vnd.openxmlformats-officedocument.wordprocessingml.document", OLE, /before 2007/],
  ])("refuses %s that the bytes contradict", (contentType, bytes, message) => {
    expect(refusal(bytes, { contentType })).toMatch(message);
  });

  it("does not take a file's name for more than a hint", () => {
    expect(sniff(PDF, { filename: "page.html" })).toBe("pdf");
    expect(sniff(utf8("<p>a</p>"), { filename: "a.pdf" })).toBe("html");
  });

  describe("of files that are two things", () => {
    it("takes the first bytes' word", () => {
      expect(sniff(joined([PNG, ZIP]))).toBe("png");
      expect(sniff(joined([PDF, ZIP]))).toBe("pdf");
      expect(sniff(joined([utf8("%PDF-1.7\n"), utf8("<html><body>page</body></html>")]))).toBe("pdf");
      expect(sniff(joined([utf8("GIF89a"), utf8("<script>alert(1)</script>")]))).toBe("gif");
    });

    it("refuses a PDF behind something else", () => {
      expect(refusal(joined([utf8("<html>"), PDF]))).toMatch(/^E_FORMAT: .*character 6/);
      expect(refusal(joined([utf8("\n"), PDF]))).toMatch(/^E_FORMAT/);
    });

    it("refuses an archive without its end", () => {
      expect(refusal(Uint8Array.from([0x50, 0x4b, 3, 4, ...Array<number>(60).fill(7)]))).toMatch(/^E_DAMAGED/);
    });
  });
});
