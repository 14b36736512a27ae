import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { charsetOf, declaredInMarkup, decodeText } from "../../src/readers/encoding.ts";
import { fixture, utf8 } from "./fixture.ts";

const GERMAN = /^Die Mühle am Fluß läuft .*\n\nMüller Bärlach .* – „täglich außer sonntags“\.\n$/s;
const RUSSIAN = /^Мельница на реке .* кроме воскресенья\.\n$/s;
const JAPANESE = /^川の水車小屋は.*粉をひいている。\n$/s;

function refusal(run: () => unknown): EdgeT5Error {
  try {
    run();
  } catch (error) {
    if (error instanceof EdgeT5Error) return error;
    throw error;
  }
  throw new Error("It was not refused.");
}

describe("decodeText", () => {
  it.each([
    ["windows-1252", GERMAN],
    ["utf-16be", GERMAN],
    ["koi8-r", RUSSIAN],
    ["windows-1251", RUSSIAN],
    ["shift_jis", JAPANESE],
    ["euc-jp", JAPANESE],
    ["gb18030", /^河边的磨坊.*磨面粉。\n$/s],
  ])("guesses %s, and says so", (encoding, text) => {
    const decoded = decodeText(fixture(`mill.${encoding}.txt`));
    expect(decoded.text).toMatch(text);
    expect(decoded.encoding).toBe(encoding);
    expect(decoded.notes).toEqual([expect.stringContaining(`${encoding} was guessed`)]);
  });

  it.each(["utf-16le", "utf-32le"])("knows %s by its byte order mark", (encoding) => {
    const decoded = decodeText(fixture(`mill.${encoding}.txt`));
    expect(decoded.text).toMatch(GERMAN);
    expect(decoded).toMatchObject({ encoding, notes: [] });
  });

  it("takes what is declared, and a byte order mark over that", () => {
    expect(decodeText(fixture("mill.koi8-r.txt"), "KOI8-R")).toMatchObject({ encoding: "koi8-r", notes: [] });
    expect(decodeText(fixture("mill.utf-16le.txt"), "koi8-r").encoding).toBe("utf-16le");
  });

  it("does without a declaration that it does not know, and says so", () => {
    const { text, notes } = decodeText(utf8("Mühle"), "x-no-such");
    expect(text).toBe("Mühle");
    expect(notes).toEqual([expect.stringContaining('"x-no-such" is not known')]);
  });

  it("gives back any text that was written as UTF-8", () => {
    const text = fc.string({ unit: "binary" }).filter((text) => !/[\0\ufeff]/.test(text));
    fc.assert(
      fc.property(text, (text) => {
        expect(decodeText(utf8(text)).text).toBe(text);
      }),
    );
  });

  it("names the byte that UTF-8 does not have, and replaces none", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "ä", "水", "🚲"), minLength: 1 });
    fc.assert(
      fc.property(text, text, (before, after) => {
        const start = utf8(before);
        const bytes = Uint8Array.from([...start, 0xff, ...utf8(after)]);
        const { code, message } = refusal(() => decodeText(bytes, "utf-8"));
        expect(code).toBe("E_DAMAGED");
        expect(message).toContain(`not valid utf-8: byte ${start.length} `);
      }),
    );
  });

  it("takes UTF-8 with a stray byte, or cut in a character, for damaged and not for another encoding", () => {
    const text = utf8("Über Mühlen, Räder und Bäche an schönen Flüssen");
    const stray = Uint8Array.from([...text, 0xe4, 0x20]);
    expect(refusal(() => decodeText(stray)).message).toContain(`byte ${text.length} `);
    expect(refusal(() => decodeText(utf8("Über Mühlen grüßt ä").slice(0, -1))).code).toBe("E_DAMAGED");
  });

  it("refuses what is no text", () => {
    expect(refusal(() => decodeText(utf8("a\0b"))).code).toBe("E_FORMAT");
    expect(refusal(() => decodeText(utf8("a\0b"), "utf-8")).code).toBe("E_FORMAT");
    expect(refusal(() => decodeText(Uint8Array.from({ length: 900 }, (_, i) => 1 + ((i * 89) % 255)))).code).toMatch(
      /^E_(FORMAT|DAMAGED)$/,
    );
  });
});

describe("declared encodings", () => {
  it("stand in a content type, a page's head or an XML declaration", () => {
    expect(charsetOf('text/html; charset="ISO-8859-2"')).toBe("ISO-8859-2");
    expect(charsetOf("text/html")).toBeUndefined();
    expect(declaredInMarkup(utf8('<html><head><meta charset="koi8-r">'))).toBe("koi8-r");
    const http = '<META http-equiv="Content-Type" content="text/html; charset=windows-1250">';
    expect(declaredInMarkup(utf8(http))).toBe("windows-1250");
    expect(declaredInMarkup(utf8('<?xml version="1.0" encoding="iso-8859-1"?><html>'))).toBe("iso-8859-1");
  });

  it("cannot be UTF-16 where they were read as ASCII", () => {
    expect(declaredInMarkup(utf8('<meta charset="utf-16">'))).toBe("utf-8");
  });
});
