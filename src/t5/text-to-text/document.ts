/** A document as plain text: what models are given of it. */
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

/** Items begin with their number or `- `, those in others two spaces further right; tables are in TAPEX's form. */
export function blockText(block: Block): string {
  if (block.kind === "item") return `${"  ".repeat(block.depth)}${block.marker ?? "-"} ${block.text}`;
  return block.kind === "table" ? linearizeTable(block.table, { form: "tapex" }).text : block.text;
}
