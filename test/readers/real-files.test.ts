/** Files that openpyxl, XlsxWriter and python-docx wrote: test/fixtures/office/make.py. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { readDocx } from "../../src/readers/docx.ts";
import { readXlsx } from "../../src/readers/xlsx.ts";

const file = async (name: string) =>
  new Uint8Array(await readFile(new URL(`../fixtures/office/${name}`, import.meta.url)));

const PEOPLE = {
  title: null,
  section: "People",
  columns: ["name", "number", "day", "moment", "time", "is so", "text"],
  rows: [
    ["Anna", "1.5", "2024-02-29", "2024-02-29T13:45:00", "13:45:00", "TRUE", "line 1\nline 2"],
    ["Bo & Co <3", "-2", "", "", "", "FALSE", '"quoted", Grüße'],
  ],
};
const MERGED = [
  ["north", "Kiel", "1"],
  ["north", "Bremen", "2"],
];

test("a workbook of openpyxl is read", async () => {
  const { tables, notes } = readXlsx(await file("openpyxl.xlsx"));
  expect(tables).toEqual([
    PEOPLE,
    { title: null, section: "Merged: Report", columns: ["region", "city", "sum"], rows: MERGED },
  ]);
  expect(notes).toHaveLength(3);
});

test("a workbook of XlsxWriter is read", async () => {
  const { tables, notes } = readXlsx(await file("xlsxwriter.xlsx"));
  const rows = [...PEOPLE.rows, ["bold and not", "-0.5", "", "", "", "", ""]];
  expect(tables).toEqual([{ ...PEOPLE, rows }]);
  expect(notes).toEqual([]);
});

test("a document of python-docx is read", async () => {
  const { document } = readDocx(await file("python-docx.docx"));
  expect(document).toEqual({
    title: "A report",
    blocks: [
      { kind: "heading", level: 1, text: "A report" },
      { kind: "heading", level: 1, text: "Results" },
      { kind: "paragraph", text: "Plain, bold and a\nbreak." },
      { kind: "item", depth: 0, text: "first" },
      { kind: "item", depth: 1, text: "inner" },
      { kind: "item", depth: 0, text: "numbered", marker: "1." },
      {
        kind: "table",
        table: { title: "A report", section: "Results", columns: ["region", "city", "sum"], rows: MERGED },
      },
      { kind: "heading", level: 2, text: "End" },
    ],
  });
});
