/** Adafactor (Shazeer and Stern 2018, arXiv 1804.04235), as transformers 4.57 has it in optimization.py. */
import { Memory, type Optimizer, type Parameter, rms } from "./optimizer.ts";

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
  readonly #memory = new Memory();

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

  update(parameters: readonly Parameter[], learningRate: number, scale: number, step: number): void {
    const { relativeStep, scaleParameter, decayRate, weightDecay } = this.#options;
    const keep = 1 - step ** decayRate;
    for (const parameter of parameters) {
      const { values } = parameter;
      let rate = relativeStep ? Math.min(1e-2, 1 / Math.sqrt(step)) : learningRate;
      if (scaleParameter) rate *= Math.max(LEAST_RMS, rms(values));
      const decay = 1 - weightDecay * rate;
      if (parameter.shape.length >= 2) this.#moveMatrix(parameter, scale, keep, rate, decay);
      else this.#moveVector(parameter, scale, keep, rate, decay);
    }
  }

  state(parameters: readonly Parameter[]): Map<string, Float32Array> {
    return new Map(
      parameters.flatMap((parameter): [string, Float32Array][] => {
        const { name, shape, values } = parameter;
        if (shape.length < 2) return [[`${name}.exp_avg_sq`, this.#memory.get(`${name}.exp_avg_sq`, values.length)]];
        const { row, column } = this.#factors(parameter);
        return [
          [`${name}.exp_avg_sq_row`, row],
          [`${name}.exp_avg_sq_col`, column],
        ];
      }),
    );
  }

  #factors({ name, shape }: Parameter): { row: Float32Array; column: Float32Array } {
    return {
      row: this.#memory.get(`${name}.exp_avg_sq_row`, shape[0]!),
      column: this.#memory.get(`${name}.exp_avg_sq_col`, shape[1]!),
    };
  }

  /** The second moment of a matrix as an outer product: a number for each row and one for each column. */
  #moveMatrix(parameter: Parameter, scale: number, keep: number, rate: number, decay: number): void {
    const { values, gradient, shape } = parameter;
    const [rows = 0, columns = 0] = shape;
    const { row, column } = this.#factors(parameter);
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

  #moveVector({ name, values, gradient }: Parameter, scale: number, keep: number, rate: number, decay: number): void {
    const square = this.#memory.get(`${name}.exp_avg_sq`, values.length);
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
