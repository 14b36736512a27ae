/** Whatever becomes of a file on its way, reading it ends in a content or in an error of ours, long before the test's time is over. */
import fc from "fast-check";
import { PDFDocument } from "pdf-lib";
import { beforeAll, describe, expect, it } from "vitest";
import { EdgeT5Error } from "../../src/errors.ts";
import { readContent } from "../../src/readers/index.ts";
import { fixture, utf8 } from "./fixture.ts";

const FILES = ["two-columns.pdf", "news.html", "notes.md", "parts.eml", "mill.shift_jis.txt", "mill.utf-16le.txt"];

async function readOrRefuse(bytes: Uint8Array): Promise<string> {
  return readContent(bytes, { as: "document" }).then(
    ({ kind }) => kind,
    (error: unknown) => {
      if (!(error instanceof EdgeT5Error)) throw error;
      return error.code;
    },
  );
}

describe("a damaged file", () => {
  it.each(FILES)("%s: cut anywhere", async (name) => {
    const bytes = fixture(name);
    for (let length = 1; length < bytes.length; length += Math.ceil(bytes.length / 40)) {
      expect(await readOrRefuse(bytes.slice(0, length))).toMatch(/^(document|E_DAMAGED|E_FORMAT)$/);
    }
  });

  it.each(FILES)("%s: bytes changed at random", async (name) => {
    const bytes = fixture(name);
    const change = fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) });
    const changes = fc.array(change, { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(changes, async (changes) => {
        const damaged = bytes.slice();
        for (const { at, value } of changes) damaged[at] = value;
        expect(await readOrRefuse(damaged)).toMatch(/^(document|E_DAMAGED|E_FORMAT|E_TOO_LARGE)$/);
      }),
      { numRuns: 60, seed: 8 },
    );
  });

  it("of random bytes, behind any format's first ones", async () => {
    const beginnings = ["", "%PDF-1.7\n", "PK\x03\x04", "<html>", "From: a@b\nSubject: c\n\n", "# a\n", '{"a":'];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...beginnings), fc.uint8Array({ maxLength: 2000 }), async (start, rest) => {
        const end = await readOrRefuse(Uint8Array.from([...utf8(start), ...rest]));
        expect(end).toMatch(/^(document|E_DAMAGED|E_FORMAT|E_TOO_LARGE)$/);
      }),
      { numRuns: 200, seed: 8 },
    );
  });

  describe("of forty pages", () => {
    let pdf: Uint8Array;

    beforeAll(async () => {
      const made = await PDFDocument.create();
      for (let page = 0; page < 40; page++) {
        const lines = Array.from(
          { length: 30 },
          (_, i) => `Line ${i} of page ${page} says ${(page * 7919 + i * 104_729) % 9973}.`,
        );
        made.addPage().drawText(lines.join("\n"), { x: 50, y: 700, size: 11 });
      }
      pdf = await made.save();
    });

    it("is cut at every kilobyte", async () => {
      for (let length = 1000; length < pdf.length; length += 1000) {
        expect(await readOrRefuse(pdf.slice(0, length))).toMatch(/^(document|E_DAMAGED|E_FORMAT)$/);
      }
    });

    it("is read whole", async () => {
      expect(await readOrRefuse(pdf)).toBe("document");
    });
  });
});
