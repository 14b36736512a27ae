/** Lines of a page made paragraphs: by where they end, and by the real tesseract on pages that are drawn here. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createNodeOcr } from "../../src/readers/image/node.ts";
import { paragraphsOf } from "../../src/readers/image/paragraphs.ts";
import { pngOf, renderLines, renderPage } from "./image-pages.ts";

/** Each character ten pixels wide. */
const read = (lines: readonly string[], width?: number) => {
  const placed = lines.map((text) => ({ text, start: 50, end: 50 + text.length * 10 }));
  return paragraphsOf(placed, 50 + 10 * (width ?? Math.max(...lines.map(({ length }) => length))));
};

describe("lines", () => {
  const wrapped = [
    "The ferry took up its service between the",
    "two shores on Monday morning. Some two",
    "hundred people had come to see it.",
  ];

  test("of wrapped text are one paragraph, up to a line that ends early", () => {
    expect(read(wrapped)).toEqual([wrapped.join(" ")]);
    const next = ["It then went back, with a dog aboard that", "had no ticket."];
    expect(read([...wrapped, ...next])).toEqual([wrapped.join(" "), next.join(" ")]);
  });

  test.each([
    ["a menu", ["File", "Edit", "View", "Help"]],
    ["a form", ["Name: Anna Miller", "Street: Hill 3", "Town: Bonn", "Country: Germany"]],
    [
      "sentences",
      ["Error: could not open the file", "The house is old. I am hungry.", "Where is my book? It is raining."],
    ],
    ["small letters", ["red apples and pears", "milk", "a loaf of bread", "tea"]],
    [
      "items that are alike in length",
      ["Sign the offer on page two", "Send it back to the office", "Call us when you are there"],
    ],
  ])("of %s stay apart", (_, lines) => {
    expect(read(lines)).toEqual(lines);
  });

  test("of two that go on are joined, and a divided word is one, however narrow", () => {
    expect(read(["Error: the file could not be", "opened."])).toEqual(["Error: the file could not be opened."]);
    expect(read(["Donau-", "dampfer"])).toEqual(["Donaudampfer"]);
    expect(read(["Die Vor- und die Nach-", "teile, Haupt-", "und Nebensatz"])).toEqual([
      "Die Vor- und die Nachteile, Haupt-",
      "und Nebensatz",
    ]);
  });

  test("of a sentence that goes on are one paragraph, though its word would have had room", () => {
    const lines = [
      "Le garçon a mangé une crêpe à la crème brûlée.",
      "Où est la bibliothèque ? Elle est là, près",
      "de l'hôtel, au cœur de la forêt. Ça coûte 5 €.",
    ];
    expect(read(lines, 47)).toEqual([lines.join(" ")]);
    const items = ["red apples and pears out of the garden", "tea from the shop"];
    expect(read(items, 44)).toEqual(items);
  });

  test("are measured by their block", () => {
    const lines = ["Short lines of a list", "and another one of it"];
    expect(read(lines, 60)).toEqual(lines);
  });

  test("lose nothing", () => {
    const line = fc.stringMatching(/^[A-Za-z]{1,8}( [a-z]{1,8}){0,6}$/);
    fc.assert(
      fc.property(fc.array(line, { minLength: 1 }), (lines) => {
        expect(read(lines).join(" ")).toBe(lines.join(" "));
      }),
    );
  });
});

describe("on a page", async () => {
  const ocr = await createNodeOcr();
  const paragraphs = async (image: Parameters<typeof pngOf>[0]) => {
    const [page] = await ocr.recognize(pngOf(image), { languages: ["eng"] });
    return page?.paragraphs.map(({ text }) => text);
  };

  test("a list is read item by item, whichever way up", async () => {
    const lines = [
      "Open a file",
      "Save it under another name",
      "Print the page",
      "Close all windows",
      "Leave the program",
    ];
    for (const turn of [0, 90, 180]) expect(await paragraphs(renderLines(lines, turn))).toEqual(lines);
  });

  test("wrapped text is read as one paragraph, whichever way up", async () => {
    for (const turn of [0, 270]) {
      const { image, text } = renderPage({ lines: 6, turn });
      expect(await paragraphs(image)).toEqual([text]);
    }
  });
});
