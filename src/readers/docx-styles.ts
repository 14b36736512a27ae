/** What a paragraph is, by its style and numbering (ECMA-376, WordprocessingML, parts `styles` and `numbering`). */
import type { ReadLimits } from "./limits.ts";
import { attribute, readXml } from "./xml.ts";
import type { ZipArchive } from "./zip.ts";

export interface ParagraphStyle {
  /** Its name in English, in small letters, in every language of Word: `heading 1`. */
  name: string;
  /** From 0 on; 9 is body text. */
  outline?: number;
  /** Number of its list; "0" is none. */
  list?: string;
  /** In its list, from 0 on. */
  level?: number;
}

/** By id; what a style does not say, the one that it is based on does. */
export function readStyles(zip: ZipArchive, part: string, limits: ReadLimits): Map<string, ParagraphStyle> {
  const own = new Map<string, Partial<ParagraphStyle> & { base?: string }>();
  let style: Partial<ParagraphStyle> & { base?: string } = {};
  readXml(zip, part, limits, {
    open(name, attributes) {
      const value = attribute(attributes, "val");
      if (name === "style") {
        style = {};
        own.set(attribute(attributes, "styleId") ?? "", style);
      } else if (value === undefined) return;
      else if (name === "name") style.name = value.toLowerCase();
      else if (name === "basedOn") style.base = value;
      else if (name === "outlineLvl") style.outline = Number(value);
      else if (name === "numId") style.list = value;
      else if (name === "ilvl") style.level = Number(value);
    },
  });
  for (const style of own.values()) {
    const heading = /^heading ([1-9])$/.exec(style.name ?? "");
    if (heading) style.outline ??= Number(heading[1]) - 1;
    // Word's own styles for inner lists have lists of their own.
    const inner = /^list (?:bullet|number) ([2-5])$/.exec(style.name ?? "");
    if (inner) style.level ??= Number(inner[1]) - 1;
  }
  const styles = new Map<string, ParagraphStyle>();
  for (const id of own.keys()) {
    const style: ParagraphStyle = { name: "" };
    const seen = new Set<string>();
    // Styles that are based on each other end the chain.
    for (let at: string | undefined = id; at !== undefined && !seen.has(at) && seen.size < 20; at = own.get(at)?.base) {
      seen.add(at);
      const { base: _, ...given } = own.get(at) ?? {};
      Object.assign(style, { ...given, ...withoutEmpty(style) });
    }
    styles.set(id, style);
  }
  return styles;
}

function withoutEmpty({ name, ...style }: ParagraphStyle): Partial<ParagraphStyle> {
  return name === "" ? style : { name, ...style };
}
