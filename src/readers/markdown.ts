/** Markdown with GitHub's tables: headings, paragraphs, items, tables, code. Front matter is left out. */
import MarkdownIt, { type Token } from "markdown-it";
import type { Document } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { htmlText } from "./html-text.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

/** Of a document at its limit of blocks: one with text, one without. */
const LINES_PER_BLOCK = 2;

/**
 * Tokens take ten times their text's memory: here they are gone after each block, and those within its text after each text.
 *
 * @throws EdgeT5Error `E_TOO_LARGE` over a limit
 */
export function readMarkdown(text: string, limits: ReadLimits): Document {
  const { front, body } = withoutFrontMatter(text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd"));
  checkLines(body, limits);
  const markdown = new MarkdownIt({ html: true, maxNesting: maxNesting(limits) });
  // References are known when the last block is.
  const env = {};
  const pieces = piecesOf(body, markdown, env, limits);
  const blocks = new BlockList(limits);
  const inline = (text: string) => {
    const tokens: Token[] = [];
    markdown.inline.parse(text, markdown, env, tokens);
    return { text: inlineText(tokens), isCode: isCode(tokens) };
  };
  for (const { place, text, isPlain, rows } of pieces) {
    if (rows) {
      blocks.table(rows.map((row) => row.map((cell) => inline(cell).text.replace(/\n/g, " "))));
      continue;
    }
    const written = isPlain ? { text, isCode: false } : inline(text);
    if (place.kind === "code") blocks.code(text);
    else if (place.kind === "heading") blocks.heading(place.level, written.text);
    else if (place.kind === "item") {
      const { depth, marker } = place;
      blocks.item(depth, written.text.replace(/\n/g, " "), marker, written.isCode);
    } else if (written.isCode) blocks.verbatim(written.text);
    else blocks.paragraph(written.text);
  }
  return blocks.document(titleOf(front));
}

/** A list and its item are two levels. */
function maxNesting({ maxDepth }: ReadLimits): number {
  return maxDepth * 2;
}

function checkLines(text: string, limits: ReadLimits): void {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  if (lines <= limits.maxBlocks * LINES_PER_BLOCK) return;
  const what = `The Markdown has ${lines.toLocaleString("en")} lines, more than ${LINES_PER_BLOCK} for each block`;
  throw tooLarge(what, "maxBlocks", limits);
}

interface Piece {
  readonly place:
    | { readonly kind: "heading"; readonly level: number }
    | { readonly kind: "item"; readonly depth: number; readonly marker: string | undefined }
    | { readonly kind: "paragraph" | "code" };
  readonly text: string;
  /** Whether the text is as it is to stand: code, markup's text. */
  readonly isPlain: boolean;
  /** Of a table; then there is nothing else. */
  readonly rows: readonly (readonly string[])[] | null;
}

/** Blocks, whose text still has its marks. */
function piecesOf(
  text: string,
  markdown: InstanceType<typeof MarkdownIt>,
  env: Record<string, unknown>,
  limits: ReadLimits,
): Piece[] {
  const pieces: Piece[] = [];
  const tokens: Token[] = [];
  const take = () => {
    // What stands deeper is silently left out.
    if (tokens.some(({ level }) => level >= maxNesting(limits) - 2)) {
      throw tooLarge("Quotations and lists stand deeper in each other", "maxDepth", limits);
    }
    addPieces(tokens, pieces, limits);
    if (pieces.length > limits.maxBlocks) throw tooLarge("The file has too many paragraphs", "maxBlocks", limits);
    tokens.length = 0;
  };
  // Asked before each block: those before it that stand in none are complete.
  markdown.block.ruler.before("table", "take", ({ level }) => {
    if (level === 0) take();
    return false;
  });
  markdown.block.parse(text, markdown, env, tokens);
  take();
  return pieces;
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

function addPieces(tokens: readonly Token[], pieces: Piece[], limits: ReadLimits): void {
  const items: { depth: number; marker: string | undefined; isBegun: boolean }[] = [];
  // The next item's number of each list that is open; none where it has bullets.
  const lists: (number | null)[] = [];
  let level = 0;
  let rows: string[][] | null = null;
  const paragraph = { kind: "paragraph" } as const;
  const add = (text: string, isPlain: boolean) => {
    const item = items.at(-1);
    const isFirst = item && !item.isBegun;
    const own = isFirst ? { kind: "item" as const, depth: item.depth, marker: item.marker } : paragraph;
    pieces.push({ place: level > 0 ? { kind: "heading", level } : own, text, isPlain, rows: null });
    if (item) item.isBegun = true;
  };
  for (const token of tokens) {
    const { type, tag, content } = token;
    if (type === "inline" && rows) rows.at(-1)?.push(content);
    else if (type === "inline") add(content, false);
    else if (type === "fence" || type === "code_block")
      pieces.push({ place: { kind: "code" }, text: content, isPlain: true, rows: null });
    else if (type === "html_block") add(htmlText(content, limits), true);
    else if (type === "heading_open") level = Number(tag.slice(1));
    else if (type === "heading_close") level = 0;
    else if (type === "ordered_list_open") lists.push(Number(token.attrGet("start") ?? 1));
    else if (type === "bullet_list_open") lists.push(null);
    else if (/_list_close$/.test(type)) lists.pop();
    else if (type === "list_item_open") {
      const number = lists.at(-1) ?? null;
      if (number !== null) lists[lists.length - 1] = number + 1;
      const marker = number === null ? undefined : `${number}${token.markup}`;
      items.push({ depth: lists.length - 1, marker, isBegun: false });
    } else if (type === "list_item_close") items.pop();
    else if (type === "table_open") rows = [];
    else if (type === "tr_open") rows?.push([]);
    else if (type === "table_close") {
      pieces.push({ place: paragraph, text: "", isPlain: true, rows });
      rows = null;
    }
  }
}

/** Whether all its text is. */
function isCode(tokens: readonly Token[]): boolean {
  const texts = tokens.filter(({ type, content }) => type !== "text" || content.trim() !== "");
  return texts.length > 0 && texts.every(({ type }) => type === "code_inline" || type === "softbreak");
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
