/** What optimizers share. */
import type { Slab } from "./slab.ts";

/** A tensor that is trained, with all that belongs to it: arrays that threads share. */
export interface Parameter {
  name: string;
  shape: readonly number[];
  values: Float32Array;
  /** As it was summed up; the optimizer takes it times `scale`. */
  gradient: Float32Array;
  /** The optimizer's memory, as its {@link Optimizer.stateOf} says. */
  state: readonly Float32Array[];
  /** Where the arrays lie, for kernels; null for a tensor that no kernel's addresses reach. */
  slab: Slab | null;
}

export interface Optimizer {
  /** What it remembers of a tensor: names, and how many numbers. */
  stateOf(shape: readonly number[]): readonly { name: string; length: number }[];
  /**
   * Changes a parameter by one step.
   *
   * @param learningRate what the schedule says; an optimizer with relative steps has its own
   * @param scale of the gradient: one over the labels, less where it is clipped
   * @param step 1 for the first
   */
  update(parameter: Parameter, learningRate: number, scale: number, step: number): void;
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Root of the mean square. */
export function rms(values: Float32Array): number {
  return Math.sqrt(sumOfSquares(values) / values.length);
}

/** Four sums side by side: one alone waits for each addition. */
export function sumOfSquares(values: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = values.length - (values.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += values[i]! * values[i]!;
    b += values[i + 1]! * values[i + 1]!;
    c += values[i + 2]! * values[i + 2]!;
    d += values[i + 3]! * values[i + 3]!;
  }
  for (let i = whole; i < values.length; i++) a += values[i]! * values[i]!;
  return a + b + (c + d);
}

/** A count of numbers that kernels take: behind an array's end lie zeros. */
export function wholeVectors(length: number): number {
  return Math.ceil(length / 4) * 4;
}
