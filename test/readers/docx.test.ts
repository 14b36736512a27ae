import { describe, expect, test } from "vitest";
import { readDocx } from "../../src/readers/docx.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "../../src/readers/limits.ts";
import type { Block } from "../../src/t5/text-to-text/content.ts";
import { zipOf } from "./archives.ts";
import { expectCutsRefused, expectNoOtherErrors, refusal } from "./hostile.ts";
import { type DocumentXml, docx, docxFiles, p, r, style, tc, tr, xlsx } from "./office-files.ts";

const blocks = (body: string, parts?: DocumentXml): readonly Block[] => readDocx(docx(body, parts)).document.blocks;
const texts = (body: string, parts?: DocumentXml) =>
  blocks(body, parts).map((block) => (block.kind === "table" ? block.table.rows : block.text));
const limited = (body: string, limits: Partial<ReadLimits>) => () =>
  readDocx(docx(body), { limits: { ...DEFAULT_LIMITS, ...limits } });
const tbl = (...rows: string[]) => `<w:tbl><w:tblPr/><w:tblGrid/>${rows.join("")}</w:tbl>`;
const list = (level: number, number = "1") =>
  `<w:numPr><w:ilvl w:val="${level}"/><w:numId w:val="${number}"/></w:numPr>`;

describe("a document", () => {
  test("has headings, paragraphs and items, told by style or by their own properties", () => {
    const body = [
      p("Report", "Titel"),
      p("One", "berschrift1"),
      p("Text."),
      p("One point one", "Kapitel"),
      p("own level", undefined, '<w:outlineLvl w:val="3"/>'),
      p("item", "Liste"),
      p("item in item", undefined, list(1)),
      p("no item any more", "Liste", list(0, "0")),
      p("unknown style", "Nobody"),
      p(""),
      p("  "),
    ].join("");
    expect(readDocx(docx(body))).toEqual({
      kind: "document",
      document: {
        title: "Report",
        blocks: [
          { kind: "heading", level: 1, text: "Report" },
          { kind: "heading", level: 1, text: "One" },
          { kind: "paragraph", text: "Text." },
          { kind: "heading", level: 2, text: "One point one" },
          { kind: "heading", level: 4, text: "own level" },
          { kind: "item", depth: 0, text: "item" },
          { kind: "item", depth: 1, text: "item in item" },
          { kind: "paragraph", text: "no item any more" },
          { kind: "paragraph", text: "unknown style" },
        ],
      },
      notes: [],
    });
  });

  test("takes its title from its properties where no paragraph is one", () => {
    expect(readDocx(docx(p("text"), { title: "Of &quot;old&quot;" })).document.title).toBe('Of "old"');
    expect(readDocx(docx(p("text"))).document.title).toBeNull();
  });

  test("keeps what is inserted and leaves out what is deleted, moved away, hidden or a field's code", () => {
    const body = `<w:p>${[
      r("a "),
      `<w:ins>${r("in ")}</w:ins>`,
      `<w:del><w:r><w:delText>out </w:delText><w:t>out </w:t></w:r></w:del>`,
      `<w:moveFrom>${r("from ")}</w:moveFrom><w:moveTo>${r("to ")}</w:moveTo>`,
      r("hidden ", "<w:vanish/>"),
      r("shown ", '<w:vanish w:val="0"/>'),
      '<w:r><w:instrText> HYPERLINK "x" </w:instrText></w:r>',
      `<w:hyperlink r:id="rId9">${r("link")}</w:hyperlink>`,
    ].join("")}</w:p>`;
    expect(texts(body)).toEqual(["a in to shown link"]);
  });

  test("joins paragraphs whose end is deleted, and drops those that are deleted wholly", () => {
    const mark = "<w:rPr><w:del/></w:rPr>";
    expect(texts(p("one ", "berschrift1", mark) + p("two"))).toEqual(["one two"]);
    expect(blocks(p("one ", "berschrift1", mark) + p("two"))[0]?.kind).toBe("paragraph");
    const gone = `<w:p><w:pPr>${mark}</w:pPr><w:del>${r("gone")}</w:del></w:p>`;
    expect(texts(p("one") + gone + p("two"))).toEqual(["one", "two"]);
    expect(texts(p("last", undefined, mark))).toEqual(["last"]);
    expect(texts(p("before", undefined, mark) + tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(p("1")), tc(p("2")))))).toEqual([
      "before",
      [["1", "2"]],
    ]);
  });

  test("does not take a paragraph's former properties for its own", () => {
    const former = `<w:pPrChange><w:pPr><w:pStyle w:val="berschrift1"/>${list(2)}</w:pPr></w:pPrChange>`;
    expect(blocks(p("text", undefined, former))).toEqual([{ kind: "paragraph", text: "text" }]);
  });

  test("has line breaks that are meant, tabs, no page breaks", () => {
    const body = `<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t xml:space="preserve">a </w:t><w:br/><w:t>b</w:t><w:br w:type="page"/><w:tab/><w:t>c</w:t><w:noBreakHyphen/><w:softHyphen/><w:t>d</w:t><w:cr/></w:r></w:p>`;
    expect(texts(body)).toEqual(["a\nb\tc-d"]);
  });

  test("has text boxes once, after the paragraph that holds them", () => {
    const box = (text: string) =>
      `<w:txbxContent>${p(text)}${tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(p("1"), '<w:gridSpan w:val="2"/>')))}</w:txbxContent>`;
    const body = `<w:p>${r("before ")}<w:r><mc:AlternateContent><mc:Choice Requires="wps">${box("box")}</mc:Choice><mc:Fallback>${box("box")}</mc:Fallback></mc:AlternateContent></w:r>${r("after")}</w:p>${p("next")}`;
    expect(texts(body)).toEqual(["before after", "box", [["1", ""]], "next"]);
  });

  test("has its notes at the end, numbered as the text refers to them", () => {
    const reference = (kind: string, id: number) => `<w:r><w:${kind}Reference w:id="${id}"/></w:r>`;
    const note = (kind: string, id: number, text: string) =>
      `<w:${kind} w:id="${id}">${p(text)}${p("more")}</w:${kind}>`;
    const body = `<w:p>${r("A")}${reference("footnote", 5)}${r(" B")}${reference("endnote", 5)}${r(" C")}${reference("footnote", 2)}</w:p>`;
    const footnotes = `<w:footnote w:type="separator" w:id="0">${p("---")}</w:footnote>${note("footnote", 2, "two")}${note("footnote", 3, "three")}${note("footnote", 5, "five")}`;
    expect(texts(body, { footnotes, endnotes: note("endnote", 5, "end") })).toEqual([
      "A[1] B[2] C[3]",
      "[1] five more",
      "[2] end more",
      "[3] two more",
    ]);
  });

  test("leaves out its table of contents and says so", () => {
    const { document, notes } = readDocx(docx(p("One\t1", "Verzeichnis1") + p("Two\t2", "Verzeichnis1") + p("text")));
    expect(document.blocks).toEqual([{ kind: "paragraph", text: "text" }]);
    expect(notes).toEqual(["The table of contents is left out."]);
  });

  test("may have styles that are based on each other", () => {
    const styles = style("A", "a", "", "B") + style("B", "b", "", "A") + style("C", "c", "", "C");
    expect(texts(p("text", "A") + p("more", "C"), { styles })).toEqual(["text", "more"]);
  });
});

describe("a document's items", () => {
  const level = (place: number, format: string, text: string, more = "") =>
    `<w:lvl w:ilvl="${place}"><w:start w:val="1"/><w:numFmt w:val="${format}"/><w:lvlText w:val="${text}"/>${more}</w:lvl>`;
  const scheme = (id: number, ...levels: string[]) =>
    `<w:abstractNum w:abstractNumId="${id}">${levels.join("")}</w:abstractNum>`;
  const num = (id: number, of: number, more = "") =>
    `<w:num w:numId="${id}"><w:abstractNumId w:val="${of}"/>${more}</w:num>`;
  const item = (text: string, place = 0, number = "1") => p(text, undefined, list(place, number));
  const markers = (body: string, numbering: string, more: DocumentXml = {}) =>
    blocks(body, { numbering, ...more }).map((block) =>
      block.kind === "item" ? (block.marker ?? "-") : "text" in block && block.text,
    );
  const outlined = scheme(0, level(0, "decimal", "%1."), level(1, "decimal", "%1.%2"), level(2, "lowerLetter", "%3)"));

  test("have their numbers, which begin anew under each item above, and go on where text stands between", () => {
    const body = [
      item("a"),
      item("b", 1),
      item("c", 1),
      p("between"),
      item("d", 2),
      item("e"),
      item("f", 1),
      item("g", 2),
    ];
    expect(markers(body.join(""), outlined + num(1, 0))).toEqual([
      "1.",
      "1.1",
      "1.2",
      "between",
      "a)",
      "2.",
      "2.1",
      "a)",
    ]);
  });

  test.each<[string, number, string, string[]]>([
    ["decimal", 9, "%1.", ["9.", "10."]],
    ["decimalZero", 9, "%1", ["09", "10"]],
    ["upperRoman", 3, "(%1)", ["(III)", "(IV)"]],
    ["lowerLetter", 26, "%1)", ["z)", "aa)"]],
    ["upperLetter", 27, "Part %1", ["Part AA", "Part BB"]],
    ["ordinal", 11, "%1", ["11th", "12th"]],
    ["ordinal", 21, "%1", ["21st", "22nd"]],
    ["none", 1, "§", ["§", "§"]],
    ["none", 1, "%1", ["-", "-"]],
    ["bullet", 1, "\uf0b7", ["-", "-"]],
    ["chineseCounting", 1, "%1", ["1", "2"]],
    ["lowerLetter", 32_000, "%1", ["32000", "32001"]],
  ])("are written as %s from %i on", (format, start, text, expected) => {
    const own = `<w:lvl w:ilvl="0"><w:start w:val="${start}"/><w:numFmt w:val="${format}"/><w:lvlText w:val="${text}"/></w:lvl>`;
    expect(markers(item("a") + item("b"), scheme(0, own) + num(1, 0))).toEqual(expected);
  });

  test("go on in another list of the same scheme, unless that begins with a number of its own", () => {
    const override = '<w:lvlOverride w:ilvl="0"><w:startOverride w:val="5"/></w:lvlOverride>';
    const numbering = outlined + num(1, 0) + num(2, 0) + num(3, 0, override);
    const body = [item("a"), item("b", 0, "2"), item("c", 0, "3"), item("d", 0, "3"), item("e", 0, "1")];
    expect(markers(body.join(""), numbering)).toEqual(["1.", "2.", "5.", "6.", "7."]);
  });

  test("may have levels that never begin anew, figures for all, levels of the list's own, a scheme of a style", () => {
    const legal = scheme(
      0,
      level(0, "upperRoman", "%1."),
      level(1, "decimal", "%1.%2", "<w:isLgl/>"),
      level(2, "decimal", "%3.", '<w:lvlRestart w:val="0"/>'),
    );
    const body = item("a") + item("b", 1) + item("c", 2) + item("d") + item("e", 1) + item("f", 2);
    expect(markers(body, legal + num(1, 0))).toEqual(["I.", "1.1", "1.", "II.", "2.1", "2."]);
    const own = `<w:lvlOverride w:ilvl="0">${level(0, "lowerLetter", "%1.")}</w:lvlOverride>`;
    expect(markers(item("a"), outlined + num(1, 0, own))).toEqual(["a."]);
    const linked = `<w:abstractNum w:abstractNumId="7"><w:numStyleLink w:val="L"/></w:abstractNum>${scheme(0, '<w:styleLink w:val="L"/>', level(0, "decimal", "%1)"))}`;
    expect(markers(item("a") + item("b"), linked + num(1, 7))).toEqual(["1)", "2)"]);
  });

  test("that are empty count, those that are deleted do not", () => {
    const deleted = `<w:p><w:pPr>${list(0)}<w:rPr><w:del/></w:rPr></w:pPr><w:del>${r("gone")}</w:del></w:p>`;
    expect(markers(item("a") + item("") + deleted + item("c"), outlined + num(1, 0))).toEqual(["1.", "3."]);
  });

  test("may be headings, at their style's level, and stand in cells and notes", () => {
    const chapters = scheme(0, level(0, "decimal", "%1"), level(1, "decimal", "%1.%2", '<w:pStyle w:val="H2"/>'));
    const styles =
      style("H1", "heading 1", '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>') +
      style("H2", "heading 2", '<w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr>');
    const body = p("Tools", "H1") + p("Saws", "H2") + p("Files", "H2") + p("", "H2") + p("Wood", "H1");
    expect(texts(body, { numbering: chapters + num(1, 0), styles })).toEqual([
      "1 Tools",
      "1.1 Saws",
      "1.2 Files",
      "2 Wood",
    ]);
    const cells = tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(item("x") + item("y")), tc(p("z"))));
    expect(texts(cells, { numbering: outlined + num(1, 0) })).toEqual([[["1. x\n2. y", "z"]]]);
  });
});

test("what stands at the pages' edges is left out, and named", () => {
  const { document, notes } = readDocx(
    docx(p("text"), {
      headers: [p("Miller Ltd") + p("Bonn"), p("Miller Ltd\tBonn")],
      footers: [p("Page 1"), p("2"), p("")],
    }),
  );
  expect(document.blocks).toEqual([{ kind: "paragraph", text: "text" }]);
  expect(notes).toEqual(["Left out as page headers and footers: “Miller Ltd Bonn”, “Page 1”."]);
});

describe("a document's table", () => {
  test("stands under its heading and the document's title, cells repeated in the rows that they are merged over", () => {
    const body =
      p("Numbers", "berschrift1") +
      tbl(
        tr(tc(p("region")), tc(p("sales"), '<w:gridSpan w:val="2"/>')),
        tr(tc(p("north"), '<w:vMerge w:val="restart"/>'), tc(p("1")), tc(p("2") + p("(new)"))),
        tr(tc(p(""), "<w:vMerge/>"), tc(p("3"))),
        `<w:tr><w:trPr><w:del/></w:trPr>${tc(p("deleted"))}${tc(p("row"))}</w:tr>`,
        `<w:tr><w:trPr><w:gridBefore w:val="1"/></w:trPr>${tc(p("4"))}${tc(p("5"))}</w:tr>`,
        tr(tc(p("")), tc(p(""))),
      );
    expect(blocks(body, { title: "Doc" })).toEqual([
      { kind: "heading", level: 1, text: "Numbers" },
      {
        kind: "table",
        table: {
          title: "Doc",
          section: "Numbers",
          columns: ["region", "sales", "sales 2"],
          headers: ["region", "sales", ""],
          rows: [
            ["north", "1", "2\n(new)"],
            ["north", "3", ""],
            ["", "4", "5"],
          ],
        },
      },
    ]);
  });

  test("has a cell that is merged over columns once in its row, and rows that are marked as headers as one", () => {
    const wide = '<w:gridSpan w:val="2"/>';
    const header = (...cells: string[]) => `<w:tr><w:trPr><w:tblHeader/></w:trPr>${cells.join("")}</w:tr>`;
    const body = tbl(
      header(tc(p("region"), '<w:vMerge w:val="restart"/>'), tc(p("2025"), wide)),
      header(tc(p(""), "<w:vMerge/>"), tc(p("Q1")), tc(p("Q2"))),
      tr(tc(p("north")), tc(p("1")), tc(p("2"))),
      tr(tc(p("total"), wide), tc(p("3"))),
    );
    expect(blocks(body)).toMatchObject([
      {
        table: {
          columns: ["region", "2025 Q1", "2025 Q2"],
          rows: [
            ["north", "1", "2"],
            ["total", "", "3"],
          ],
        },
      },
    ]);
  });

  test("in a cell is that cell's text", () => {
    const inner = tbl(tr(tc(p("w")), tc(p("x"))), tr(tc(p("y")), tc(p("z"))));
    expect(texts(tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(inner + p("")), tc(p("2")))))).toEqual([[["w x\ny z", "2"]]]);
    const twice = tbl(tr(tc(p("w")), tc(p("w"))), tr(tc(p("y")), tc(p("z"))));
    expect(texts(tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(twice), tc(p("2")))))).toEqual([[["w w\ny z", "2"]]]);
  });

  test("of one row or column is a layout", () => {
    const body = tbl(tr(tc(p("One", "berschrift1") + p("text")), tc(p("beside"))));
    expect(blocks(body)).toEqual([
      { kind: "heading", level: 1, text: "One" },
      { kind: "paragraph", text: "text" },
      { kind: "paragraph", text: "beside" },
    ]);
    expect(texts(tbl(tr(tc(p("a"))), tr(tc(p("b")))))).toEqual(["a", "b"]);
    const real = tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(p("1")), tc(p("2"))));
    expect(texts(tbl(tr(tc(p("before") + real + p("after")))))).toEqual(["before", [["1", "2"]], "after"]);
  });
});

test("what is no DOCX is refused by name", () => {
  const ole = Uint8Array.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]);
  expect(() => readDocx(ole)).toThrow(refusal("E_FORMAT", /before 2007 \(\.doc\).*save it as DOCX/));
  expect(() => readDocx(xlsx([{ name: "S" }]))).toThrow(refusal("E_FORMAT", /not DOCX: its main part is a workbook/));
});

describe("a hostile document is refused", () => {
  test("for a DOCTYPE, its entities unexpanded", () => {
    const before = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>';
    expect(() => readDocx(docx("<w:p><w:r><w:t>&b;</w:t></w:r></w:p>", { before }))).toThrow(
      refusal("E_DAMAGED", /DOCTYPE/),
    );
  });

  test("over limits of blocks, text, tables, cells, columns and depth", () => {
    const row = tr(tc(p("a")), tc(p("b")));
    expect(limited(p("a").repeat(11), { maxBlocks: 10 })).toThrow(refusal("E_TOO_LARGE", /maxBlocks/));
    expect(limited(p("12345").repeat(3), { maxCharacters: 14 })).toThrow(refusal("E_TOO_LARGE", /maxCharacters/));
    expect(limited(tbl(row, row).repeat(2), { maxTables: 1 })).toThrow(refusal("E_TOO_LARGE", /maxTables/));
    expect(limited(tbl(row, row), { maxCells: 3 })).toThrow(refusal("E_TOO_LARGE", /maxCells/));
    expect(limited(tbl(row, row, row), { maxRows: 2 })).toThrow(refusal("E_TOO_LARGE", /maxRows/));
    expect(() => readDocx(docx(tbl(tr(tc(p("a"), '<w:gridSpan w:val="1e9"/>')))))).toThrow(
      refusal("E_TOO_LARGE", /maxColumns/),
    );
    const wide = tr(`<w:trPr>${'<w:gridBefore w:val="900"/>'.repeat(2)}</w:trPr>`);
    expect(() => readDocx(docx(tbl(wide)))).toThrow(refusal("E_TOO_LARGE", /maxColumns/));
    const nested = Array.from({ length: 100 }).reduce<string>((inner) => tbl(tr(tc(inner))), p("x"));
    expect(() => readDocx(docx(nested))).toThrow(refusal("E_TOO_LARGE", /maxDepth/));
  });

  test("when a merged cell's long text would stand in many rows", () => {
    const first = tr(tc(p("long ".repeat(20_000)), '<w:vMerge w:val="restart"/>'), tc(p("1")));
    const rows = tr(tc(p(""), "<w:vMerge/>"), tc(p("1"))).repeat(100);
    expect(() => readDocx(docx(tbl(first, rows)))).toThrow(refusal("E_TOO_LARGE", /maxCharacters/));
  });
});

test("cut or changed anywhere, in its archive or its XML, a document gives errors of ours only", () => {
  const body =
    p("Report", "Titel") +
    Array.from({ length: 60 }, (_, i) => p(`Paragraph ${i * 7919}`, i % 3 ? "Liste" : undefined)).join("") +
    tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(p("1"), "<w:vMerge/>"), tc(p("2"), '<w:gridSpan w:val="2"/>')));
  const numbering =
    '<w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="lowerRoman"/><w:lvlText w:val="%1.%2"/></w:lvl></w:abstractNum><w:num w:numId="3"><w:abstractNumId w:val="0"/></w:num>';
  const parts = {
    numbering,
    headers: [p("header")],
    footnotes: `<w:footnote w:id="1">${p("note")}</w:footnote>`,
    title: "T",
  };
  const bytes = docx(body, parts);
  expectCutsRefused(bytes, (cut) => readDocx(cut));
  expectNoOtherErrors(bytes, (changed) => readDocx(changed));
  const small = docxFiles(p("x", "Liste") + tbl(tr(tc(p("a")), tc(p("b"))), tr(tc(p("1")), tc(p("2")))), parts);
  for (const [name, text] of Object.entries(small)) {
    expectNoOtherErrors(
      new TextEncoder().encode(text),
      (changed) => readDocx(zipOf({ ...small, [name]: changed })),
      60,
    );
  }
});
