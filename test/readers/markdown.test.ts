import { describe, expect, it } from "vitest";
import { documentOf, expectRefused, fixture, outline, tablesOf, utf8 } from "./fixture.ts";

describe("Markdown", () => {
  it("numbers its items from the first one's number on, whatever the others say", async () => {
    const { document } = await documentOf(utf8("7) a\n7) b\n   1. c\n   - d\n\ntext\n"), { filename: "a.md" });
    expect(outline(document)).toEqual(["item0 7) a", "item0 8) b", "item1 1. c", "item1 d", "text"]);
  });

  it("becomes headings, paragraphs, items, tables and code, without its marks", async () => {
    const { document, notes } = await documentOf(fixture("notes.md"));
    expect(notes).toEqual([]);
    expect(document.title).toBe("Notes on the mill");
    expect(outline(document)).toEqual([
      "h1 The mill",
      "It stands below the weir and was rebuilt in the same year. Its wheel turns & turns.",
      "h2 Wheels",
      "table wheel | diameter | use",
      "item0 1. open the sluice",
      "item0 2. wait",
      "item1 not too long",
      "item1 but long enough",
      "Then look again.",
      "item0 3. close it",
      "Water that has passed turns no mill.",
      "mill --start   # slowly\n  mill --stop",
      "Two spaces at the end\nbreak a line. Tags go.",
      "A block of markup.",
      "h2 Setext",
      "The end.[^1]",
    ]);
  });

  it("has its code as it stands, for no translation", async () => {
    const text = [
      "1. Run\n\n   ```sh\n   if a; then\n     b   # c\n\n   fi\n   ```\n2. `npm ci`\n3. `a` or b\n",
      "`one`\n`two`\n\nThe `end`.\n\n    x = 1\n      y\n",
    ].join("\n");
    const { blocks } = (await documentOf(utf8(text), { filename: "a.md" })).document;
    const item = { kind: "item", depth: 0 };
    const code = (text: string) => ({ kind: "paragraph", text, isVerbatim: true });
    expect(blocks).toEqual([
      { ...item, marker: "1.", text: "Run" },
      code("if a; then\n  b   # c\n\nfi"),
      { ...item, marker: "2.", text: "npm ci", isVerbatim: true },
      { ...item, marker: "3.", text: "a or b" },
      code("one two"),
      { kind: "paragraph", text: "The end." },
      code("x = 1\n  y"),
    ]);
  });

  it("gives its tables", async () => {
    expect(await tablesOf(fixture("notes.md"))).toEqual([
      {
        title: "Notes on the mill",
        section: "Wheels",
        columns: ["wheel", "diameter", "use"],
        rows: [
          ["north", "5.10 m", "flour | meal"],
          ["south", "3.20 m", ""],
        ],
      },
    ]);
    await expectRefused(tablesOf(utf8("# No table")), "E_INPUT", /there is none in it/);
  });

  it("knows a link's target that stands after it, and in a list", async () => {
    const text = "See [the mill][m] and [that][n].\n\n- one\n\n  [m]: /mill\n- two [m]\n";
    const { document } = await documentOf(utf8(text), { contentType: "text/markdown" });
    expect(outline(document)).toEqual(["See the mill and [that][n].", "item0 one", "item0 two m"]);
  });

  it("of more lines than blocks can have is refused before it is read", async () => {
    for (const line of ["", "-", "> -", "[a]: b"]) {
      const text = utf8(`${line}\n`.repeat(250_000));
      await expectRefused(
        documentOf(text, { contentType: "text/markdown" }),
        "E_TOO_LARGE",
        /250,001 lines.*maxBlocks/,
      );
    }
  });

  it("of more blocks than the limit is refused", async () => {
    const reading = documentOf(utf8("a\n\n".repeat(60)), { contentType: "text/markdown" }, { maxBlocks: 50 });
    await expectRefused(reading, "E_TOO_LARGE", /maxBlocks/);
  });

  it.each([
    ["quotations", `${">".repeat(100_000)} a`],
    ["lists", `${"- ".repeat(50_000)}a`],
  ])("is refused where %s nest too deep", async (_, text) => {
    await expectRefused(documentOf(utf8(text), { contentType: "text/markdown" }), "E_TOO_LARGE", /maxDepth/);
  });

  it.each(["[", "![", "*a _a ", "`", "<!--", "&#", "**", "[a](", "| a ", "<a "])(
    "is read in time, however often %s is repeated",
    async (piece) => {
      const text = piece.repeat(Math.ceil(20_000 / piece.length));
      const { document } = await documentOf(utf8(text), { contentType: "text/markdown" });
      expect(document.blocks.length).toBeLessThanOrEqual(1);
    },
  );
});
