/** How long the sequences of a data set are: what a limit costs, before it is set. */

/** Counts of lengths, exact up to the longest one. */
export class Lengths {
  readonly #counts = new Map<number, number>();

  add(length: number): void {
    this.#counts.set(length, (this.#counts.get(length) ?? 0) + 1);
  }

  summary(): LengthSummary {
    const sorted = [...this.#counts].sort(([a], [b]) => a - b);
    const count = sorted.reduce((sum, [, times]) => sum + times, 0);
    const total = sorted.reduce((sum, [length, times]) => sum + length * times, 0);
    const quantile = (share: number): number => {
      let seen = 0;
      for (const [length, times] of sorted) {
        seen += times;
        if (seen >= share * count) return length;
      }
      return 0;
    };
    const histogram: LengthSummary["histogram"] = [];
    for (const [length, times] of sorted) {
      const upTo = 2 ** Math.ceil(Math.log2(Math.max(length, 1)));
      const last = histogram.at(-1);
      if (last?.upTo === upTo) last.count += times;
      else histogram.push({ upTo, count: times });
    }
    const mean = count === 0 ? 0 : Number((total / count).toFixed(2));
    return {
      total,
      mean,
      median: quantile(0.5),
      p90: quantile(0.9),
      p99: quantile(0.99),
      longest: quantile(1),
      histogram,
    };
  }
}

/** In tokens, eos included. */
export interface LengthSummary {
  total: number;
  mean: number;
  median: number;
  p90: number;
  p99: number;
  longest: number;
  /** Sequences by length: more than the bound before, up to this one; powers of two. */
  histogram: { upTo: number; count: number }[];
}
