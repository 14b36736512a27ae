/** A model that learns: weights, gradients and the optimizer's memory beside the graph that computes with them. */
import { availableParallelism } from "node:os";
import { Tensor } from "onnxruntime-node";
import type { T5Config } from "../t5/config.ts";
import type { Batch } from "./batch.ts";
import { LOSSES, lossGraph, type StepGraph, type StepGraphOptions, stepGraph, type TrainedTensor } from "./graph.ts";
import type { StepSession } from "./native-session.ts";
import { Crew } from "./optimizers/crew.ts";
import type { OptimizerOptions, Parameter } from "./optimizers/index.ts";
import { sizeOf } from "./optimizers/optimizer.ts";
import type { SlabTensor } from "./optimizers/slab.ts";
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
  readonly #session: StepSession;
  readonly #crew: Crew;
  readonly #seed: number;
  readonly #feeds: Readonly<Record<string, Tensor>>;
  readonly #parameters: readonly Parameter[];
  /** Where the graph writes gradients: those of an update's first batch where they are kept, later ones' to be added. */
  readonly #gradients: Outputs;
  #laterGradients: Outputs | null = null;
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
    crew: Crew,
    { session, provider }: Awaited<ReturnType<typeof openSession>>,
  ) {
    this.provider = provider;
    this.#config = config;
    this.#options = options;
    this.#graph = graph;
    this.#session = session;
    this.#seed = options.seed ?? 0;
    this.#crew = crew;
    this.#parameters = crew.parameters;
    for (const { name, values } of this.#parameters) values.set(weights.get(name)!);
    const trained = new Map(this.#parameters.map(({ name, values }, i) => [name, fed(values, graph.trained[i]!)]));
    this.#feeds = Object.fromEntries(
      graph.tensors.map(({ name, shape }) => [
        name,
        new Tensor("float32", trained.get(name) ?? weights.get(name)!, shape),
      ]),
    );
    this.#gradients = this.#outputs((i) => fed(this.#parameters[i]!.gradient, graph.trained[i]!));
  }

  /**
   * @param weights every tensor of the model, and of the adapter where one is trained; they stay as they are
   * @throws EdgeT5Error `E_PROVIDER`, `E_INPUT` (an adapter that does not fit)
   */
  static async open(
    config: T5Config,
    weights: ReadonlyMap<string, Float32Array>,
    options: LearnerOptions,
  ): Promise<Learner> {
    const graph = stepGraph(config, options);
    for (const { name } of graph.tensors) if (!weights.has(name)) throw new Error(`No weights for ${name}.`);
    const session = await openSession(graph.graph, options);
    const crew = await Crew.open(tensorsOf(graph), options.optimizer, options.threads ?? availableParallelism());
    return new Learner(config, weights, options, graph, crew, session);
  }

  /** Updates so far. */
  get step(): number {
    return this.#step;
  }

  /** Forward and backward pass of a batch: its losses and gradients are added to those since the last update. */
  async accumulate(batch: Batch): Promise<void> {
    const isFirst = this.#batches === 0;
    if (!isFirst) this.#laterGradients ??= this.#outputs((i) => new Float32Array(sizeOf(this.#graph.trained[i]!.fed)));
    const into = isFirst ? this.#gradients : this.#laterGradients!;
    const results = await this.#session.run({ ...this.#feeds, ...inputsOf(batch), ...this.#masks(batch) }, into);
    this.#losses = added(this.#losses, results, batch);
    const ids: Record<string, Int32Array> = {
      input_ids: batch.inputIds,
      decoder_input_ids: batch.decoderInputIds,
      labels: batch.labels,
    };
    for (const [i, { gradient: output, rows, shape }] of this.#graph.trained.entries()) {
      const { gradient } = this.#parameters[i]!;
      if (!isFirst && output) addTo(gradient, into[output]!.data as Float32Array);
      if (isFirst && !output) gradient.fill(0);
      for (const { ids: input, gradient: made } of rows) {
        addRows(gradient, ids[input]!, results[made]!.data as Float32Array, shape[1]!);
      }
    }
    this.#batches++;
  }

  /** Losses of batches, sums over the labels: the forward pass alone, without dropout; nothing is learned. */
  async evaluate(batches: readonly Batch[]): Promise<Losses> {
    this.#forward ??= openSession(lossGraph(this.#config, this.#options), this.#options);
    const { session } = await this.#forward;
    const into = Object.fromEntries(session.outputNames.map((name) => [name, null]));
    let losses = NO_LOSSES;
    for (const batch of batches)
      losses = added(losses, await session.run({ ...this.#feeds, ...inputsOf(batch) }, into), batch);
    return losses;
  }

  /** Losses since the last update, sums over the labels. */
  get losses(): Losses {
    return this.#losses;
  }

  /** The norm of all gradients since the last update together, of the mean loss a label. */
  async gradientNorm(): Promise<number> {
    return (await this.#crew.norm()) / this.#losses.labels;
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
  async update({
    learningRate,
    maxGradientNorm = Number.POSITIVE_INFINITY,
  }: Update): Promise<Losses & { gradientNorm: number }> {
    const { labels, ...sums } = this.#losses;
    const gradientNorm = await this.gradientNorm();
    this.#losses = NO_LOSSES;
    this.#batches = 0;
    const means = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / labels]));
    const result = { ...(means as Omit<Losses, "labels">), labels, gradientNorm };
    if (!Number.isFinite(result.total) || !Number.isFinite(gradientNorm)) return result;
    this.#step++;
    // As torch.nn.utils.clip_grad_norm_.
    const clip = Math.min(1, maxGradientNorm / (gradientNorm + 1e-6));
    await this.#crew.update({ learningRate, scale: clip / labels, step: this.#step });
    return result;
  }

  /** What is trained, by name. The arrays themselves: they change with every update. */
  get trained(): ReadonlyMap<string, { shape: readonly number[]; values: Float32Array }> {
    return new Map(this.#parameters.map(({ name, shape, values }) => [name, { shape, values }]));
  }

  /** The optimizer's memory, by name. */
  get optimizerState(): ReadonlyMap<string, Float32Array> {
    return this.#crew.state;
  }

  /** Goes on from a state that was kept. @throws Error where it is another optimizer's */
  restore(step: number, state: ReadonlyMap<string, Float32Array>): void {
    for (const [name, values] of this.optimizerState) {
      const kept = state.get(name);
      if (kept?.length !== values.length) throw new Error(`The kept state does not fit: ${name}`);
      values.set(kept);
    }
    this.#step = step;
  }

  async close(): Promise<void> {
    await this.#crew.close();
    await this.#session.release();
    await (await this.#forward)?.session.release();
  }

  /** Losses and rows of what is looked up differ in size from batch to batch: onnxruntime makes room for those. */
  #outputs(room: (parameter: number) => Float32Array): Outputs {
    const outputs: Outputs = Object.fromEntries(this.#session.outputNames.map((name) => [name, null]));
    for (const [i, { gradient, fed: shape }] of this.#graph.trained.entries()) {
      if (gradient) outputs[gradient] = new Tensor("float32", room(i), shape);
    }
    return outputs;
  }

  #masks({ rows, inputLength, targetLength }: Batch): Record<string, Tensor> {
    const length = { input: inputLength, target: targetLength };
    return Object.fromEntries(
      this.#graph.masks.map(({ name, side, width, keys, dropout }, i) => {
        const shape = [rows * length[side], width * (keys ? length[keys] : 1)];
        const bits = randomBits(this.#seed, this.#step, this.#batches, 2 + i);
        return [name, new Tensor("uint8", dropoutMask(sizeOf(shape), dropout, bits), shape)];
      }),
    );
  }
}

type Outputs = Record<string, Tensor | null>;
type Results = Awaited<ReturnType<StepSession["run"]>>;

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

function tensorsOf({ trained }: StepGraph): SlabTensor[] {
  return trained.map(({ name, shape, fed: rows }) => ({ name, shape, behind: sizeOf(rows) - sizeOf(shape) }));
}

/** An array with the zeros behind it, as {@link tensorsOf} made room for them. */
function fed({ buffer, byteOffset }: Float32Array, { fed: shape }: TrainedTensor): Float32Array {
  return new Float32Array(buffer, byteOffset, sizeOf(shape));
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
