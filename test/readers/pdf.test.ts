import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { degrees, PDFDocument, StandardFonts } from "pdf-lib";
import { describe, expect, it } from "vitest";
import { spendLzw } from "../../src/readers/pdf-filters.ts";
import { documentOf, expectRefused, fixture, outline, tablesOf, utf8 } from "./fixture.ts";
import { lzw } from "./lzw.ts";
import { FONT, flate, onePage, rawPdf, shown, stream } from "./raw-pdf.ts";

describe("a PDF", () => {
  it("in two columns is read column by column, without its headers and footers", async () => {
    const { document, notes } = await documentOf(fixture("two-columns.pdf"));
    expect(notes).toEqual([
      "Left out as running headers and footers: “Journal of Small Rivers, volume 3”, “Page 1 of 3”.",
    ]);
    expect(document.title).toBe("Eighty years of river levels");
    expect(outline(document)).toEqual([
      "h1 Eighty years of river levels",
      "h2 1 The station",
      expect.stringMatching(/^The station stands .* built to measure .* without interruption .* the clockwork\.$/),
      expect.stringMatching(/^Since then two more instruments .* in a well-known blue book\.$/),
      expect.stringMatching(/^Readings are sent .* for eleven days\.$/),
      "h2 2 What was measured",
      expect.stringMatching(/^The level varies .* lowest in September, .* above the mark\.$/),
      expect.stringMatching(/^Temperature follows .* six winters out of ten\.$/),
      expect.stringMatching(/^Speed was harder .* the remaining values agree with what the level says\.$/),
      "h2 3 What follows",
      expect.stringMatching(/^The bridge will be rebuilt, .* A well-known maker of instruments .* needs no clock\.$/),
      expect.stringMatching(/^It is proposed .* can no longer be read\.$/),
    ]);
  });

  it("of several pages alike keeps what differs: numbers, tables, totals; a running header is left out, and told", async () => {
    const pdf = await PDFDocument.create();
    const font = await pdf.embedFont(StandardFonts.Helvetica);
    for (const [i, name] of ["Brown", "Green", "White"].entries()) {
      const page = pdf.addPage([595, 842]);
      const lines: [text: string, y: number][] = [
        ["Miller & Sons, Bristol", 800],
        [`Invoice number 100${i}`, 770],
        ["Item", 700],
        [`Dear Mrs. ${name}, this is what we did.`, 650],
        [`Chairs ${i + 2}`, 600],
        [`Total ${100 * (i + 1)} EUR`, 90],
        [`Page ${i + 1} of 3`, 30],
      ];
      for (const [text, y] of lines) page.drawText(text, { x: 50, y, size: 11, font });
    }
    const { document, notes } = await documentOf(await pdf.save());
    const text = outline(document).join(" ");
    for (const kept of ["1000", "1001", "1002", "Brown", "Green", "White", "Chairs 4", "Total 100", "Total 300 EUR"]) {
      expect(text).toContain(kept);
    }
    expect(text.match(/Item/g)).toHaveLength(3);
    expect(text).not.toMatch(/Page \d|Bristol/);
    expect(notes).toEqual(["Left out as running headers and footers: “Miller & Sons, Bristol”, “Page 1 of 3”."]);
  });

  it("of images is sent to OCR", async () => {
    await expectRefused(documentOf(fixture("scanned.pdf")), "E_FORMAT", /no text layer.*OCR/);
  });

  it("gives no tables, and says so", async () => {
    await expectRefused(tablesOf(fixture("two-columns.pdf")), "E_INPUT", /tables in a PDF/);
  });

  it("has items, and lines without spaces at words joined by what lies between them", async () => {
    const lines = ["A list of two:", "\\225 first thing", "\\225 second thing"];
    const content = `BT /F1 12 Tf 16 TL 20 250 Td ${lines.map((line) => `(${line}) Tj T*`).join(" ")} [(two) -400 (words)] TJ ET`;
    const font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";
    const pdf = rawPdf([
      "<< /Type /Catalog /Pages 2 0 R >>",
      "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
      "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
      flate(content),
      font,
    ]);
    const found = outline((await documentOf(pdf)).document);
    expect(found.slice(0, 2)).toEqual(["A list of two:", "item0 first thing"]);
    expect(found.join("\n")).toContain("two words");
  });

  it("is read as its pages are turned, and without what runs up their edges", async () => {
    const pdf = await PDFDocument.create();
    const font = await pdf.embedFont(StandardFonts.Helvetica);
    const page = pdf.addPage([300, 300]);
    page.setRotation(degrees(90));
    page.drawText("turned with the page", { x: 50, y: 40, size: 12, font, rotate: degrees(90) });
    page.drawText("up the edge", { x: 10, y: 10, size: 12, font });
    expect(outline((await documentOf(await pdf.save())).document)).toEqual(["turned with the page"]);
  });

  it("says which pages have no text", async () => {
    const pdf = await PDFDocument.create();
    pdf.addPage([300, 300]).drawText("One.", { size: 12 });
    pdf.addPage([300, 300]);
    expect((await documentOf(await pdf.save())).notes).toEqual(["Pages without text, perhaps images: 2."]);
  });

  it.each(["rc4-40", "rc4-128", "aes-128", "aes-128-open-metadata", "aes-256-r5", "aes-256"])(
    "that anybody may open is read: %s",
    async (name) => {
      const { document } = await documentOf(fixture(`encrypted/${name}.pdf`));
      expect(outline(document)).toEqual(["The mill by the river turns again. Nobody needs a key to read of it."]);
    },
  );

  it.each(["password-rc4", "password-aes-256"])("that needs a password says so: %s", async (name) => {
    await expectRefused(documentOf(fixture(`encrypted/${name}.pdf`)), "E_FORMAT", /needs a password.*qpdf/);
  });

  it("that is encrypted in another way, or says broken things of it, is refused", async () => {
    const page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>";
    const objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page];
    const encrypted = (dictionary: string, key = "Encrypt") => rawPdf([...objects, dictionary], `/${key} 4 0 R`);
    const refused = (pdf: Uint8Array, message: RegExp) => expectRefused(documentOf(pdf), "E_FORMAT", message);
    await refused(encrypted("<< /Filter /Adobe.PubSec /V 4 >>"), /by the filter Adobe.PubSec/);
    await refused(encrypted("<< /Filter /Standard /V 3 >>"), /of version 3/);
    await refused(encrypted("<< /Filter /Standard /V 4 /CF << /A << /CFM /Q >> >> /StmF /A >>"), /by the method Q/);
    await refused(encrypted("7"), /does not say/);
    const short = encrypted("<< /Filter /Standard /V 1 /R 2 /P -4 /O () /U () >>");
    await expectRefused(documentOf(short), "E_DAMAGED", /what it says of it is broken \(U\)/);
    // Hidden from whoever looks for the word: nobody decrypts it.
    await refused(
      encrypted(`<< /Filter /Standard /V 1 /R 2 /P -4 /O <${"00".repeat(32)}> /U <${"00".repeat(32)}> >>`, "Encr#79pt"),
      /needs a password/,
    );
  });

  it("that is encrypted and inflates to too much is refused like any", async () => {
    const limits = { maxInflatedBytes: 50 };
    for (const name of ["rc4-128", "aes-128", "aes-256"]) {
      const reading = documentOf(fixture(`encrypted/${name}.pdf`), {}, limits);
      await expectRefused(reading, "E_TOO_LARGE", /maxInflatedBytes/);
    }
  });

  it.each([0, 1])("whose text is in LZW is read: codes %i early", async (early) => {
    const lines = Array.from({ length: 200 }, (_, i) => `Line ${i} of ${i * i} and more`);
    const content = `BT /F1 1 Tf 1.2 TL 20 280 Td ${lines.map((line) => `(${line}) Tj T*`).join(" ")} ET`;
    const parameters = `/DecodeParms << /EarlyChange ${early} >>`;
    const pdf = onePage(stream(lzw(utf8(content), early), `/Filter /LZWDecode ${parameters}`));
    expect(outline((await documentOf(pdf)).document)).toEqual([lines.join(" ")]);
  });

  it("whose text is in letters, or in runs, is read", async () => {
    const flat = deflateSync(shown("packed and written down"));
    const hex = utf8(`${flat.toString("hex")}>`);
    const text = shown("in runs");
    const runs = Uint8Array.from([text.length - 1, ...utf8(text), 128]);
    for (const [data, filter] of [
      [hex, "[/ASCIIHexDecode /FlateDecode]"],
      [utf8(`${Buffer.from(hex).toString("hex")}>`), "[/AHx /AHx /Fl]"],
      [runs, "/RunLengthDecode"],
    ] as const) {
      const { document } = await documentOf(onePage(stream(data, `/Filter ${filter}`)));
      expect(outline(document)).toEqual([filter === "/RunLengthDecode" ? "in runs" : "packed and written down"]);
    }
  });

  it.each([10_000, 1_000_000_000])("that counts %i pages is refused before any is read", async (count) => {
    const kids = "3 0 R ".repeat(10_000);
    const page = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>";
    const pages = `<< /Type /Pages /Kids [${kids}] /Count ${count} >>`;
    const pdf = rawPdf(["<< /Type /Catalog /Pages 2 0 R >>", pages, page]);
    // pdf.js looks for the last page of those that are counted.
    if (count > 10_000) await expectRefused(documentOf(pdf), "E_DAMAGED");
    else await expectRefused(documentOf(pdf), "E_TOO_LARGE", /10000 pages; the limit is 500 \(maxPages\)/);
  });

  describe("that inflates to gigabytes", () => {
    // 200 MB of spaces.
    const bomb = deflateSync(Buffer.alloc(200_000_000, 32));

    it("is refused early, as content, in a stream of objects, and called an image", async () => {
      await expectRefused(documentOf(onePage(stream(bomb, "/Filter /FlateDecode"))), "E_TOO_LARGE", /maxInflatedBytes/);
      await expectRefused(
        documentOf(onePage(stream(bomb, "/Filter [/Fl#61teDecode]"))),
        "E_TOO_LARGE",
        /maxInflatedBytes/,
      );
      const image = "/Filter /FlateDecode /Type /XObject /Subtype /Image /Width 1 /Height 1";
      await expectRefused(documentOf(onePage(stream(bomb, image))), "E_FORMAT", /no text layer/);
    });

    it("is refused when inflated twice, and when its compression is not seen", async () => {
      const twice = deflateSync(bomb);
      await expectRefused(
        documentOf(onePage(stream(twice, "/Filter [/FlateDecode /FlateDecode]"))),
        "E_FORMAT",
        /twice/,
      );
      await expectRefused(documentOf(onePage(stream(twice, "/Filter 6 0 R"), ["[/Fl /Fl]"])), "E_FORMAT", /elsewhere/);
    });

    it("is refused where its data is broken, which pdf.js would read on", async () => {
      const broken = Buffer.from(bomb);
      // A block of a kind that there is not.
      broken[2] = 0x07;
      const pdf = onePage(stream(broken, "/Filter /FlateDecode"));
      await expectRefused(documentOf(pdf), "E_DAMAGED", /cannot be unpacked/);
    });

    it("is refused in other compressions and with rows as wide", async () => {
      const limits = { maxInflatedBytes: 1_000_000 };
      const refused = (pdf: Uint8Array) =>
        expectRefused(documentOf(pdf, {}, limits), "E_TOO_LARGE", /maxInflatedBytes/);
      await refused(onePage(stream(lzw(new Uint8Array(2_000_000).fill(32)), "/Filter /LZWDecode")));
      await refused(onePage(stream(new Uint8Array(20_000).fill(129), "/Filter /RL")));
      await refused(onePage(stream(utf8(`${bomb.toString("hex")}>`), "/Filter [/AHx /Fl]")));
      await refused(onePage(stream(new Uint8Array(300_000).fill(0x7a), "/Filter [/A85 /Fl]")));
      await expectRefused(documentOf(onePage(stream(bomb, "/Filter /BrotliDecode"))), "E_FORMAT", /BrotliDecode/);
      const parameters = "/DecodeParms << /Predictor 12 /Columns 2000000000 >>";
      await expectRefused(documentOf(onePage(flate(shown("a"), parameters))), "E_FORMAT", /rows of 2000000000/);
    });

    it.each([
      "/Filter /LZWDecode % 1 0 obj <<\n",
      "/Filter /LZWDecode /X (1 0 obj << /A\\(b)",
      "/Filter % /FlateDecode\n /LZWDecode",
      "/X (1 0 obj <<) /Filter /LZWDecode",
    ])("is refused where its dictionary may be read in two ways: %s", async (entries) => {
      const data = lzw(new Uint8Array(2_000_000).fill(32));
      await expectRefused(documentOf(onePage(stream(data, entries))), "E_FORMAT", /dictionary that cannot be read/);
    });
  });

  it("whose forms repeat each other is ended by the limit of characters", async () => {
    const forms = Array.from({ length: 30 }, (_, i) => {
      const next = i < 29 ? `/F ${i + 7} 0 R` : "";
      const content = i < 29 ? "/F Do /F Do" : `BT /F1 9 Tf 0 0 Td (${"word ".repeat(40)}) Tj ET`;
      const resources = `/Resources << /Font << /F1 5 0 R >> /XObject << ${next} >> >>`;
      return flate(content, `/Type /XObject /Subtype /Form /BBox [0 0 9 9] ${resources}`);
    });
    const pdf = onePage(flate("/F Do"), forms, "/XObject << /F 6 0 R >>");
    await expectRefused(documentOf(pdf, {}, { maxCharacters: 100_000 }), "E_TOO_LARGE", /maxCharacters/);
    await expectRefused(documentOf(pdf, { signal: AbortSignal.timeout(300) }), "E_TOO_LARGE", /longer than the time/);
  });

  it("is read no further when nobody waits", async () => {
    const gone = new AbortController();
    const reading = documentOf(fixture("two-columns.pdf"), { signal: gone.signal });
    gone.abort();
    await expectRefused(reading, "E_GIVEN_UP");
  });

  it("of arrays in arrays is damaged, not a stack's overflow", async () => {
    const pages = "<< /Type /Pages /Kids [3 0 R] /Count 1 >>";
    const pdf = rawPdf(["<< /Type /Catalog /Pages 2 0 R >>", pages, "[".repeat(200_000), FONT]);
    await expectRefused(documentOf(pdf), "E_DAMAGED");
  });
});

it("LZW is counted byte by byte, and a code's own step", () => {
  const runs = fc.array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 3000 })), { maxLength: 30 });
  fc.assert(
    fc.property(runs, fc.constantFrom(0, 1), (runs, early) => {
      const data = Uint8Array.from(runs.flatMap(([byte, count]) => new Array<number>(count).fill(byte)));
      const packed = lzw(data, early);
      const budget = { left: 1e9 };
      spendLzw(packed, early, budget);
      const made = 1e9 - budget.left;
      expect(made).toBeGreaterThanOrEqual(data.length);
      // A code has nine bits at least.
      expect(made).toBeLessThanOrEqual(data.length + (packed.length * 8) / 9);
    }),
  );
});
