/** Where text stands on a PDF's pages, and what is made of it: columns, tables, lists, headers, on pages drawn here. */
import { PDFDocument, StandardFonts } from "pdf-lib";
import { describe, expect, it } from "vitest";
import { documentOf, outline } from "./fixture.ts";

/** From the page's upper left corner. */
type Placed = readonly [text: string, x: number, y: number];

/** On pages of A4, in one size. */
async function drawn(...pages: readonly (readonly Placed[])[]) {
  const pdf = await PDFDocument.create();
  const font = await pdf.embedFont(StandardFonts.Helvetica);
  for (const placed of pages) {
    const page = pdf.addPage([595, 842]);
    for (const [text, x, y] of placed) page.drawText(text, { x, y: 842 - y, size: 11, font });
  }
  const { document, notes } = await documentOf(await pdf.save());
  return { blocks: outline(document), notes };
}

/** One below the other. */
function lines(texts: readonly string[], x: number, y: number, leading = 13): Placed[] {
  return texts.map((text, i) => [text, x, y + i * leading]);
}

const LEFT = [
  "The cats drink milk every morning when",
  "the sun comes up over the hills behind",
  "the farm, and they sleep for the rest of",
  "the day in the straw of the old barn.",
];
const RIGHT = [
  "The children go to school at eight and",
  "come home at four in the afternoon, and",
  "they play in the garden with the dog of",
  "the neighbour until dinner is ready.",
];
const WIDE = [
  "The house is old and stands by the river, and in all the years that anybody can think of the river has",
  "never been so high as it was in the spring of this year, when the meadows were under water for weeks.",
];

describe("two columns", () => {
  it("below a table are read one after the other", async () => {
    const table = [
      ["Room", "Price", "Size"],
      ["Kitchen", "100", "12 m"],
      ["Bath room", "50", "6 m"],
    ].flatMap((row, i) => row.map((cell, j): Placed => [cell, 60 + 70 * j, 150 + 23 * i]));
    const { blocks } = await drawn([
      ...lines(WIDE, 50, 100),
      ...table,
      ...lines(LEFT, 50, 226),
      ...lines(RIGHT, 305, 220),
    ]);
    expect(blocks).toEqual([
      WIDE.join(" "),
      "Room Price Size",
      "Kitchen 100 12 m",
      "Bath room 50 6 m",
      LEFT.join(" "),
      RIGHT.join(" "),
    ]);
  });

  it("end before what stands below both", async () => {
    const list = ["1. Open the gate of the garden.", "2. Ring the bell at the door."];
    const { blocks } = await drawn([
      ...lines(LEFT, 50, 100),
      ...lines(RIGHT, 305, 100),
      ...lines(list, 50, 180),
      ...lines(WIDE, 50, 240),
    ]);
    expect(blocks).toEqual([LEFT.join(" "), RIGHT.join(" "), ...list.map((item) => `item0 ${item}`), WIDE.join(" ")]);
  });

  it("of which the left one goes on further down stay two", async () => {
    const { blocks } = await drawn([...lines([...LEFT, ...LEFT, ...LEFT], 50, 100), ...lines(RIGHT, 305, 100)]);
    expect(blocks.at(-1)).toBe(RIGHT.join(" "));
  });

  it("of a table amid text are read row by row", async () => {
    const rows = [
      ["The kitchen with its stove", "a hundred euros for a month"],
      ["The bath room", "fifty euros and the soap for it"],
      ["A room under the roof, with a bed", "eighty euros"],
      ["The garden", "nothing, for those who water it"],
      ["A place for a bicycle in the yard", "five euros a month"],
    ];
    const cells = rows.flatMap((row, i) => row.map((cell, j): Placed => [cell, 50 + 250 * j, 160 + 24 * i]));
    const { blocks } = await drawn([
      ...lines(WIDE, 50, 100),
      ...cells,
      ...lines(WIDE, 50, 310),
      ...lines(WIDE, 50, 360),
    ]);
    expect(blocks.slice(1, -2).join(" ")).toBe(rows.map((row) => row.join(" ")).join(" "));
  });
});

describe("lines in a page's margins", () => {
  const text = (page: number) => Array.from({ length: 60 }, (_, i) => `Line ${i} of page ${page} tells of the river.`);

  it("that stand on other pages too are the text's where it goes on to them", async () => {
    const same = ["farm drink milk every morning when the sun", "comes up over the hills behind the house."];
    const pages = [1, 2, 3].map((page) => lines([...same, ...text(page).slice(0, 45), ...same], 50, 80));
    const { blocks, notes } = await drawn(...pages);
    expect(blocks.join(" ").match(/drink milk/g)).toHaveLength(6);
    expect(notes).toEqual([]);
  });

  it("that end a paragraph of three lines, between paragraphs as far apart, are the text's", async () => {
    const page = (number: number) =>
      Array.from({ length: 16 }, (_, i) => {
        return lines(
          [`Alpha ${number * 20 + i * i} begins it, and the cats of the`, ...LEFT.slice(1, 3)],
          50,
          90 + 44 * i,
          12,
        );
      }).flat();
    const { blocks, notes } = await drawn(page(1), page(2), page(3));
    expect(notes).toEqual([]);
    expect(blocks.join(" ").match(/over the hills/g)).toHaveLength(48);
  });

  it("that a gap parts from the text are left out, of two lines too, and told as they are", async () => {
    const pages = [1, 2, 3].map((page): Placed[] => [
      ...lines(["Journal of rivers", "Volume 7"], 50, 40),
      ...lines(text(page).slice(0, 50), 50, 90),
      [`Page ${page} of 3`, 280, 800],
    ]);
    const { blocks, notes } = await drawn(...pages);
    expect(blocks.join(" ")).not.toMatch(/Journal|Volume|of 3/);
    expect(notes).toEqual(["Left out as running headers and footers: “Journal of rivers”, “Volume 7”, “Page 1 of 3”."]);
  });
});

describe("a line that begins as an item does", () => {
  it("goes on with the sentence where that one's line is full", async () => {
    const texts = [
      "The river rose in the spring of the year, and the boat that we had waited for so long came at last on day",
      "21. My brother was the first to see it from the roof of the house, and he called all of us to come out to him",
      "– it was early – and look. Nobody had thought that it would still come.",
    ];
    expect((await drawn(lines(texts, 50, 100))).blocks).toEqual([texts.join(" ")]);
    const letters = texts.map((text) => text.replace("21.", "(b)"));
    expect((await drawn(lines(letters, 50, 100))).blocks).toEqual([letters.join(" ")]);
  });

  it("is one after a line that ends early or ends its sentence, and after the one before it", async () => {
    const texts = [
      "Whoever comes to the house when nobody is at home does these things, one after the other, and in this order:",
      "1. Open the gate",
      "2. Ring the bell at the door of the house, and wait until somebody opens it or the dog begins to bark at you",
      "3. Say your name",
      "– loudly",
      "– and look at whoever opens the door, not at the dog, which does not like to be looked at by those it doesn’t",
      "– at all",
    ];
    const [first, ...items] = texts;
    const { blocks } = await drawn(lines(texts, 50, 100));
    expect(blocks).toEqual([first, ...items.map((item) => `item0 ${item.replace("– ", "")}`)]);
  });

  it("is one where the mark hangs before the text", async () => {
    const texts = [
      "1. The gate of the garden is open to everybody who comes by the road along the river, and to whoever lives in",
      "the house; at night it is closed by whoever is the last to come home from work or from the theatre in town",
      "2. The bell",
    ];
    const placed = lines(texts, 60, 100).map(([text, x, y], i): Placed => [text, i === 1 ? x + 14 : x, y]);
    const { blocks } = await drawn(placed);
    expect(blocks).toEqual([`item0 ${texts[0]} ${texts[1]}`, `item0 ${texts[2]}`]);
  });
});

describe("items without marks that are text", () => {
  it("stay lines, where they stand further in", async () => {
    const { blocks } = await drawn([
      ...lines(WIDE, 50, 100),
      ...lines(["A key", "A lamp", "Three eggs"], 80, 140),
      ...lines(WIDE, 50, 200),
    ]);
    expect(blocks.slice(1, -1)).toEqual(["A key", "A lamp", "Three eggs"]);
  });

  it("are items with bullets", async () => {
    const list = ["A key", "A lamp"].flatMap((text, i): Placed[] => [
      ["•", 64, 140 + 13 * i],
      [text, 80, 140 + 13 * i],
    ]);
    const { blocks } = await drawn([...lines(WIDE, 50, 100), ...list, ...lines(WIDE, 50, 200)]);
    expect(blocks.slice(1, -1)).toEqual(["item0 A key", "item0 A lamp"]);
  });
});

describe("a paragraph's line that is short since a long word follows", () => {
  it("does not end it", async () => {
    const texts = [
      "The house is old and stands by the river, and in all the years nobody has seen it from it.",
      "Donaudampfschifffahrtsgesellschaften have their offices in it, and have had them for a century or more.",
    ];
    expect((await drawn(lines(texts, 50, 100))).blocks).toEqual([texts.join(" ")]);
  });
});
