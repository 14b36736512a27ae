/** The readers' Worker inside workerd: what its libraries and text decoders can do there. */
import { createExecutionContext, waitOnExecutionContext } from "cloudflare:test";
import { zlibSync } from "fflate";
import { describe, expect, it } from "vitest";
import { readerApp } from "../../functions/reader/routes.ts";
import encryptedPdf from "../fixtures/readers/encrypted/aes-256.pdf";

const LIMITS = {
  MAX_BYTES: 1_000_000,
  MAX_INFLATED_BYTES: 8_000_000,
  MAX_PAGES: 20,
  MAX_CHARACTERS: 100_000,
  MAX_CELLS: 10_000,
  MAX_READ_MS: 10_000,
};

async function read(body: BodyInit, headers: Record<string, string> = {}, query = "") {
  const context = createExecutionContext();
  const request = new Request(`http://reader/read${query}`, { method: "POST", body, headers });
  const response = await readerApp().fetch(request, LIMITS, context);
  const answer = await response.json<{
    kind: string;
    document?: { title: string; blocks: object[] };
    error?: object;
  }>();
  await waitOnExecutionContext(context);
  return { status: response.status, answer };
}

const PDF = `%PDF-1.4
1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj
2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >> endobj
4 0 obj << /Length 55 >> stream
BT /F1 12 Tf 20 200 Td (The mill by the river) Tj ET
endstream endobj
5 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> endobj
trailer << /Root 1 0 R >>
`;

describe("the readers' Worker", () => {
  it("reads a PDF", async () => {
    const { answer } = await read(PDF, { "content-type": "application/pdf" });
    expect(answer.document?.blocks).toEqual([{ kind: "paragraph", text: "The mill by the river" }]);
  });

  it("reads a PDF that only an owner's password guards", async () => {
    const { answer } = await read(encryptedPdf, { "content-type": "application/pdf" });
    const text = "The mill by the river turns again. Nobody needs a key to read of it.";
    expect(answer.document?.blocks).toEqual([{ kind: "paragraph", text }]);
  });

  it("refuses a PDF that inflates to gigabytes", async () => {
    const spaces = new Uint8Array(100_000_000).fill(32);
    const packed = Buffer.from(zlibSync(spaces)).toString("latin1");
    const stream = `4 0 obj << /Length ${packed.length} /Filter /FlateDecode >> stream\n${packed}\nendstream endobj\n`;
    const bomb = PDF.replace(/4 0 obj[\s\S]*?endobj\n/, () => stream);
    const { status, answer } = await read(Buffer.from(bomb, "latin1"), { "content-type": "application/pdf" });
    expect([status, answer.error]).toEqual([413, expect.objectContaining({ code: "E_TOO_LARGE" })]);
  });

  it("reads a page, its main content found", async () => {
    const body = `<nav>menu</nav><article><h1>Mill</h1>${"<p>The wheel turns, and so does the stone above it, as long as there is water.</p>".repeat(6)}</article>`;
    const { answer } = await read(`<html><title>Mill</title><body>${body}</body></html>`);
    expect(answer.document?.title).toBe("Mill");
    expect(answer.document?.blocks).toHaveLength(6);
  });

  it("reads tables, by the file's name", async () => {
    const name = encodeURIComponent("Flüsse.csv");
    const { answer } = await read("name,length\nAar,288\n", { "x-edge-t5-filename": name }, "?as=table");
    expect(answer).toMatchObject({ kind: "tables", tables: [{ title: "Flüsse", columns: ["name", "length"] }] });
  });

  it("reads mail and Markdown", async () => {
    const mail = await read(
      "From: a@example.org\r\nTo: b@example.org\r\nSubject: =?utf-8?Q?M=C3=BChle?=\r\n\r\nIt turns.",
    );
    expect(mail.answer.document).toMatchObject({ title: "Mühle", blocks: [{}, { text: "It turns." }] });
    const markdown = await read("# Mill\n\n* one\n* two");
    expect(markdown.answer.document?.blocks).toMatchObject([{ kind: "heading" }, { kind: "item" }, { kind: "item" }]);
  });

  it.each([
    ["koi8-r", [0xed, 0xc9, 0xd2], "Мир"],
    ["shift_jis", [0x90, 0xc2, 0x82, 0xa2], "青い"],
    ["windows-1252", [0x80, 0x20, 0xfc], "€ ü"],
    ["gb18030", [0xc4, 0xe3], "你"],
    ["euc-kr", [0xb9, 0xb0], "물"],
    ["utf-16be", [0x00, 0x61], "a"],
  ])("decodes %s", async (encoding, bytes, text) => {
    const { answer } = await read(Uint8Array.from(bytes), { "content-type": `text/plain; charset=${encoding}` });
    expect(answer.document?.blocks).toEqual([{ kind: "paragraph", text }]);
  });

  it("answers errors as private Workers do", async () => {
    const lie = await read("a", { "content-type": "application/pdf" });
    expect(lie).toMatchObject({ status: 415, answer: { error: { code: "E_FORMAT" } } });
    expect(await read("a".repeat(1_000_001))).toMatchObject({
      status: 413,
      answer: { error: { code: "E_TOO_LARGE" } },
    });
    expect(await read("a", {}, "?as=poem")).toMatchObject({ status: 400, answer: { error: { code: "E_INPUT" } } });
    const broken = await read(Uint8Array.from([0x61, 0xff]), { "content-type": "text/plain; charset=utf-8" });
    expect(broken).toMatchObject({ status: 422, answer: { error: { code: "E_DAMAGED" } } });
  });

  it("counts what it read", async () => {
    const app = readerApp();
    const context = createExecutionContext();
    await app.fetch(new Request("http://reader/read", { method: "POST", body: "text" }), LIMITS, context);
    const metrics = await (await app.fetch(new Request("http://reader/metrics"), LIMITS, context)).text();
    expect(metrics).toContain("edge_t5_files_read_total");
    expect((await app.fetch(new Request("http://reader/healthz"), LIMITS, context)).status).toBe(200);
    await waitOnExecutionContext(context);
  });
});
