/** How texts are written before they are taken apart: as `tokenizer.json` tells every library, and here. */

/** The character that stands for a space. */
export const SPACE = "▁";

/** What libraries differ about, whether it is a space, is none or is one for all of them; and a text has no {@link SPACE}. */
const REPLACED: readonly (readonly [from: string, to: string])[] = [
  [SPACE, " "],
  ["\u0085", " "],
  ["\uFEFF", ""],
];

/** Of a `tokenizer.json`. */
export const NORMALIZER = {
  type: "Sequence",
  normalizers: [
    { type: "NFKC" },
    ...REPLACED.map(([from, to]) => ({ type: "Replace", pattern: { String: from }, content: to })),
  ],
};

export function normalize(text: string): string {
  return REPLACED.reduce((normalized, [from, to]) => normalized.replaceAll(from, to), text.normalize("NFKC"));
}
