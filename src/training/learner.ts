/** A model that learns: weights, gradients and the optimizer's memory beside the graph that computes with them. */
import { type InferenceSession, Tensor } from "onnxruntime-node";
import type { T5Config } from "../t5/config.ts";
import type { Batch } from "./batch.ts";
import { LOSSES, lossGraph, type StepGraph, type StepGraphOptions, stepGraph } from "./graph.ts";
import { createOptimizer, type Optimizer, type OptimizerOptions, type Parameter } from "./optimizers/index.ts";
import { dropoutMask, randomBits } from "./random.ts";
import { openSession, type Provider, type SessionOptions } from "./session.ts";

export interface LearnerOptions extends StepGraphOptions, SessionOptions {
  optimizer: OptimizerOptions;
  /** Of dropout. Default 0. */
  seed?: number | undefined;
}

/** Sums over the labels of the batches since the last update. */
export interface Losses {
  labels: number;
  /** What is minimized: smoothed cross entropy and z-loss. */
  total: number;
  crossEntropy: number;
  smoothed: number;
  zLoss: number;
}

export interface Update {
  learningRate: number;
  /** Largest norm of all gradients together; what is above is scaled down. Default: no limit. */
  maxGradientNorm?: number | undefined;
}

const NO_LOSSES: Losses = { labels: 0, total: 0, crossEntropy: 0, smoothed: 0, zLoss: 0 };

export class Learner {
  readonly provider: Provider;
  readonly #config: T5Config;
  readonly #options: LearnerOptions;
  readonly #graph: StepGraph;
  readonly #session: InferenceSession;
  readonly #optimizer: Optimizer;
  readonly #seed: number;
  readonly #feeds: Readonly<Record<string, Tensor>>;
  readonly #parameters: Parameter[];
  #forward: ReturnType<typeof openSession> | null = null;
  #losses = NO_LOSSES;
  #step = 0;
  /** Batches since the last update. */
  #batches = 0;

  private constructor(
    config: T5Config,
    weights: ReadonlyMap<string, Float32Array>,
    options: LearnerOptions,
    graph: StepGraph,
    { session, provider }: Awaited<ReturnType<typeof openSession>>,
  ) {
    this.provider = provider;
    this.#config = config;
    this.#options = options;
    this.#graph = graph;
    this.#session = session;
    this.#optimizer = createOptimizer(options.optimizer);
    this.#seed = options.seed ?? 0;
    this.#parameters = graph.trained.map(({ name, shape }) => {
      const values = weights.get(name)!;
      return { name, shape, values, gradient: new Float32Array(0) };
    });
    this.#feeds = Object.fromEntries(
      graph.tensors.map(({ name, shape }) => [name, new Tensor("float32", weights.get(name)!, shape)]),
    );
  }

  /**
   * @param weights every tensor of the model, and of the adapter where one is trained; those that are trained change in place
   * @throws EdgeT5Error `E_PROVIDER`, `E_INPUT` (an adapter that does not fit)
   */
  static async open(
    config: T5Config,
    weights: ReadonlyMap<string, Float32Array>,
    options: LearnerOptions,
  ): Promise<Learner> {
    const graph = stepGraph(config, options);
    for (const { name } of graph.tensors) if (!weights.has(name)) throw new Error(`No weights for ${name}.`);
    return new Learner(config, weights, options, graph, await openSession(graph.graph, options));
  }

  /** Updates so far. */
  get step(): number {
    return this.#step;
  }

  /** Forward and backward pass of a batch: its losses and gradients are added to those since the last update. */
  async accumulate(batch: Batch): Promise<void> {
    const results = await this.#session.run({ ...this.#feeds, ...inputsOf(batch), ...this.#masks(batch) });
    const data = (name: string) => results[name]!.data as Float32Array;
    this.#losses = added(this.#losses, results, batch);
    const ids: Record<string, Int32Array> = { input_ids: batch.inputIds, decoder_input_ids: batch.decoderInputIds };
    for (const [i, { gradient, rows, shape }] of this.#graph.trained.entries()) {
      const parameter = this.#parameters[i]!;
      const isFirst = this.#batches === 0;
      if (gradient) {
        const made = data(gradient);
        // The first batch's gradient is taken as it is: nothing else holds it.
        if (isFirst) parameter.gradient = made;
        else addTo(parameter.gradient, made);
      } else if (isFirst) {
        parameter.gradient = zeroed(parameter);
      }
      for (const { ids: input, gradient: output } of rows) {
        addRows(parameter.gradient, ids[input]!, data(output), shape[1]!);
      }
    }
    this.#batches++;
  }

  /** Losses of batches, sums over the labels: the forward pass alone, without dropout; nothing is learned. */
  async evaluate(batches: readonly Batch[]): Promise<Losses> {
    this.#forward ??= openSession(lossGraph(this.#config, this.#options), this.#options);
    const { session } = await this.#forward;
    let losses = NO_LOSSES;
    for (const batch of batches)
      losses = added(losses, await session.run({ ...this.#feeds, ...inputsOf(batch) }), batch);
    return losses;
  }

  /** Losses since the last update, sums over the labels. */
  get losses(): Losses {
    return this.#losses;
  }

  /** The norm of all gradients since the last update together, of the mean loss a label. */
  gradientNorm(): number {
    let squares = 0;
    for (const { gradient } of this.#parameters) {
      let sum = 0;
      for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
      squares += sum;
    }
    return Math.sqrt(squares) / this.#losses.labels;
  }

  /** A tensor's gradient since the last update, of the mean loss a label. */
  gradient(name: string): Float32Array | undefined {
    const { labels } = this.#losses;
    return this.#parameters.find((parameter) => parameter.name === name)?.gradient.map((value) => value / labels);
  }

  /**
   * Takes a step by what was accumulated, and forgets it. A loss or norm that is no finite number changes nothing.
   *
   * @returns the losses a label, and the gradients' norm before it was limited
   */
  update({ learningRate, maxGradientNorm = Number.POSITIVE_INFINITY }: Update): Losses & { gradientNorm: number } {
    const { labels, ...sums } = this.#losses;
    const gradientNorm = this.gradientNorm();
    this.#losses = NO_LOSSES;
    this.#batches = 0;
    const means = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / labels]));
    const result = { ...(means as Omit<Losses, "labels">), labels, gradientNorm };
    if (!Number.isFinite(result.total) || !Number.isFinite(gradientNorm)) return result;
    this.#step++;
    // As torch.nn.utils.clip_grad_norm_.
    const clip = Math.min(1, maxGradientNorm / (gradientNorm + 1e-6));
    this.#optimizer.update(this.#parameters, learningRate, clip / labels, this.#step);
    return result;
  }

  /** What is trained, by name. The arrays themselves: they change with every update. */
  get trained(): ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }> {
    return new Map(this.#parameters.map(({ name, shape, values }) => [name, { shape, values }]));
  }

  /** The optimizer's memory, by name. */
  optimizerState(): Map<string, Float32Array> {
    return this.#optimizer.state(this.#parameters);
  }

  /** Goes on from a state that was kept. @throws Error where it is another optimizer's */
  restore(step: number, state: ReadonlyMap<string, Float32Array>): void {
    for (const [name, values] of this.optimizerState()) {
      const kept = state.get(name);
      if (kept?.length !== values.length) throw new Error(`The kept state does not fit: ${name}`);
      values.set(kept);
    }
    this.#step = step;
  }

  async close(): Promise<void> {
    await this.#session.release();
    await (await this.#forward)?.session.release();
  }

  #masks({ rows, inputLength, targetLength }: Batch): Record<string, Tensor> {
    const { masks, dropout } = this.#graph;
    return Object.fromEntries(
      masks.map(({ name, side, width }, i) => {
        const tokens = rows * (side === "input" ? inputLength : targetLength);
        const bits = randomBits(this.#seed, this.#step, this.#batches, 2 + i);
        return [name, new Tensor("uint8", dropoutMask(tokens * width, dropout, bits), [tokens, width])];
      }),
    );
  }
}

type Results = InferenceSession.OnnxValueMapType;

function added(losses: Losses, results: Results, batch: Batch): Losses {
  const sum = (name: string) => (results[name]!.data as Float32Array)[0]!;
  return {
    labels: losses.labels + batch.labels.length,
    total: losses.total + sum(LOSSES.total),
    crossEntropy: losses.crossEntropy + sum(LOSSES.crossEntropy),
    smoothed: losses.smoothed + sum(LOSSES.smoothed),
    zLoss: losses.zLoss + sum(LOSSES.zLoss),
  };
}

function inputsOf(batch: Batch): Record<string, Tensor> {
  const ints = (values: Int32Array, shape: readonly number[]) => new Tensor("int32", values, shape);
  const input = [batch.rows, batch.inputLength];
  return {
    input_ids: ints(batch.inputIds, input),
    attention_mask: ints(batch.attentionMask, input),
    decoder_input_ids: ints(batch.decoderInputIds, [batch.rows, batch.targetLength]),
    label_places: ints(batch.labelPlaces, [batch.labels.length]),
    labels: ints(batch.labels, [batch.labels.length]),
  };
}

/** The gradient's own array again, zero. */
function zeroed({ gradient, values }: Parameter): Float32Array {
  return gradient.length === values.length ? gradient.fill(0) : new Float32Array(values.length);
}

function addTo(sum: Float32Array, more: Float32Array): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + more[i]!;
}

/** Rows to where they were looked up, in the batch's order: sums that have one order give the same bits again. */
function addRows(table: Float32Array, ids: Int32Array, rows: Float32Array, width: number): void {
  for (let i = 0, at = 0; i < ids.length; i++) {
    const row = ids[i]! * width;
    for (let j = 0; j < width; j++, at++) table[row + j] = table[row + j]! + rows[at]!;
  }
}
