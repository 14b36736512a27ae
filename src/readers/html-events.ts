/** A page as a run of events, without what nobody reads: scripts, menus, footers, forms' controls, cookie banners, what is hidden. */
import { Parser } from "htmlparser2";
import { type ReadLimits, tooLarge } from "./limits.ts";

export type Attributes = Readonly<Record<string, string | undefined>>;

export interface Sink {
  open(name: string, attributes: Attributes): void;
  text(text: string): void;
  close(name: string): void;
}

/** What can be run through as often as needed; every element that it opens it closes. */
export type Source = (sink: Sink) => void;

const DROPPED = new Set(
  "script style noscript template svg canvas iframe object embed audio video map button input select textarea datalist dialog menu nav footer aside head title rt rp img picture source track link meta base"
    .split(" ")
    .concat("frameset", "applet", "progress", "meter"),
);
const DROPPED_ROLES = new Set(
  "navigation banner contentinfo complementary search dialog alertdialog menu menubar toolbar tooltip".split(" "),
);
/** Its own name for a consent banner, or that of a service that makes them. */
const CONSENT =
  /(?:^|[\s_-])(?:(?:cookies?|consent|gdpr|ccpa|privacy)[-_]?(?:banner|bar|notice|notification|popup|modal|overlay|message|dialog|wall|hint|layer|alert|law|consent)|onetrust|cybotcookiebot|usercentrics|didomi|cookiebot|cmp[-_]?container)/i;
/** These hold the page, whatever classes a banner's script left on them. */
const PAGE = new Set(["html", "body", "main", "article"]);

/**
 * The page without what is dropped. `html` and `body` are not among the events, nor what stands in `head`.
 *
 * @throws EdgeT5Error `E_TOO_LARGE` where elements nest too deep
 */
export function pageEvents(html: string, limits: ReadLimits): Source {
  return (sink) => {
    const open: string[] = [];
    // Depth of the element that is being dropped, with all in it.
    let droppedAt = 0;
    const parser = new Parser({
      onopentag: (name, attributes) => {
        // The parser's own time grows with the depth.
        open.push(name);
        const depth = open.length;
        if (depth > limits.maxDepth)
          throw tooLarge(`Elements stand more than ${limits.maxDepth} deep in each other`, "maxDepth", limits);
        if (droppedAt === 0 && isDropped(name, attributes)) droppedAt = depth;
        if (droppedAt === 0 && name !== "html" && name !== "body") sink.open(name, attributes);
      },
      ontext: (text) => {
        if (droppedAt === 0) sink.text(text);
      },
      onclosetag: (name) => {
        // A tag that the file's end cuts is closed without having been opened.
        if (open.at(-1) !== name) return;
        if (droppedAt === 0 && name !== "html" && name !== "body") sink.close(name);
        if (droppedAt === open.length) droppedAt = 0;
        open.pop();
      },
    });
    // In pieces: what is too deep is told before all is read.
    for (let at = 0; at < html.length; at += PIECE) parser.write(html.slice(at, at + PIECE));
    parser.end();
  };
}

const PIECE = 65_536;

function isDropped(name: string, attributes: Attributes): boolean {
  if (DROPPED.has(name)) return true;
  if (PAGE.has(name)) return false;
  const { hidden, role = "", style = "", id = "", class: classes = "" } = attributes;
  if (hidden !== undefined || attributes["aria-hidden"] === "true") return true;
  if (DROPPED_ROLES.has(role)) return true;
  if (style !== "" && /display\s*:\s*none|visibility\s*:\s*hidden/i.test(style)) return true;
  return CONSENT.test(id) || CONSENT.test(classes);
}

/** What a page says of itself, in its `head` or wherever it stands. */
export function titleOf(html: string, limits: ReadLimits): string | null {
  let title = "";
  let isOpen = false;
  let isDone = false;
  let depth = 0;
  const parser = new Parser({
    onopentag: (name) => {
      if (++depth > limits.maxDepth) isDone = true;
      isOpen = name === "title" && !isDone;
    },
    ontext: (text) => {
      if (isOpen) title += text;
    },
    onclosetag: (name) => {
      depth--;
      if (name === "title" && isOpen) isDone = true;
      isOpen = false;
    },
  });
  for (let at = 0; at < html.length && !isDone; at += PIECE) parser.write(html.slice(at, at + PIECE));
  return title.trim() || null;
}
