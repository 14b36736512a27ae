/** A document as plain text, and in sections: what models are given of it. */
import type { Block, Document } from "./content.ts";
import { linearizeTable } from "./table.ts";

/** Blank lines between blocks, but for items of one list; a heading stands on a line of its own. */
export function documentText(document: Document): string {
  let text = "";
  let last: Block | undefined;
  for (const block of document.blocks) {
    const between = last === undefined ? "" : last.kind === "item" && block.kind === "item" ? "\n" : "\n\n";
    text += between + blockText(block);
    last = block;
  }
  return text;
}

/** Items begin with `- `, those in others two spaces further right; tables are in TAPEX's form. */
export function blockText(block: Block): string {
  if (block.kind === "item") return `${"  ".repeat(block.depth)}- ${block.text}`;
  return block.kind === "table" ? linearizeTable(block.table, { form: "tapex" }).text : block.text;
}

export interface Section {
  /** Null for what stands before the first heading. */
  heading: string | null;
  /** Of the heading; 0 without one. */
  level: number;
  /** Of the headings that it stands under, from the highest. */
  path: readonly string[];
  /** Without the heading. */
  blocks: readonly Block[];
  /** The blocks as {@link documentText} gives them. */
  text: string;
}

/** In their order; a section ends at the next heading of any level. One that has no text of its own is a section too. */
export function sectionsOf(document: Document): Section[] {
  const sections: { heading: string | null; level: number; path: readonly string[]; blocks: Block[] }[] = [];
  let open: { level: number; text: string }[] = [];
  for (const block of document.blocks) {
    if (block.kind === "heading") {
      open = open.filter(({ level }) => level < block.level);
      sections.push({ heading: block.text, level: block.level, path: open.map(({ text }) => text), blocks: [] });
      open.push(block);
    } else {
      if (sections.length === 0) sections.push({ heading: null, level: 0, path: [], blocks: [] });
      sections.at(-1)!.blocks.push(block);
    }
  }
  return sections.map((section) => ({ ...section, text: documentText({ title: null, blocks: section.blocks }) }));
}
