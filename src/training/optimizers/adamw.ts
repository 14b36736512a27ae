/** AdamW (Loshchilov and Hutter 2019), as torch.optim.AdamW; or with steps scaled by a tensor's RMS, as nanoT5's AdamWScale. */
import { type Optimizer, type Parameter, rms, sizeOf, wholeVectors } from "./optimizer.ts";

export interface AdamWOptions {
  /** Default 0.9 and 0.999. */
  betas?: readonly [number, number] | undefined;
  /** Default 1e-8; with `scaleByRms` 1e-6. */
  epsilon?: number | undefined;
  /** Default 0.01; with `scaleByRms` 0. */
  weightDecay?: number | undefined;
  /**
   * Steps in proportion to the tensor's root mean square, at least 1e-3 (nanoT5, utils/copied_utils.py): what lets T5's
   * large embedding and its small projections share a learning rate. Default false.
   */
  scaleByRms?: boolean | undefined;
}

const LEAST_RMS = 1e-3;

export class AdamW implements Optimizer {
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  readonly #weightDecay: number;
  readonly #scaleByRms: boolean;

  constructor({ betas = [0.9, 0.999], scaleByRms = false, ...options }: AdamWOptions = {}) {
    [this.#beta1, this.#beta2] = betas;
    this.#scaleByRms = scaleByRms;
    this.#epsilon = options.epsilon ?? (scaleByRms ? 1e-6 : 1e-8);
    this.#weightDecay = options.weightDecay ?? (scaleByRms ? 0 : 0.01);
  }

  stateOf(shape: readonly number[]): { name: string; length: number }[] {
    return ["exp_avg", "exp_avg_sq"].map((name) => ({ name, length: sizeOf(shape) }));
  }

  update(parameter: Parameter, learningRate: number, scale: number, step: number): void {
    const correction1 = 1 - this.#beta1 ** step;
    const correction2 = Math.sqrt(1 - this.#beta2 ** step);
    const kept = 1 - learningRate * this.#weightDecay;
    if (this.#scaleByRms) {
      // nanoT5 adds epsilon before the correction, and decays after the step.
      const size = (Math.max(LEAST_RMS, rms(parameter.values)) * learningRate * correction2) / correction1;
      this.#move(parameter, scale, size, 1, 1, kept);
    } else {
      this.#move(parameter, scale, learningRate / correction1, 1 / correction2, kept, 1);
    }
  }

  /** x ← (x · before − size · m ÷ (√v · inverse + ε)) · after */
  #move(parameter: Parameter, scale: number, size: number, inverse: number, before: number, after: number): void {
    const { values, gradient, state, slab } = parameter;
    const [mean, square] = state as [Float32Array, Float32Array];
    const [beta1, beta2, epsilon] = [this.#beta1, this.#beta2, this.#epsilon];
    const [rest1, rest2] = [1 - beta1, 1 - beta2];
    if (slab) {
      const [x, g, m, v] = [values, gradient, mean, square].map(({ byteOffset }) => byteOffset >>> 0) as Four;
      const count = wholeVectors(values.length);
      slab.kernels.adamw(x, g, m, v, count, scale, beta1, rest1, beta2, rest2, size, inverse, epsilon, before, after);
      return;
    }
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i]! * scale;
      const m = beta1 * mean[i]! + rest1 * g;
      const v = beta2 * square[i]! + rest2 * g * g;
      mean[i] = m;
      square[i] = v;
      values[i] = (values[i]! * before - (size * m) / (Math.sqrt(v) * inverse + epsilon)) * after;
    }
  }
}

type Four = [number, number, number, number];
