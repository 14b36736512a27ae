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

/** A dropout mask: 1 for what is kept. Two draws come of 32 bits, so `dropout` is taken to a 65,536th. */
export function dropoutMask(length: number, dropout: number, bits: () => number): Uint8Array {
  const mask = new Uint8Array(length);
  const limit = Math.round(dropout * 65536);
  for (let i = 0; i < length; i += 2) {
    const drawn = bits();
    mask[i] = (drawn & 0xffff) >= limit ? 1 : 0;
    if (i + 1 < length) mask[i + 1] = drawn >>> 16 >= limit ? 1 : 0;
  }
  return mask;
}
