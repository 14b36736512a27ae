/** Random numbers that depend on nothing but their keys: a run that is resumed draws what it would have drawn. */

/** sfc32 (Chris Doty-Humphrey, PractRand), seeded by up to four numbers. @returns 32 random bits a call */
export function randomBits(...keys: readonly number[]): () => number {
  let [a = 0, b = 0, c = 0, d = 1] = [0, 1, 2, 3].map((i) =>
    Math.imul((keys[i] ?? 0) ^ 0x9e3779b9, 0x85ebca6b + 2 * i),
  );
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}

/** Puts a list in random order, in place (Fisher and Yates). */
export function shuffle<T>(list: T[], bits: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor((bits() / 2 ** 32) * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/**
 * A dropout mask: 1 for what is kept. How far it is from one that is dropped to the next is drawn, not each by itself:
 * a tenth of the draws at 0.1. `dropout` is met to a 10,000th.
 */
export function dropoutMask(length: number, dropout: number, bits: () => number): Uint8Array {
  const mask = new Uint8Array(length).fill(1);
  const kept = runsOf(dropout);
  for (let at = -1; ; ) {
    const drawn = bits();
    at += 1 + kept[drawn & 0xffff]!;
    if (at >= length) return mask;
    mask[at] = 0;
    at += 1 + kept[drawn >>> 16]!;
    if (at >= length) return mask;
    mask[at] = 0;
  }
}

const runs = new Map<number, Uint32Array>();

/** How many are kept in a row, by 16 random bits: a geometric distribution, ⌊ln u ÷ ln(1 − dropout)⌋. */
function runsOf(dropout: number): Uint32Array {
  const known = runs.get(dropout);
  if (known) return known;
  const made = Uint32Array.from({ length: 65536 }, (_, i) => Math.log((i + 0.5) / 65536) / Math.log1p(-dropout));
  runs.set(dropout, made);
  return made;
}
