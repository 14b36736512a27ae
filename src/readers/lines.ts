/** Lines that belong to one paragraph, put together: where a word was divided, and where a line's end is meant. */

const DIVIDED = /(\p{L}+)[-\u2010\u00ad]$/u;
const NEXT_WORD = /^\p{Ll}[\p{L}\p{M}]*/u;
/** After these a hyphen stands for a part of a word that comes later: "Haupt- und Nebensatz", "pre- and post-war". */
const CONJUNCTIONS = new Set(["und", "oder", "bzw", "and", "or", "et", "ou"]);

/** Scripts without spaces. */
const IDEOGRAPH_LAST = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\u3000-\u303f\uff00-\uff65]$/u;
const IDEOGRAPH_FIRST = /^[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\u3000-\u303f\uff00-\uff65]/u;

/**
 * One line of several. A hyphen at a line's end goes where the word goes on in lower case, unless the document has the word
 * with its hyphen elsewhere.
 *
 * @param hyphenated words that stand with a hyphen inside a line, in lower case
 */
export function joinLines(lines: readonly string[], hyphenated: ReadonlySet<string> = new Set()): string {
  let text = "";
  for (const line of lines) {
    const next = line.trim();
    if (next === "") continue;
    const head = DIVIDED.exec(text)?.[1];
    const tail = NEXT_WORD.exec(next)?.[0];
    if (text === "") text = next;
    else if (IDEOGRAPH_LAST.test(text) && IDEOGRAPH_FIRST.test(next)) text += next;
    else if (head === undefined || tail === undefined || CONJUNCTIONS.has(tail)) text += ` ${next}`;
    else if (hyphenated.has(`${head}-${tail}`.toLowerCase())) text += next;
    else text = text.slice(0, -1) + next;
  }
  return text;
}

/** Words with a hyphen that do not stand at a line's end, in lower case. */
export function hyphenatedIn(lines: Iterable<string>): Set<string> {
  const words = new Set<string>();
  for (const line of lines) {
    if (!line.includes("-")) continue;
    for (const [word] of line.matchAll(/\p{L}+-\p{L}+/gu)) words.add(word.toLowerCase());
  }
  return words;
}
