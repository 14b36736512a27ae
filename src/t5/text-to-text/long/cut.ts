/** Cuts what no window holds: where a clause ends, else between words, else inside a word. */
import { EdgeT5Error } from "../../../errors.ts";

/** The best first; a cut is after the match. No pattern has two ways through a run of blanks: cutting is linear. */
const CUTS = [
  /[.!?;:…；：。]["'”’»)\]]{0,3}(?=\s)|[–—](?=\s)|[；：。！？]/g,
  /,["'”’»)\]]{0,3}(?=\s)|[，、]/g,
  /\s(?=(?:and|or|but|because|which|that|while|when|und|oder|aber|denn|weil|dass|daß|wenn|sondern|et|ou|mais|donc|car|que|qui|quand)\s)/gi,
  /\S(?=\s)/g,
];

/**
 * @param fits asked of a part without the blanks around it; true for short ones
 * @returns parts that joined are the text
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` when not even a character fits
 */
export function cutToFit(text: string, fits: (part: string) => boolean): string[] {
  if (fits(text.trim())) return [text];
  const at = cutOf(text);
  if (at <= 0 || at >= text.length) {
    throw new EdgeT5Error("E_CONTEXT_LENGTH", "Not even a character of the text fits the model's window. Widen it.");
  }
  return [...cutToFit(text.slice(0, at), fits), ...cutToFit(text.slice(at), fits)];
}

/** The best cut in the text's middle half, the nearest to its middle. */
function cutOf(text: string): number {
  const quarter = Math.floor(text.length / 4);
  const middle = text.slice(quarter, text.length - quarter);
  for (const cuts of CUTS) {
    const at = nearestEnd(middle, cuts, text.length / 2 - quarter);
    if (at !== null) return quarter + at;
  }
  const trimmed = text.trim();
  const blanks = text.length - text.trimStart().length;
  const between = nearestEnd(trimmed, /\S(?=\s)/g, trimmed.length / 2);
  if (between !== null) return blanks + between;
  return blanks + characterCut(trimmed);
}

function nearestEnd(text: string, pattern: RegExp, wanted: number): number | null {
  let nearest: number | null = null;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    const at = index + match.length;
    if (nearest !== null && Math.abs(nearest - wanted) <= Math.abs(at - wanted)) break;
    nearest = at;
  }
  return nearest;
}

let characters: Intl.Segmenter | undefined;

/** Between two characters as people see them near a word's middle; in one, between its code points. */
function characterCut(word: string): number {
  const middle = Math.floor(word.length / 2);
  characters ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  const from = Math.max(0, middle - 128);
  const around = word.slice(from, middle + 128);
  const { index = 0, segment = "" } = characters.segment(around).containing(middle - from) ?? {};
  if (index > 0) return from + index;
  if (from === 0 && segment.length < word.length) return segment.length;
  const isPair = /[\udc00-\udfff]/.test(word.charAt(middle)) && /[\ud800-\udbff]/.test(word.charAt(middle - 1));
  return isPair ? middle + 1 : middle;
}
