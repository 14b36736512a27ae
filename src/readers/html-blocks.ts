/** A page's events to blocks: headings, paragraphs, items, tables. */
import type { BlockList } from "./blocks.ts";
import { oneLine } from "./blocks.ts";
import type { Attributes, Sink, Source } from "./html-events.ts";
import { TableGrid } from "./html-table.ts";
import type { ReadLimits } from "./limits.ts";
import { letters, roman } from "./ordinals.ts";

const BLOCKS = new Set(
  "address article blockquote body center dd details div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main ol p pre section summary ul caption table tbody td tfoot th thead tr".split(
    " ",
  ),
);

/** @param into in reading order, until a limit is reached */
export function writeBlocks(source: Source, into: BlockList, limits: ReadLimits): void {
  const survey = new Survey();
  source(survey);
  const writer = new BlockWriter(into, limits, survey);
  source(writer);
  writer.end();
}

/** What is known of a page only when it has been seen. */
class Survey implements Sink {
  /** Tables that hold tables, by their order: these arrange a page. */
  readonly layout = new Set<number>();
  /** How many items each list has, by its order: those that count down begin with that number. */
  readonly lengths: number[] = [];
  readonly #tables: number[] = [];
  readonly #lists: number[] = [];
  #count = 0;

  open(name: string, { role }: Attributes): void {
    if (LISTS.has(name)) this.#lists.push(this.lengths.push(0) - 1);
    const list = this.#lists.at(-1);
    if (name === "li" && list !== undefined) this.lengths[list]!++;
    if (name !== "table") return;
    for (const outer of this.#tables) this.layout.add(outer);
    if (role === "presentation" || role === "none") this.layout.add(this.#count);
    this.#tables.push(this.#count++);
  }

  text(): void {}

  close(name: string): void {
    if (name === "table") this.#tables.pop();
    if (LISTS.has(name)) this.#lists.pop();
  }
}

const LISTS = new Set(["ul", "ol"]);
const CODE = new Set(["code", "samp", "kbd"]);

interface List {
  /** The next item's; none where it has bullets. */
  number: number | null;
  step: 1 | -1;
  write: (number: number) => string;
}

const BULLETS: List = { number: null, step: 1, write: String };

/** By an `ol`'s type. */
const NUMBERS: Readonly<Record<string, (number: number) => string>> = {
  a: letters,
  A: (number) => letters(number).toUpperCase(),
  i: roman,
  I: (number) => roman(number).toUpperCase(),
};

function numberedList({ start, type = "", reversed }: Attributes, length: number): List {
  const step = reversed === undefined ? 1 : -1;
  return { number: integer(start) ?? (step > 0 ? 1 : length), step, write: NUMBERS[type] ?? String };
}

/** Numbers of lists are no larger. */
const LARGEST = 2_147_483_647;

function integer(text: string | undefined): number | undefined {
  const number = Number.parseInt(text ?? "", 10);
  return Math.abs(number) <= LARGEST ? number : undefined;
}

interface Item {
  depth: number;
  marker: string | undefined;
  isBegun: boolean;
}

class BlockWriter implements Sink {
  readonly #blocks: BlockList;
  readonly #limits: ReadLimits;
  readonly #layout: ReadonlySet<number>;
  readonly #lengths: readonly number[];
  readonly #lists: List[] = [];
  #listCount = 0;
  readonly #items: Item[] = [];
  #tables = 0;
  /** The table that is being read; one that arranges a page is none. */
  #table: TableGrid | null = null;
  #preformatted = 0;
  #code = 0;
  #text: string[] = [];
  /** Whether all of the text is code. */
  #isCode = true;

  constructor(blocks: BlockList, limits: ReadLimits, { layout, lengths }: Survey) {
    this.#blocks = blocks;
    this.#limits = limits;
    this.#layout = layout;
    this.#lengths = lengths;
  }

  open(name: string, attributes: Attributes): void {
    const length = LISTS.has(name) ? (this.#lengths[this.#listCount++] ?? 0) : 0;
    if (this.#table) {
      this.#table.open(name, attributes);
      return;
    }
    if (name === "br") this.#text.push("\n");
    if (BLOCKS.has(name)) this.#flush();
    if (name === "pre") this.#preformatted++;
    if (CODE.has(name)) this.#code++;
    if (LISTS.has(name)) this.#lists.push(name === "ol" ? numberedList(attributes, length) : BULLETS);
    if (name === "li") this.#openItem(attributes);
    if (name === "table" && !this.#layout.has(this.#tables++)) this.#table = new TableGrid(this.#limits);
  }

  #openItem({ value }: Attributes): void {
    const list = this.#lists.at(-1) ?? BULLETS;
    const number = list.number === null ? null : (integer(value) ?? list.number);
    if (number !== null) list.number = number + list.step;
    const marker = number === null ? undefined : `${list.write(number)}.`;
    this.#items.push({ depth: Math.max(0, this.#lists.length - 1), marker, isBegun: false });
  }

  text(text: string): void {
    if (this.#table) {
      this.#table.text(text);
      return;
    }
    if (this.#code === 0 && text.trim() !== "") this.#isCode = false;
    this.#text.push(this.#preformatted > 0 ? text : text.replace(/[\r\n]/g, " "));
  }

  close(name: string): void {
    if (this.#table) {
      this.#closeInTable(this.#table, name);
      return;
    }
    const level = /^h([1-6])$/.exec(name)?.[1];
    if (BLOCKS.has(name)) this.#flush(level ? Number(level) : undefined);
    if (name === "pre") this.#preformatted--;
    if (CODE.has(name)) this.#code--;
    if (LISTS.has(name)) this.#lists.pop();
    if (name === "li") this.#items.pop();
  }

  end(): void {
    this.#flush();
  }

  #closeInTable(table: TableGrid, name: string): void {
    if (name !== "table") {
      table.close(name);
      return;
    }
    this.#table = null;
    this.#writeTable(table);
  }

  /** @param level of the heading that the text is; default: none */
  #flush(level?: number): void {
    const text = this.#text.join("");
    const isCode = this.#isCode;
    this.#text = [];
    this.#isCode = true;
    if (oneLine(text) === "") return;
    if (this.#preformatted > 0 && (isCode || !isProse(text))) {
      this.#blocks.code(text);
      return;
    }
    const item = this.#items.at(-1);
    if (level) this.#blocks.heading(level, text);
    else if (item && !item.isBegun) this.#blocks.item(item.depth, text, item.marker, isCode);
    else if (isCode) this.#blocks.verbatim(text);
    else this.#blocks.paragraph(text);
    if (item) item.isBegun = true;
  }

  /** What has one column, or one row without a heading, is no table: its cells are paragraphs. */
  #writeTable(table: TableGrid): void {
    const { rows, shown, caption, hasHeader } = table.spread();
    // What names the table is no part of its text.
    if (caption) this.#blocks.paragraph(caption);
    const width = rows.reduce((most, { length }) => Math.max(most, length), 0);
    if (width > 1 && (rows.length > 1 || hasHeader)) this.#blocks.table(rows, caption, shown);
    else for (const cell of rows.flat()) this.#blocks.paragraph(cell);
  }
}

/** Of what is not space, letters are nearly all of prose, and less of code. */
const PROSE_LETTERS = 0.8;

/** Whether preformatted text is a mail or verse, not code: letters, and marks at the ends of words. */
function isProse(text: string): boolean {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  const all = text.match(/\S/g)?.length ?? 0;
  return letters >= all * PROSE_LETTERS && /\p{L}{2}[.,!?…]["'”’»)]?(?:\s|$)/u.test(text);
}
