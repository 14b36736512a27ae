/** AdamW (Loshchilov and Hutter 2019), as torch.optim.AdamW; or with steps scaled by a tensor's RMS, as nanoT5's AdamWScale. */
import { Memory, type Optimizer, type Parameter, rms } from "./optimizer.ts";

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
  readonly #memory = new Memory();

  constructor({ betas = [0.9, 0.999], scaleByRms = false, ...options }: AdamWOptions = {}) {
    [this.#beta1, this.#beta2] = betas;
    this.#scaleByRms = scaleByRms;
    this.#epsilon = options.epsilon ?? (scaleByRms ? 1e-6 : 1e-8);
    this.#weightDecay = options.weightDecay ?? (scaleByRms ? 0 : 0.01);
  }

  update(parameters: readonly Parameter[], learningRate: number, scale: number, step: number): void {
    const correction1 = 1 - this.#beta1 ** step;
    const correction2 = Math.sqrt(1 - this.#beta2 ** step);
    for (const parameter of parameters) {
      const [mean, square] = this.#moments(parameter);
      const { values, gradient } = parameter;
      if (this.#scaleByRms) {
        // nanoT5 adds epsilon before the correction, and decays after the step.
        const size = (Math.max(LEAST_RMS, rms(values)) * learningRate * correction2) / correction1;
        this.#move(values, gradient, mean, square, scale, size, 1, 1, 1 - learningRate * this.#weightDecay);
      } else {
        const kept = 1 - learningRate * this.#weightDecay;
        this.#move(values, gradient, mean, square, scale, learningRate / correction1, correction2, kept, 1);
      }
    }
  }

  state(parameters: readonly Parameter[]): Map<string, Float32Array> {
    return new Map(
      parameters.flatMap((parameter) => {
        const [mean, square] = this.#moments(parameter);
        return [
          [`${parameter.name}.exp_avg`, mean],
          [`${parameter.name}.exp_avg_sq`, square],
        ] as const;
      }),
    );
  }

  #moments({ name, values }: Parameter): [mean: Float32Array, square: Float32Array] {
    return [this.#memory.get(`${name}.exp_avg`, values.length), this.#memory.get(`${name}.exp_avg_sq`, values.length)];
  }

  /** x ← ((x · before) − size · m ÷ (√v ÷ correction + ε)) · after */
  #move(
    values: Float32Array,
    gradient: Float32Array,
    mean: Float32Array,
    square: Float32Array,
    scale: number,
    size: number,
    correction: number,
    before: number,
    after: number,
  ): void {
    const [beta1, beta2, epsilon] = [this.#beta1, this.#beta2, this.#epsilon];
    const [rest1, rest2, inverse] = [1 - beta1, 1 - beta2, 1 / correction];
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
