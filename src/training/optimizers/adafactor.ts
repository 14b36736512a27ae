/** Adafactor (Shazeer and Stern 2018, arXiv 1804.04235), as transformers 4.57 has it in optimization.py. */
import { type Optimizer, type Parameter, rms } from "./optimizer.ts";

export interface AdafactorOptions {
  /** Steps of the optimizer's own: min(1e-2, 1 ÷ √step) instead of the schedule's learning rate. Default false. */
  relativeStep?: boolean | undefined;
  /** Steps in proportion to the tensor's root mean square, at least 1e-3. Default false. */
  scaleParameter?: boolean | undefined;
  /** Largest root mean square of an update before the learning rate. Default 1. */
  clipThreshold?: number | undefined;
  /** Default −0.8: how the second moment's memory grows with the steps. */
  decayRate?: number | undefined;
  /** Default 0. */
  weightDecay?: number | undefined;
}

const EPSILON = 1e-30;
const LEAST_RMS = 1e-3;

export class Adafactor implements Optimizer {
  readonly #options: Required<{ [K in keyof AdafactorOptions]: NonNullable<AdafactorOptions[K]> }>;

  constructor(options: AdafactorOptions = {}) {
    const {
      relativeStep = false,
      scaleParameter = false,
      clipThreshold = 1,
      decayRate = -0.8,
      weightDecay = 0,
    } = options;
    this.#options = { relativeStep, scaleParameter, clipThreshold, decayRate, weightDecay };
  }

  stateOf(shape: readonly number[]): { name: string; length: number }[] {
    const [rows = 0, columns = 0] = shape;
    if (shape.length < 2) return [{ name: "exp_avg_sq", length: rows }];
    return [
      { name: "exp_avg_sq_row", length: rows },
      { name: "exp_avg_sq_col", length: columns },
    ];
  }

  update(parameter: Parameter, learningRate: number, scale: number, step: number): void {
    const { relativeStep, scaleParameter, decayRate, weightDecay } = this.#options;
    const keep = 1 - step ** decayRate;
    let rate = relativeStep ? Math.min(1e-2, 1 / Math.sqrt(step)) : learningRate;
    if (scaleParameter) rate *= Math.max(LEAST_RMS, rms(parameter.values));
    const decay = 1 - weightDecay * rate;
    if (parameter.shape.length >= 2) this.#moveMatrix(parameter, scale, keep, rate, decay);
    else this.#moveVector(parameter, scale, keep, rate, decay);
  }

  /** The second moment of a matrix as an outer product: a number for each row and one for each column. */
  #moveMatrix(parameter: Parameter, scale: number, keep: number, rate: number, decay: number): void {
    const { values, gradient, shape } = parameter;
    const [rows = 0, columns = 0] = shape;
    const [row, column] = parameter.state as [Float32Array, Float32Array];
    const columnSums = new Float64Array(columns);
    let rowTotal = 0;
    for (let i = 0, at = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < columns; j++, at++) {
        const g = gradient[at]! * scale;
        const square = g * g + EPSILON;
        sum += square;
        columnSums[j]! += square;
      }
      row[i] = keep * row[i]! + ((1 - keep) * sum) / columns;
      rowTotal += row[i]!;
    }
    const columnFactors = new Float64Array(columns);
    for (let j = 0; j < columns; j++) {
      column[j] = keep * column[j]! + ((1 - keep) * columnSums[j]!) / rows;
      columnFactors[j] = 1 / Math.sqrt(column[j]!);
    }
    const rowFactor = (i: number) => Math.sqrt(rowTotal / rows / row[i]!) * scale;
    let squares = 0;
    for (let i = 0, at = 0; i < rows; i++) {
      const factor = rowFactor(i);
      for (let j = 0; j < columns; j++, at++) squares += (gradient[at]! * factor * columnFactors[j]!) ** 2;
    }
    const size = this.#clipped(squares, values.length) * rate;
    for (let i = 0, at = 0; i < rows; i++) {
      const factor = rowFactor(i) * size;
      for (let j = 0; j < columns; j++, at++) {
        values[at] = values[at]! * decay - gradient[at]! * factor * columnFactors[j]!;
      }
    }
  }

  #moveVector({ values, gradient, state }: Parameter, scale: number, keep: number, rate: number, decay: number): void {
    const square = state[0]!;
    let squares = 0;
    for (let i = 0; i < values.length; i++) {
      const g = gradient[i]! * scale;
      square[i] = keep * square[i]! + (1 - keep) * (g * g + EPSILON);
      squares += (g * g) / square[i]!;
    }
    const size = this.#clipped(squares, values.length) * rate * scale;
    for (let i = 0; i < values.length; i++) {
      values[i] = values[i]! * decay - (size * gradient[i]!) / Math.sqrt(square[i]!);
    }
  }

  /** What an update is multiplied by so that its root mean square stays below the threshold. */
  #clipped(squares: number, count: number): number {
    return 1 / Math.max(1, Math.sqrt(squares / count) / this.#options.clipThreshold);
  }
}
