/** Markdown with GitHub's tables: headings, paragraphs, items, tables, code. Front matter is left out. */
import { Lexer, type Token, type Tokens } from "marked";
import { EdgeT5Error } from "../errors.ts";
import type { Document } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { htmlText } from "./html-text.ts";
import { type ReadLimits, tooLarge } from "./limits.ts";

/** Its marks are left as they are in longer paragraphs: the lexer's time grows faster than they do. */
const LONGEST_MARKED_UP = 20_000;

/** @throws EdgeT5Error `E_TOO_LARGE` over a limit */
export function readMarkdown(text: string, limits: ReadLimits): Document {
  const { front, body } = withoutFrontMatter(text.replace(/\r\n?/g, "\n"));
  checkNesting(body, limits);
  const blocks = new BlockList(limits);
  const lexer = new Lexer({ gfm: true });
  const tokens = lexed(() => lexer.blockTokens(body));
  new Walk(lexer, blocks).all(tokens, 0);
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

/** The lexer calls itself for each level. */
function checkNesting(text: string, limits: ReadLimits): void {
  for (const line of text.split("\n")) {
    const marks = /^(?:[ \t]*(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t])))+/.exec(line)?.[0] ?? "";
    const depth = marks.replace(/[^>\-+*.)]/g, "").length;
    if (depth > limits.maxDepth)
      throw tooLarge(`Quotations and lists stand ${depth} deep in each other`, "maxDepth", limits);
  }
}

function lexed(lex: () => Token[]): Token[] {
  try {
    return lex();
  } catch (error) {
    throw new EdgeT5Error("E_DAMAGED", "The Markdown cannot be taken apart. Send it as plain text.", { cause: error });
  }
}

class Walk {
  readonly #lexer: Lexer;
  readonly #blocks: BlockList;

  constructor(lexer: Lexer, blocks: BlockList) {
    this.#lexer = lexer;
    this.#blocks = blocks;
  }

  /** @param depth of lists that these stand in */
  all(tokens: readonly Token[], depth: number): void {
    for (const token of tokens) this.#one(token as Tokens.Generic, depth);
  }

  #one(token: Tokens.Generic, depth: number): void {
    const blocks = this.#blocks;
    if (token.type === "heading") blocks.heading(token.depth, this.#plain(token.text));
    else if (token.type === "paragraph" || token.type === "text") blocks.paragraph(this.#plain(token.text));
    else if (token.type === "code") blocks.paragraph(token.text);
    else if (token.type === "html") blocks.paragraph(htmlText(token.text));
    else if (token.type === "blockquote") this.all(token.tokens ?? [], depth);
    else if (token.type === "list") for (const item of (token as Tokens.List).items) this.#item(item, depth);
    else if (token.type === "table") this.#table(token as Tokens.Table);
  }

  #table({ header, rows }: Tokens.Table): void {
    const cells = (row: readonly Tokens.TableCell[]) => row.map(({ text }) => this.#plain(text).replace(/\n/g, " "));
    this.#blocks.table([header, ...rows].map(cells));
  }

  /** Its first text is the item; what else stands in it comes after. */
  #item(item: Tokens.ListItem, depth: number): void {
    const [first, ...rest] = item.tokens.filter(({ type }) => type !== "space" && type !== "checkbox");
    if (!first) return;
    const isText = first.type === "text" || first.type === "paragraph";
    if (isText) this.#blocks.item(depth, this.#plain((first as Tokens.Text).text).replace(/\n/g, " "));
    this.all(isText ? rest : [first, ...rest], depth + 1);
  }

  /** A paragraph's text without its marks. A line's end is a space but where it is meant. */
  #plain(text: string): string {
    if (text.length > LONGEST_MARKED_UP) return text.replace(/\n/g, " ");
    return inlineText(lexed(() => this.#lexer.inlineTokens(text)));
  }
}

function inlineText(tokens: readonly Token[]): string {
  return tokens.map((token) => inlineOf(token as Tokens.Generic)).join("");
}

function inlineOf(token: Tokens.Generic): string {
  switch (token.type) {
    case "br":
      return "\n";
    case "html":
      return /^<br\s*\/?>$/i.test(token.raw) ? "\n" : "";
    // Its text is what stands for it.
    case "image":
      return "";
    case "codespan":
    case "escape":
      return token.text;
    case "text":
      return token.tokens ? inlineText(token.tokens) : htmlText(token.text.replace(/\n/g, " "));
    default:
      return token.tokens ? inlineText(token.tokens) : (token.text ?? "");
  }
}
