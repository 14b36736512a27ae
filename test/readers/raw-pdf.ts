/** PDFs written object by object: what no library would write. */
import { deflateSync } from "node:zlib";

const latin1 = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** @param objects from number 1 on; the first is the catalog */
export function rawPdf(objects: readonly (string | Uint8Array)[], trailer = ""): Uint8Array {
  const parts: Uint8Array[] = [latin1("%PDF-1.7\n")];
  let length = parts[0]!.length;
  const add = (part: Uint8Array) => {
    parts.push(part);
    length += part.length;
  };
  const offsets = objects.map((object, i) => {
    const offset = length;
    add(latin1(`${i + 1} 0 obj\n`));
    add(typeof object === "string" ? latin1(object) : object);
    add(latin1("\nendobj\n"));
    return offset;
  });
  const start = length;
  const entries = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  add(latin1(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${entries}`));
  add(latin1(`trailer\n<< /Size ${objects.length + 1} /Root 1 0 R ${trailer} >>\nstartxref\n${start}\n%%EOF\n`));
  return joined(parts);
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @param entries more of its dictionary */
export function stream(data: Uint8Array, entries: string): Uint8Array {
  return joined([latin1(`<< /Length ${data.length} ${entries} >>\nstream\n`), data, latin1("\nendstream")]);
}

export function flate(text: string | Uint8Array, entries = ""): Uint8Array {
  return stream(deflateSync(text), `/Filter /FlateDecode ${entries}`);
}

export const FONT = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>";

/** One page with this content. */
export function onePage(
  content: string | Uint8Array,
  more: readonly (string | Uint8Array)[] = [],
  resources = "",
): Uint8Array {
  const page = `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> ${resources} >> >>`;
  const catalog = "<< /Type /Catalog /Pages 2 0 R >>";
  return rawPdf([catalog, "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, content, FONT, ...more]);
}

export function shown(text: string, x = 20, y = 200): string {
  return `BT /F1 12 Tf ${x} ${y} Td (${text}) Tj ET`;
}
