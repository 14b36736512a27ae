import { describe, expect, it } from "vitest";
import { documentOf, expectRefused, fixture, outline, tablesOf, utf8 } from "./fixture.ts";

const HEADERS = "From: a@example.org\r\nSubject: S\r\nDate: Tue, 03 Nov 2026 09:15:00 +0100\r\n";

describe("a mail", () => {
  it("becomes its subject, who wrote to whom, and its text; attachments are named", async () => {
    const { document, notes } = await documentOf(fixture("parts.eml"));
    expect(document.title).toBe("Ersatzteile für die Mühle");
    expect(outline(document)).toEqual([
      "From: Jörg Müller <joerg@example.org>\nTo: Anna Köhler <anna@example.org>, lager@example.org\nDate: Tue, 03 Nov 2026 09:15:00 +0100",
      "Liebe Frau Köhler,",
      expect.stringMatching(/^die Ersatzteile für die Mühle .* der Tabelle, die Sie nur im HTML-Teil sehen\.$/),
      "Mit freundlichen Grüßen\nJörg Müller",
    ]);
    expect(notes).toEqual([expect.stringContaining("Rechnung.pdf")]);
  });

  it("gives the tables of its page", async () => {
    expect(await tablesOf(fixture("parts.eml"))).toEqual([
      {
        title: "Ersatzteile für die Mühle",
        section: null,
        columns: ["Teil", "Preis"],
        rows: [
          ["Schaufel", "12 €"],
          ["Welle", "240 €"],
        ],
      },
    ]);
  });

  it("is read from its page where its text only points there", async () => {
    const body = `--b\r\nContent-Type: text/plain\r\n\r\nSee HTML.\r\n--b\r\nContent-Type: text/html\r\n\r\n<h2>Offer</h2><p>${"Much to say. ".repeat(9)}</p>\r\n--b--`;
    const { document } = await documentOf(
      utf8(`${HEADERS}Content-Type: multipart/alternative; boundary=b\r\n\r\n${body}`),
    );
    expect(outline(document).slice(1)).toEqual(["h2 Offer", expect.stringMatching(/^Much to say/)]);
  });

  it("of a known name without a header is damaged", async () => {
    await expectRefused(documentOf(utf8("no mail at all"), { contentType: "message/rfc822" }), "E_DAMAGED", /headers/);
  });

  it("may have no more parts than the limit, and none too deep", async () => {
    const many = `${HEADERS}Content-Type: multipart/mixed; boundary=b\r\n\r\n${"--b\r\n\r\nx\r\n".repeat(3000)}--b--`;
    await expectRefused(documentOf(utf8(many)), "E_TOO_LARGE", /maxEntries/);
    const deep = Array.from(
      { length: 500 },
      (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`,
    ).join("");
    await expectRefused(documentOf(utf8(HEADERS + deep)), "E_DAMAGED", /nest too deep/);
  });

  it("in a mail in a mail is read two deep, the rest named", async () => {
    const inner = (depth: number): string =>
      depth === 0
        ? "Content-Type: text/plain\r\n\r\nthe innermost"
        : `Subject: level ${depth}\r\nContent-Type: message/rfc822\r\n\r\nFrom: b@example.org\r\n${inner(depth - 1)}`;
    const { document, notes } = await documentOf(utf8(`${HEADERS}MIME-Version: 1.0\r\n${inner(200)}`));
    expect(document.blocks.length).toBeGreaterThan(0);
    expect(notes).toEqual([expect.stringContaining("message/rfc822")]);
  });
});
