/** Choosing a token by chance, the same for the same seed. */
import { softmax } from "./processors.ts";

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

/** A token of the distribution that `scores` describe; one of minus infinity never. */
export function sample(scores: Float32Array, random: () => number): number {
  const probabilities = softmax(scores);
  let left = random();
  let last = 0;
  for (const [token, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    last = token;
    left -= probability;
    if (left < 0) return token;
  }
  return last;
}
