/** The Porter stemmer (Porter 1980) with the extensions of NLTK, which rouge-score uses. */

/** Words that the rules would get wrong. */
const IRREGULAR = new Map(
  Object.entries({
    skies: "sky",
    sky: "sky",
    dying: "die",
    lying: "lie",
    tying: "tie",
    news: "news",
    innings: "inning",
    inning: "inning",
    outings: "outing",
    outing: "outing",
    cannings: "canning",
    canning: "canning",
    howe: "howe",
    proceed: "proceed",
    exceed: "exceed",
    succeed: "succeed",
  }),
);

type Rule = readonly [suffix: string, replacement: string, condition?: (stem: string) => boolean];

/** @param word in lower case */
export function porterStem(word: string): string {
  const irregular = IRREGULAR.get(word);
  if (irregular !== undefined) return irregular;
  if (word.length <= 2) return word;
  return [plural, pastAndGerund, finalY, doubleSuffixes, shortSuffixes, lastSuffixes, finalE, finalLl].reduce(
    (stem, step) => step(stem),
    word,
  );
}

function isConsonant(word: string, i: number): boolean {
  const letter = word[i]!;
  if ("aeiou".includes(letter)) return false;
  return letter !== "y" || i === 0 || !isConsonant(word, i - 1);
}

/** How many times a consonant follows a vowel: m in [C](VC)^m[V]. */
function measure(stem: string): number {
  let count = 0;
  for (let i = 1; i < stem.length; i++) if (isConsonant(stem, i) && !isConsonant(stem, i - 1)) count++;
  return count;
}

const isLong = (stem: string) => measure(stem) > 0;
const isLonger = (stem: string) => measure(stem) > 1;

function hasVowel(stem: string): boolean {
  return [...stem].some((_, i) => !isConsonant(stem, i));
}

function endsInDoubleConsonant(word: string): boolean {
  return word.length >= 2 && word.at(-1) === word.at(-2) && isConsonant(word, word.length - 1);
}

/** Consonant, vowel, consonant other than w, x, y; or just vowel, consonant. */
function endsShort(word: string): boolean {
  const n = word.length;
  if (n === 2) return !isConsonant(word, 0) && isConsonant(word, 1);
  return (
    n >= 3 &&
    isConsonant(word, n - 3) &&
    !isConsonant(word, n - 2) &&
    isConsonant(word, n - 1) &&
    !"wxy".includes(word[n - 1]!)
  );
}

/** The first rule whose suffix fits decides, whether or not its condition holds. */
function apply(word: string, rules: readonly Rule[]): string {
  for (const [suffix, replacement, condition] of rules) {
    if (!word.endsWith(suffix)) continue;
    const stem = word.slice(0, word.length - suffix.length);
    return !condition || condition(stem) ? stem + replacement : word;
  }
  return word;
}

function plural(word: string): string {
  if (word.length === 4 && word.endsWith("ies")) return word.slice(0, -1);
  return apply(word, [
    ["sses", "ss"],
    ["ies", "i"],
    ["ss", "ss"],
    ["s", ""],
  ]);
}

function pastAndGerund(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2);
  if (word.endsWith("eed")) return isLong(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const suffix = ["ed", "ing"].find((each) => word.endsWith(each) && hasVowel(word.slice(0, -each.length)));
  if (!suffix) return word;
  const stem = word.slice(0, -suffix.length);
  if (/(at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (endsInDoubleConsonant(stem)) return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

function finalY(word: string): string {
  return apply(word, [["y", "i", (stem) => stem.length > 1 && isConsonant(stem, stem.length - 1)]]);
}

const DOUBLE_SUFFIXES: readonly Rule[] = (
  [
    ["ational", "ate"],
    ["tional", "tion"],
    ["enci", "ence"],
    ["anci", "ance"],
    ["izer", "ize"],
    ["bli", "ble"],
    ["alli", "al"],
    ["entli", "ent"],
    ["eli", "e"],
    ["ousli", "ous"],
    ["ization", "ize"],
    ["ation", "ate"],
    ["ator", "ate"],
    ["alism", "al"],
    ["iveness", "ive"],
    ["fulness", "ful"],
    ["ousness", "ous"],
    ["aliti", "al"],
    ["iviti", "ive"],
    ["biliti", "ble"],
    ["fulli", "ful"],
  ] as const
).map(([suffix, replacement]) => [suffix, replacement, isLong]);

function doubleSuffixes(word: string): string {
  if (word.endsWith("alli") && isLong(word.slice(0, -4))) return doubleSuffixes(word.slice(0, -2));
  return apply(word, [...DOUBLE_SUFFIXES, ["logi", "log", (stem) => isLong(`${stem}l`)]]);
}

function shortSuffixes(word: string): string {
  return apply(word, [
    ["icate", "ic", isLong],
    ["ative", "", isLong],
    ["alize", "al", isLong],
    ["iciti", "ic", isLong],
    ["ical", "ic", isLong],
    ["ful", "", isLong],
    ["ness", "", isLong],
  ]);
}

const LAST_SUFFIXES: readonly Rule[] = [
  ...["al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"].map(
    (suffix): Rule => [suffix, "", isLonger],
  ),
  ["ion", "", (stem) => isLonger(stem) && /[st]$/.test(stem)],
  ...["ou", "ism", "ate", "iti", "ous", "ive", "ize"].map((suffix): Rule => [suffix, "", isLonger]),
];

function lastSuffixes(word: string): string {
  return apply(word, LAST_SUFFIXES);
}

function finalE(word: string): string {
  return apply(word, [["e", "", (stem) => isLonger(stem) || (measure(stem) === 1 && !endsShort(stem))]]);
}

function finalLl(word: string): string {
  return apply(word, [["ll", "l", (stem) => isLonger(`${stem}l`)]]);
}
