import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS, readContent } from "../../src/readers/index.ts";
import { documentOf, expectRefused, fixture, outline, tablesOf, utf8 } from "./fixture.ts";
import { xlsx } from "./office-files.ts";

describe("readContent", () => {
  it("gives tables as tables, and as a document that holds them", async () => {
    const csv = utf8("name;height\nmill;12\ntower;30\n");
    const [table] = await tablesOf(csv, { filename: "towns/buildings.csv" });
    expect(table).toMatchObject({
      title: "buildings",
      columns: ["name", "height"],
      rows: [
        ["mill", "12"],
        ["tower", "30"],
      ],
    });
    const { document } = await documentOf(csv, { filename: "buildings.csv" });
    // A file's name is nothing that it says.
    expect(document.title).toBe(null);
    expect(outline(document)).toEqual(["table name | height"]);
  });

  it("takes text for CSV where a table is asked for", async () => {
    expect(await tablesOf(utf8("a,b\n1,2"))).toMatchObject([{ columns: ["a", "b"], rows: [["1", "2"]] }]);
  });

  it("reads rows of JSON in another encoding than UTF-8", async () => {
    const json = Uint8Array.from([0xff, 0xfe, ...Buffer.from('[{"Fluß": "Aar"}]', "utf16le")]);
    expect(await tablesOf(json)).toMatchObject([{ columns: ["Fluß"], rows: [["Aar"]] }]);
  });

  it("refuses what it does not read, and says what to do", async () => {
    const as = "document";
    await expectRefused(readContent(new Uint8Array(), { as }), "E_DAMAGED", /empty/);
    const png = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    await expectRefused(readContent(png, { as }), "E_FORMAT", /OCR/);
    const bmp = utf8("BM\x76\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0");
    await expectRefused(readContent(bmp, { as }), "E_FORMAT", /in BMP\. Of images PNG, JPEG, WebP and TIFF are read/);
    const ole = Uint8Array.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
    await expectRefused(readContent(ole, { as }), "E_FORMAT", /Save it as \.docx/);
    const zip = Uint8Array.from([0x50, 0x4b, 5, 6, ...Array<number>(18).fill(0)]);
    await expectRefused(readContent(zip, { as }), "E_FORMAT", /one by one/);
    await expectRefused(readContent(utf8("<html>"), { as, contentType: "application/pdf" }), "E_FORMAT", /declared/);
  });

  it("gives an empty document of a workbook without cells, and no table", async () => {
    const bytes = xlsx([{ name: "S" }]);
    const { document, notes } = await documentOf(bytes, { filename: "empty.xlsx" });
    expect([document, notes]).toEqual([
      { title: null, blocks: [] },
      ["The workbook has no visible sheet with cells. Send one that has."],
    ]);
    await expectRefused(readContent(bytes, { as: "table" }), "E_INPUT", /gives no table/);
  });

  it("holds files to their limits", async () => {
    const bytes = fixture("news.html");
    const limited = (limits: object) => readContent(bytes, { as: "document" }, { ...DEFAULT_LIMITS, ...limits });
    await expectRefused(
      limited({ maxBytes: 1000 }),
      "E_TOO_LARGE",
      /; the limit is 1,000 \(maxBytes\)\. Send a smaller file\.$/,
    );
    await expectRefused(limited({ maxBlocks: 3 }), "E_TOO_LARGE", /maxBlocks/);
    await expectRefused(limited({ maxCharacters: 300 }), "E_TOO_LARGE", /maxCharacters/);
    await expectRefused(limited({ maxCells: 5 }), "E_TOO_LARGE", /maxCells/);
    await expectRefused(limited({ maxDepth: 4 }), "E_TOO_LARGE", /maxDepth/);
  });

  it("does not begin when nobody waits", async () => {
    const signal = AbortSignal.abort();
    await expectRefused(readContent(utf8("a"), { as: "document", signal }), "E_GIVEN_UP");
  });
});
