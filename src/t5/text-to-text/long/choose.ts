/** Chooses sentences that together have a number of words. */

/** Words are what stands between blanks and has a letter or a digit in it. */
export function countWords(text: string): number {
  let words = 0;
  for (const [word] of text.matchAll(/\S+/g)) if (/[\p{L}\p{N}]/u.test(word)) words++;
  return words;
}

/** The first words of a sentence, and a sign that it went on. */
export function firstWords(sentence: string, words: number): string {
  let left = words;
  for (const { 0: word, index } of sentence.matchAll(/\S+/g)) {
    if (!/[\p{L}\p{N}]/u.test(word) || --left > 0) continue;
    return `${sentence.slice(0, index + word.length).replace(/[\s\p{P}]+$/u, "")}…`;
  }
  return sentence;
}

/** What a length may be that is asked for in words: a tenth less or more. */
export interface Band {
  wanted: number;
  least: number;
  most: number;
}

/** What {@link chooseWithin} chose: which sentences, in order, and how many words of one of them when that is cut. */
export interface Choice {
  chosen: number[];
  cut: { index: number; words: number } | null;
}

/**
 * Sentences of which the words add up to what is wanted, or as near to it as the band allows, from as few of the first as
 * will do; when no whole sentences do, one is cut at a word.
 *
 * @param words of each sentence
 * @param order the sentences, those first that are rather kept
 */
export function chooseWithin(words: readonly number[], order: readonly number[], band: Band): Choice {
  // last[sum]: the sentence that first made it possible to have so many words; those before it in `order` make the rest.
  const last = new Int32Array(band.most + 1).fill(-1);
  for (const [place, index] of order.entries()) {
    const own = words[index] as number;
    if (own === 0) continue;
    for (let sum = band.most; sum >= own; sum--) {
      if (last[sum] === -1 && (sum === own || last[sum - own] !== -1)) last[sum] = place;
    }
    if (last[band.wanted] !== -1) break;
  }
  const sum = nearestSum(last, band);
  const chosen = chosenOf(sum, last, words, order);
  if (sum >= band.least) return { chosen, cut: null };
  const isChosen = new Set(chosen);
  const lastChosen = chosen.at(-1) ?? -1;
  const longer = order.filter((each) => !isChosen.has(each) && (words[each] as number) > band.wanted - sum);
  const index = longer.find((each) => each > lastChosen) ?? longer[0];
  if (index === undefined) return { chosen, cut: null };
  return { chosen: [...chosen, index].sort((a, b) => a - b), cut: { index, words: band.wanted - sum } };
}

/** The nearest to what is wanted in the band; where none is in it, the largest below; 0 for none at all. */
function nearestSum(last: Int32Array, { wanted, least, most }: Band): number {
  for (let off = 0; off <= Math.max(wanted - least, most - wanted); off++) {
    for (const sum of [wanted + off, wanted - off]) if (sum >= least && sum <= most && last[sum] !== -1) return sum;
  }
  for (let sum = least - 1; sum > 0; sum--) if (last[sum] !== -1) return sum;
  return 0;
}

function chosenOf(sum: number, last: Int32Array, words: readonly number[], order: readonly number[]): number[] {
  const chosen: number[] = [];
  for (let left = sum; left > 0; ) {
    const index = order[last[left] as number] as number;
    chosen.push(index);
    left -= words[index] as number;
  }
  return chosen.sort((a, b) => a - b);
}

/** Places 0 to `count` − 1 in an order whose every beginning is spread over all of them: 0, 1/2, 1/4, 3/4, … */
export function spreadOrder(count: number): number[] {
  const bits = Math.ceil(Math.log2(Math.max(2, count)));
  const order: number[] = [];
  for (let i = 0; i < 2 ** bits; i++) {
    let place = 0;
    for (let bit = 0; bit < bits; bit++) if (i & (1 << bit)) place |= 1 << (bits - 1 - bit);
    if (place < count) order.push(place);
  }
  return order;
}
