/** Numbers of a document's list items, as Word shows them (ECMA-376, WordprocessingML, part `numbering`). */
import type { ReadLimits } from "./limits.ts";
import { repeatedLetters, roman } from "./ordinals.ts";
import { attribute, isOn, readXml } from "./xml.ts";
import type { ZipArchive } from "./zip.ts";

interface Level {
  start: number;
  /** `decimal`, `lowerLetter`, `bullet` … */
  format: string;
  /** Such as `%1.%2)`: numbers of this level and of those above it. */
  text: string;
  /** It begins anew after an item of this level or one above it, from 1 on; 0: never. */
  restart: number | undefined;
  /** Numbers of the levels above are figures. */
  isLegal: boolean;
  /** Id of the style whose paragraphs are of this level. */
  style: string | undefined;
}

/** What several lists have in common; they count on where they do not say otherwise. */
interface Scheme {
  levels: Map<number, Level>;
  /** Id of a style: the scheme is elsewhere, under the same style. */
  link: string | undefined;
}

interface List {
  scheme: string;
  /** Levels of its own. */
  levels: Map<number, Level>;
  /** Of levels, in the place of their scheme's. */
  starts: Map<number, number>;
}

/** Lists by number, and their schemes. */
export interface Numbering {
  lists: ReadonlyMap<string, List>;
  schemes: ReadonlyMap<string, Scheme>;
}

export const NO_NUMBERING: Numbering = { lists: new Map(), schemes: new Map() };

const DEEPEST = 8;

export function readNumbering(zip: ZipArchive, part: string, limits: ReadLimits): Numbering {
  const lists = new Map<string, List>();
  const schemes = new Map<string, Scheme>();
  /** Ids of schemes by the style that they are of. */
  const styles = new Map<string, string>();
  let scheme: Scheme | undefined;
  let schemeId = "";
  let list: List | undefined;
  let place = 0;
  let level: Level | undefined;
  readXml(zip, part, limits, {
    open(name, attributes) {
      const value = attribute(attributes, "val");
      if (name === "abstractNum") {
        scheme = { levels: new Map(), link: undefined };
        schemeId = attribute(attributes, "abstractNumId") ?? "";
        schemes.set(schemeId, scheme);
      } else if (name === "num") {
        list = { scheme: "", levels: new Map(), starts: new Map() };
        lists.set(attribute(attributes, "numId") ?? "", list);
      } else if (name === "lvlOverride") place = Number(attribute(attributes, "ilvl") ?? 0);
      else if (name === "lvl") {
        place = Number(attribute(attributes, "ilvl") ?? 0);
        level = { start: 0, format: "decimal", text: "", restart: undefined, isLegal: false, style: undefined };
        (list ?? scheme)?.levels.set(place, level);
      } else if (name === "isLgl" && level) level.isLegal = isOn(value);
      else if (value === undefined) return;
      else if (name === "abstractNumId" && list) list.scheme = value;
      else if (name === "startOverride") list?.starts.set(place, numberOf(value));
      else if (name === "styleLink") styles.set(value, schemeId);
      else if (name === "numStyleLink" && scheme) scheme.link = value;
      else if (level) setLevel(level, name, value);
    },
    close(name) {
      if (name === "abstractNum") scheme = undefined;
      else if (name === "num") list = undefined;
      else if (name === "lvl") level = undefined;
    },
  });
  for (const own of lists.values()) {
    const linked = styles.get(schemes.get(own.scheme)?.link ?? "");
    if (linked !== undefined) own.scheme = linked;
  }
  return { lists, schemes };
}

function setLevel(level: Level, name: string, value: string): void {
  if (name === "start") level.start = numberOf(value);
  else if (name === "numFmt") level.format = value;
  else if (name === "lvlText") level.text = value;
  else if (name === "lvlRestart") level.restart = numberOf(value);
  else if (name === "pStyle") level.style = value;
}

function numberOf(value: string): number {
  const number = Number(value);
  return Number.isInteger(number) && number >= 0 && number <= 32_767 ? number : 1;
}

/** Counts a text's items, from its beginning on. */
export class ItemCounter {
  readonly #numbering: Numbering;
  /** Of a scheme's levels, the last number of each. */
  readonly #counts = new Map<string, (number | undefined)[]>();
  /** Levels that a list has begun with its own number. */
  readonly #begun = new Set<string>();

  constructor(numbering: Numbering) {
    this.#numbering = numbering;
  }

  /** The level of a list that a style's paragraphs are of, where a style says no more than the list. */
  levelOf(number: string, style: string | undefined): number {
    const list = this.#numbering.lists.get(number);
    if (!list || style === undefined) return 0;
    for (const levels of [list.levels, this.#numbering.schemes.get(list.scheme)?.levels]) {
      for (const [place, level] of levels ?? []) if (level.style === style) return place;
    }
    return 0;
  }

  /** The next item's number, as it stands before its text; nothing where that is a bullet, or nothing. */
  next(number: string, place: number): string | undefined {
    const list = this.#numbering.lists.get(number);
    if (!list) return undefined;
    const level = this.#level(list, place);
    if (!level) return undefined;
    const counts = this.#counts.get(list.scheme) ?? [];
    this.#counts.set(list.scheme, counts);
    counts[place] = this.#count(number, list, place, counts[place]);
    for (let deeper = place + 1; deeper <= DEEPEST; deeper++) {
      const restart = this.#level(list, deeper)?.restart;
      if (restart === undefined || place < restart) counts[deeper] = undefined;
    }
    if (level.format === "bullet") return undefined;
    const text = level.text.replace(/%([1-9])/g, (_, digit: string) => {
      const at = Number(digit) - 1;
      const own = this.#level(list, at);
      if (!own) return "";
      const count = counts[at] ?? list.starts.get(at) ?? own.start;
      return written(count, level.isLegal && at < place ? "decimal" : own.format);
    });
    return text.trim() || undefined;
  }

  #level(list: List, place: number): Level | undefined {
    return list.levels.get(place) ?? this.#numbering.schemes.get(list.scheme)?.levels.get(place);
  }

  #count(number: string, list: List, place: number, last: number | undefined): number {
    const start = list.starts.get(place);
    const key = `${number} ${place}`;
    const isFirst = start !== undefined && !this.#begun.has(key);
    this.#begun.add(key);
    if (isFirst || last === undefined) return start ?? this.#level(list, place)!.start;
    return last + 1;
  }
}

function written(number: number, format: string): string {
  switch (format) {
    case "none":
    case "bullet":
      return "";
    case "lowerLetter":
      return repeatedLetters(number);
    case "upperLetter":
      return repeatedLetters(number).toUpperCase();
    case "lowerRoman":
      return roman(number);
    case "upperRoman":
      return roman(number).toUpperCase();
    case "decimalZero":
      return String(number).padStart(2, "0");
    case "ordinal":
      return `${number}${/1\d$/.test(String(number)) ? "th" : (["th", "st", "nd", "rd"][number % 10] ?? "th")}`;
    default:
      return String(number);
  }
}
