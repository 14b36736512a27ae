import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { type JsonRowsOptions, readJsonRows, readJsonValue } from "../../src/readers/json-rows.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import { refusal } from "./hostile.ts";

const read = (text: string, options?: JsonRowsOptions) => readJsonRows(text, options).tables[0]!;
const limited = (text: string, limits: Partial<ReadLimits>) => () =>
  readJsonRows(text, { limits: { ...DEFAULT_LIMITS, ...limits } });

describe("JSON rows", () => {
  test("of objects have columns in the order of their first appearance", () => {
    expect(read('[{"b":1,"a":"x"},{"c":true,"a":null},{}]')).toEqual({
      title: null,
      section: null,
      columns: ["b", "a", "c"],
      rows: [
        ["1", "x", ""],
        ["", "", "true"],
        ["", "", ""],
      ],
    });
  });

  test("of lists have the first as header, or none", () => {
    expect(read('[["a","a"],[1,null],[2]]')).toMatchObject({
      columns: ["a", "a 2"],
      rows: [
        ["1", ""],
        ["2", ""],
      ],
    });
    expect(read("[[1,2]]", { header: false })).toMatchObject({ columns: ["column 1", "column 2"], rows: [["1", "2"]] });
  });

  test("may name their columns, title and section", () => {
    const lists = { title: "T", section: "S", columns: ["a", "b"], rows: [[1, 2]] };
    expect(readJsonValue(lists, { header: false }).tables).toEqual([{ ...lists, rows: [["1", "2"]] }]);
    expect(read('{"columns":["b"],"rows":[{"a":1,"b":2}]}', { title: "file" })).toEqual({
      title: "file",
      section: null,
      columns: ["b"],
      rows: [["2"]],
    });
    expect(read('{"columns":["a"],"rows":[]}').rows).toEqual([]);
  });

  test("may come a line each, after a byte order mark, with blank lines between", () => {
    expect(read('\ufeff{"a":1}\r\n\r\n{"a":2}\n').rows).toEqual([["1"], ["2"]]);
    expect(read('["a"]\n[1]\n').rows).toEqual([["1"]]);
    expect(read('{"a":1}').rows).toEqual([["1"]]);
  });

  test("keep nested values as compact JSON and numbers with all digits", () => {
    expect(
      read('[{"list":[1, {"x": "ü"}],"id":12345678901234567890,"small":1e-7,"deep":[12345678901234567890]}]').rows,
    ).toEqual([['[1,{"x":"ü"}]', "12345678901234567890", "1e-7", '["12345678901234567890"]']]);
  });

  test("may have names of Object's own", () => {
    expect(read('[{"__proto__":"p","constructor":"c"},{"toString":"t"}]')).toMatchObject({
      columns: ["__proto__", "constructor", "toString"],
      rows: [
        ["p", "c", ""],
        ["", "", "t"],
      ],
    });
  });

  test.each([
    ["a value", "3", /single value/],
    ["no rows", "[]", /no rows/],
    ["empty rows", "[{}]", /rows are empty/],
    ["a list of values", "[1,2]", /row 1 is no object/],
    ["a mixture", '[{"a":1},[2]]', /row 2 is no object/],
    ["another mixture", '[[1],{"a":1}]', /row 2 is no list/],
    ["a row that is too long", "[[1],[1,2]]", /row 2 has 2 values for 1 columns/],
    ["columns that are no names", '{"columns":[1],"rows":[]}', /no list of texts/],
  ])("that are %s are no table", (_, text, message) => {
    expect(() => read(text)).toThrow(refusal("E_FORMAT", message));
  });

  test("of a request's body need rows: columns alone are no table", () => {
    expect(() => readJsonValue({ columns: ["a"] })).toThrow(refusal("E_FORMAT", /without rows/));
  });

  test("may name no columns: objects have them", () => {
    const table = {
      title: "T",
      section: null,
      columns: ["a", "b"],
      rows: [
        ["1", ""],
        ["", "2"],
      ],
    };
    expect(read('{"rows":[{"a":1},{"b":2}],"title":"T"}')).toEqual(table);
  });

  test("that are no JSON are damaged, by line where they have lines", () => {
    expect(() => read('[{"a":1},')).toThrow(refusal("E_DAMAGED", /The text is not JSON/));
    expect(() => read('{"a":1}\n{"a":2}\n{"a"')).toThrow(refusal("E_DAMAGED", /Line 3 is not JSON/));
    expect(() => read("")).toThrow(refusal("E_DAMAGED", /not JSON/));
  });
});

test("objects of texts are read back equal, as JSON and as JSON Lines", () => {
  const row = fc.dictionary(
    fc.string({ minLength: 1 }).filter((name) => name === name.trim() && !/\s/.test(name)),
    fc.string(),
    {
      minKeys: 1,
    },
  );
  fc.assert(
    fc.property(fc.array(row, { minLength: 1 }), (rows) => {
      for (const text of [JSON.stringify(rows, null, 1), rows.map((one) => JSON.stringify(one)).join("\n")]) {
        const { columns, rows: cells } = read(text);
        const back = cells.map((texts, i) =>
          Object.fromEntries(
            columns.map((name, c) => [name, texts[c]]).filter(([name]) => Object.hasOwn(rows[i]!, name!)),
          ),
        );
        expect(back).toEqual(rows.map((one) => Object.fromEntries(Object.entries(one))));
      }
    }),
  );
});

test("any JSON is read, or refused with an error of ours", () => {
  fc.assert(
    fc.property(fc.json(), fc.nat(), (text, cut) => {
      for (const given of [text, text.slice(0, cut % (text.length + 1))]) {
        try {
          read(given);
        } catch (error) {
          if (!(error instanceof EdgeT5Error)) throw error;
        }
      }
    }),
  );
});

describe("JSON over a limit is refused before it is parsed", () => {
  test("by its depth", () => {
    expect(limited("[".repeat(10_000_000), {})).toThrow(refusal("E_TOO_LARGE", /too deep.*256/));
    expect(limited(`[{"a":"${"[".repeat(1000)}\\"${"[".repeat(1000)}"}]`, {})).not.toThrow();
  });

  test("by its values, nested ones too", () => {
    expect(limited(`[[[${"[],".repeat(4_000_000)}[]]]]`, {})).toThrow(refusal("E_TOO_LARGE", /too many values/));
  });

  test("by its cells, rows, columns and text", () => {
    expect(limited('[{"a":1},{"b":1},{"c":1}]', { maxCells: 8 })).toThrow(refusal("E_TOO_LARGE", /maxCells/));
    expect(limited("[[1],[1],[1]]", { maxRows: 3 })).toThrow(refusal("E_TOO_LARGE", /maxRows/));
    expect(limited('[{"a":1},{"b":1}]', { maxColumns: 1 })).toThrow(refusal("E_TOO_LARGE", /maxColumns/));
    expect(limited('[{"a":"12345"}]', { maxCharacters: 5 })).toThrow(refusal("E_TOO_LARGE", /maxCharacters/));
    expect(limited("[[1]]", { maxBytes: 4 })).toThrow(refusal("E_TOO_LARGE", /maxBytes/));
  });
});
