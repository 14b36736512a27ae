/** A share of a model's parameters: what one thread does for them. */
import { createOptimizer, type Optimizer, type OptimizerOptions, type Parameter } from "./index.ts";
import { sumOfSquares, wholeVectors } from "./optimizer.ts";
import { parametersOf, type SlabPlan } from "./slab.ts";

export interface ShareRequest {
  optimizer: OptimizerOptions;
  slabs: readonly SlabPlan[];
  module: WebAssembly.Module;
}

export interface UpdateRequest {
  learningRate: number;
  scale: number;
  step: number;
}

export class Share {
  readonly parameters: readonly Parameter[];
  readonly #optimizer: Optimizer;

  constructor({ optimizer, slabs, module }: ShareRequest) {
    this.parameters = slabs.flatMap((slab) => parametersOf(slab, optimizer, module));
    this.#optimizer = createOptimizer(optimizer);
  }

  /** The sum of the squares of each parameter's gradient. */
  squares(): number[] {
    return this.parameters.map(({ gradient, slab }) =>
      slab ? slab.kernels.sumOfSquares(gradient.byteOffset, wholeVectors(gradient.length)) : sumOfSquares(gradient),
    );
  }

  update({ learningRate, scale, step }: UpdateRequest): void {
    for (const parameter of this.parameters) this.#optimizer.update(parameter, learningRate, scale, step);
  }
}
