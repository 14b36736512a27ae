/** The optimizer's work divided among threads, by whole tensors: the division changes no bit. */
import { Worker } from "node:worker_threads";
import { createOptimizer, type OptimizerOptions, type Parameter } from "./index.ts";
import { sizeOf } from "./optimizer.ts";
import { Share, type ShareRequest, type UpdateRequest } from "./share.ts";
import { loadTrainingKernels, planSlabs, type SlabTensor } from "./slab.ts";

/** Below this, asking another thread takes longer than the work. */
const LEAST_NUMBERS = 1 << 20;

export class Crew {
  /** In the tensors' order. */
  readonly parameters: readonly Parameter[];
  readonly #optimizer: OptimizerOptions;
  readonly #own: Share;
  /** The names of each thread's tensors, this one's first. */
  readonly #names: readonly string[][];
  readonly #workers: Worker[];

  private constructor(tensors: readonly SlabTensor[], requests: readonly ShareRequest[]) {
    this.#optimizer = requests[0]!.optimizer;
    this.#own = new Share(requests[0]!);
    this.#names = requests.map(({ slabs }) => slabs.flatMap((slab) => slab.tensors.map(({ name }) => name)));
    const all = new Map(
      requests.flatMap((request) =>
        new Share(request).parameters.map((parameter) => [parameter.name, parameter] as const),
      ),
    );
    this.parameters = tensors.map(({ name }) => all.get(name)!);
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const script = new URL(`./share-worker.${extension}`, import.meta.url);
    this.#workers = requests.slice(1).map((workerData) => new Worker(script, { workerData }));
  }

  /** Room for the tensors, zero, and threads for their updates. */
  static async open(tensors: readonly SlabTensor[], optimizer: OptimizerOptions, threads: number): Promise<Crew> {
    const module = await loadTrainingKernels();
    const numbers = tensors.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const parts = divide(tensors, numbers < LEAST_NUMBERS ? 1 : threads);
    return new Crew(
      tensors,
      parts.map((part) => ({ optimizer, slabs: planSlabs(part, optimizer), module })),
    );
  }

  /** The optimizer's memory, by name. */
  get state(): ReadonlyMap<string, Float32Array> {
    const optimizer = createOptimizer(this.#optimizer);
    return new Map(
      this.parameters.flatMap(({ name, shape, state }) =>
        optimizer.stateOf(shape).map((each, i) => [`${name}.${each.name}`, state[i]!] as const),
      ),
    );
  }

  /** The norm of all gradients together. */
  async norm(): Promise<number> {
    const all = await this.#everyone<number[]>(null, () => this.#own.squares());
    const squares = new Map(this.#names.flatMap((names, i) => names.map((name, j) => [name, all[i]![j]!] as const)));
    // Added up in the parameters' order, whoever computed them.
    return Math.sqrt(this.parameters.reduce((sum, { name }) => sum + squares.get(name)!, 0));
  }

  async update(request: UpdateRequest): Promise<void> {
    await this.#everyone(request, () => this.#own.update(request));
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** What each thread gives, this one first. */
  async #everyone<T>(request: UpdateRequest | null, own: () => T): Promise<T[]> {
    const others = this.#workers.map(
      (worker) =>
        new Promise<T>((resolve, reject) => {
          const done = (result: T) => {
            worker.off("error", reject);
            resolve(result);
          };
          worker.once("message", done);
          worker.once("error", reject);
          worker.postMessage(request);
        }),
    );
    const mine = own();
    return [mine, ...(await Promise.all(others))];
  }
}

/** The tensors in at most `count` parts of like size: the largest first, each to the smallest part. */
function divide(tensors: readonly SlabTensor[], count: number): SlabTensor[][] {
  const parts = Array.from({ length: count }, () => ({ numbers: 0, tensors: [] as SlabTensor[] }));
  for (const tensor of [...tensors].sort((a, b) => sizeOf(b.shape) - sizeOf(a.shape))) {
    const smallest = parts.reduce((a, b) => (b.numbers < a.numbers ? b : a));
    smallest.tensors.push(tensor);
    smallest.numbers += sizeOf(tensor.shape);
  }
  return parts.map((part) => part.tensors).filter((part) => part.length > 0);
}
