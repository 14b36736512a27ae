/** The text of a little markup, as it stands in Markdown. */
import { Parser } from "htmlparser2";
import { type ReadLimits, tooLarge } from "./limits.ts";

const SILENT = new Set(["script", "style", "template", "noscript"]);

/** Without tags, comments, scripts; character references resolved. Blocks are not told apart. */
export function htmlText(markup: string, limits: ReadLimits): string {
  if (!/[<&]/.test(markup)) return markup;
  let text = "";
  let silent = 0;
  let depth = 0;
  const parser = new Parser({
    ontext: (data) => {
      if (silent === 0) text += data;
    },
    onopentag: (name) => {
      if (++depth > limits.maxDepth) throw tooLarge("Elements stand deeper in each other", "maxDepth", limits);
      if (SILENT.has(name)) silent++;
      if (name === "br") text += "\n";
    },
    onclosetag: (name) => {
      depth--;
      if (SILENT.has(name)) silent--;
    },
  });
  parser.end(markup);
  return text;
}
