/** The kernels bound to one memory and one model's weights: linear layers, norms, feed-forward. */
import { EdgeT5Error } from "../../errors.ts";
import type { Kernels } from "../../kernels/index.ts";
import { feedForwardInputs, layerPrefix, relativePositionBucket } from "../../t5/architecture.ts";
import type { T5Config } from "../../t5/config.ts";
import type { Manifest, PackagedTensor } from "../../t5/manifest.ts";
import { Arena, type Block } from "../arena.ts";
import { align, innerDim } from "../cache-size.ts";
import { checkedId } from "../input.ts";
import type { AdaptedRows, PlacedModule } from "./adapters.ts";
import { PAGE, type Plan, readsByUnit, type Scratch } from "./plan.ts";

/** A weight matrix `[out, in]` in memory. `scales` are 0 for float32, `sums` for all but int8. */
export interface Linear {
  dtype: PackagedTensor["dtype"];
  at: number;
  scales: number;
  sums: number;
  /** Its rows lie in pairs: `[out / 2][in][2]`. */
  inPairs: boolean;
  out: number;
  in: number;
}

/** Weights of one feed-forward: `gate` only for a gated activation. */
export interface FeedForward {
  names: { wi: string; gate: string; wo: string };
  norm: number;
  wi: Linear;
  gate: Linear | null;
  wo: Linear;
  /** `wo` lies `[in, out]`, for the kernel that reads the units that are not zero. */
  byUnit: boolean;
}

/** Which rows of a batch have adapters; null where none has. */
export type Adapted = readonly AdaptedRows[] | null;

/** How far the memory may grow beyond its plan, and whether it may now. */
export interface Growth {
  pages: number;
  isAllowed(bytes: number): boolean;
}

/** Attention over a cache of the engine's precision: float32, or int8. */
interface AttentionKernels {
  attend: Kernels["attendI8"];
  storeKeys: Kernels["storeKeysI8"];
  storeValues: Kernels["storeKeysI8"];
}

/** Who works in the plan's buffers. */
export interface BufferHolder {
  /** Keeps what it still needs of them: another is about to work there. */
  keep(): void;
}

export class Machine {
  readonly kernels: Kernels;
  readonly attention: AttentionKernels;
  readonly config: T5Config;
  readonly plan: Plan;
  readonly scratch: Scratch;
  readonly inner: number;
  /** Where sequences have their room. */
  readonly arena: Arena;
  /** Views of the memory: others, once it has grown. */
  floats: Float32Array;
  ints: Int32Array;
  readonly #manifest: Manifest;
  readonly #quantized: boolean;
  readonly #memory: WebAssembly.Memory;
  readonly #growth: Growth;
  /** Input of the next {@link linear}: float32 address, rows. Quantized already when the weights are. */
  #input = 0;
  #rows = 0;
  #nextSum: number;
  readonly #linears = new Map<string, Linear>();
  #holder: BufferHolder | null = null;

  constructor(manifest: Manifest, plan: Plan, kernels: Kernels, memory: WebAssembly.Memory, growth: Growth) {
    this.kernels = kernels;
    this.attention =
      plan.shape.bits === 8
        ? { attend: kernels.attendI8, storeKeys: kernels.storeKeysI8, storeValues: kernels.storeValuesI8 }
        : { attend: kernels.attendF32, storeKeys: kernels.storeKeysF32, storeValues: kernels.storeValuesF32 };
    this.config = manifest.model;
    this.plan = plan;
    this.scratch = plan.scratch;
    this.inner = innerDim(manifest.model);
    this.arena = new Arena(plan.arena.at, plan.arena.bytes);
    this.#memory = memory;
    this.#growth = growth;
    this.floats = new Float32Array(memory.buffer);
    this.ints = new Int32Array(memory.buffer);
    this.#manifest = manifest;
    this.#quantized = manifest.quantization.bits < 32;
    this.#nextSum = plan.sums.at;
  }

  /** Most that the memory may have beyond its plan. */
  get growableBytes(): number {
    return this.#growth.pages * PAGE;
  }

  /** Where more memory begins. */
  get end(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Takes the plan's buffers; null for who needs nothing of them once it has returned. */
  claimBuffers(holder: BufferHolder | null): void {
    if (this.#holder === holder) return;
    this.#holder?.keep();
    this.#holder = holder;
  }

  /** Lets them go, if they still are this one's. */
  releaseBuffers(holder: BufferHolder): void {
    if (this.#holder === holder) this.#holder = null;
  }

  /** More memory, behind what there is; null where it may not grow so far. */
  grow(bytes: number): Block | null {
    const at = this.end;
    const pages = Math.ceil(bytes / PAGE);
    if (at / PAGE + pages > this.plan.pages + this.#growth.pages || !this.#growth.isAllowed(pages * PAGE)) return null;
    try {
      this.#memory.grow(pages);
    } catch {
      // The host has no more.
      return null;
    }
    this.floats = new Float32Array(this.#memory.buffer);
    this.ints = new Int32Array(this.#memory.buffer);
    return { at, bytes: pages * PAGE };
  }

  /** Finds a weight matrix and prepares it, once: the relaxed dot needs the sum of every row, the plain module rows in pairs. */
  bindLinear(name: string): Linear {
    let linear = this.#linears.get(name);
    if (!linear) {
      const { at, tensor } = this.#tensor(name);
      linear = this.#bind(at, tensor, tensor.shape[0] ?? 0);
      this.#linears.set(name, linear);
    }
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
    const inputs = feedForwardInputs(this.config).map((name) => `${prefix}.${name}.weight`);
    const [first, second] = inputs.map((name) => this.bindLinear(name));
    const names = { wi: inputs.at(-1) ?? "", gate: inputs[0] ?? "", wo: `${prefix}.wo.weight` };
    const byUnit = stack === "decoder" && readsByUnit(this.#manifest);
    const wo = byUnit ? this.#bindTurned(names.wo) : this.bindLinear(names.wo);
    const norm = this.bindVector(layerPrefix.layerNorm(stack, layer, stack === "encoder" ? 1 : 2));
    // A gated feed-forward is act(wi_0 x) * (wi_1 x): wi_0 is the gate.
    return second
      ? { names, norm, wi: second, gate: first as Linear, wo, byUnit }
      : { names, norm, wi: first as Linear, gate: null, wo, byUnit };
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
    const { dtype, at, scales, sums, inPairs, out: n, in: k } = linear;
    const add = accumulate ? 1 : 0;
    const { quantized, rowScales, offsets, panels, prepared } = this.scratch;
    switch (dtype) {
      case "float32":
        this.kernels.linearF32(this.#input, this.#rows, k, at, n, out, ldo, add);
        break;
      case "int8":
        if (inPairs) {
          this.kernels.linearPairsI8(
            quantized,
            rowScales,
            offsets,
            this.#rows,
            k,
            at,
            scales,
            n,
            out,
            ldo,
            add,
            panels,
          );
        } else {
          // A single row may use the room of those that could follow it.
          const spare = this.#rows === 1 ? quantized + 2 * k : panels;
          this.kernels.linearI8(quantized, rowScales, this.#rows, k, at, scales, sums, n, out, ldo, add, spare);
        }
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

  /**
   * Adds to linear layers' outputs what adapters make of the norm of `x` `[rows, dModel]`, which was their input.
   *
   * @param targets names of the layers, and each one's output `[rows, out]` f32, rows `ldo` numbers apart
   */
  adaptNormed(
    adapted: readonly AdaptedRows[],
    x: number,
    norm: number,
    targets: readonly (readonly [name: string, out: number])[],
    ldo: number,
  ): void {
    const { dModel, layerNormEpsilon } = this.config;
    for (const each of adapted) {
      const { adapter, first, rows } = each;
      if (!targets.some(([name]) => adapter.modules.has(name))) continue;
      // Quantized weights take their input from a kernel that leaves no float32 norm behind.
      const normed = this.scratch.norm + first * dModel * 4;
      this.kernels.rmsNorm(x + first * dModel * 4, norm, normed, rows, dModel, layerNormEpsilon, 1);
      for (const [name, out] of targets) this.#addLowRank(each, adapter.modules.get(name), normed, out, ldo);
    }
  }

  /** Adds to a linear layer's output `[rows, out]` f32 what adapters make of its input `[rows, in]` f32. */
  adapt(adapted: readonly AdaptedRows[], input: number, columns: number, name: string, out: number, ldo: number): void {
    for (const each of adapted) {
      this.#addLowRank(each, each.adapter.modules.get(name), input + each.first * columns * 4, out, ldo);
    }
  }

  /** @param input of the first of these rows; `out` is of all */
  #addLowRank(
    { adapter: { work }, first, rows }: AdaptedRows,
    module: PlacedModule | undefined,
    input: number,
    out: number,
    ldo: number,
  ): void {
    if (!module) return;
    const { rank, a, b } = module;
    this.kernels.linearF32(input, rows, module.in, a, rank, work, rank, 0);
    this.kernels.addLowRank(work, rows, rank, b, module.out, out + first * ldo * 4, ldo);
  }

  /** x += wo(act(wi(norm(x)))), for `rows` rows. */
  feedForward({ names, norm, wi, gate, wo, byUnit }: FeedForward, x: number, rows: number, adapted: Adapted): void {
    const { feedForward, gate: gateAt } = this.scratch;
    const { dFf, dModel } = this.config;
    const size = rows * dFf;
    this.normInput(x, norm, rows);
    this.linear(wi, feedForward);
    if (gate) this.linear(gate, gateAt);
    if (adapted) {
      const targets = [[names.wi, feedForward] as const, ...(gate ? [[names.gate, gateAt] as const] : [])];
      this.adaptNormed(adapted, x, norm, targets, dFf);
    }
    if (byUnit) {
      const { units } = this.scratch;
      this.kernels.reluLinearI8(feedForward, rows, dFf, wo.at, wo.scales, dModel, x, units);
    } else if (gate) {
      if (this.config.feedForward === "gated-silu") this.kernels.gatedSilu(gateAt, feedForward, size);
      else this.kernels.gatedGelu(gateAt, feedForward, size);
      this.input(gateAt, rows, dFf);
    } else if (this.#quantized) {
      const { quantized, rowScales } = this.scratch;
      this.kernels.reluQuantizeRows(feedForward, rows, dFf, quantized, rowScales);
    } else {
      this.kernels.relu(feedForward, size);
      this.input(feedForward, rows, dFf);
    }
    if (!byUnit) this.linear(wo, x, true);
    if (!adapted) return;
    // Quantizing left the rows as they were before relu.
    if (!gate && this.#quantized) {
      for (const { first, rows: some } of adapted) this.kernels.relu(feedForward + first * dFf * 4, some * dFf);
    }
    this.adapt(adapted, gate ? gateAt : feedForward, dFf, names.wo, x, dModel);
  }

  /** Embeds the `rows` ids at scratch.ids into `out` `[rows, dModel]`. */
  embed(embedding: Linear, out: number, rows: number, first = 0): void {
    const ids = this.scratch.ids + first * 4;
    const { dtype, at, scales, inPairs, in: d } = embedding;
    switch (dtype) {
      case "float32":
        this.kernels.embedF32(at, d, ids, rows, out);
        break;
      case "int8":
        this.kernels.embedI8(at, scales, inPairs ? 1 : 0, d, ids, rows, out);
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

  /** An int8 matrix `[out, in]`, turned into `[in, out]` where it lies, by way of the buffers: nobody works there yet. */
  #bindTurned(name: string): Linear {
    const { at, tensor } = this.#tensor(name);
    const [out = 0, columns = 0] = tensor.shape;
    const spare = this.plan.decoder.x;
    this.kernels.transposeI8(at, out, columns, spare);
    this.kernels.copyBytes(at, spare, tensor.bytes);
    return { dtype: tensor.dtype, at, scales: scalesAt(at, tensor), sums: 0, inPairs: false, out, in: columns };
  }

  #bind(at: number, tensor: PackagedTensor, out: number): Linear {
    const linear: Linear = {
      dtype: tensor.dtype,
      at,
      scales: scalesAt(at, tensor),
      sums: 0,
      inPairs: false,
      out,
      in: tensor.shape[1] ?? 0,
    };
    if (tensor.dtype === "int8") {
      linear.sums = this.#nextSum;
      this.#nextSum += align(out * 4);
      this.kernels.rowSums(at, out, linear.in, linear.sums);
      linear.inPairs = this.kernels.pairRows(at, out, linear.in, this.scratch.quantized) === 1;
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
