import { describe, expect, it } from "vitest";
import type { Document } from "../../src/t5/text-to-text/content.ts";
import { documentText } from "../../src/t5/text-to-text/document.ts";

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
  it("has blank lines between blocks, items in one list, tables in a line", () => {
    expect(documentText(MILL)).toBe(
      [
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
});
