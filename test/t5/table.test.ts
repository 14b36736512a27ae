import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import type { Table } from "../../src/t5/text-to-text/content.ts";
import { type LinearizeOptions, linearizeTable, selectTable } from "../../src/t5/text-to-text/table.ts";

const TABLE: Table = {
  title: "Kassel",
  section: "Buildings",
  columns: ["Name", "Height", "Year"],
  rows: [
    ["Tower", "40 m", "1901"],
    ["Hall", "", "1950"],
    ["Gate", "12 m", "1950"],
  ],
};

const refusal = (message: RegExp) =>
  expect.objectContaining({ code: "E_INPUT", message: expect.stringMatching(message) });

describe("a selection", () => {
  test("takes columns by name and number, in its own order", () => {
    expect(selectTable(TABLE, { columns: ["Year", 0] })).toEqual({
      title: "Kassel",
      section: "Buildings",
      columns: ["Year", "Name"],
      rows: [
        ["1901", "Tower"],
        ["1950", "Hall"],
        ["1950", "Gate"],
      ],
    });
  });

  test("takes the names that its file shows along with the columns", () => {
    const table = {
      title: null,
      section: null,
      columns: ["a", "a 2", "b"],
      headers: ["a", "", "b"],
      rows: [["1", "2", "3"]],
    };
    expect(selectTable(table, { columns: ["b", "a 2"] })).toMatchObject({ columns: ["b", "a 2"], headers: ["b", ""] });
  });

  test("takes rows by number, and by their values", () => {
    const names = (rows: Parameters<typeof selectTable>[1]["rows"]) =>
      selectTable(TABLE, { columns: ["Name"], ...(rows ? { rows } : {}) }).rows.flat();
    expect(names({ from: 2 })).toEqual(["Hall", "Gate"]);
    expect(names({ from: 2, to: 2 })).toEqual(["Hall"]);
    expect(names({ to: 99 })).toEqual(["Tower", "Hall", "Gate"]);
    expect(names({ from: 4 })).toEqual([]);
    expect(names({ where: { Year: "1950" } })).toEqual(["Hall", "Gate"]);
    expect(names({ from: 3, where: { Year: "1950", Height: "12 m" } })).toEqual(["Gate"]);
    expect(names(undefined)).toHaveLength(3);
  });

  test.each<[string, Parameters<typeof selectTable>[1], RegExp]>([
    ["an unknown column", { columns: ["Age"] }, /no column "Age"\. Its columns are "Name", "Height", "Year"\./],
    ["a column's number beyond the last", { columns: [3] }, /no column 3/],
    ["a number that is none", { columns: [0.5] }, /no column 0\.5/],
    ["an unknown column of a condition", { rows: { where: { age: "1" } } }, /no column "age"/],
    ["a column twice", { columns: [0, "Name"] }, /"Name" is selected twice/],
    ["rows from the header on", { rows: { from: 0 } }, /rows\.from is 0/],
    ["rows from the end on", { rows: { from: 3, to: 2 } }, /rows\.from is 3, after rows\.to, 2/],
    ["half a row", { rows: { to: 1.5 } }, /rows\.to is 1\.5/],
  ])("refuses %s", (_, selection, message) => {
    expect(() => selectTable(TABLE, selection)).toThrow(refusal(message));
  });
});

describe("ToTTo's form", () => {
  test("has highlighted cells only, in their order, where some are given", () => {
    const { text } = linearizeTable(TABLE, {
      form: "totto",
      highlighted: [
        [2, "Year"],
        [1, 0],
      ],
    });
    expect(text).toBe(
      "<page_title> Kassel </page_title> <section_title> Buildings </section_title> <table> " +
        "<cell> 1950 <col_header> Year </col_header> </cell> <cell> Tower <col_header> Name </col_header> </cell> </table>",
    );
  });

  test("has the row's header where the first column is one, after the column's", () => {
    const { text } = linearizeTable(TABLE, {
      form: "totto",
      rowHeaders: true,
      highlighted: [
        [2, 1],
        [1, 0],
      ],
    });
    expect(text).toMatch(
      "<table> <cell>  <col_header> Height </col_header> <row_header> Hall </row_header> </cell> " +
        "<cell> Tower <col_header> Name </col_header> </cell> </table>",
    );
  });

  test("has all rows without highlighted cells, the header's names preceded by those to their left", () => {
    const table: Table = { title: null, section: "", columns: ["a", "b"], rows: [["1", "2"]] };
    expect(linearizeTable(table, { form: "totto" }).text).toBe(
      "<table> <row> <cell> a </cell> <cell> b <row_header> a </row_header> </cell> </row> " +
        "<row> <cell> 1 <col_header> a </col_header> </cell> <cell> 2 <col_header> b </col_header> </cell> </row> </table>",
    );
  });

  test("may highlight the header, and refuses cells that are not there", () => {
    const { text } = linearizeTable(TABLE, { form: "totto", highlighted: [[0, 0]] });
    expect(text).toMatch("<table> <cell> Name </cell> </table>");
    expect(() => linearizeTable(TABLE, { form: "totto", highlighted: [[4, 0]] })).toThrow(
      refusal(/\[4, 0\].*0 .* to 3/),
    );
    expect(() => linearizeTable(TABLE, { form: "totto", highlighted: [[1, "x"]] })).toThrow(refusal(/no column "x"/));
  });
});

describe("TAPEX's form", () => {
  test("flattens header and rows, without titles, a bar in a cell as it stands", () => {
    const table: Table = { ...TABLE, rows: [...TABLE.rows, ["a|b", " c ", "d\r\n\n e"]] };
    expect(linearizeTable(table, { form: "tapex" }).text).toBe(
      "col : Name | Height | Year row 1 : Tower | 40 m | 1901 row 2 : Hall |  | 1950 row 3 : Gate | 12 m | 1950 " +
        "row 4 : a|b |  c  | d e",
    );
  });

  test("has no space at its ends", () => {
    const table: Table = { ...TABLE, columns: ["a", "b"], rows: [["", ""]] };
    expect(linearizeTable(table, { form: "tapex" }).text).toBe("col : a | b row 1 :  |");
  });

  test("refuses what it cannot say", () => {
    expect(() => linearizeTable(TABLE, { form: "tapex", highlighted: [[1, 0]] })).toThrow(refusal(/no highlighted/));
    expect(() => linearizeTable(TABLE, { form: "tapex", rowHeaders: true })).toThrow(refusal(/no row headers/));
  });
});

const count = (text: string) => text.split(/\s+/).length;

describe("a budget", () => {
  test("drops whole rows from the end and says how many", () => {
    const options = { form: "tapex", budget: { count, limit: 20 } } as const;
    expect(linearizeTable(TABLE, options)).toEqual({
      text: "col : Name | Height | Year row 1 : Tower | 40 m | 1901",
      rows: 1,
      rowsDropped: 2,
    });
  });

  test("drops highlighted cells by the rows that they stand in", () => {
    const highlighted = [
      [1, 0],
      [2, 0],
      [1, 2],
    ] as const;
    const title = { ...TABLE, title: null, section: null };
    const all = linearizeTable(title, { form: "totto", highlighted });
    const less = linearizeTable(title, { form: "totto", highlighted, budget: { count, limit: count(all.text) - 1 } });
    expect(less).toEqual({
      text: "<table> <cell> Tower <col_header> Name </col_header> </cell> <cell> 1901 <col_header> Year </col_header> </cell> </table>",
      rows: 1,
      rowsDropped: 1,
    });
  });

  test("that one row does not fit into is refused with the numbers", () => {
    expect(() => linearizeTable(TABLE, { form: "tapex", budget: { count, limit: 9 } })).toThrow(
      refusal(/header and first row take 16 tokens; there is room for 9/),
    );
    const empty = { ...TABLE, rows: [] };
    expect(linearizeTable(empty, { form: "tapex", budget: { count, limit: 7 } }).rows).toBe(0);
    expect(() => linearizeTable(empty, { form: "tapex", budget: { count, limit: 6 } })).toThrow(
      refusal(/header takes 7/),
    );
  });

  test("counts a few texts of its own size, however long the table is", () => {
    const long: Table = { ...TABLE, rows: Array.from({ length: 400_000 }, (_, i) => [`${i}`, "x", "y"]) };
    const lengths: number[] = [];
    const counting = (text: string) => {
      lengths.push(text.length);
      return count(text);
    };
    const { rows } = linearizeTable(long, { form: "tapex", budget: { count: counting, limit: 512 } });
    expect(rows).toBeGreaterThan(50);
    expect(lengths.length).toBeLessThan(2 * Math.log2(rows) + 4);
    expect(Math.max(...lengths)).toBeLessThan(10_000);
  });

  const tables = fc.integer({ min: 1, max: 4 }).chain((width) => {
    const row = fc.array(fc.string(), { minLength: width, maxLength: width });
    return fc.record({
      title: fc.option(fc.string()),
      section: fc.option(fc.string()),
      columns: row,
      rows: fc.array(row),
    });
  });
  const options = fc.constantFrom<LinearizeOptions>(
    { form: "totto" },
    { form: "totto", rowHeaders: true },
    { form: "tapex" },
  );

  test("is never overdrawn, takes the most rows that fit, and those are the first", () => {
    fc.assert(
      fc.property(tables, options, fc.nat(400), (table, form, limit) => {
        const budget = { count: (text: string) => text.length, limit };
        const prefix = (rows: number) => linearizeTable({ ...table, rows: table.rows.slice(0, rows) }, form).text;
        const least = Math.min(1, table.rows.length);
        if (prefix(least).length > limit) {
          expect(() => linearizeTable(table, { ...form, budget })).toThrow(EdgeT5Error);
          return;
        }
        const { text, rows, rowsDropped } = linearizeTable(table, { ...form, budget });
        expect(text.length).toBeLessThanOrEqual(limit);
        expect(text).toBe(prefix(rows));
        expect(rows + rowsDropped).toBe(table.rows.length);
        if (rowsDropped > 0) expect(prefix(rows + 1).length).toBeGreaterThan(limit);
      }),
    );
  });
});
