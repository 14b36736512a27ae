/** The sections of a document, for its summary. */
import type { Block, Document, Table } from "../content.ts";
import { blockText } from "../document.ts";

/** A part of a document, under its heading. */
export interface Section {
  readonly heading: string | null;
  readonly text: string;
}

/**
 * A section a heading, whatever its level; what stands before the first one is under the document's title. A heading with
 * nothing under it stands before the next one: `Chapter 1: Beginnings`.
 *
 * @param tableText how a table is written
 */
export function sectionsOf({ title, blocks }: Document, tableText: (table: Table) => string): Section[] {
  const sections: Section[] = [];
  let heading = title;
  let text = "";
  let before: Block["kind"] | null = null;
  const add = () => {
    if (text !== "") sections.push({ heading, text });
  };
  for (const block of blocks) {
    if (block.kind === "heading") {
      add();
      heading = text === "" && before === "heading" ? `${heading}: ${block.text}` : block.text;
      text = "";
    } else {
      const own = block.kind === "table" ? tableText(block.table) : blockText(block);
      const isList = block.kind === "item" && before === "item";
      text += text === "" ? own : `${isList ? "\n" : "\n\n"}${own}`;
    }
    before = block.kind;
  }
  add();
  return sections;
}
