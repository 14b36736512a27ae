/** Numbers of lists as they are written: 4, d, iv. */

const LAST_ROMAN = 3999;
const ROMAN: readonly (readonly [number, string])[] = [
  [1000, "m"],
  [900, "cm"],
  [500, "d"],
  [400, "cd"],
  [100, "c"],
  [90, "xc"],
  [50, "l"],
  [40, "xl"],
  [10, "x"],
  [9, "ix"],
  [5, "v"],
  [4, "iv"],
  [1, "i"],
];

/** In small letters; a number that has none in figures. */
export function roman(number: number): string {
  if (!(number >= 1 && number <= LAST_ROMAN)) return String(number);
  let rest = number;
  let text = "";
  for (const [value, letters] of ROMAN) {
    for (; rest >= value; rest -= value) text += letters;
  }
  return text;
}

/** a to z, then aa, ab; a number that has none in figures. */
export function letters(number: number): string {
  if (!(number >= 1)) return String(number);
  const last = String.fromCharCode(97 + ((number - 1) % 26));
  return number > 26 ? letters(Math.floor((number - 1) / 26)) + last : last;
}

/** a to z, then aa, bb, as Word counts; beyond thirty letters in figures. */
export function repeatedLetters(number: number): string {
  const times = Math.ceil(number / 26);
  if (!(number >= 1) || times > 30) return String(number);
  return String.fromCharCode(97 + ((number - 1) % 26)).repeat(times);
}
