/** Optimizers by name, as a run's settings hold them. */
import { Adafactor, type AdafactorOptions } from "./adafactor.ts";
import { AdamW, type AdamWOptions } from "./adamw.ts";
import type { Optimizer } from "./optimizer.ts";

export type OptimizerOptions = ({ name: "adamw" } & AdamWOptions) | ({ name: "adafactor" } & AdafactorOptions);

export type { Optimizer, Parameter } from "./optimizer.ts";

export function createOptimizer({ name, ...options }: OptimizerOptions): Optimizer {
  return name === "adamw" ? new AdamW(options) : new Adafactor(options);
}
