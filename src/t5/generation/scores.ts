/** Arithmetic over the scores of one step `[vocabSize]`. */

/** Index of the largest, the lowest of equals. */
export function argmax(scores: Float32Array): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/** log(sum of e^scores). */
export function logSumExp(scores: Float32Array): number {
  const largest = scores[argmax(scores)]!;
  let sum = 0;
  for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i]! - largest);
  return largest + Math.log(sum);
}

/** Replaces scores with log-probabilities. */
export function logSoftmax(scores: Float32Array): void {
  const total = logSumExp(scores);
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! - total;
}

/** Indices of the `k` largest, largest first, the lower index of equals first. */
export function topIndices(scores: Float32Array, k: number): number[] {
  const best: number[] = [];
  if (k === 0) return best;
  const worst = () => scores[best[best.length - 1]!]!;
  for (let i = 0; i < scores.length; i++) {
    if (best.length === k && scores[i]! <= worst()) continue;
    let at = best.length;
    while (at > 0 && scores[i]! > scores[best[at - 1]!]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return best;
}
