/** The text of a little markup: what stands in Markdown, or in a mail that has no other. */
import { Parser } from "htmlparser2";

const SILENT = new Set(["script", "style", "template", "noscript"]);

/** Without tags, comments, scripts; character references resolved. Blocks are not told apart. */
export function htmlText(markup: string): string {
  if (!/[<&]/.test(markup)) return markup;
  let text = "";
  let silent = 0;
  const parser = new Parser({
    ontext: (data) => {
      if (silent === 0) text += data;
    },
    onopentag: (name) => {
      if (SILENT.has(name)) silent++;
      if (name === "br") text += "\n";
    },
    onclosetag: (name) => {
      if (SILENT.has(name)) silent--;
    },
  });
  parser.end(markup);
  return text;
}
