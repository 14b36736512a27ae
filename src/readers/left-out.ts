/** A note on what was left out of a document, which names the first of it. */

const MOST_NAMED = 5;
const MOST_TOLD = 60;

/** @param what it is, in the plural @returns nothing where nothing was left out */
export function leftOut(what: string, texts: readonly string[]): string | undefined {
  if (texts.length === 0) return undefined;
  const named = texts.slice(0, MOST_NAMED).map((text) => `“${text.slice(0, MOST_TOLD)}”`);
  const more = texts.length > MOST_NAMED ? ` and ${texts.length - MOST_NAMED} more` : "";
  return `Left out as ${what}: ${named.join(", ")}${more}.`;
}
