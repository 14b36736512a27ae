/**
 * DOCX (ECMA-376, WordprocessingML) to a document's blocks: text as it would read with all changes accepted. Pictures,
 * headers, footers, comments, the table of contents and hidden text are left out; nothing is fetched.
 *
 * Own code over fflate and saxes: mammoth 1.13 is 100 kB gzip and takes archive and tree whole, without bounds.
 */
import type { Block, Content, Table } from "../t5/text-to-text/content.ts";
import { ItemCounter, NO_NUMBERING, type Numbering, readNumbering } from "./docx-numbering.ts";
import { type ParagraphStyle, readStyles } from "./docx-styles.ts";
import { leftOut } from "./left-out.ts";
import { DEFAULT_LIMITS, type ReadLimits } from "./limits.ts";
import { Meter } from "./meter.ts";
import { type OfficeFormat, openOffice, partOf, type Relationship, readMain, readRelationships } from "./office.ts";
import { joinedHeader, shownHeader, tableOf } from "./table-rows.ts";
import { type Attributes, attribute, isOn, readXml, type XmlHandler } from "./xml.ts";
import type { ZipArchive } from "./zip.ts";

export interface DocxOptions {
  limits?: ReadLimits;
}

export type DocumentContent = Extract<Content, { kind: "document" }>;

const DOCX: OfficeFormat = { name: "DOCX", root: "document", old: ".doc" };

/**
 * Headings by style or outline level, list items with their depth and number as Word shows it, tables, foot- and endnotes as numbered paragraphs at the end. A table of one row or one column is a
 * layout: its paragraphs are given as such. The title is the paragraph of the style Title, or the file's property.
 *
 * @throws EdgeT5Error `E_FORMAT` for another format, an older one or an encrypted file; `E_DAMAGED`; `E_TOO_LARGE`
 */
export function readDocx(bytes: Uint8Array, { limits = DEFAULT_LIMITS }: DocxOptions = {}): DocumentContent {
  const office = openOffice(bytes, DOCX, limits);
  const { zip, main } = office;
  const relationships = readRelationships(zip, main, limits);
  const part = (type: string) => partOf(zip, relationships, type);
  const stylesPart = part("styles");
  const styles = stylesPart === undefined ? new Map<string, ParagraphStyle>() : readStyles(zip, stylesPart, limits);
  const meter = new Meter(limits);
  const numberingPart = part("numbering");
  const numbering = numberingPart === undefined ? NO_NUMBERING : readNumbering(zip, numberingPart, limits);
  const body = new Body({ styles, numbering, meter });
  readMain(office, DOCX, limits, body);
  const notes = [...body.notes];
  const references = body.references;
  for (const kind of ["footnote", "endnote"] as const) {
    const notesPart = part(`${kind}s`);
    if (notesPart === undefined || ![...references.keys()].some((key) => key.startsWith(kind))) continue;
    for (const [id, text] of readNotes(zip, notesPart, kind, { styles, numbering, meter })) {
      const number = references.get(`${kind} ${id}`);
      if (number !== undefined) body.noteTexts[number - 1] = text;
    }
  }
  const edges = pageEdges(zip, relationships, { styles, numbering, meter });
  const left = leftOut("page headers and footers", edges);
  if (left) notes.push(left);
  const blocks: Block[] = body.blocks;
  body.noteTexts.forEach((text, i) => {
    if (text) blocks.push({ kind: "paragraph", text: `[${i + 1}] ${text}` });
  });
  const title = body.title ?? propertyTitle(zip, limits);
  return { kind: "document", document: { title, blocks: titled(blocks, title) }, notes };
}

/** Elements whose text is none of the document's: what a change took away, how it was before, a second rendering. */
const LEFT_OUT = new Set([
  "del",
  "moveFrom",
  "delText",
  "instrText",
  "delInstrText",
  "pPrChange",
  "rPrChange",
  "tblPrChange",
  "trPrChange",
  "tcPrChange",
  "sectPrChange",
  "tblGridChange",
  "tblPrExChange",
  "numberingChange",
  "Fallback",
]);

interface Paragraph {
  text: string;
  style: ParagraphStyle | undefined;
  styleId?: string;
  outline?: number;
  list?: string;
  level?: number;
  /** Its end was deleted: the next one goes on with it. */
  open: boolean;
  /** What stands in a text box inside it. */
  inside: Block[];
}

interface Cell {
  blocks: Block[];
  span: number;
  /** Continues the one above. */
  continues: boolean;
}

interface Row {
  cells: string[];
  /** The same, with the text of a cell that spans columns in the first alone. */
  shown: string[];
  blocks: Block[];
  deleted: boolean;
  /** As one that is repeated on each page. */
  isMarked: boolean;
  isHeader: boolean;
}

interface OpenTable {
  /** Which one its last row was of. */
  part: "none" | "header" | "body";
  /** How many paragraphs were open where it began: it may stand in a text box. */
  depth: number;
  rows: Row[];
  row: Row | undefined;
  cell: Cell | undefined;
}

interface Context {
  styles: ReadonlyMap<string, ParagraphStyle>;
  numbering: Numbering;
  meter: Meter;
}

/** Makes blocks of a part's elements. */
class Body implements XmlHandler {
  readonly blocks: Block[] = [];
  readonly notes: string[] = [];
  /** Numbers of notes by kind and id, in the order in which the text refers to them. */
  readonly references = new Map<string, number>();
  readonly noteTexts: string[] = [];
  title: string | undefined;
  readonly #styles: ReadonlyMap<string, ParagraphStyle>;
  readonly #items: ItemCounter;
  readonly #meter: Meter;
  /** Names of open elements. */
  readonly #path: string[] = [];
  /** How many of them are in one that is left out, it among them. */
  #leftOut = 0;
  readonly #paragraphs: Paragraph[] = [];
  readonly #tables: OpenTable[] = [];
  /** A paragraph that waits for its other half. */
  #half: Paragraph | undefined;
  #hidden = false;
  #section: string | null = null;
  #contents = false;

  constructor({ styles, numbering, meter }: Context) {
    this.#styles = styles;
    this.#items = new ItemCounter(numbering);
    this.#meter = meter;
  }

  open(name: string, attributes: Attributes): void {
    const parent = this.#path.at(-1);
    this.#path.push(name);
    if (this.#leftOut > 0) {
      this.#leftOut++;
      return;
    }
    // In properties, del says that the paragraph's end or the row is deleted.
    const isMark = parent === "rPr" || parent === "trPr";
    if (LEFT_OUT.has(name) && !isMark) {
      this.#leftOut = 1;
      return;
    }
    const paragraph = this.#paragraph();
    const table = this.#tables.at(-1);
    switch (name) {
      case "p":
        this.#paragraphs.push({
          text: this.#half?.text ?? "",
          inside: this.#half?.inside ?? [],
          style: undefined,
          open: false,
        });
        this.#half = undefined;
        return;
      case "r":
        this.#hidden = false;
        return;
      case "tbl":
        this.#endHalf();
        this.#tables.push({
          part: "none",
          rows: [],
          row: undefined,
          cell: undefined,
          depth: this.#paragraphs.length,
        });
        return;
      case "tr":
        if (!table) return;
        this.#meter.rows(table.rows.length + 1);
        table.row = {
          ...{ cells: [], shown: [], blocks: [] },
          ...{ deleted: false, isMarked: false, isHeader: table.part === "none" },
        };
        return;
      case "tc":
        if (table?.row) table.cell = { blocks: [], span: 1, continues: false };
        return;
      default:
    }
    if (table) this.#ofTable(name, parent, attributes, table);
    if (paragraph) this.#ofParagraph(name, parent, attributes, paragraph);
  }

  #ofTable(name: string, parent: string | undefined, attributes: Attributes, table: OpenTable): void {
    const { part, row, cell } = table;
    const value = attribute(attributes, "val");
    if (parent === "tcPr" && cell) {
      if (name === "gridSpan") cell.span = this.#span(value);
      else if (name === "vMerge") cell.continues = value !== "restart";
    } else if (parent === "trPr" && row) {
      if (name === "del") row.deleted = true;
      else if (name === "tblHeader" && isOn(value)) {
        row.isMarked = true;
        row.isHeader = part !== "body";
      } else if (name === "gridBefore") this.#fill(row, "", this.#span(value), 0);
    }
  }

  #span(value: string | undefined): number {
    const span = Number(value);
    if (!(span >= 1)) return 1;
    this.#meter.columns(span);
    return Math.floor(span);
  }

  /** @param times in how many of the columns the text stands */
  #fill(row: Row, text: string, span: number, times: number): void {
    this.#meter.cells(span);
    this.#meter.columns(row.cells.length + span);
    for (let i = 0; i < span; i++) {
      row.cells.push(i < times ? text : "");
      row.shown.push(i === 0 ? text : "");
    }
  }

  #ofParagraph(name: string, parent: string | undefined, attributes: Attributes, paragraph: Paragraph): void {
    const value = attribute(attributes, "val");
    if (parent === "r") {
      if (name === "tab") this.#add(paragraph, "\t");
      else if (name === "cr") this.#add(paragraph, "\n");
      else if (name === "br" && (attribute(attributes, "type") ?? "textWrapping") === "textWrapping") {
        this.#add(paragraph, "\n");
      } else if (name === "noBreakHyphen") this.#add(paragraph, "-");
      else if (name === "footnoteReference" || name === "endnoteReference") {
        const id = attribute(attributes, "id");
        if (id !== undefined) this.#add(paragraph, `[${this.#reference(`${name.slice(0, -9)} ${id}`)}]`);
      }
    } else if (name === "vanish" && parent === "rPr") {
      if (this.#path.at(-3) === "r") this.#hidden = isOn(value);
    } else if (name === "del" && parent === "rPr") paragraph.open = true;
    else if (value === undefined) return;
    else if (name === "pStyle") {
      paragraph.style = this.#styles.get(value);
      paragraph.styleId = value;
    } else if (name === "outlineLvl") paragraph.outline = Number(value);
    else if (name === "numId") paragraph.list = value;
    else if (name === "ilvl") paragraph.level = Number(value);
  }

  #reference(key: string): number {
    const number = this.references.get(key) ?? this.references.size + 1;
    this.references.set(key, number);
    return number;
  }

  text(piece: string): void {
    const paragraph = this.#paragraph();
    if (paragraph && this.#leftOut === 0 && this.#path.at(-1) === "t") this.#add(paragraph, piece);
  }

  #add(paragraph: Paragraph, text: string): void {
    if (this.#hidden) return;
    this.#meter.characters(text.length);
    paragraph.text += text;
  }

  close(name: string): void {
    this.#path.pop();
    if (this.#leftOut > 0) {
      this.#leftOut--;
      return;
    }
    if (name === "r") this.#hidden = false;
    else if (name === "p") this.#endParagraph();
    else if (name === "tc") this.#endCell();
    else if (name === "tr") this.#endRow();
    else if (name === "tbl") this.#endTable();
    else if (name === "body" || name === "footnote" || name === "endnote") this.#endHalf();
  }

  /** The one that text goes to: not one that holds the table which is being read. */
  #paragraph(): Paragraph | undefined {
    return this.#paragraphs.length > (this.#tables.at(-1)?.depth ?? 0) ? this.#paragraphs.at(-1) : undefined;
  }

  /** No paragraph follows: it stands alone. */
  #endHalf(): void {
    const half = this.#half;
    this.#half = undefined;
    if (half) for (const block of [this.#blockOf(half), ...half.inside]) this.#emit(block);
  }

  #endParagraph(): void {
    const paragraph = this.#paragraphs.pop();
    if (!paragraph) return;
    if (paragraph.open) {
      this.#half = { ...paragraph, open: false };
      return;
    }
    if (paragraph.style && /^toc( heading| \d)?$/.test(paragraph.style.name)) {
      if (!this.#contents) this.notes.push("The table of contents is left out.");
      this.#contents = true;
      return;
    }
    const block = this.#blockOf(paragraph);
    const outer = this.#paragraph();
    const made = block.text === "" ? paragraph.inside : [block, ...paragraph.inside];
    if (outer) {
      outer.inside.push(...made);
      return;
    }
    if (paragraph.style?.name === "title" && block.text !== "" && this.#tables.length === 0) this.title ??= block.text;
    for (const one of made) this.#emit(one);
  }

  /** An empty item counts too. */
  #blockOf({ text: raw, style, styleId, ...own }: Paragraph): TextBlock {
    const lines = raw.split("\n").map((line) => line.trim());
    const text = lines.join("\n").trim();
    if (style?.name === "title") return { kind: "heading", level: 1, text };
    const list = own.list ?? style?.list;
    const isItem = list !== undefined && list !== "0";
    const given = own.level ?? style?.level ?? (isItem ? this.#items.levelOf(list, styleId) : 0);
    const depth = given >= 0 && given <= 8 ? Math.floor(given) : 0;
    const marker = isItem ? this.#items.next(list, depth) : undefined;
    this.#meter.characters(marker?.length ?? 0);
    const outline = own.outline ?? style?.outline ?? 9;
    if (outline >= 0 && outline <= 8) {
      const numbered = marker && text !== "" ? `${marker} ${text}` : text;
      return { kind: "heading", level: Math.floor(outline) + 1, text: numbered };
    }
    if (!isItem) return { kind: "paragraph", text };
    return { kind: "item", depth, text, ...(marker && { marker }) };
  }

  /** Into the cell that it stands in, else into the document. */
  #emit(block: Block): void {
    if (block.kind !== "table" && block.text === "") return;
    this.#meter.blocks(1);
    const cell = this.#tables.at(-1)?.cell;
    if (cell) cell.blocks.push(block);
    else {
      if (block.kind === "heading") this.#section = block.text;
      this.blocks.push(block);
    }
  }

  #endCell(): void {
    const table = this.#tables.at(-1);
    if (!table?.cell || !table.row) return;
    this.#endHalf();
    const { blocks, span, continues } = table.cell;
    table.cell = undefined;
    const at = table.row.cells.length;
    const text = continues ? (table.rows.at(-1)?.cells[at] ?? "") : textOf(blocks);
    // Counted once where it stands.
    const times = table.row.isHeader ? span : 1;
    this.#meter.characters(text.length * (continues ? times : times - 1));
    this.#fill(table.row, text, span, times);
    table.row.blocks.push(...blocks);
  }

  #endRow(): void {
    const table = this.#tables.at(-1);
    if (!table?.row) return;
    const { row } = table;
    table.row = undefined;
    if (row.deleted) return;
    table.rows.push(row);
    if (row.cells.some((text) => text !== "")) table.part = row.isMarked && row.isHeader ? "header" : "body";
  }

  #endTable(): void {
    const rows = this.#tables.pop()?.rows.filter(({ cells }) => cells.some((text) => text !== "")) ?? [];
    const width = rows.reduce((most, { cells }) => Math.max(most, cells.length), 0);
    if (rows.length < 2 || width < 2) {
      for (const { blocks } of rows) for (const block of blocks) this.#emit(block);
      return;
    }
    this.#meter.tables(1);
    this.#meter.cells(rows.length * width - rows.reduce((sum, { cells }) => sum + cells.length, 0));
    const head = rows.findIndex(({ isHeader, isMarked }) => !isHeader || !isMarked);
    const cells = rows.map(({ cells }) => cells);
    const depth = head > 1 && head <= MOST_HEADER_ROWS ? head : 1;
    const header = joinedHeader(cells.slice(0, depth));
    const shown = shownHeader(
      header,
      rows.slice(0, depth).map(({ shown }) => shown),
    );
    const table = tableOf([header, ...cells.slice(depth)], { section: this.#section, shown });
    const outer = this.#paragraph();
    if (outer) outer.inside.push({ kind: "table", table });
    else this.#emit({ kind: "table", table });
  }
}

/** More are a table that someone marked from end to end. */
const MOST_HEADER_ROWS = 4;

type TextBlock = Exclude<Block, { kind: "table" }>;

/** Of a cell: its paragraphs, a line each. Of a table in it, cells by their rows. */
function textOf(blocks: readonly Block[]): string {
  return blocks
    .map((block) =>
      block.kind === "table"
        ? [block.table.headers ?? block.table.columns, ...block.table.rows].map((row) => row.join(" ")).join("\n")
        : block.kind === "item" && block.marker
          ? `${block.marker} ${block.text}`
          : block.text,
    )
    .join("\n");
}

/** Texts of notes, by id; those that only draw a line between notes and text have a type. */
function readNotes(zip: ZipArchive, part: string, kind: "footnote" | "endnote", context: Context): Map<string, string> {
  const texts = new Map<string, string>();
  let id: string | undefined;
  let body = new Body(context);
  readXml(zip, part, context.meter.limits, {
    open(name, attributes) {
      if (name === kind) {
        id = attribute(attributes, "type") === undefined ? attribute(attributes, "id") : undefined;
        body = new Body(context);
      }
      body.open(name, attributes);
    },
    text(piece) {
      body.text(piece);
    },
    close(name) {
      body.close(name);
      if (name === kind && id !== undefined) texts.set(id, textOf(body.blocks).replaceAll("\n", " "));
    },
  });
  return texts;
}

/** What is printed at the pages' edges, each text once; page numbers alone are none. */
function pageEdges(zip: ZipArchive, relationships: ReadonlyMap<string, Relationship>, context: Context): string[] {
  const texts = new Set<string>();
  for (const { type, target } of relationships.values()) {
    if ((type !== "header" && type !== "footer") || !zip.has(target)) continue;
    const body = new Body(context);
    readXml(zip, target, context.meter.limits, body);
    const text = textOf(body.blocks).replace(/\s+/g, " ").trim();
    if (/\p{L}/u.test(text)) texts.add(text);
  }
  return [...texts];
}

function propertyTitle(zip: ZipArchive, limits: ReadLimits): string | null {
  const part = [...readRelationships(zip, "", limits).values()].find(({ type }) => type === "core-properties")?.target;
  if (part === undefined || !zip.has(part)) return null;
  let title = "";
  let inTitle = false;
  readXml(zip, part, limits, {
    open(name) {
      inTitle = name === "title";
    },
    text(piece) {
      if (inTitle) title += piece;
    },
    close() {
      inTitle = false;
    },
  });
  return title.trim() || null;
}

/** Tables bear their document's title, which may be told after them. */
function titled(blocks: readonly Block[], title: string | null): Block[] {
  return blocks.map((block) =>
    block.kind === "table" ? { kind: "table", table: { ...block.table, title } satisfies Table } : block,
  );
}
