/** Learning rates over a run: a warm-up from zero, then one of four ways down. */
import { EdgeT5Error } from "../errors.ts";

export const SCHEDULES = ["constant", "linear", "cosine", "inverse-square-root"] as const;

export interface Schedule {
  /** Default: `constant`. */
  kind?: (typeof SCHEDULES)[number] | undefined;
  /** The learning rate at the end of the warm-up. */
  peak: number;
  /** Steps of warm-up. Default 0. */
  warmup?: number | undefined;
  /** Where `linear` and `cosine` end, as part of the peak. Default 0. */
  floor?: number | undefined;
}

/**
 * @param step 1 for the first
 * @param steps of the whole run
 * @throws EdgeT5Error `E_INPUT`
 */
export function learningRate(
  { kind = "constant", peak, warmup = 0, floor = 0 }: Schedule,
  step: number,
  steps: number,
): number {
  if (!(peak > 0 && Number.isFinite(peak))) throw refuse(`The learning rate is ${peak}`, "Give a number above 0");
  if (!Number.isInteger(warmup) || warmup < 0) throw refuse(`The warm-up is ${warmup}`, "Give whole steps");
  if (!SCHEDULES.includes(kind)) throw refuse(`The schedule is ${kind}`, `It can be ${SCHEDULES.join(", ")}`);
  if (step <= warmup) return (peak * step) / warmup;
  // The first step after the warm-up is the first that goes down, and the last one is not yet at the floor.
  const progress = Math.min(1, (step - 1 - warmup) / Math.max(1, steps - warmup));
  switch (kind) {
    case "constant":
      return peak;
    case "linear":
      return peak * (floor + (1 - floor) * (1 - progress));
    case "cosine":
      return peak * (floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
    case "inverse-square-root": {
      // From the peak down by 1 ÷ √step; without a warm-up from the first step (Raffel et al. 2020 warm up for 10,000).
      const from = Math.max(1, warmup);
      return peak * Math.sqrt(from / Math.max(from, step));
    }
  }
}

function refuse(what: string, fix: string): EdgeT5Error {
  return new EdgeT5Error("E_INPUT", `${what}. ${fix}.`);
}
