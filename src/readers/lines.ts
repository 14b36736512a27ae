/** Lines that belong to one paragraph, put together: where a word was divided, and where a line's end is meant. */

const DIVIDED = /(\p{L}+)[-\u2010\u00ad]$/u;
const NEXT_WORD = /^\p{Ll}[\p{L}\p{M}]*/u;
const LONGEST_WORD = 80;
/** Before these a hyphen stands for a part of a word that comes later: "Haupt- und Nebensatz", "pre- and post-war". */
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
  const parts: string[] = [];
  for (const line of lines) {
    const next = line.trim();
    const last = parts.at(-1);
    if (next === "") continue;
    if (last === undefined) {
      parts.push(next);
      continue;
    }
    const { kept, between } = joint(last, next, hyphenated);
    parts[parts.length - 1] = kept + between;
    parts.push(next);
  }
  return parts.join("");
}

/** What stays of a line before the next, and what comes between them. */
function joint(last: string, next: string, hyphenated: ReadonlySet<string>): { kept: string; between: string } {
  if (IDEOGRAPH_LAST.test(last.slice(-2)) && IDEOGRAPH_FIRST.test(next)) return { kept: last, between: "" };
  const head = DIVIDED.exec(last.slice(-LONGEST_WORD))?.[1];
  const tail = NEXT_WORD.exec(next.slice(0, LONGEST_WORD))?.[0];
  if (head === undefined || tail === undefined || CONJUNCTIONS.has(tail)) return { kept: last, between: " " };
  const isOneWord = !hyphenated.has(`${head}-${tail}`.toLowerCase());
  return { kept: isOneWord ? last.slice(0, -1) : last, between: "" };
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
