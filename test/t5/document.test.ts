import { describe, expect, it } from "vitest";
import type { Block, Document, TextPart } from "../../src/t5/text-to-text/content.ts";
import { documentParts, documentText, textOfParts } from "../../src/t5/text-to-text/document.ts";

const TABLE = { title: null, section: "Wheels", columns: ["wheel", "use"], rows: [["north", "flour"]] };
const MILL: Document = {
  title: "The mill",
  blocks: [
    { kind: "paragraph", text: "Before all." },
    { kind: "heading", level: 1, text: "Mill" },
    { kind: "heading", level: 2, text: "Wheels" },
    { kind: "table", table: TABLE },
    { kind: "item", depth: 0, text: "one" },
    { kind: "item", depth: 1, text: "two" },
    { kind: "item", depth: 0, text: "three", marker: "3." },
    { kind: "heading", level: 2, text: "Water" },
    { kind: "paragraph", text: "A line\nof verse." },
    { kind: "heading", level: 1, text: "End" },
  ],
};

describe("documentText", () => {
  it("has its title first, blank lines between blocks, items in one list, tables in a line", () => {
    expect(documentText(MILL)).toBe(
      [
        "The mill",
        "Before all.",
        "Mill",
        "Wheels",
        "col : wheel | use row 1 : north | flour",
        "- one\n  - two\n3. three",
        "Water",
        "A line\nof verse.",
        "End",
      ].join("\n\n"),
    );
    expect(documentText({ title: "none", blocks: [] })).toBe("");
  });

  it("has no title twice: not where a heading says it, or what stands before that", () => {
    const heading = { kind: "heading", level: 2, text: "the  MILL" } as const;
    const paragraph = { kind: "paragraph", text: "The Mill" } as const;
    const other = { kind: "heading", level: 1, text: "Another" } as const;
    const text = (...blocks: Block[]) => documentText({ title: "The mill", blocks });
    expect(text(heading)).toBe("the  MILL");
    expect(text(paragraph, other)).toBe("The Mill\n\nAnother");
    expect(text(other, paragraph)).toBe("The mill\n\nAnother\n\nThe Mill");
    expect(
      documentText({ title: "The mill", blocks: [{ kind: "table", table: { ...TABLE, columns: [], rows: [] } }] }),
    ).toBe("");
  });
});

describe("documentParts", () => {
  it("are the text with tables in Markdown; what is verbatim, and what stands between, is fixed", () => {
    const table = {
      ...TABLE,
      columns: ["a|b", "c"],
      rows: [
        ["one\ntwo", "5"],
        ["", "x\\|y"],
      ],
    };
    const blocks: Block[] = [
      { kind: "paragraph", text: "From: a@x.org", isVerbatim: true },
      { kind: "item", depth: 1, text: "one" },
      { kind: "item", depth: 1, text: "npm ci", isVerbatim: true },
      { kind: "table", table },
      { kind: "table", table: { ...table, columns: [], rows: [] } },
    ];
    const parts = [...documentParts({ title: "T", blocks })];
    expect(textOfParts(parts)).toBe(
      "T\n\nFrom: a@x.org\n\n  - one\n  - npm ci\n\nWheels\n\n| a\\|b | c |\n| --- | --- |\n| one two | 5 |\n|  | x\\\\|y |",
    );
    const texts = (kind: TextPart["kind"]) => parts.filter((part) => part.kind === kind).map(({ text }) => text);
    expect(texts("prose")).toEqual(["T", "one", "Wheels"]);
    expect(texts("cell")).toEqual(["a|b", "c", "one two", "5", "", "x\\|y"]);
  });

  it("have a table's header as its file shows it", () => {
    const table = { ...TABLE, section: null, columns: ["week", "week 2"], headers: ["week", ""] };
    const document: Document = { title: null, blocks: [{ kind: "table", table }] };
    expect(textOfParts(documentParts(document))).toBe("| week |  |\n| --- | --- |\n| north | flour |");
    expect(documentText(document)).toBe("col : week | week 2 row 1 : north | flour");
  });

  it("of a document without tables are its text", () => {
    const blocks = MILL.blocks.filter(({ kind }) => kind !== "table");
    expect(textOfParts(documentParts({ ...MILL, blocks }))).toBe(documentText({ ...MILL, blocks }));
  });

  it("say a table's caption once: not where the heading above it or the block before it says it", () => {
    const table = { kind: "table", table: TABLE } as const;
    const text = (...blocks: Block[]) => textOfParts(documentParts({ title: null, blocks }));
    const markdown = "| wheel | use |\n| --- | --- |\n| north | flour |";
    expect(text(table)).toBe(`Wheels\n\n${markdown}`);
    expect(text({ kind: "heading", level: 1, text: "Wheels" }, { kind: "paragraph", text: "See." }, table)).toBe(
      `Wheels\n\nSee.\n\n${markdown}`,
    );
    expect(text({ kind: "paragraph", text: "wheels" }, table)).toBe(`wheels\n\n${markdown}`);
  });
});
