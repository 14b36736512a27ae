/** Arithmetic over the scores of one step `[vocabSize]`. */

/** Index of the largest, the lowest of equals. */
export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/** e^-x for x from 0 to {@link RANGE}, so many a unit: a table takes a third of Math.exp's time over a vocabulary. */
const DENSITY = 128;
/** What lies so far below the largest score is less than 1e-9 of the sum, were it a vocabulary of 100,000 pieces. */
const RANGE = 32;
const DECAY = Float64Array.from({ length: RANGE * DENSITY }, (_, i) => Math.exp(-i / DENSITY));

/** log(sum of e^scores), to 1e-9. */
export function logSumExp(scores: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) if (scores[i]! > largest) largest = scores[i]!;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    const below = (largest - scores[i]!) * DENSITY;
    if (below < RANGE * DENSITY) {
      const place = below | 0;
      const rest = (place - below) / DENSITY;
      sum += DECAY[place]! * (1 + rest * (1 + rest * (1 / 2 + rest / 6)));
    }
  }
  return largest + Math.log(sum);
}

/** Indices of the `k` largest, largest first, the lower index of equals first. */
export function topIndices(scores: Float32Array, k: number): number[] {
  const best: number[] = [];
  if (k === 0) return best;
  let worst = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]!;
    if (score <= worst && best.length === k) continue;
    let at = best.length;
    while (at > 0 && score > scores[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
    if (best.length === k) worst = scores[best[k - 1]!]!;
  }
  return best;
}
