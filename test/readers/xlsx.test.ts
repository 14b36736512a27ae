import fc from "fast-check";
import { strToU8 } from "fflate";
import { describe, expect, test } from "vitest";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import { readXlsx, type XlsxOptions } from "../../src/readers/xlsx.ts";
import { formatOf, numberText, type Shown, shownBy } from "../../src/readers/xlsx-values.ts";
import { rawZip, zipOf } from "./archives.ts";
import { expectCutsRefused, expectNoOtherErrors, refusal } from "./hostile.ts";
import { docx, inline, letters, p, relationships, type SheetXml, xlsx, xlsxFiles } from "./office-files.ts";

const one = (rows: string, more: Partial<SheetXml> = {}) => xlsx([{ name: "S", rows, ...more }]);
const table = (bytes: Uint8Array, options?: XlsxOptions) => readXlsx(bytes, options).tables[0]!;
const limited = (bytes: Uint8Array, limits: Partial<ReadLimits>) => () =>
  readXlsx(bytes, { limits: { ...DEFAULT_LIMITS, ...limits } });
/** Rows of texts in place and of numbers; what is empty has no cell. */
const typed = (rows: readonly (readonly (string | number)[])[]) =>
  rows
    .map((cells, r) => {
      const each = cells.map((value, c) => {
        const place = `${letters(c)}${r + 1}`;
        if (typeof value === "number") return cell(place, String(value));
        return value === "" ? "" : `<c r="${place}" t="inlineStr"><is><t>${value}</t></is></c>`;
      });
      return `<row r="${r + 1}">${each.join("")}</row>`;
    })
    .join("");
const cell = (place: string, value: string, more = "") => `<c r="${place}"${more}><v>${value}</v></c>`;

describe("a workbook", () => {
  test("gives a table for each visible sheet with cells, under the file's name", () => {
    const bytes = xlsx([
      {
        name: "People &amp; ages",
        rows: inline([
          ["name", "age"],
          ["Anna", "40"],
        ]),
      },
      { name: "empty" },
      { name: "secret", rows: inline([["x"]]), state: "hidden" },
      { name: "Prices", rows: inline([["price"], ["2"]]) },
    ]);
    expect(readXlsx(bytes, { title: "book.xlsx" })).toEqual({
      kind: "tables",
      tables: [
        { title: "book.xlsx", section: "People & ages", columns: ["name", "age"], rows: [["Anna", "40"]] },
        { title: "book.xlsx", section: "Prices", columns: ["price"], rows: [["2"]] },
      ],
      notes: ["Hidden sheets are left out: secret."],
    });
  });

  test("has shared texts of several runs, without readings, with what XML cannot say", () => {
    const strings = [
      '<t xml:space="preserve"> one </t>',
      '<r><rPr><b/></rPr><t>bold</t></r><r><t> and &lt;plain&gt;</t></r><rPh sb="0" eb="1"><t>reading</t></rPh>',
      "<t>a_x000D_b<![CDATA[<c>]]></t>",
    ];
    const rows = `<row r="1">${cell("A1", "0", ' t="s"')}${cell("B1", "1", ' t="s"')}${cell("C1", "2", ' t="s"')}</row>`;
    const bytes = xlsx([{ name: "S", rows }], { strings });
    expect(table(bytes, { header: false }).rows).toEqual([[" one ", "bold and <plain>", "a\rb<c>"]]);
  });

  test("has numbers, truth values, errors, texts in place, formulas by their values", () => {
    const rows = `<row r="1">${[
      cell("A1", "0.30000000000000004"),
      cell("B1", "1", ' t="b"'),
      cell("C1", "#DIV/0!", ' t="e"'),
      '<c r="D1"><f>A1*2</f><v>0.6</v></c>',
      '<c r="E1" t="str"><f>"x"</f><v>x</v></c>',
      cell("F1", "2024-01-31T00:00:00", ' t="d"'),
      '<c r="G1"><f>NOW()</f></c>',
      '<c r="H1" t="str"><f>""</f><v></v></c>',
      cell("I1", "1E+21"),
      cell("J1", "9007199254740993"),
    ].join("")}</row>`;
    const { tables, notes } = readXlsx(one(rows), { header: false });
    expect(tables[0]?.rows).toEqual([
      ["0.3", "TRUE", "#DIV/0!", "0.6", "x", "2024-01-31T00:00:00", "1e+21", "9007199254740990"],
    ]);
    expect(notes).toEqual([
      "In the sheet S, 1 formula has no stored value: save the file with a program that computes them.",
    ]);
  });

  test("has dates by the format of their cells, from 1900 or 1904 on", () => {
    const styles =
      '<numFmts count="1"><numFmt numFmtId="164" formatCode="dd/mm/yyyy\\ hh:mm"/></numFmts>' +
      '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs>';
    const rows = `<row r="1">${cell("A1", "45322", ' s="1"')}${cell("B1", "45322.75", ' s="2"')}${cell("C1", "45322")}</row>`;
    const book = { styles };
    expect(table(xlsx([{ name: "S", rows }], book), { header: false }).rows).toEqual([
      ["2024-01-31", "2024-01-31T18:00:00", "45322"],
    ]);
    const mac = { styles, properties: '<workbookPr date1904="1"/>' };
    expect(table(xlsx([{ name: "S", rows }], mac), { header: false }).rows[0]?.[0]).toBe("2028-02-01");
  });

  test("repeats a merged cell's value in each row that it covers, in its first column, and no further than there are others", () => {
    const rows = inline([
      ["region", "city", "2023", "2024"],
      ["north", "Kiel", "1", ""],
      ["", "Bremen", "2", "3"],
    ]);
    const after =
      '<mergeCells><mergeCell ref="A2:A3"/><mergeCell ref="C2:D2"/><mergeCell ref="B3:XFD3"/><mergeCell ref="D9:XFD1048576"/></mergeCells>';
    expect(table(one(rows, { after })).rows).toEqual([
      ["north", "Kiel", "1", ""],
      ["north", "Bremen", "", ""],
    ]);
  });

  test("may have a title above its table, merged or not", () => {
    const rows = inline([["Sales of 2024", "", ""], ["in EUR"], ["city", "sum", ""], ["Kiel", "3", "x"]]);
    const after = '<mergeCells><mergeCell ref="A1:C1"/></mergeCells>';
    const { tables, notes } = readXlsx(one(rows, { after }));
    expect(tables).toEqual([
      {
        title: null,
        section: "S: Sales of 2024: in EUR",
        columns: ["city", "sum", "column 3"],
        headers: ["city", "sum", ""],
        rows: [["Kiel", "3", "x"]],
      },
    ]);
    expect(notes).toEqual(["In the sheet S, the text above the table is taken for its title."]);
  });

  test("has hidden rows and columns left out, and says so", () => {
    const rows = typed([
      ["town", "people", "secret", "river"],
      ["Bonn", 330_000, 1, "Rhein"],
      ["Köln", 1_080_000, 2, "Rhein"],
      ["Ulm", 126_000, "", "Donau"],
      ["Hof", 46_000, 4, "Saale"],
    ]);
    const hide = (...places: number[]) =>
      places.reduce((all, place) => all.replace(`<row r="${place}"`, `<row r="${place}" hidden="1"`), rows);
    const columns =
      '<col min="1" max="2" hidden="0"/><col min="3" max="3" hidden="true"/><col min="6" max="9" hidden="1"/>';
    const { tables, notes } = readXlsx(one(hide(3, 4), { columns }));
    expect(tables).toMatchObject([
      {
        columns: ["town", "people", "river"],
        rows: [
          ["Bonn", "330000", "Rhein"],
          ["Hof", "46000", "Saale"],
        ],
      },
    ]);
    expect(notes).toEqual(["In the sheet S, hidden column C and 2 hidden rows are left out."]);
    expect(readXlsx(one(hide(2))).notes).toEqual(["In the sheet S, 1 hidden row is left out."]);
    const none = readXlsx(one(rows, { columns: '<col min="1" max="16384" hidden="1"/>' }));
    expect([none.tables, none.notes]).toEqual([
      [],
      [
        "In the sheet S, hidden columns A, B, C, D are left out.",
        "The workbook has no visible sheet with cells. Send one that has.",
      ],
    ]);
  });

  test("may have tables side by side", () => {
    const towns: [string | number, string | number][] = [
      ["town", "people"],
      ["Bonn", 330_000],
      ["Köln", 1_080_000],
      ["Ulm", 126_000],
    ];
    const rivers: (string | number)[][] = [
      ["river", "km"],
      ["Rhein", 1233],
      ["Elbe", 1094],
      ["", ""],
    ];
    const beside = (right: (string | number)[][]) => typed(towns.map((row, i) => [...row, "", ...(right[i] ?? [])]));
    const { tables, notes } = readXlsx(one(beside(rivers)));
    expect(tables.map(({ section, columns, rows }) => [section, columns, rows.length])).toEqual([
      ["S", ["town", "people"], 3],
      ["S: table 2", ["river", "km"], 2],
    ]);
    expect(notes).toEqual(["In the sheet S, what stands from column D on is taken for another table."]);
    const full = readXlsx(one(beside([...rivers.slice(0, 3), ["Oder", 866]])));
    expect(full.tables.map(({ columns }) => columns)).toEqual([["town", "people", "river", "km"]]);
    expect(full.notes).toEqual([
      "In the sheet S, what stands from column D on is taken for the same table as what stands before it.",
    ]);
    // Columns of one table with a space between.
    const spaced = readXlsx(
      one(
        beside([
          ["2024", "2025"],
          [1, 2],
        ]),
      ),
    );
    expect(spaced).toMatchObject({ tables: [{ columns: ["town", "people", "2024", "2025"] }], notes: [] });
    const after = '<mergeCells><mergeCell ref="B2:D2"/></mergeCells>';
    expect(readXlsx(one(beside(rivers), { after })).tables).toHaveLength(1);
    const columns = '<col min="3" max="3" hidden="1"/>';
    expect(readXlsx(one(beside(rivers), { columns })).tables).toHaveLength(1);
  });

  test("says so where its header has numbers", () => {
    const notes = (...cells: (string | number)[][]) => readXlsx(one(typed(cells))).notes;
    expect(notes(["Bonn", 330_000], ["Köln", 1_080_000])).toEqual([
      "In the sheet S, row 1 is taken for the header, though it holds numbers.",
    ]);
    expect(notes(["town", 2024], ["Köln", 1_080_000])).toEqual([]);
  });

  test("may begin anywhere, and have gaps: empty rows and columns are left out", () => {
    const rows =
      '<row r="5"/><row r="900000"><c r="XA900000" s="1"/><c r="XB900000" t="inlineStr"><is><t>a</t></is></c>' +
      '<c r="XFD900000" t="inlineStr"><is><t>b</t></is></c></row><row><c><v>1</v></c><c/><c r="XFD900001"><v>2</v></c></row>';
    expect(table(one(rows), { header: false })).toMatchObject({
      rows: [
        ["", "a", "b"],
        ["1", "", "2"],
      ],
    });
  });

  test("may have other prefixes, UTF-16, strict namespaces and paths of its own", () => {
    const files = xlsxFiles([{ name: "S" }]);
    const sheet =
      '<?xml version="1.0" encoding="UTF-16"?><x:worksheet xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main"><x:sheetData>' +
      '<x:row><x:c t="inlineStr"><x:is><x:t>Grüße</x:t></x:is></x:c></x:row></x:sheetData></x:worksheet>';
    const utf16 = new Uint8Array(Buffer.from(`\ufeff${sheet}`, "utf16le"));
    const bytes = zipOf({
      ...files,
      "_rels/.rels": relationships([["a", "officeDocument", "/Book/./main.xml"]]),
      "Book/main.xml": files["xl/workbook.xml"]!,
      "Book/_rels/main.xml.rels": relationships([["rId1", "worksheet", "../Sheets/one.xml"]]),
      "Sheets/one.xml": utf16,
    });
    expect(table(bytes).columns).toEqual(["Grüße"]);
  });

  test("with nothing to see has no table, and says why", () => {
    const { tables, notes } = readXlsx(xlsx([{ name: "S" }]));
    expect([tables, notes]).toEqual([[], ["The workbook has no visible sheet with cells. Send one that has."]]);
  });
});

describe("a header", () => {
  const merged = (...refs: string[]) =>
    `<mergeCells>${refs.map((ref) => `<mergeCell ref="${ref}"/>`).join("")}</mergeCells>`;
  const columnsOf = (cells: readonly (readonly (string | number)[])[], ...refs: string[]) => {
    const { tables, notes } = readXlsx(one(typed(cells), { after: merged(...refs) }));
    return { columns: tables[0]?.columns, rows: tables[0]?.rows.length, notes };
  };
  const quarters = ["", "Q1", "Q2", "Q1", "Q2"];
  const joined = ["region", "2025 Q1", "2025 Q2", "2026 Q1", "2026 Q2"];

  test.each<[string, (string | number)[][], string[]]>([
    ["with cells merged over both", [["region", 2025, "", 2026], quarters, ["north", "a", "b", "c", "d"]], ["A1:A2"]],
    [
      "with nothing below what is not merged",
      [["region", "2025", "", "2026"], quarters, ["north", "a", "b", "c", "d"]],
      [],
    ],
    [
      "with names above numbers",
      [
        ["", 2025, "", 2026],
        ["region", "Q1", "Q2", "Q1", "Q2"],
        ["north", 1, 2, 3, 4],
      ],
      [],
    ],
  ])("has two rows %s", (_, cells, refs) => {
    expect(columnsOf(cells, "B1:C1", "D1:E1", ...refs)).toEqual({
      columns: joined,
      rows: 1,
      notes: ["In the sheet S, rows 1 to 2 are taken for the header."],
    });
  });

  test("has as many rows as its merged cells show", () => {
    const cells = [["region", "sales"], ["", "2025", "", "2026"], quarters, ["north", 1, 2, 3, 4]];
    expect(columnsOf(cells, "A1:A3", "B1:E1", "B2:C2", "D2:E2")).toMatchObject({
      columns: ["region", "sales 2025 Q1", "sales 2025 Q2", "sales 2026 Q1", "sales 2026 Q2"],
      rows: 1,
    });
  });

  test("has one row where the next may be data: a note says so", () => {
    const address = [
      ["name", "address"],
      ["Anna", "Hill 3", "Kiel"],
      ["Bob", "Lane 4", "Bonn"],
    ];
    const [shown] = readXlsx(one(typed(address), { after: merged("B1:C1") })).tables;
    expect(shown?.headers).toEqual(["name", "address", ""]);
    expect(columnsOf(address, "B1:C1")).toEqual({
      columns: ["name", "address", "address 2"],
      rows: 2,
      notes: ["In the sheet S, row 1 alone is taken for the header, though row 2 may belong to it."],
    });
    expect(
      columnsOf(
        [
          ["name", "size"],
          ["Anna", 2, 3],
        ],
        "B1:C1",
      ),
    ).toMatchObject({ rows: 1, notes: [] });
    const loose = [["region", "2025", "", "2026"], quarters, ["north", 1, 2, 3, 4]];
    expect(columnsOf(loose).notes).toEqual([expect.stringContaining("row 1 alone")]);
    expect(
      columnsOf([
        ["name", "n"],
        ["Anna", "x"],
        ["Bob", 1],
      ]).notes,
    ).toEqual([]);
  });

  test("is not looked for where there shall be none", () => {
    const rows = typed([
      ["a", "b"],
      ["", ""],
      ["x", "y"],
      [1, 2],
    ]);
    expect(table(one(rows), { header: false }).rows).toHaveLength(3);
  });
});

describe("below an empty row", () => {
  const tablesOf = (cells: readonly (readonly (string | number)[])[], after = "") => {
    const { tables, notes } = readXlsx(one(typed(cells), { after }));
    return { tables: tables.map(({ section, columns, rows }) => [section, columns, rows.length]), notes };
  };
  const people = [
    ["name", "age"],
    ["Anna", 40],
    ["Bob", 41],
  ];

  test("another table begins with its header, under what stands above it", () => {
    expect(tablesOf([...people, [], ["Prices"], [], ["", "", "what", "price"], ["", "", "tea", 2]])).toEqual({
      tables: [
        ["S", ["name", "age"], 2],
        ["S: Prices", ["what", "price"], 1],
      ],
      notes: [
        "In the sheet S, what stands from row 5 on is taken for another table.",
        "In the sheet S, the text above the table is taken for its title.",
      ],
    });
  });

  test("tables without a title have a name each", () => {
    expect(tablesOf([...people, [], ...people, [], ["day", "n"], [1, 2]]).tables.map(([section]) => section)).toEqual([
      "S",
      "S: table 2",
      "S: table 3",
    ]);
  });

  test("another table is told by the same header or by columns of its own", () => {
    const words = [
      ["name", "city"],
      ["Anna", "Kiel"],
    ];
    expect(tablesOf([...words, [], ...words]).tables).toHaveLength(2);
    expect(tablesOf([...words, [], ["", "", "", "a", "b"], ["", "", "", "c", "d"]]).tables).toHaveLength(2);
  });

  test.each<[string, (string | number)[][], string?]>([
    [
      "numbers",
      [
        ["Carl", 42],
        ["Dora", 43],
      ],
    ],
    [
      "words above words",
      [
        ["Carl", "?"],
        ["Dora", "old"],
      ],
    ],
    ["a row alone", [["sum", "many"]]],
    ["a note", [["Source: the office"]]],
    ["a group's name", [["Elders"], ["Carl", 42]]],
    [
      "a merged cell",
      [
        ["x", "y"],
        ["Dora", 43],
      ],
      '<mergeCells><mergeCell ref="A3:A5"/></mergeCells>',
    ],
  ])("the table goes on with %s", (_, more, after) => {
    expect(tablesOf([...people, [], ...more], after).tables).toEqual([["S", ["name", "age"], 2 + more.length]]);
  });
});

test("no cell is lost, however a sheet is laid out", () => {
  const value = fc.oneof(fc.constant(""), fc.constant(""), fc.integer({ min: 0, max: 9 }), fc.constant("word"));
  const width = 5;
  const grid = fc.array(fc.array(value, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 12 });
  const area = fc.tuple(fc.nat(11), fc.nat(width - 1), fc.nat(2), fc.nat(2));
  fc.assert(
    fc.property(grid, fc.array(area, { maxLength: 4 }), (drawn, areas) => {
      const taken = drawn.map((row) => row.map(() => false));
      const refs: string[] = [];
      for (const [top, left, height, across] of areas) {
        const bottom = Math.min(top + height, drawn.length - 1);
        const right = Math.min(left + across, width - 1);
        const covered = drawn
          .slice(top, bottom + 1)
          .flatMap((_, r) => [...Array(right - left + 1)].map((_, c) => [top + r, left + c] as const));
        if (covered.length < 2 || covered.some(([r, c]) => taken[r]![c])) continue;
        for (const [r, c] of covered) taken[r]![c] = true;
        for (const [r, c] of covered.slice(1)) drawn[r]![c] = "";
        refs.push(`${letters(left)}${top + 1}:${letters(right)}${bottom + 1}`);
      }
      // Each cell can be told from all others.
      const cells = drawn.map((row, r) =>
        row.map((each, c) =>
          each === "" ? "" : typeof each === "number" ? (r * width + c + 1) * 10_000 + 7 : `word ${r} ${c}.`,
        ),
      );
      if (cells.flat().every((each) => each === "")) return;
      const { tables } = readXlsx(
        one(typed(cells), {
          after: `<mergeCells>${refs.map((ref) => `<mergeCell ref="${ref}"/>`).join("")}</mergeCells>`,
        }),
      );
      const read = JSON.stringify(tables);
      for (const each of cells.flat()) if (each !== "") expect(read).toContain(String(each));
      expect(new Set(tables.map(({ section }) => section)).size).toBe(tables.length);
    }),
    { numRuns: 1000 },
  );
});

describe("a number's format says what it is", () => {
  test.each<[string, Shown]>([
    ["General", "number"],
    ["0.00E+00", "number"],
    ['#,##0.00\\ "days"', "number"],
    ["[Red]-0.0;[Green]0", "number"],
    ["yyyy-mm-dd", "date"],
    ["[$-407]d. mmmm yyyy;@", "date"],
    ["mmm", "date"],
    ["mm:ss.0", "time"],
    ["h:mm AM/PM", "time"],
    ["dd.mm.yy hh:mm", "date and time"],
    ["[h]:mm:ss", "duration"],
    ['"y"0', "number"],
  ])("%s", (code, shown) => {
    expect(shownBy(code)).toBe(shown);
  });

  test.each<[string, Shown, string]>([
    ["1", "date", "1900-01-01"],
    ["59", "date", "1900-02-28"],
    ["60", "date", "1900-02-29"],
    ["61", "date", "1900-03-01"],
    ["2958465.99", "date", "9999-12-31"],
    ["2958466", "date", "2958466"],
    ["-1", "date", "-1"],
    ["0.5", "time", "12:00:00"],
    ["45322.999999", "date and time", "2024-02-01T00:00:00"],
    ["1.0833333333333333", "duration", "26:00:00"],
    ["-0.5", "duration", "-12:00:00"],
    ["n/a", "date", "n/a"],
  ])("%s as %s is %s", (value, shown, text) => {
    expect(numberText(value, { shown, code: null }, false)).toBe(text);
  });
});

describe("a number is shown as its format has it", () => {
  test.each<[string, string, string]>([
    ["0.125", "0.0%", "12.5%"],
    ["0.285", "0 %", "29 %"],
    ["1234.5", "[$€-407] #,##0.00", "€ 1,234.50"],
    ["1234.5", '#,##0.00\\ "€"', "1,234.50 €"],
    ["-3.5", "$#,##0.00_);($#,##0.00)", "($3.50)"],
    ["0", '_-* #,##0\\ "€"_-;_-* "-"\\ "€"_-', "0 €"],
    ["1.005", "0.00", "1.01"],
    ["7", "00000", "00007"],
    ["1234567", '0.0,,"M"', "1.2M"],
    ["12345", "0.00E+00", "1.23E+04"],
    ["1.5", "# ?/?", "1 1/2"],
    ["1234.5", "[$-407]#,##0.00", "1,234.50"],
    ["3", '"[$x-y]"0', "[$x-y]3"],
    ["5", ";;;", ""],
    ["0.1234567", "General", "0.1234567"],
    ["123456789012", "@", "123456789012"],
    ["2.5", "0.0 [", "2.5"],
    ["2.5", `0.000"${"x".repeat(255)}"`, "2.5"],
    ["n/a", "0.0%", "n/a"],
  ])("%s by %s is %s", (value, code, text) => {
    expect(numberText(value, formatOf(code), false)).toBe(text);
  });

  test("in cells, by formats of the workbook's own and by those that it need not define", () => {
    const styles =
      '<numFmts count="1"><numFmt numFmtId="164" formatCode="[$€-407]\\ #,##0.00"/></numFmts>' +
      `<cellXfs>${[0, 10, 164, 3, 44, 49].map((id) => `<xf numFmtId="${id}"/>`).join("")}</cellXfs>`;
    const cells = ["A", "B", "C", "D", "E", "F"].map((letter, i) => cell(`${letter}1`, "1234.5", ` s="${i}"`));
    expect(
      table(xlsx([{ name: "S", rows: `<row r="1">${cells.join("")}</row>` }], { styles }), { header: false }),
    ).toEqual(
      expect.objectContaining({ rows: [["1234.5", "123450.00%", "€ 1,234.50", "1,235", "$1,234.50", "1234.5"]] }),
    );
  });

  test("any format gives a text, whatever it is", () => {
    const signs = [...'0#?.,%E+-/;[]$€@_*\\"Ghdmy: <>=1'];
    const code = fc.array(fc.constantFrom(...signs), { maxLength: 30 }).map((each) => each.join(""));
    fc.assert(
      fc.property(code, fc.double({ noNaN: true, noDefaultInfinity: true }), (code, value) => {
        expect(typeof numberText(String(value), formatOf(code), false)).toBe("string");
      }),
      { numRuns: 2000 },
    );
  });
});

describe("what is no XLSX is refused by name", () => {
  const ole = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
  const utf16 = (text: string) => [...text].flatMap((letter) => [letter.charCodeAt(0), 0]);

  test.each<[string, Uint8Array, RegExp]>([
    ["an old workbook", Uint8Array.from([...ole, ...utf16("Workbook")]), /before 2007 \(\.xls\).*save it as XLSX/],
    ["an encrypted one", Uint8Array.from([...ole, 69, ...utf16("EncryptedPackage")]), /encrypted/],
    ["a document", docx(p("text")), /not XLSX: its main part is a document/],
    ["OpenDocument", zipOf({ mimetype: "application/vnd.oasis.opendocument.spreadsheet" }), /OpenDocument/],
    ["an archive", zipOf({ "a.txt": "a" }), /main part is not there/],
    [
      "a binary workbook",
      zipOf({ "_rels/.rels": relationships([["a", "officeDocument", "xl/workbook.bin"]]), "xl/workbook.bin": "x" }),
      /binary kin/,
    ],
    ["text", strToU8("a,b"), /no archive/],
    ["nothing", new Uint8Array(), /no archive/],
  ])("%s", (_, bytes, message) => {
    expect(() => readXlsx(bytes)).toThrow(refusal("E_FORMAT", message));
  });
});

describe("a hostile workbook", () => {
  test("with a million empty rows, and a dimension that lies, is read as the few that hold something", () => {
    const empty = Array.from({ length: 1_000_000 }, (_, i) => `<row r="${i + 3}" spans="1:3"/>`).join("");
    const rows = inline([["a"], ["b"]]) + empty;
    const dimension = `<worksheet><dimension ref="A1:XFD1048576"/><sheetData>${rows}</sheetData></worksheet>`;
    const bytes = zipOf({ ...xlsxFiles([{ name: "S" }]), "xl/worksheets/sheet1.xml": dimension });
    expect(table(bytes)).toMatchObject({ columns: ["a"], rows: [["b"]] });
  });

  test("with a million rows that are alike is refused by its ratio", () => {
    expect(() => readXlsx(one("<row/>".repeat(1_000_000)))).toThrow(refusal("E_TOO_LARGE", /sheet1.xml.*maxRatio/));
  });

  test("is refused at the first cell over the limit", () => {
    const rows = Array.from({ length: 1000 }, (_, i) => `<row>${cell(`A${i + 1}`, `${i}`)}</row>`);
    expect(limited(one(rows.join("")), { maxCells: 999 })).toThrow(refusal("E_TOO_LARGE", /999 \(maxCells\)/));
    expect(limited(one(rows.join("")), { maxRows: 999 })).toThrow(refusal("E_TOO_LARGE", /maxRows/));
    // What follows is never looked at.
    expect(limited(one(`${rows.join("")}</row>`), { maxCells: 500 })).toThrow(refusal("E_TOO_LARGE", /maxCells/));
  });

  test("is refused when few cells span many", () => {
    const diagonal = Array.from({ length: 800 }, (_, i) => `<row>${cell(`${letters(i)}${i + 1}`, "1")}</row>`);
    expect(() => readXlsx(one(diagonal.join("")))).toThrow(refusal("E_TOO_LARGE", /maxCells/));
    expect(limited(one(inline([Array(11).fill("x")])), { maxColumns: 10 })).toThrow(
      refusal("E_TOO_LARGE", /maxColumns/),
    );
  });

  test("is refused when merged cells cover each other again and again", () => {
    const rows = inline(Array.from({ length: 100 }, () => Array(100).fill("x")));
    const after = `<mergeCells>${'<mergeCell ref="A1:CV100"/>'.repeat(1000)}</mergeCells>`;
    expect(() => readXlsx(one(rows, { after }))).toThrow(refusal("E_TOO_LARGE", /maxCells/));
  });

  test("is refused when one long text stands in many cells", () => {
    const strings = [`<t>${"long ".repeat(10_000)}</t>`];
    const rows = Array.from({ length: 1000 }, (_, i) => `<row>${cell(`A${i + 1}`, "0", ' t="s"')}</row>`).join("");
    expect(() => readXlsx(xlsx([{ name: "S", rows }], { strings }))).toThrow(refusal("E_TOO_LARGE", /maxCharacters/));
  });

  test("with a DOCTYPE is refused, its entities unexpanded", () => {
    const laughs = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join("");
    const before = `<!DOCTYPE lolz [<!ENTITY l0 "lol">${laughs}]>`;
    const rows = '<row><c t="inlineStr"><is><t>&l9;</t></is></c></row>';
    expect(() => readXlsx(one(rows, { before }))).toThrow(refusal("E_DAMAGED", /sheet1.xml" has a DOCTYPE/));
    expect(() => readXlsx(one(rows))).toThrow(refusal("E_DAMAGED", /well-formed.*entity/));
    const external = '<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd">';
    expect(() => readXlsx(one("", { before: external }))).toThrow(refusal("E_DAMAGED", /DOCTYPE/));
  });

  test("with elements in elements, or a text without end, is refused", () => {
    expect(() => readXlsx(one("<a>".repeat(5000)))).toThrow(refusal("E_TOO_LARGE", /too deep.*256/));
    const long = Array.from({ length: 600_000 }, (_, i) => `text ${i}`).join(" ");
    const rows = `<row><c t="inlineStr"><is><t>${long}</t></is></c></row>`;
    expect(() => readXlsx(one(rows))).toThrow(refusal("E_TOO_LARGE", /too much text in one piece/));
  });

  test.each<[string, string, RegExp]>([
    ["rows out of order", '<row r="2"/><row r="1"/>', /rows out of order/],
    ["a row beyond the last", '<row r="1048577"/>', /rows out of order/],
    ["cells out of order", '<row><c r="B1"/><c r="A1"/></row>', /cells out of order/],
    ["a cell beyond the last", '<row><c r="XFE1"/></row>', /cells out of order/],
    ["a cell of no place", '<row><c r="11"/></row>', /cells out of order/],
    ["a cell outside rows", '<c r="A1"/>', /cells out of order/],
    ["a shared text that is not there", `<row>${cell("A1", "7", ' t="s"')}</row>`, /not among the shared/],
    ["no XML", "<row>", /well-formed/],
  ])("with %s is damaged", (_, rows, message) => {
    expect(() => readXlsx(one(rows))).toThrow(refusal("E_DAMAGED", message));
  });

  test("with text in no encoding of its kind is damaged", () => {
    const bytes = zipOf({
      ...xlsxFiles([{ name: "S" }]),
      "xl/worksheets/sheet1.xml": Uint8Array.from([60, 97, 62, 255]),
    });
    expect(() => readXlsx(bytes)).toThrow(refusal("E_DAMAGED", /neither UTF-8 nor UTF-16/));
  });

  test("whose sheet is a bomb behind a small size is refused", () => {
    const files = Object.entries(xlsxFiles([{ name: "S" }])).map(([name, text]) => ({
      name,
      content: name.endsWith("sheet1.xml") ? new Uint8Array(60_000_000) : strToU8(text),
      ...(name.endsWith("sheet1.xml") ? { size: 5000, crc: 0 } : {}),
    }));
    expect(() => readXlsx(rawZip(files))).toThrow(refusal("E_DAMAGED", /more bytes than the archive says/));
  });

  test("cut or changed anywhere gives errors of ours only", () => {
    const rows = inline(Array.from({ length: 200 }, (_, i) => [`name ${i}`, `${i * 7919}`, "text"]));
    const after = '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>';
    const bytes = one(rows, { after });
    expectCutsRefused(bytes, (cut) => readXlsx(cut));
    expectNoOtherErrors(bytes, (changed) => readXlsx(changed));
  });

  test("of changed XML gives errors of ours only", () => {
    const files = xlsxFiles(
      [
        {
          name: "S",
          rows: inline([
            ["a", "b"],
            ["1", "2"],
          ]),
        },
      ],
      {
        strings: ["<t>x</t>"],
        styles: '<numFmts><numFmt numFmtId="164" formatCode="yyyy"/></numFmts><cellXfs><xf numFmtId="164"/></cellXfs>',
      },
    );
    for (const [name, text] of Object.entries(files)) {
      expectNoOtherErrors(strToU8(text), (changed) => readXlsx(zipOf({ ...files, [name]: changed })), 60);
    }
  });
});
