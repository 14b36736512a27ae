import { describe, expect, it } from "vitest";
import { documentOf, expectRefused, fixture, outline, tablesOf, utf8 } from "./fixture.ts";

const SUMMER = {
  title: "Ferry returns to the lake after nine years",
  section: "Crossings in summer",
  columns: ["From", "Departures first", "Departures last", "Fare"],
  rows: [
    ["West pier", "7:30", "19:00", "4.20"],
    ["East pier", "8:15", "19:45", "4.20"],
    ["Island", "on request", "", "6.00"],
  ],
};

const page = (body: string, head = "") => utf8(`<!doctype html><html><head>${head}</head><body>${body}</body></html>`);

describe("a page", () => {
  it("becomes its article, without menus, banners, asides, footers and scripts", async () => {
    const { document } = await documentOf(fixture("news.html"));
    expect(document.title).toBe("Ferry returns to the lake after nine years");
    expect(outline(document)).toEqual([
      expect.stringMatching(/^The ferry Alma took up .* school’s brass band .* without a ticket\.$/),
      expect.stringMatching(/^The boat had been laid up .* landing stage\.$/),
      "h2 Timetable and fares",
      expect.stringMatching(/^Until the end/),
      "Crossings in summer",
      "table From | Departures first | Departures last | Fare",
      "h2 What comes next",
      expect.stringMatching(/^The town plans/),
      "item0 a waiting room with a stove",
      "item1 with a bench for luggage",
      "item0 a bell that can be heard on the island",
      expect.stringMatching(/^“We have waited .* wait for us\.”\nHe then cast off\.$/),
    ]);
  });

  it("gives its tables, merged cells in every row that they span, two rows of headings as one", async () => {
    expect(await tablesOf(fixture("news.html"))).toEqual([SUMMER]);
  });

  it("is read whole where no article is found", async () => {
    const { document } = await documentOf(
      page("<nav>menu</nav><h1>Short</h1><p>One <b>line</b>.<p>Two.<footer>foot</footer>"),
    );
    expect(outline(document)).toEqual(["h1 Short", "One line.", "Two."]);
    expect(document.title).toBe("Short");
  });

  it("keeps an author's line in its article", async () => {
    const line = '<p class="byline">By <span itemprop="name">Ada Lake</span>, 12 March</p>';
    const text = "<p>Long enough to be found, this paragraph goes on about the lake, its boats and its swans. </p>";
    const { document } = await documentOf(page(`<main><article>${line}${text.repeat(5)}</article></main>`));
    expect(outline(document)[0]).toBe("By Ada Lake, 12 March");
  });

  it("without an article has its menus and its footer left out, by their names, and says so", async () => {
    const body = `<div class="menu"><a href=a>Home</a> <a href=b>Shop</a></div>
      <div id="side-bar"><ul><li><a href=c>Ten tools</a></li></ul></div><div class="cookies">We use cookies. Accept?</div>
      <div id="content"><h1>Garden show opens</h1><p>It opened on Monday in Bonn.</p></div>
      <div class="site-footer">Imprint | Privacy</div>`;
    const { document, notes } = await documentOf(page(body));
    expect(outline(document)).toEqual(["h1 Garden show opens", "It opened on Monday in Bonn."]);
    expect(notes).toEqual([
      "Left out as menus and footers: “Home Shop”, “Ten tools”, “We use cookies. Accept?”, “Imprint | Privacy”.",
    ]);
  });

  it.each([
    [
      "a menu of dishes",
      '<div class="menu"><p><a href=a>Soup</a> of the day, with bread 4.50</p></div><p>Open at noon.</p>',
    ],
    ["a sidebar of facts", '<div class="sidebar"><p>Built 1880, 40 rooms</p></div><p>The house.</p>'],
    [
      "a footer above the text",
      '<div class="footer">Note</div><p>All the text stands below it, in the page\'s end.</p>',
    ],
    ["cookies to bake", '<div class="cookies"><p>Butter and oats.</p></div><p>Bake them.</p>'],
    ["other names", '<div class="menu-card has-sidebar"><a href=a>One</a></div><p>Two.</p>'],
    ["all that there is", '<div class="menu"><a href=a>One</a></div>'],
  ])("keeps %s", async (_, body) => {
    const { document, notes } = await documentOf(page(body));
    expect(outline(document).join(" ")).toBe(
      body
        .replace(/<[^>]+>/g, " ")
        .replace(/\s+/g, " ")
        .trim(),
    );
    expect(notes).toEqual([]);
  });

  it("has a cell that spans columns in its row once, in the header above each of them", async () => {
    const rows =
      "<tr><th>a</th><th colspan=2>b</th></tr><tr><td colspan=2>sum</td><td rowspan=2>1</td></tr><tr><td>x</td><td>y</td></tr>";
    expect(await tablesOf(page(`<table>${rows}</table>`))).toMatchObject([
      {
        columns: ["a", "b", "b 2"],
        headers: ["a", "b", ""],
        rows: [
          ["sum", "", "1"],
          ["x", "y", "1"],
        ],
      },
    ]);
    const plain = "<tr><td colspan=2>a<td>a<td></tr><tr><td>1<td>2<td>3<td>4</tr>";
    expect(await tablesOf(page(`<table>${plain}</table>`))).toMatchObject([
      { columns: ["a", "a 2", "a 3", "column 4"], headers: ["a", "", "a", ""] },
    ]);
    const { document } = await documentOf(page("<table><tr><td colspan=2>alone</td></tr></table>"));
    expect(outline(document)).toEqual(["alone"]);
  });

  it.each([
    ["<ol><li>a<li>b<ul><li>c</ul></ol>", ["1. a", "2. b", "c"]],
    ['<ol start=9 type=a><li>a<li value="27">b<li>c</ol>', ["i. a", "aa. b", "ab. c"]],
    ["<ol type=I><li>a<li value=4>b<ol type=i><li>c</ol></ol>", ["I. a", "IV. b", "i. c"]],
    ["<ol reversed><li>a<li>b<ol><li>x</ol><li>c</ol>", ["3. a", "2. b", "1. x", "1. c"]],
    ["<table><tr><td><ol><li>x</ol><td>y<tr><td>1<td>2</table><ol reversed><li>a<li>b</ol>", ["x | y", "2. a", "1. b"]],
    ["<ol start=-1><li>a<li>b<li value=x>c</ol><ol start=1e99 type=A><li>d</ol>", ["-1. a", "0. b", "1. c", "A. d"]],
    ["<li>a", ["a"]],
  ])("numbers the items of %s", async (body, items) => {
    const { document } = await documentOf(page(body));
    expect(outline(document).map((line) => line.replace(/^(item\d|table) /, ""))).toEqual(items);
  });

  it("numbers the items of an article, too", async () => {
    const text = "<p>Long enough to be found, this paragraph goes on about the lake, its boats and its swans. </p>";
    const body = `<article>${text.repeat(5)}<ol start="3" type="a"><li>a boat</li><li>a swan</li></ol></article>`;
    const { document } = await documentOf(page(`<main>${body}</main>`));
    expect(outline(document).slice(-2)).toEqual(["item0 c. a boat", "item0 d. a swan"]);
  });

  it("has tables that arrange it read as text", async () => {
    const cells = "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr>";
    const { document } = await documentOf(
      page(`<table><tr><td>left</td><td><table>${cells}</table></td></tr></table>`),
    );
    expect(outline(document)).toEqual(["left", "table a | b"]);
  });

  it("has preformatted text as it stands, for no translation unless it is prose", async () => {
    const blocks = async (body: string) => (await documentOf(page(body))).document.blocks;
    const code = (text: string) => ({ kind: "paragraph", text, isVerbatim: true });
    const prose = (text: string) => ({ kind: "paragraph", text });
    expect(await blocks("<pre>\none\n  two</pre><p>three\nfour")).toEqual([code("one\n  two"), prose("three four")]);
    expect(await blocks("<pre><code>int main() {\n\n  return 0;\n}\n</code></pre><p>See <code>main</code>.")).toEqual([
      code("int main() {\n\n  return 0;\n}"),
      prose("See main."),
    ]);
    expect(await blocks("<pre>Dear all,\n  the mill is closed.\n\nBo</pre>")).toEqual([
      prose("Dear all,\nthe mill is closed.\nBo"),
    ]);
    expect(await blocks("<p> <code>npm\n ci</code> </p><ul><li><kbd>F1</kbd><li><kbd>F2</kbd> helps</ul>")).toEqual([
      code("npm ci"),
      { kind: "item", depth: 0, text: "F1", isVerbatim: true },
      { kind: "item", depth: 0, text: "F2 helps" },
    ]);
  });

  it("declares its encoding itself, unless the content type does", async () => {
    const bytes = Uint8Array.from([...utf8('<meta charset="koi8-r"><p>'), 0xcd, 0xc9, 0xd2]);
    expect(outline((await documentOf(bytes, { contentType: "text/html" })).document)).toEqual(["мир"]);
    const other = { contentType: "text/html; charset=windows-1251" };
    expect(outline((await documentOf(bytes, other)).document)).not.toEqual(["мир"]);
  });

  it("has its hidden parts and its consent banner left out, but not an article on cookies", async () => {
    const body = `<div class="cookie-notice">We use cookies</div><p style="display:none">no</p><p hidden>no</p>
      <div class="cookie-recipes"><p>Bake them.</p></div>`;
    expect(outline((await documentOf(page(body))).document)).toEqual(["Bake them."]);
  });

  it.each([
    ["div", "</div>"],
    ["b", ""],
    ["table><tr><td", ""],
  ])("is refused where 100,000 <%s> stand in each other", async (tag, end) => {
    const body = `<${tag}>`.repeat(100_000) + end.repeat(100_000);
    await expectRefused(documentOf(page(body)), "E_TOO_LARGE", /maxDepth/);
  });

  it("may not spread a table beyond the limits", async () => {
    const wide = `<table>${'<tr><td colspan="1000" rowspan="65534">x</td></tr>'.repeat(2000)}</table>`;
    await expectRefused(documentOf(page(wide)), "E_TOO_LARGE", /maxC/);
    const high = `<table>${`<tr>${'<td rowspan="65534">x</td>'.repeat(500)}</tr><tr></tr>`.repeat(1500)}</table>`;
    await expectRefused(tablesOf(page(high)), "E_TOO_LARGE", /maxC/);
  });

  it("has no entities but HTML's own", async () => {
    const entities = Array.from({ length: 10 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join("");
    const xhtml = `<?xml version="1.0"?><!DOCTYPE html [<!ENTITY l0 "lol">${entities}]><html><body><p>&l9; &amp; &eacute;</p></body></html>`;
    const { document } = await documentOf(utf8(xhtml));
    expect(outline(document).join("\n")).toContain("&l9; & é");
  });

  it("of very many elements is read whole, and says so", async () => {
    const { document, notes } = await documentOf(page(`<h1>List</h1>${"<p>a <b>b</b></p>".repeat(15_000)}`));
    expect(document.blocks).toHaveLength(15_001);
    expect(notes).toEqual([expect.stringContaining("too many to tell")]);
  });
});
