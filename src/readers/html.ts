/**
 * A page's main content by Mozilla's Readability, on the small DOM that comes with it; where that finds none, the whole
 * page but its menus and footers. Nothing is fetched, no script runs. Tables for their own sake are read from the whole page.
 */
/// <reference path="./jsdom-parser.d.ts" />
import { Readability } from "@mozilla/readability";
import JSDOMParser, { type SmallNode } from "@mozilla/readability/JSDOMParser.js";
import type { Document, Table } from "../t5/text-to-text/content.ts";
import { BlockList } from "./blocks.ts";
import { writeBlocks } from "./html-blocks.ts";
import { withoutBoilerplate } from "./html-boilerplate.ts";
import { type Attributes, pageEvents, type Sink, type Source, titleOf } from "./html-events.ts";
import { leftOut } from "./left-out.ts";
import type { ReadLimits } from "./limits.ts";

/** Readability's time grows faster than the page: of larger ones all is read. Measured in test/readers/html.test.ts. */
const MOST_ELEMENTS = 20_000;
/** A find of fewer characters is no article: the page is read whole. */
const LEAST_FOUND = 250;
/** Readability makes second-level headings of those of the first: this class tells them apart. */
const FIRST_LEVEL = "edge-t5-h1";

export interface HtmlDocument {
  document: Document;
  notes: readonly string[];
}

/** @throws EdgeT5Error `E_TOO_LARGE` over a limit */
export function readHtml(html: string, limits: ReadLimits): HtmlDocument {
  const page = pageEvents(html, limits);
  const title = titleOf(html, limits);
  const { main, ...found } = mainContent(page, title);
  const { source, left } = main ? { source: main, left: [] } : withoutBoilerplate(page);
  const blocks = new BlockList(limits);
  writeBlocks(source, blocks, limits);
  const document = blocks.document(found.title ?? shortTitle(title, blocks));
  return { document, notes: [found.note, leftOut("menus and footers", left)].filter((note) => note !== undefined) };
}

/** All tables of the page, wherever they stand. */
export function readHtmlTables(html: string, limits: ReadLimits): readonly Table[] {
  const blocks = new BlockList(limits);
  writeBlocks(pageEvents(html, limits), blocks, limits);
  const { blocks: written } = blocks.document(shortTitle(titleOf(html, limits), blocks));
  return written.flatMap((block) => (block.kind === "table" ? [block.table] : []));
}

/** Pages put their site's name behind, or before, what their first heading says. */
function shortTitle(title: string | null, { firstHeading }: BlockList): string | null {
  return firstHeading !== null && title?.includes(firstHeading) ? firstHeading : title;
}

interface Found {
  main?: Source;
  title?: string | undefined;
  note?: string;
}

function mainContent(page: Source, title: string | null): Found {
  const written = new Writer();
  page(written);
  if (written.elements > MOST_ELEMENTS) {
    return {
      note: `The page has ${written.elements} elements, too many to tell its main content from the rest: all of it was read.`,
    };
  }
  const article = articleOf(written.parts.join(""), title);
  if (!article?.content || (article.length ?? 0) < LEAST_FOUND) return {};
  const root = article.content;
  return { main: (sink) => walk(root, sink), title: article.title || undefined };
}

/** Null where there is none, and where Readability does not get along with the page. */
function articleOf(body: string, title: string | null) {
  // It takes an author's line out of the text, unless it knows one.
  const head = `<head><title>${escaped(title ?? "")}</title><meta name="author" content="known"/></head>`;
  try {
    const dom = new JSDOMParser().parse(`<html>${head}<body>${body}</body></html>`);
    return new Readability<SmallNode>(dom, {
      charThreshold: LEAST_FOUND,
      disableJSONLD: true,
      classesToPreserve: [FIRST_LEVEL],
      serializer: (node) => node as unknown as SmallNode,
    }).parse();
  } catch {
    return null;
  }
}

function walk(node: SmallNode, sink: Sink): void {
  if (node.nodeType === TEXT_NODE) sink.text(node.textContent);
  if (!node.localName) return;
  const attributes: Attributes = Object.fromEntries(node.attributes?.map(({ name, value }) => [name, value]) ?? []);
  const name = attributes.class?.includes(FIRST_LEVEL) ? "h1" : node.localName;
  sink.open(name, attributes);
  for (const child of node.childNodes) walk(child, sink);
  sink.close(name);
}

const TEXT_NODE = 3;
/** What Readability, tables and lists look at. */
const KEPT = "id class role rel itemprop href colspan rowspan summary scope start type reversed value".split(" ");
const LONGEST_VALUE = 300;

/** Events to markup that is well-formed. */
class Writer implements Sink {
  readonly parts: string[] = [];
  elements = 0;

  open(name: string, attributes: Attributes): void {
    this.elements++;
    // The rest is only counted.
    if (this.elements > MOST_ELEMENTS || !isName(name)) return;
    const own: Attributes = name === "h1" ? { ...attributes, class: FIRST_LEVEL } : attributes;
    const kept = KEPT.flatMap((key) => {
      const value = own[key]?.slice(0, LONGEST_VALUE);
      return value === undefined ? [] : [` ${key}="${escaped(value)}"`];
    });
    this.parts.push(`<${name}${kept.join("")}>`);
  }

  text(text: string): void {
    if (this.elements <= MOST_ELEMENTS) this.parts.push(escaped(text));
  }

  close(name: string): void {
    if (this.elements <= MOST_ELEMENTS && isName(name)) this.parts.push(`</${name}>`);
  }
}

/** Tags with other characters are left out: their text stays. */
function isName(name: string): boolean {
  return /^[a-z][a-z0-9]*$/.test(name);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
