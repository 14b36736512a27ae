/** What optimizers share: plain loops over typed arrays, faster on a processor than graphs of the same arithmetic. */

export interface Parameter {
  name: string;
  shape: readonly number[];
  values: Float32Array;
  /** As it was summed up; the optimizer takes it times `scale`. */
  gradient: Float32Array;
}

export interface Optimizer {
  /**
   * Changes every parameter by one step.
   *
   * @param learningRate what the schedule says; an optimizer with relative steps has its own
   * @param scale of the gradients: one over the tokens, less where they are clipped
   * @param step 1 for the first
   */
  update(parameters: readonly Parameter[], learningRate: number, scale: number, step: number): void;
  /** Its memory by name, in a fixed order; what is written into the arrays takes effect. */
  state(parameters: readonly Parameter[]): Map<string, Float32Array>;
}

/** Root of the mean square. */
export function rms(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * values[i]!;
  return Math.sqrt(sum / values.length);
}

/** Arrays that are made when they are first asked for, zero. */
export class Memory {
  readonly #arrays = new Map<string, Float32Array>();

  get(name: string, length: number): Float32Array {
    const known = this.#arrays.get(name);
    if (known) return known;
    const made = new Float32Array(length);
    this.#arrays.set(name, made);
    return made;
  }
}
