/**
 * Random numbers by counter: the numbers of one place, example 1,000,000 of a run, can be had without those before it.
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), held to its authors' test vectors.
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

type Four = [number, number, number, number];

/** @param counter of 32-bit numbers @param key of 32-bit numbers @returns four random 32-bit numbers */
export function philox([c0, c1, c2, c3]: Four, [k0, k1]: [number, number]): Four {
  let [a, b, c, d] = [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
  let [keyA, keyB] = [k0 >>> 0, k1 >>> 0];
  for (let round = 0; round < ROUNDS; round++) {
    const lowA = Math.imul(MULTIPLIER_0, a) >>> 0;
    const highA = highProduct(MULTIPLIER_0, a);
    const lowC = Math.imul(MULTIPLIER_1, c) >>> 0;
    const highC = highProduct(MULTIPLIER_1, c);
    a = (highC ^ b ^ keyA) >>> 0;
    c = (highA ^ d ^ keyB) >>> 0;
    b = lowC;
    d = lowA;
    keyA = (keyA + WEYL_0) >>> 0;
    keyB = (keyB + WEYL_1) >>> 0;
  }
  return [a, b, c, d];
}

/** The upper 32 bits of the product of two 32-bit numbers. */
function highProduct(x: number, y: number): number {
  const [xHigh, xLow] = [x >>> 16, x & 0xffff];
  const [yHigh, yLow] = [y >>> 16, y & 0xffff];
  const middle = xHigh * yLow + ((xLow * yLow) >>> 16);
  const carry = xLow * yHigh + (middle & 0xffff);
  return (xHigh * yHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000)) >>> 0;
}

/** What numbers are for: those of one purpose tell nothing of another's. */
export const PURPOSE = { order: 0, noise: 1, mixture: 2 } as const;

/** The random numbers of one place. */
export class RandomNumbers {
  readonly #key: [number, number];
  readonly #counter: Four;
  #block: Four = [0, 0, 0, 0];
  #left = 0;

  /** @param index of the place, below 2^53 */
  constructor(seed: number, purpose: number, index: number) {
    this.#key = [seed, purpose];
    this.#counter = [0, 0, index >>> 0, Math.floor(index / 2 ** 32)];
  }

  /** A whole number of 32 bits. */
  #word(): number {
    if (this.#left === 0) {
      this.#block = philox(this.#counter, this.#key);
      this.#counter[0]++;
      this.#left = 4;
    }
    return this.#block[--this.#left] as number;
  }

  /** From 0 to below 1, all 53 bits. */
  unit(): number {
    return ((this.#word() >>> 5) * 2 ** 26 + (this.#word() >>> 6)) / 2 ** 53;
  }

  /** A whole number from 0 to below `bound`. */
  below(bound: number): number {
    return Math.floor(this.unit() * bound);
  }
}

/** Enough for a Feistel network to look random (Luby and Rackoff 1988 prove four). */
const FEISTEL_ROUNDS = 6;

/**
 * Where a shuffled list of `size` has its `index`-th, without the list: a Feistel network over the next power of four,
 * walked until it lands within `size` (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
 *
 * @param epoch each has another order
 * @returns a whole number from 0 to below `size`; each once
 */
export function shuffledIndex(index: number, size: number, seed: number, epoch: number): number {
  const bits = Math.max(1, Math.ceil(Math.log2(Math.max(size, 2)) / 2));
  const mask = 2 ** bits - 1;
  let place = index;
  do {
    let left = Math.floor(place / (mask + 1));
    let right = place % (mask + 1);
    for (let round = 0; round < FEISTEL_ROUNDS; round++) {
      const [word] = philox([right, round, epoch, bits], [seed, PURPOSE.order]);
      [left, right] = [right, ((left ^ word) & mask) >>> 0];
    }
    place = left * (mask + 1) + right;
  } while (place >= size);
  return place;
}

/** @param unit from 0 to below 1 @returns an index; each as often as its weight asks for */
export function drawn(weights: readonly number[], unit: number): number {
  let left = unit * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [i, weight] of weights.entries()) {
    left -= weight;
    if (left < 0) return i;
  }
  return weights.length - 1;
}
