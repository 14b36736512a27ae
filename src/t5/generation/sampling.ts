/** Choosing a token by chance, the same for the same seed. */
/** Uniform numbers in [0, 1): mulberry32 (Tommy Ettinger, public domain algorithm). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * A token of the distribution that `scores` describe; one of minus infinity never. Two passes and no array: a step of a
 * large vocabulary leaves no garbage behind.
 */
export function sample(scores: Float32Array, random: () => number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > largest) largest = scores[i]!;
  let total = 0;
  for (let i = 0; i < scores.length; i++) total += Math.exp(scores[i]! - largest);
  let left = random();
  let last = 0;
  for (let i = 0; i < scores.length; i++) {
    const probability = Math.exp(scores[i]! - largest) / total;
    if (probability === 0) continue;
    last = i;
    left -= probability;
    if (left < 0) return i;
  }
  return last;
}
