/** Files to contents, by a user of the kit. */
import { DEFAULT_LIMITS, readContent, sniff } from "edge-t5/readers";

const utf8 = (text) => new TextEncoder().encode(text);

/** @param pdf bytes of a PDF */
export async function readers(pdf) {
  const page = utf8("<title>T</title><main><h1>The mill</h1><p>It turns.</p></main>");
  const [table, web, printed] = await Promise.all([
    readContent(utf8("wheel,use\nnorth,flour\n"), { as: "table", filename: "wheels.csv" }),
    readContent(page, { as: "document", contentType: "text/html" }),
    readContent(pdf, { as: "document" }),
  ]);
  const limits = { ...DEFAULT_LIMITS, maxBytes: 10 };
  const refused = await readContent(page, { as: "document" }, limits).catch(({ code }) => code);
  return {
    kind: sniff(page, {}),
    rows: table.tables[0].rows,
    blocks: web.document.blocks.map(({ text }) => text),
    pdf: printed.document.blocks.map(({ text }) => text).join(" "),
    refused,
  };
}
