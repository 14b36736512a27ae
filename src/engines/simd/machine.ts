/** The kernels bound to one memory and one model's weights: linear layers, norms, feed-forward. */
import { EdgeT5Error } from "../../errors.ts";
import type { Kernels } from "../../kernels/index.ts";
import { feedForwardInputs, layerPrefix, relativePositionBucket } from "../../t5/architecture.ts";
import type { T5Config } from "../../t5/config.ts";
import type { Manifest, PackagedTensor } from "../../t5/manifest.ts";
import { align, innerDim } from "../cache-size.ts";
import { checkedId } from "../input.ts";
import type { Plan, Scratch } from "./plan.ts";

/** A weight matrix `[out, in]` in memory. `scales` are 0 for float32, `sums` for all but int8. */
export interface Linear {
  dtype: PackagedTensor["dtype"];
  at: number;
  scales: number;
  sums: number;
  out: number;
  in: number;
}

/** Weights of one feed-forward: `gate` only for a gated activation. */
export interface FeedForward {
  norm: number;
  wi: Linear;
  gate: Linear | null;
  wo: Linear;
}

/** Attention over a cache of the engine's precision: float32, or int8. */
interface AttentionKernels {
  attend: Kernels["attendI8"];
  storeKeys: Kernels["storeKeysI8"];
  storeValues: Kernels["storeKeysI8"];
}

export class Machine {
  readonly kernels: Kernels;
  readonly attention: AttentionKernels;
  readonly config: T5Config;
  readonly plan: Plan;
  readonly scratch: Scratch;
  readonly inner: number;
  readonly bytes: Uint8Array;
  readonly floats: Float32Array;
  readonly ints: Int32Array;
  readonly #manifest: Manifest;
  readonly #quantized: boolean;
  /** Input of the next {@link linear}: float32 address, rows. Quantized already when the weights are. */
  #input = 0;
  #rows = 0;
  #nextSum: number;
  readonly #linears = new Map<string, Linear>();

  constructor(manifest: Manifest, plan: Plan, kernels: Kernels, memory: WebAssembly.Memory) {
    this.kernels = kernels;
    this.attention =
      plan.shape.bits === 8
        ? { attend: kernels.attendI8, storeKeys: kernels.storeKeysI8, storeValues: kernels.storeValuesI8 }
        : { attend: kernels.attendF32, storeKeys: kernels.storeKeysF32, storeValues: kernels.storeValuesF32 };
    this.config = manifest.model;
    this.plan = plan;
    this.scratch = plan.scratch;
    this.inner = innerDim(manifest.model);
    this.bytes = new Uint8Array(memory.buffer);
    this.floats = new Float32Array(memory.buffer);
    this.ints = new Int32Array(memory.buffer);
    this.#manifest = manifest;
    this.#quantized = manifest.quantization.bits < 32;
    this.#nextSum = plan.sums.at;
  }

  /** Finds a weight matrix and prepares it, once: the relaxed dot needs the sum of every row. */
  bindLinear(name: string): Linear {
    const known = this.#linears.get(name);
    if (known) return known;
    const { at, tensor } = this.#tensor(name);
    const linear = this.#bind(at, tensor, tensor.shape[0] ?? 0);
    this.#linears.set(name, linear);
    return linear;
  }

  /**
   * Several matrices of one input as one, where they and their scales lie one after the other, as the splitter lays out the
   * projections of an attention; else as they are.
   */
  bindJoined(names: readonly string[]): Linear[] {
    const parts = names.map((name) => this.#tensor(name));
    const areJoined = parts.every(({ at, tensor }, i) => {
      const before = parts[i - 1];
      if (!before) return true;
      const scales = [before, { at, tensor }].map((part) => scalesAt(part.at, part.tensor));
      return (
        at === before.at + before.tensor.bytes &&
        scales[1] === (scales[0] && scales[0] + (before.tensor.scales?.bytes ?? 0))
      );
    });
    const [first] = parts;
    if (!areJoined || !first) return names.map((name) => this.bindLinear(name));
    const rows = parts.reduce((sum, { tensor }) => sum + (tensor.shape[0] ?? 0), 0);
    return [this.#bind(first.at, first.tensor, rows)];
  }

  /** Address of a float32 vector, such as a norm's weight. */
  bindVector(name: string): number {
    return this.#tensor(name).at;
  }

  bindFeedForward(stack: "encoder" | "decoder", layer: number): FeedForward {
    const prefix = layerPrefix.denseReluDense(stack, layer);
    const [first, second] = feedForwardInputs(this.config).map((name) => this.bindLinear(`${prefix}.${name}.weight`));
    const wo = this.bindLinear(`${prefix}.wo.weight`);
    const norm = this.bindVector(layerPrefix.layerNorm(stack, layer, stack === "encoder" ? 1 : 2));
    // A gated feed-forward is act(wi_0 x) * (wi_1 x): wi_0 is the gate.
    return second ? { norm, wi: second, gate: first as Linear, wo } : { norm, wi: first as Linear, gate: null, wo };
  }

  /**
   * Spreads the relative attention bias over distances: table[h][d] for d from `-(before)` to `after`, as
   * key position − query position.
   */
  fillBias(stack: "encoder" | "decoder", table: number, before: number, after: number): void {
    const { numHeads, relativeAttentionNumBuckets, relativeAttentionMaxDistance } = this.config;
    const weights = this.bindVector(layerPrefix.relativeAttentionBias(stack)) / 4;
    const width = before + after + 1;
    const bucketOf = (distance: number) =>
      relativePositionBucket(distance, stack === "encoder", relativeAttentionNumBuckets, relativeAttentionMaxDistance) *
      numHeads;
    // Beyond the largest distance everything is in the last bucket: most of a long table is filled, not computed.
    const first = Math.max(-before, -relativeAttentionMaxDistance);
    const last = Math.min(after, relativeAttentionMaxDistance);
    const near = Array.from({ length: last - first + 1 }, (_, i) => bucketOf(first + i));
    for (let head = 0; head < numHeads; head++) {
      const from = table / 4 + head * width;
      const biasOf = (bucket: number) => this.floats[weights + bucket + head] ?? 0;
      this.floats.fill(biasOf(bucketOf(-before)), from, from + before + first);
      for (let i = 0; i < near.length; i++) this.floats[from + before + first + i] = biasOf(near[i] as number);
      this.floats.fill(biasOf(bucketOf(after)), from + before + last + 1, from + width);
    }
  }

  /** Sets the input `[rows, in]` f32 of the linear layers that follow; quantizes it once for all of them. */
  input(x: number, rows: number, columns: number): void {
    this.#input = x;
    this.#rows = rows;
    if (this.#quantized) {
      this.kernels.quantizeRows(x, rows, columns, this.scratch.quantized, this.scratch.rowScales);
    }
  }

  /** Several matrices' outputs side by side: out `[rows, sum of their outs]`. */
  joined(linears: readonly Linear[], out: number): void {
    const width = linears.reduce((sum, linear) => sum + linear.out, 0);
    let at = out;
    for (const linear of linears) {
      this.linear(linear, at, false, width);
      at += linear.out * 4;
    }
  }

  /** out `[rows, linear.out]` f32, rows `ldo` numbers apart = (or +=) input × weightᵀ. */
  linear(linear: Linear, out: number, accumulate = false, ldo = linear.out): void {
    const { dtype, at, scales, sums, out: n, in: k } = linear;
    const add = accumulate ? 1 : 0;
    const { quantized, rowScales, prepared } = this.scratch;
    switch (dtype) {
      case "float32":
        this.kernels.linearF32(this.#input, this.#rows, k, at, n, out, ldo, add);
        break;
      case "int8":
        this.kernels.linearI8(quantized, rowScales, this.#rows, k, at, scales, sums, n, out, ldo, add);
        break;
      case "int4":
        this.kernels.linearI4(quantized, rowScales, this.#rows, k, at, scales, n, out, ldo, add, prepared);
        break;
    }
  }

  /** Norm of `x` `[rows, dModel]` as the input of what follows. */
  normInput(x: number, weight: number, rows: number, factor = 1): void {
    const { dModel, layerNormEpsilon } = this.config;
    if (this.#quantized) {
      const { quantized, rowScales } = this.scratch;
      this.#rows = rows;
      this.kernels.normQuantizeRows(x, weight, rows, dModel, layerNormEpsilon, factor, quantized, rowScales);
      return;
    }
    this.kernels.rmsNorm(x, weight, this.scratch.norm, rows, dModel, layerNormEpsilon, factor);
    this.input(this.scratch.norm, rows, dModel);
  }

  /** x += wo(act(wi(norm(x)))), for `rows` rows. */
  feedForward({ norm, wi, gate, wo }: FeedForward, x: number, rows: number): void {
    const { feedForward, gate: gateAt } = this.scratch;
    const size = rows * this.config.dFf;
    this.normInput(x, norm, rows);
    this.linear(wi, feedForward);
    if (gate) {
      this.linear(gate, gateAt);
      if (this.config.feedForward === "gated-silu") this.kernels.gatedSilu(gateAt, feedForward, size);
      else this.kernels.gatedGelu(gateAt, feedForward, size);
      this.input(gateAt, rows, this.config.dFf);
    } else if (this.#quantized) {
      const { quantized, rowScales } = this.scratch;
      this.kernels.reluQuantizeRows(feedForward, rows, this.config.dFf, quantized, rowScales);
    } else {
      this.kernels.relu(feedForward, size);
      this.input(feedForward, rows, this.config.dFf);
    }
    this.linear(wo, x, true);
  }

  /** Embeds the `rows` ids at scratch.ids into `out` `[rows, dModel]`. */
  embed(embedding: Linear, out: number, rows: number, first = 0): void {
    const ids = this.scratch.ids + first * 4;
    const { dtype, at, scales, in: d } = embedding;
    switch (dtype) {
      case "float32":
        this.kernels.embedF32(at, d, ids, rows, out);
        break;
      case "int8":
        this.kernels.embedI8(at, scales, d, ids, rows, out);
        break;
      case "int4":
        this.kernels.embedI4(at, scales, d, ids, rows, out);
        break;
    }
  }

  /** Writes token ids to scratch. @throws EdgeT5Error `E_INPUT` for an id outside the vocabulary. */
  writeIds(ids: ArrayLike<number>): void {
    const at = this.scratch.ids / 4;
    for (let i = 0; i < ids.length; i++) this.ints[at + i] = checkedId(ids[i] as number, this.config.vocabSize);
  }

  #bind(at: number, tensor: PackagedTensor, out: number): Linear {
    const linear: Linear = {
      dtype: tensor.dtype,
      at,
      scales: scalesAt(at, tensor),
      sums: 0,
      out,
      in: tensor.shape[1] ?? 0,
    };
    if (tensor.dtype === "int8") {
      linear.sums = this.#nextSum;
      this.#nextSum += align(out * 4);
      this.kernels.rowSums(at, out, linear.in, linear.sums);
    }
    return linear;
  }

  #tensor(name: string) {
    const tensor = this.#manifest.tensors[name];
    const blob = tensor && this.plan.blobs.get(tensor.blob);
    if (tensor === undefined || blob === undefined) {
      throw new EdgeT5Error(
        "E_MANIFEST",
        `Package ${this.#manifest.name} has no tensor ${name} in the shards at hand. Re-run edge-t5 split.`,
      );
    }
    return { tensor, at: blob + tensor.offset };
  }
}

/** Address of a tensor's scales; 0 for none. */
function scalesAt(at: number, { offset, scales }: PackagedTensor): number {
  return scales ? at - offset + scales.offset : 0;
}
