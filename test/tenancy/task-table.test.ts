/** What a request chooses of a file's tables: what there is not is refused by name, and notes speak of what was chosen. */
import { expect, test } from "vitest";
import type { ApiError } from "../../src/api-error.ts";
import { readContent } from "../../src/readers/index.ts";
import type { Content } from "../../src/t5/text-to-text/content.ts";
import { taskDefinitionSchema } from "../../src/tenancy/task-definition.ts";
import { renderInput, type TableChoice } from "../../src/tenancy/task-request.ts";
import { inline, xlsx } from "../readers/office-files.ts";

const definition = taskDefinitionSchema.parse({ model: "m", template: "{input}", input: "table" });
const bounds = { count: (text: string) => text.split(" ").length, maxInputTokens: 1000 };

const render = (content: Content, select?: TableChoice) =>
  renderInput({ definition }, null, "input", { content, select, bounds });

async function errorOf(content: Content, select: TableChoice): Promise<Partial<ApiError>> {
  const { status, code, param, message } = await render(content, select).then(
    () => Promise.reject(new Error("It was taken.")),
    (error: ApiError) => error,
  );
  return { status, code, param, message };
}

const ROWS = [
  ["town", "people"],
  ["Bonn", "330000"],
  ["Ulm", "126000"],
];
const TOWNS = await readContent(new TextEncoder().encode(ROWS.map((row) => row.join()).join("\n")), { as: "table" });
const COMPUTED = `${inline([["a", "b"]])}<row r="2"><c r="A2"><v>1</v></c><c r="B2"><f>A2+1</f></c></row>`;
const BOOK = await readContent(
  xlsx([
    { name: "Towns, old", rows: inline(ROWS) },
    { name: "Sums", rows: COMPUTED },
    { name: "Secret", rows: inline(ROWS), state: "hidden" },
  ]),
  { as: "table" },
);
const PAGE = await readContent(
  new TextEncoder().encode(
    `<h2>Results</h2>${"<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>".repeat(2)}`,
  ),
  { as: "table", contentType: "text/html" },
);

test.each<[what: string, content: Content, select: TableChoice, param: string, message: string]>([
  [
    "a table that is not there, where a name has a comma",
    BOOK,
    { table: "Rivers" },
    "select.table",
    'input has no table "Rivers". It has: 0 "Towns, old", 1 "Sums".',
  ],
  [
    "a name that two tables have",
    PAGE,
    { table: "Results" },
    "select.table",
    '2 tables of input are called "Results". Give one\'s number: 0 "Results", 1 "Results".',
  ],
  [
    "rows after the last",
    TOWNS,
    { rows: { from: 3 } },
    "select.rows",
    "select.rows.from is 3; the table has 2 rows. Choose among them.",
  ],
  [
    "values that no row has",
    TOWNS,
    { rows: { where: { town: "bonn" } } },
    "select.rows",
    'No row from 1 to 2 has {"town":"bonn"}; the table has 2 rows. A value must be a cell\'s whole text, as it stands.',
  ],
  [
    "a column that is not there",
    TOWNS,
    { columns: ["x"] },
    "select.columns",
    'The table has no column "x". Its columns are "town", "people".',
  ],
])("%s is refused with what there is", async (_, content, select, param, message) => {
  expect(await errorOf(content, select)).toEqual({ status: 400, code: "invalid_value", param, message });
});

test("fewer rows than were asked for are given, and it is said", async () => {
  const { prompt, notes } = await render(TOWNS, { rows: { from: 2, to: 10 } });
  expect([prompt, notes]).toEqual([
    "col : town | people row 1 : Ulm | 126000",
    ["select.rows.to is 10; the table has 2 rows."],
  ]);
});

test("a header alone is a table, and rows of it are not there", async () => {
  const empty = { ...TOWNS, tables: [{ title: null, section: null, columns: ["a"], rows: [] }] } as Content;
  expect((await render(empty)).prompt).toBe("col : a");
  const message = "select.rows.from is 1; the table has none below its header. Leave select.rows out.";
  expect(await errorOf(empty, { rows: { from: 1 } })).toMatchObject({ message });
});

test("notes are of the sheet that was chosen, or of all where none was", async () => {
  const [first, sums] = [await render(BOOK, { table: "Towns, old" }), await render(BOOK, { table: 1 })];
  expect(first.notes).toEqual([]);
  expect(sums.notes).toEqual([expect.stringMatching(/^In the sheet Sums, 1 formula has no stored value/)]);
  expect((await render(BOOK)).notes).toEqual([
    sums.notes[0],
    "Hidden sheets are left out: Secret.",
    'Only the first table was taken. select.table takes another: 1 "Sums".',
  ]);
});
