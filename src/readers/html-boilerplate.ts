/** What surrounds a page's content, by the names that pages give it: menus, sidebars, footers, questions about cookies. */
import { oneLine } from "./blocks.ts";
import type { Attributes, Sink, Source } from "./html-events.ts";

type Part = "menu" | "footer" | "cookies";

/** Of a name without its hyphens, in lower case. */
const NAMES: readonly (readonly [part: Part, pattern: RegExp])[] = [
  [
    "menu",
    /^(?:main|top|site|page|primary|secondary|global|header|left|right|sub|mobile|footer)?(?:nav|navbar|navigation|menu|sidebar|breadcrumbs?)(?:bar|links?|list|container|wrapper|inner)?$/,
  ],
  ["footer", /^(?:site|page|main|global)?footer(?:bar|links?|container|wrapper|inner)?$/],
  ["cookies", /^cookies?(?:bar|banner|box|info|text|container|wrapper)?$/],
];
/** These hold the page, and these are no box. */
const KEPT = new Set(["main", "article", "h1", "h2", "h3", "h4", "h5", "h6", "table", "tbody", "tr", "td", "th", "a"]);

/** A menu is links, for the most part. Dishes and their prices are none. */
const MENU_LINKS = 0.6;
/** A footer is the last that stands on a page, and short. */
const FOOTER_CHARACTERS = 300;
const AFTER_FOOTER = 0.1;
/** A question about cookies is short, and asks. */
const COOKIE_CHARACTERS = 600;
const COOKIE_QUESTION =
  /accept|agree|consent|we use|privacy|akzeptier|zustimm|einverstanden|datenschutz|verwende[nt]|accepter|acceptez|utilis/i;

interface Candidate {
  part: Part;
  text: string[];
  characters: number;
  inLinks: number;
  /** Of the page's characters, how many stand before its end. */
  end: number;
}

/**
 * The page without its boilerplate, where nothing else tells that from its content. What may be content stays.
 *
 * @returns also the texts of what is left out
 */
export function withoutBoilerplate(page: Source): { source: Source; left: readonly string[] } {
  const finder = new Finder();
  page(finder);
  const dropped = finder.dropped();
  if (dropped.size === 0) return { source: page, left: [] };
  const left = [...dropped.values()].map(({ text }) => oneLine(text.join("")));
  return {
    source: (sink) => page(new Dropper(sink, new Set(dropped.keys()))),
    left: left.filter((text) => text !== ""),
  };
}

/** Boxes that may be boilerplate, by their places among the page's elements. */
class Finder implements Sink {
  readonly #candidates = new Map<number, Candidate>();
  readonly #open: (Candidate | null)[] = [];
  /** The outermost one that is open, and how deep it stands. */
  #current: Candidate | null = null;
  #count = 0;
  #links = 0;
  #characters = 0;

  open(name: string, attributes: Attributes): void {
    const part = this.#current ? null : partOf(name, attributes);
    const candidate = part && { part, text: [], characters: 0, inLinks: 0, end: 0 };
    if (candidate) {
      this.#candidates.set(this.#count, candidate);
      this.#current = candidate;
    }
    this.#open.push(candidate);
    this.#count++;
    if (name === "a") this.#links++;
  }

  text(text: string): void {
    const characters = text.replace(/\s+/g, "").length;
    this.#characters += characters;
    if (!this.#current) return;
    this.#current.text.push(text);
    this.#current.characters += characters;
    if (this.#links > 0) this.#current.inLinks += characters;
  }

  close(name: string): void {
    if (name === "a") this.#links--;
    const candidate = this.#open.pop();
    if (!candidate) return;
    candidate.end = this.#characters;
    this.#current = null;
  }

  dropped(): Map<number, Candidate> {
    const dropped = [...this.#candidates].filter(([, candidate]) => this.#isBoilerplate(candidate));
    const rest = dropped.reduce((characters, [, own]) => characters - own.characters, this.#characters);
    return new Map(rest > 0 ? dropped : []);
  }

  #isBoilerplate({ part, text, characters, inLinks, end }: Candidate): boolean {
    if (part === "menu") return inLinks >= characters * MENU_LINKS;
    if (part === "cookies") return characters <= COOKIE_CHARACTERS && COOKIE_QUESTION.test(text.join(""));
    return characters <= FOOTER_CHARACTERS && this.#characters - end <= this.#characters * AFTER_FOOTER;
  }
}

function partOf(name: string, { id = "", class: classes = "" }: Attributes): Part | null {
  if (KEPT.has(name) || (id === "" && classes === "")) return null;
  for (const given of `${id} ${classes}`.toLowerCase().split(/\s+/)) {
    const found = NAMES.find(([, pattern]) => pattern.test(given.replace(/[-_]/g, "")));
    if (found) return found[0];
  }
  return null;
}

class Dropper implements Sink {
  readonly #sink: Sink;
  readonly #dropped: ReadonlySet<number>;
  #count = 0;
  /** How many elements are open in one that is dropped, it among them. */
  #depth = 0;

  constructor(sink: Sink, dropped: ReadonlySet<number>) {
    this.#sink = sink;
    this.#dropped = dropped;
  }

  open(name: string, attributes: Attributes): void {
    if (this.#depth > 0 || this.#dropped.has(this.#count)) this.#depth++;
    else this.#sink.open(name, attributes);
    this.#count++;
  }

  text(text: string): void {
    if (this.#depth === 0) this.#sink.text(text);
  }

  close(name: string): void {
    if (this.#depth > 0) this.#depth--;
    else this.#sink.close(name);
  }
}
