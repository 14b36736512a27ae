import { describe, expect, it } from "vitest";
import { joinLines } from "../../src/readers/lines.ts";
import { documentOf, outline, utf8 } from "./fixture.ts";

async function outlineOf(text: string): Promise<string[]> {
  return outline((await documentOf(utf8(text), { contentType: "text/plain", filename: "a.txt" })).document);
}

describe("plain text", () => {
  it("joins the lines of wrapped prose, and words that were divided", async () => {
    const prose = [
      "The station stands on a stone pier below the old bridge. It was built",
      "to measure the level of the river and has done so without inter-",
      "ruption since the spring of that year. A float in a well drives a pen.",
    ];
    expect(await outlineOf(`${prose.join("\r\n")}\r\n\r\nA second paragraph.`)).toEqual([
      "The station stands on a stone pier below the old bridge. It was built to measure the level of the river and has done so without interruption since the spring of that year. A float in a well drives a pen.",
      "A second paragraph.",
    ]);
  });

  it("keeps lines of verse", async () => {
    const verse = "Old pond by the mill\nthe wheel begins to turn\nwater says so\n\nA frog\nhas jumped";
    expect(await outlineOf(verse)).toEqual(verse.split("\n\n"));
  });

  it("takes long lines for a paragraph each", async () => {
    const long = "All that was said of the mill was said before, and better, by those who had worked in it. "
      .repeat(3)
      .trim();
    expect(await outlineOf(`${long}\n${long}`)).toEqual([long, long]);
  });

  it("ends a paragraph where a page ends", async () => {
    expect(await outlineOf("one\ftwo\n\n\f\n\nthree")).toEqual(["one", "two", "three"]);
  });

  it("knows items, their depth and the lines that go on under them", async () => {
    expect(await outlineOf("- one goes\n  on here\n  * two\n- three\n\n1) four")).toEqual([
      "item0 one goes on here",
      "item1 two",
      "item0 three",
      "item0 1) four",
    ]);
  });
});

describe("joinLines", () => {
  it("keeps hyphens that belong to a word", () => {
    expect(joinLines(["a well-", "known book"], new Set(["well-known"]))).toBe("a well-known book");
    expect(joinLines(["Haupt-", "und Nebensatz"])).toBe("Haupt- und Nebensatz");
    expect(joinLines(["the years 1990-", "2000"])).toBe("the years 1990- 2000");
  });

  it("puts no space between lines of a script that has none", () => {
    expect(joinLines(["水車が", "回る"])).toBe("水車が回る");
  });
});
