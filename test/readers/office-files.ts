/** Workbooks and documents for the tests, as XML in an archive. */
import { zipOf } from "./archives.ts";

const RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const SHEETS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";

export function relationships(targets: readonly (readonly [id: string, type: string, target: string])[]): string {
  const each = targets.map(
    ([id, type, target]) => `<Relationship Id="${id}" Type="${RELATIONSHIPS}/${type}" Target="${target}"/>`,
  );
  return `<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${each.join("")}</Relationships>`;
}

export interface SheetXml {
  name: string;
  /** Of `sheetData`. */
  rows?: string;
  /** Of `cols`. */
  columns?: string;
  /** After `sheetData`. */
  after?: string;
  before?: string;
  state?: string;
}

export interface WorkbookXml {
  /** Each an `si`'s content. */
  strings?: readonly string[];
  /** Of `styleSheet`. */
  styles?: string;
  properties?: string;
  more?: Readonly<Record<string, string>>;
}

export function xlsxFiles(sheets: readonly SheetXml[], book: WorkbookXml = {}): Record<string, string> {
  const listed = sheets.map(
    ({ name, state }, i) =>
      `<sheet name="${name}" sheetId="${i + 1}" r:id="rId${i + 1}"${state ? ` state="${state}"` : ""}/>`,
  );
  const files: Record<string, string> = {
    "[Content_Types].xml": "<Types/>",
    "_rels/.rels": relationships([["rId1", "officeDocument", "xl/workbook.xml"]]),
    "xl/workbook.xml": `<workbook xmlns="${SHEETS}" xmlns:r="${RELATIONSHIPS}">${book.properties ?? ""}<sheets>${listed.join("")}</sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": relationships([
      ...sheets.map((_, i) => [`rId${i + 1}`, "worksheet", `worksheets/sheet${i + 1}.xml`] as const),
      ["s", "sharedStrings", "/xl/sharedStrings.xml"],
      ["f", "styles", "styles.xml"],
    ]),
  };
  sheets.forEach(({ rows = "", columns = "", after = "", before = "" }, i) => {
    files[`xl/worksheets/sheet${i + 1}.xml`] =
      `<?xml version="1.0" encoding="UTF-8"?>${before}<worksheet xmlns="${SHEETS}">${columns && `<cols>${columns}</cols>`}<sheetData>${rows}</sheetData>${after}</worksheet>`;
  });
  if (book.strings) {
    files["xl/sharedStrings.xml"] =
      `<sst xmlns="${SHEETS}">${book.strings.map((text) => `<si>${text}</si>`).join("")}</sst>`;
  }
  if (book.styles) files["xl/styles.xml"] = `<styleSheet xmlns="${SHEETS}">${book.styles}</styleSheet>`;
  return { ...files, ...book.more };
}

export function xlsx(sheets: readonly SheetXml[], book?: WorkbookXml): Uint8Array {
  return zipOf(xlsxFiles(sheets, book));
}

/** Rows of texts in place. */
export function inline(rows: readonly (readonly string[])[]): string {
  return rows
    .map((cells, r) => {
      const each = cells.map((text, c) =>
        text === "" ? "" : `<c r="${letters(c)}${r + 1}" t="inlineStr"><is><t>${escaped(text)}</t></is></c>`,
      );
      return `<row r="${r + 1}">${each.join("")}</row>`;
    })
    .join("");
}

export function letters(column: number): string {
  return (column >= 26 ? letters(Math.floor(column / 26) - 1) : "") + String.fromCharCode(65 + (column % 26));
}

export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\r", "&#13;");
}

export interface DocumentXml {
  styles?: string;
  footnotes?: string;
  endnotes?: string;
  numbering?: string;
  headers?: readonly string[];
  footers?: readonly string[];
  title?: string;
  before?: string;
  more?: Readonly<Record<string, string>>;
}

export function docxFiles(body: string, parts: DocumentXml = {}): Record<string, string> {
  const part = (root: string, content: string) =>
    `<w:${root} xmlns:w="${WORDS}" xmlns:mc="x-mc" xmlns:wps="x-wps" xmlns:r="${RELATIONSHIPS}">${content}</w:${root}>`;
  const files: Record<string, string> = {
    "[Content_Types].xml": "<Types/>",
    "_rels/.rels": relationships([
      ["rId1", "officeDocument", "word/document.xml"],
      ["rId2", "core-properties", "docProps/core.xml"],
    ]),
    "word/_rels/document.xml.rels": relationships([
      ["rId1", "styles", "styles.xml"],
      ["rId2", "footnotes", "footnotes.xml"],
      ["rId3", "endnotes", "endnotes.xml"],
      ["rId4", "numbering", "numbering.xml"],
      ...(parts.headers ?? []).map((_, i) => [`h${i}`, "header", `header${i}.xml`] as const),
      ...(parts.footers ?? []).map((_, i) => [`f${i}`, "footer", `footer${i}.xml`] as const),
    ]),
    "word/document.xml": `<?xml version="1.0"?>${parts.before ?? ""}${part("document", `<w:body>${body}</w:body>`)}`,
    "word/styles.xml": part("styles", STYLES + (parts.styles ?? "")),
  };
  if (parts.footnotes) files["word/footnotes.xml"] = part("footnotes", parts.footnotes);
  if (parts.endnotes) files["word/endnotes.xml"] = part("endnotes", parts.endnotes);
  if (parts.numbering) files["word/numbering.xml"] = part("numbering", parts.numbering);
  for (const [i, header] of (parts.headers ?? []).entries()) files[`word/header${i}.xml`] = part("hdr", header);
  for (const [i, footer] of (parts.footers ?? []).entries()) files[`word/footer${i}.xml`] = part("ftr", footer);
  if (parts.title) {
    files["docProps/core.xml"] =
      `<cp:coreProperties xmlns:cp="x-cp" xmlns:dc="x-dc"><dc:title>${parts.title}</dc:title></cp:coreProperties>`;
  }
  return { ...files, ...parts.more };
}

export function docx(body: string, parts?: DocumentXml): Uint8Array {
  return zipOf(docxFiles(body, parts));
}

/** A paragraph of one run. @param style its id */
export function p(text: string, style?: string, properties = ""): string {
  const own = `${style ? `<w:pStyle w:val="${style}"/>` : ""}${properties}`;
  return `<w:p>${own ? `<w:pPr>${own}</w:pPr>` : ""}${r(text)}</w:p>`;
}

export function r(text: string, properties = ""): string {
  const own = properties ? `<w:rPr>${properties}</w:rPr>` : "";
  return `<w:r>${own}<w:t xml:space="preserve">${escaped(text)}</w:t></w:r>`;
}

export function tc(content: string, properties = ""): string {
  return `<w:tc><w:tcPr>${properties}</w:tcPr>${content}</w:tc>`;
}

export function tr(...cells: string[]): string {
  return `<w:tr>${cells.join("")}</w:tr>`;
}

/** As a German Word names them: ids are translated, names are not. */
const STYLES = [
  style("Titel", "Title"),
  style("berschrift1", "heading 1", '<w:pPr><w:outlineLvl w:val="0"/></w:pPr>'),
  style("berschrift2", "heading 2"),
  style("Kapitel", "Chapter", "", "berschrift2"),
  style("Verzeichnis1", "toc 1"),
  style("Liste", "List Bullet", '<w:pPr><w:numPr><w:numId w:val="3"/></w:numPr></w:pPr>'),
].join("");

export function style(id: string, name: string, more = "", base?: string): string {
  return `<w:style w:type="paragraph" w:styleId="${id}"><w:name w:val="${name}"/>${base ? `<w:basedOn w:val="${base}"/>` : ""}${more}</w:style>`;
}
