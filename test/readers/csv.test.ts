import { stringify } from "csv-stringify/sync";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { type CsvOptions, type Delimiter, findDelimiter, readCsv } from "../../src/readers/csv.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import { refusal } from "./hostile.ts";

const read = (text: string, options?: CsvOptions) => readCsv(text, options).tables[0]!;
const limited = (text: string, limits: Partial<ReadLimits>) => () =>
  readCsv(text, { limits: { ...DEFAULT_LIMITS, ...limits } });

describe("CSV", () => {
  test("has a header, quotes, and line breaks in cells", () => {
    expect(read('name,says\nAnna,"Hi, ""you"""\n"Bo\nB.",two\r\n')).toEqual({
      title: null,
      section: null,
      columns: ["name", "says"],
      rows: [
        ["Anna", 'Hi, "you"'],
        ["Bo\nB.", "two"],
      ],
    });
  });

  test.each(["\n", "\r\n", "\r"])("ends lines by %j, with or without a last one", (end) => {
    const rows = [["1", "2"]];
    expect(read(`a,b${end}1,2`).rows).toEqual(rows);
    expect(read(`a,b${end}1,2${end}${end}`).rows).toEqual(rows);
  });

  test("may begin with a byte order mark, before a quote too", () => {
    expect(read('\ufeff"a",b\n1,2').columns).toEqual(["a", "b"]);
  });

  test("without a header has numbered columns", () => {
    const table = read("1,2\n3,4", { header: false, title: "file.csv", section: "page 1" });
    expect(table.columns).toEqual(["column 1", "column 2"]);
    expect(table.rows).toHaveLength(2);
    expect(table).toMatchObject({ title: "file.csv", section: "page 1" });
  });

  test("has each name once, and a name for each column", () => {
    const { columns, headers } = read("a,,a, a ,a 2,\n");
    expect(columns).toEqual(["a", "column 2", "a 3", "a 4", "a 2", "column 6"]);
    expect(headers).toEqual(["a", "", "a", "a", "a 2", ""]);
    expect(read("a, b\n")).not.toHaveProperty("headers");
    expect(read("column 2,,\n1").columns).toEqual(["column 2", "column 3", "column 4"]);
  });

  test("fills short rows and says so, drops empty cells beyond the header", () => {
    const { tables, notes } = readCsv("a,b,c\n1\n1,2,3,,\n1,2");
    expect(tables[0]?.rows).toEqual([
      ["1", "", ""],
      ["1", "2", "3"],
      ["1", "2", ""],
    ]);
    expect(notes).toEqual(["2 short rows are filled with empty cells."]);
  });

  test("keeps rows that are longer than the header, and names their lines as an editor counts", () => {
    const { tables, notes } = readCsv('a,b\n"1\n1",2\n1,2,3\n4,5,,\n\n6,7,8,"9\n"\n0');
    expect(tables[0]).toMatchObject({
      columns: ["a", "b", "column 3", "column 4"],
      rows: [
        ["1\n1", "2", "", ""],
        ["1", "2", "3", ""],
        ["4", "5", "", ""],
        ["6", "7", "8", "9\n"],
        ["0", "", "", ""],
      ],
    });
    expect(notes).toEqual([
      "2 rows are longer than the first (lines 4, 7): columns without a name are added for the cells.",
      "1 short row is filled with empty cells.",
    ]);
    const many = readCsv(`a\n${"1,2\n".repeat(9)}`);
    expect(many.notes).toEqual([
      expect.stringContaining("9 rows are longer than the first (lines 2, 3, 4, 5, 6 and 4 more)"),
    ]);
  });

  test("is refused where its rows are of many lengths, unless the delimiter is sure", () => {
    const text = "remark\nWell, no\nYes, sir, yes\nNo\nOh, well, you, too\n";
    expect(() => read(text)).toThrow(
      refusal("E_DAMAGED", /lengths, 4: the first has 1 cells, the one at line 2 has 2.*as XLSX/),
    );
    expect(read(text, { delimiter: "," }).columns).toHaveLength(4);
    expect(read("name,notes\nTom,hello, world\nMary,fine\n").rows[0]).toEqual(["Tom", "hello", " world"]);
  });

  test("keeps a quote inside an unquoted cell, refuses one that closes too early", () => {
    expect(read('size,name\n5" pipe,x').rows).toEqual([['5" pipe', "x"]]);
    expect(() => read('a,b\n"one" two,x')).toThrow(refusal("E_DAMAGED", /quotes at line 2/));
    expect(() => read('a,b\n5" pipe,x\n"one" two,x')).toThrow(refusal("E_DAMAGED", /quotes at line 3/));
    expect(read('a,b\n5" pipe,"""x"""\n').rows).toEqual([['5" pipe', '"x"']]);
    expect(() => read('a,b\n"1\r\n2","3\n" 4')).toThrow(refusal("E_DAMAGED", /quotes at line 4/));
    expect(() => read('a,b\n"one,x\ny,z')).toThrow(refusal("E_DAMAGED", /quotes at line \d/));
  });

  test("separated by tabs may have quotes that mean nothing", () => {
    const { tables, notes } = readCsv('a\tb\n"one" two\tx\n"y\tz');
    expect(tables[0]?.rows).toEqual([
      ['"one" two', "x"],
      ['"y', "z"],
    ]);
    expect(notes).toEqual(["Quotes are taken as they stand: they do not enclose cells."]);
    expect(read('a\tb\n"one\ttwo"\tx').rows).toEqual([["one\ttwo", "x"]]);
  });

  test("may have rows of one empty cell only where it is quoted", () => {
    expect(read('a\n""\n\nb\n').rows).toEqual([[""], ["b"]]);
    expect(read("a,b\n,\n").rows).toEqual([["", ""]]);
  });

  test.each(["sep=;\n", "SEP=;\r\n", "\ufeffsep=;\r"])("has the delimiter that %j names", (line) => {
    const { tables, notes } = readCsv(`${line}a,b;c\n1,5;2\n3;4;5\n6`);
    expect(tables[0]).toMatchObject({
      columns: ["a,b", "c", "column 3"],
      rows: [
        ["1,5", "2", ""],
        ["3", "4", "5"],
        ["6", "", ""],
      ],
    });
    expect(notes).toEqual([expect.stringContaining("(line 4)"), expect.stringContaining("1 short row")]);
    expect(read('sep=;\n"a\nb";c\n1;2').columns).toEqual(["a b", "c"]);
    expect(read("sep=x\n1").columns).toEqual(["sep=x"]);
  });

  test.each([
    ["Report of 2024\n\ntown;size, km²\nBonn;141,1\n", "Report of 2024"],
    ["# Report\n# in km²\ntown,size\nBonn,141\nKöln\nUlm,118,\n", "Report: in km²"],
    ["Report,,\ntown,size,year\nBonn,141,2024\n", "Report"],
    ["Report\ntown,river\nBonn,Rhein\n", "Report"],
  ])("has its title above the header, as in %j", (text, section) => {
    const { tables, notes } = readCsv(text);
    expect(tables[0]).toMatchObject({ title: null, section });
    expect(tables[0]!.columns.slice(0, 2)).toEqual(["town", expect.stringMatching(/^size|^river/)]);
    expect(tables[0]!.rows[0]![0]).toBe("Bonn");
    expect(notes[0]).toBe("The text above the table is taken for its title.");
  });

  test.each([
    "name\n1,2\n3,4\n5,6",
    "name,,\nAnna,Bob,Carl\nDora,Emil,Fritz",
    "town\nBonn\nKöln, am Rhein\nUlm",
    `${"line\n".repeat(11)}a,b\n1,2`,
    "name\nBonn,x",
    ",\na,b\n1,2",
  ])("has its first row as header where that may be none, as in %j", (text) => {
    const { tables, notes } = readCsv(text, { delimiter: "," });
    expect(tables[0]!.section).toBe(null);
    expect(tables[0]!.headers?.[0] ?? tables[0]!.columns[0]).toBe(/^[^,\n]*/.exec(text)?.[0]);
    expect(notes).not.toContain("The text above the table is taken for its title.");
  });

  test("says so where its header has numbers", () => {
    const note = "The first row is taken for the header, though it holds numbers.";
    expect(readCsv("Bonn,330000\nKöln,1080000").notes).toEqual([note]);
    expect(readCsv("1,2\n3,4").notes).toEqual([note]);
    expect(readCsv("town,2023,2024\nBonn,1,2").notes).toEqual([]);
    expect(readCsv("1,2\n3,4", { header: false }).notes).toEqual([]);
  });

  test("needs rows", () => {
    expect(() => read("")).toThrow(refusal("E_DAMAGED", /no rows/));
    expect(() => read("\ufeff\r\n\r\n")).toThrow(refusal("E_DAMAGED", /no rows/));
    expect(read("a,b").rows).toEqual([]);
  });
});

describe("the delimiter is found", () => {
  test.each<[string, Delimiter, string]>([
    ["commas", ",", "a,b\n1,2"],
    ["semicolons, with commas in numbers", ";", "name;price\nx;1,50\ny;2,25"],
    ["semicolons, with commas in the header", ";", "name, first;price, EUR;n\nx;1;2\ny, z;2;3"],
    ["tabs, with commas in text", "\t", "a\tb\nYes, sir\tno, sir\nwell\tnot"],
    ["pipes", "|", "a|b\nx, y|z"],
    ["a delimiter in quotes", ";", '"a,b,c";d\n"e,f,g";h'],
    ["a doubled quote", ";", '"a "",""";b\n1;2'],
    ["a single column", ",", "name\nAnna\nBob"],
    ["blank lines before", ";", "\n\na;b\n1;2"],
    ["short rows", "\t", "a\tb\tc\n1\n1\t2\t3\n1\t2\t3"],
  ])("%s", (_, delimiter, text) => {
    expect(findDelimiter(text)).toBe(delimiter);
  });

  test("in the first 64 kB of a long file", () => {
    expect(findDelimiter(`a;b\n${"1;2\n".repeat(100_000)}`)).toBe(";");
    expect(findDelimiter(`a;${"b".repeat(100_000)}\n1;2`)).toBe(";");
  });
});

const rows = fc.integer({ min: 2, max: 5 }).chain((width) =>
  fc.array(fc.array(fc.string({ unit: "grapheme-composite" }), { minLength: width, maxLength: width }), {
    minLength: 1,
  }),
);
const cells = fc.oneof(
  rows,
  rows.map((table) => table.map((row) => row.map((cell) => `${cell}"\r\n,;\t|${cell}`))),
);

test("what csv-stringify writes is read back equal", () => {
  const style = fc.record({
    delimiter: fc.constantFrom<Delimiter>(",", ";", "\t", "|"),
    record_delimiter: fc.constantFrom("\n", "\r\n"),
    quoted: fc.boolean(),
    bom: fc.boolean(),
  });
  fc.assert(
    fc.property(cells, style, (table, written) => {
      const text = stringify(table, { ...written, quoted_match: /[\r\n\u2028\ufeff]/, quoted_empty: true });
      expect(read(text, { delimiter: written.delimiter, header: false }).rows).toEqual(table);
    }),
  );
});

test("any text is read, or refused with an error of ours", () => {
  const any = fc.array(fc.constantFrom('"', ",", ";", "\t", "|", "\n", "\r", "a", "\ufeff", "\0", "ä", "\ud800"));
  fc.assert(
    fc.property(any, (characters) => {
      try {
        const { columns, rows } = read(characters.join(""));
        expect(new Set(columns).size).toBe(columns.length);
        for (const row of rows) expect(row).toHaveLength(columns.length);
      } catch (error) {
        if (!(error instanceof EdgeT5Error)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

describe("CSV over a limit is refused", () => {
  test("by its length", () => {
    expect(limited("a,b\n1,2", { maxBytes: 5 })).toThrow(refusal("E_TOO_LARGE", /maxBytes/));
  });

  test("by its columns, in a row that does not end", () => {
    expect(limited(",".repeat(15_000_000), {})).toThrow(refusal("E_TOO_LARGE", /columns; the limit is 1,000 /));
  });

  test("by its rows and cells, fillers among them", () => {
    expect(limited("a\n".repeat(11), { maxRows: 10 })).toThrow(refusal("E_TOO_LARGE", /maxRows/));
    expect(limited(`a,b,c\n${"1\n".repeat(10)}`, { maxCells: 30 })).toThrow(refusal("E_TOO_LARGE", /maxCells/));
    expect(limited(`a,b,c\n${"1\n".repeat(9)}`, { maxCells: 30 })).not.toThrow();
  });

  test("by its text", () => {
    expect(limited("a,b\n1,234", { maxCharacters: 5 })).toThrow(refusal("E_TOO_LARGE", /maxCharacters/));
  });
});
