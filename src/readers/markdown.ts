/** Markdown with GitHub's tables: headings, paragraphs, items, tables, code. Front matter is left out. */
import MarkdownIt, { type Token } from "markdown-it";
import type { Document } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { htmlText } from "./html-text.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

/** @throws EdgeT5Error `E_TOO_LARGE` over a limit */
export function readMarkdown(text: string, limits: ReadLimits): Document {
  const { front, body } = withoutFrontMatter(text.replace(/\r\n?/g, "\n"));
  // A list and its item are two levels.
  const maxNesting = limits.maxDepth * 2;
  const tokens = new MarkdownIt({ html: true, maxNesting }).parse(body, {});
  // What stands deeper is silently left out.
  if (tokens.some(({ level }) => level >= maxNesting - 2)) {
    throw tooLarge("Quotations and lists stand deeper in each other", "maxDepth", limits);
  }
  const blocks = new BlockList(limits);
  writeTokens(tokens, blocks, limits);
  return blocks.document(titleOf(front));
}

/** YAML's between lines of three hyphens, or TOML's between plus signs, at the very beginning. */
function withoutFrontMatter(text: string): { front: string; body: string } {
  const found = /^(---|\+\+\+)[ \t]*\n/.exec(text);
  if (!found) return { front: "", body: text };
  const start = found[0].length - 1;
  const end = text.indexOf(`\n${found[1]}`, start);
  const after = end < 0 ? "" : text.slice(end + 4);
  if (end < 0 || !/^[ \t]*(?:\n|$)/.test(after)) return { front: "", body: text };
  return { front: text.slice(start, end), body: after };
}

function titleOf(front: string): string | null {
  return /^title\s*[:=]\s*(["']?)(.+)\1\s*$/m.exec(front)?.[2] ?? null;
}

function writeTokens(tokens: readonly Token[], blocks: BlockList, limits: ReadLimits): void {
  const items: { depth: number; isBegun: boolean }[] = [];
  let lists = 0;
  let level = 0;
  let rows: string[][] | null = null;
  const write = (text: string) => {
    const item = items.at(-1);
    if (level > 0) blocks.heading(level, text);
    else if (item && !item.isBegun) blocks.item(item.depth, text.replace(/\n/g, " "));
    else blocks.paragraph(text);
    if (item) item.isBegun = true;
  };
  for (const { type, tag, content, children } of tokens) {
    if (type === "inline" && rows) rows.at(-1)?.push(inlineText(children).replace(/\n/g, " "));
    else if (type === "inline") write(inlineText(children));
    else if (type === "fence" || type === "code_block") write(content);
    else if (type === "html_block") write(htmlText(content, limits));
    else if (type === "heading_open") level = Number(tag.slice(1));
    else if (type === "heading_close") level = 0;
    else if (/_list_open$/.test(type)) lists++;
    else if (/_list_close$/.test(type)) lists--;
    else if (type === "list_item_open") items.push({ depth: lists - 1, isBegun: false });
    else if (type === "list_item_close") items.pop();
    else if (type === "table_open") rows = [];
    else if (type === "tr_open") rows?.push([]);
    else if (type === "table_close") {
      blocks.table(rows ?? []);
      rows = null;
    }
  }
}

/** A paragraph's text without its marks. A line's end is a space but where it is meant. */
function inlineText(tokens: readonly Token[] | null): string {
  let text = "";
  for (const { type, content } of tokens ?? []) {
    if (type === "softbreak") text += " ";
    else if (type === "hardbreak" || (type === "html_inline" && /^<br\s*\/?>$/i.test(content))) text += "\n";
    // An image's text is what stands for it.
    else if (type !== "html_inline" && type !== "image") text += content;
  }
  return text;
}
