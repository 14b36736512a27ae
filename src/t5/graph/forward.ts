/**
 * T5's forward pass, defined once as an ONNX graph: inference runs it, training differentiates it. Names of weights are
 * those of {@link tensorsOf}; arithmetic as modeling_t5.py of Hugging Face transformers.
 */
import type { Graph, Value } from "../../onnx/graph.ts";
import {
  attentionNames,
  EMBEDDING,
  feedForwardInputs,
  LM_HEAD,
  layerPrefix,
  relativePositionBucket,
} from "../architecture.ts";
import type { T5Config } from "../config.ts";

export type Stack = "encoder" | "decoder";

/** How a graph reads the model's weights: float32, quantized, or as inputs that training changes. */
export interface Weights {
  /** `x` `[…, in]` × weightᵀ, weight `[out, in]` → `[…, out]`. */
  linear(x: Value, name: string): Value;
  /** Rows of a table `[rows, d]` by `ids` `[…]` → `[…, d]`. */
  embed(ids: Value, name: string): Value;
  /** A float32 tensor as it is. */
  vector(name: string): Value;
  /** Told of every norm, whose gradient is better taken as a whole. */
  normGradient?(nodes: NormNodes): void;
  /** Where training drops out a part of the values; inference has all of them. */
  dropped?(x: Value, place: DropoutPlace): Value;
}

/** A place of T5's dropout. */
export interface DropoutPlace {
  /** The module's, as modeling_t5.py has it. */
  name: string;
  /** `states` `[B, T, dModel]`, `inner` `[B, T, dFf]`: of the feed-forward, `attention` `[B, H, T, K]`: its probabilities. */
  of: "states" | "inner" | "attention";
  /** Whose tokens T are. */
  stack: Stack;
  /** Whose tokens K are. */
  keys?: Stack;
}

/** A norm: y = normed · weight, normed = x ÷ root. */
export interface NormNodes {
  x: Value;
  root: Value;
  normed: Value;
  weight: Value;
  y: Value;
}

/** What takes the place of a score that must not count: e to its power is zero. */
export const MASKED = -1e9;

/** Shapes: B batch, T or Q queries, K keys, H heads, D the width of a head. */
export class Forward {
  readonly #graph: Graph;
  readonly #config: T5Config;
  readonly #weights: Weights;
  readonly #tiedHead: boolean;

  constructor(graph: Graph, config: T5Config, weights: Weights, tiedHead: boolean) {
    this.#graph = graph;
    this.#config = config;
    this.#weights = weights;
    this.#tiedHead = tiedHead;
  }

  /** ids `[B, T]` → `[B, T, dModel]` */
  embed(ids: Value, stack: Stack): Value {
    const place = { name: `${stack}.embed_tokens.dropout`, of: "states", stack } as const;
    return this.#dropped(this.#weights.embed(ids, EMBEDDING), place);
  }

  /**
   * The relative attention bias of a stack.
   *
   * @param distances key position − query position `[…]`, int64
   * @returns `[…, H]`
   */
  relativeBias(stack: Stack, distances: Value): Value {
    const g = this.#graph;
    const { relativeAttentionNumBuckets: buckets, relativeAttentionMaxDistance: most } = this.#config;
    // Beyond the largest distance everything is in the last bucket: a table up to there is all that is needed.
    const table = Array.from({ length: 2 * most + 1 }, (_, i) =>
      relativePositionBucket(i - most, stack === "encoder", buckets, most),
    );
    const inTable = g.op("Add", [g.op("Clip", [distances, g.int(-most), g.int(most)]), g.int(most)]);
    const bucket = g.op("Gather", [g.ints(table), inTable], { axis: 0 });
    return g.op("Gather", [this.#weights.vector(layerPrefix.relativeAttentionBias(stack)), bucket], { axis: 0 });
  }

  /** A mask `[B, K]` of int64 (1: counts, 0: does not) as a bias `[B, 1, 1, K]`. */
  maskBias(mask: Value): Value {
    const g = this.#graph;
    const masked = g.op("Mul", [
      g.op("Cast", [g.op("Sub", [g.int(1), mask])], { to: { type: "float32" } }),
      g.float(MASKED),
    ]);
    return g.op("Unsqueeze", [masked, g.ints([1, 2])]);
  }

  /** The bias of the encoder's attention for a mask `[B, T]` of int64: relative positions, and what does not count → `[B, H, T, T]`. */
  encoderBias(mask: Value): Value {
    const g = this.#graph;
    const positions = g.op("Range", [g.int(0), lengthOf(g, mask, 1), g.int(1)]);
    const relative = this.relativeBias("encoder", this.#distances(positions, positions));
    return g.op("Add", [this.#byHead(relative), this.maskBias(mask)]);
  }

  /**
   * The bias of the decoder's own attention, by which no token sees those after it, `[1, H, new, before + new]`.
   *
   * @param before tokens that came before, a scalar int64
   * @param count new tokens, a scalar int64
   */
  causalBias(before: Value | null, count: Value): Value {
    const g = this.#graph;
    const all = before ? g.op("Add", [before, count]) : count;
    const keys = g.op("Range", [g.int(0), all, g.int(1)]);
    const queries = before ? g.op("Range", [before, all, g.int(1)]) : keys;
    const distances = this.#distances(keys, queries);
    const isAfter = g.op("Cast", [g.op("Greater", [distances, g.int(0)])], { to: { type: "float32" } });
    return g.op("Add", [
      this.#byHead(this.relativeBias("decoder", distances)),
      g.op("Mul", [isAfter, g.float(MASKED)]),
    ]);
  }

  /** One layer of the encoder: x `[B, T, dModel]`, bias `[B or 1, H, T, T]` → x. */
  encoderLayer(x: Value, layer: number, bias: Value): Value {
    const normed = this.norm(x, layerPrefix.layerNorm("encoder", layer, 0));
    const prefix = layerPrefix.selfAttention("encoder", layer);
    const { q, k, v } = attentionNames(prefix);
    const [queries, keys, values] = [q, k, v].map((name) => this.#weights.linear(normed, name)) as [
      Value,
      Value,
      Value,
    ];
    const place = attentionPlace(prefix, "encoder");
    const attended = this.#attend(queries, this.splitKeys(keys), this.splitHeads(values), bias, place);
    const afterSelf = this.#add(x, this.#weights.linear(attended, attentionNames(prefix).o), "encoder", layer, 0);
    return this.#feedForward(afterSelf, "encoder", layer);
  }

  /**
   * One layer of the decoder: x `[B, T, dModel]` → x.
   *
   * @param self makes of this layer's own keys and values `[B, T, H · D]` those that are attended to: keys
   *   `[B, H, D, K]` and values `[B, H, K, D]`
   * @param cross keys `[B or 1, H, D, S]` and values `[B or 1, H, S, D]` of the input
   * @param crossBias `[B or 1, 1, 1, S]`
   */
  decoderLayer(
    x: Value,
    layer: number,
    self: { bias: Value; join(keys: Value, values: Value): { keys: Value; values: Value } },
    cross: { keys: Value; values: Value; bias: Value },
  ): Value {
    const w = this.#weights;
    const prefix = layerPrefix.selfAttention("decoder", layer);
    const own = attentionNames(prefix);
    const normed = this.norm(x, layerPrefix.layerNorm("decoder", layer, 0));
    const queries = w.linear(normed, own.q);
    const { keys, values } = self.join(w.linear(normed, own.k), w.linear(normed, own.v));
    const attended = this.#attend(queries, keys, values, self.bias, attentionPlace(prefix, "decoder"));
    const afterSelf = this.#add(x, w.linear(attended, own.o), "decoder", layer, 0);

    const crossPrefix = layerPrefix.encDecAttention(layer);
    const other = attentionNames(crossPrefix);
    const crossQueries = w.linear(this.norm(afterSelf, layerPrefix.layerNorm("decoder", layer, 1)), other.q);
    const place = attentionPlace(crossPrefix, "decoder", "encoder");
    const crossed = this.#attend(crossQueries, cross.keys, cross.values, cross.bias, place);
    const afterCross = this.#add(afterSelf, w.linear(crossed, other.o), "decoder", layer, 1);
    return this.#feedForward(afterCross, "decoder", layer);
  }

  /** Cross-attention keys `[B, H, D, S]` and values `[B, H, S, D]` of a layer from hidden states `[B, S, dModel]`. */
  crossAttention(hidden: Value, layer: number): { keys: Value; values: Value } {
    const { k, v } = attentionNames(layerPrefix.encDecAttention(layer));
    return {
      keys: this.splitKeys(this.#weights.linear(hidden, k)),
      values: this.splitHeads(this.#weights.linear(hidden, v)),
    };
  }

  finalNorm(x: Value, stack: Stack): Value {
    const place = { name: `${stack}.final_layer_norm.dropout`, of: "states", stack } as const;
    return this.#dropped(this.norm(x, layerPrefix.finalLayerNorm(stack)), place);
  }

  /** The decoder's last hidden states (after {@link finalNorm}) `[…, dModel]` → logits `[…, vocabSize]`. */
  head(x: Value): Value {
    const g = this.#graph;
    const { scaleDecoderOutputs, dModel } = this.#config;
    const scaled = scaleDecoderOutputs ? g.op("Mul", [x, g.float(dModel ** -0.5)]) : x;
    return this.#weights.linear(scaled, this.#tiedHead ? EMBEDDING : LM_HEAD);
  }

  /** Root mean square norm: x ÷ √(mean(x²) + ε) × weight. */
  norm(x: Value, weight: string): Value {
    const g = this.#graph;
    const mean = g.op("ReduceMean", [g.op("Mul", [x, x]), g.ints([-1])], { keepdims: 1 });
    const root = g.op("Sqrt", [g.op("Add", [mean, g.float(this.#config.layerNormEpsilon)])]);
    const normed = g.op("Div", [x, root]);
    const vector = this.#weights.vector(weight);
    const y = g.op("Mul", [normed, vector]);
    this.#weights.normGradient?.({ x, root, normed, weight: vector, y });
    return y;
  }

  /** `[B, T, H · D]` → `[B, H, T, D]` */
  splitHeads(x: Value): Value {
    return this.#graph.op("Transpose", [this.#heads(x)], { perm: [0, 2, 1, 3] });
  }

  /** `[B, T, H · D]` → `[B, H, D, T]`: the order in which scores are computed. */
  splitKeys(x: Value): Value {
    return this.#graph.op("Transpose", [this.#heads(x)], { perm: [0, 2, 3, 1] });
  }

  /** Key position − query position, `[Q, K]`. */
  #distances(keys: Value, queries: Value): Value {
    const g = this.#graph;
    return g.op("Sub", [g.op("Unsqueeze", [keys, g.ints([0])]), g.op("Unsqueeze", [queries, g.ints([1])])]);
  }

  /** `[Q, K, H]` → `[1, H, Q, K]` */
  #byHead(bias: Value): Value {
    const g = this.#graph;
    return g.op("Unsqueeze", [g.op("Transpose", [bias], { perm: [2, 0, 1] }), g.ints([0])]);
  }

  #heads(x: Value): Value {
    const { numHeads, dKv } = this.#config;
    return this.#graph.op("Reshape", [x, this.#graph.ints([0, 0, numHeads, dKv])]);
  }

  /** queries `[B, Q, H · D]`, keys `[B, H, D, K]`, values `[B, H, K, D]`, bias to add to the scores → `[B, Q, H · D]`. */
  #attend(queries: Value, keys: Value, values: Value, bias: Value, place: DropoutPlace): Value {
    const g = this.#graph;
    const scores = g.op("Add", [g.op("MatMul", [this.splitHeads(queries), keys]), bias]);
    const probabilities = this.#dropped(g.op("Softmax", [scores], { axis: -1 }), place);
    const attended = g.op("MatMul", [probabilities, values]);
    const { numHeads, dKv } = this.#config;
    return g.op("Reshape", [g.op("Transpose", [attended], { perm: [0, 2, 1, 3] }), g.ints([0, 0, numHeads * dKv])]);
  }

  #feedForward(x: Value, stack: Stack, layer: number): Value {
    const g = this.#graph;
    const prefix = layerPrefix.denseReluDense(stack, layer);
    const sublayer = stack === "encoder" ? 1 : 2;
    const normed = this.norm(x, layerPrefix.layerNorm(stack, layer, sublayer));
    const [first, second] = feedForwardInputs(this.#config).map((name) =>
      this.#weights.linear(normed, `${prefix}.${name}.weight`),
    ) as [Value, Value | undefined];
    const activated = this.#activate(first);
    const inner = second ? g.op("Mul", [activated, second]) : activated;
    const kept = this.#dropped(inner, { name: `${prefix}.dropout`, of: "inner", stack });
    return this.#add(x, this.#weights.linear(kept, `${prefix}.wo.weight`), stack, layer, sublayer);
  }

  #activate(x: Value): Value {
    const g = this.#graph;
    switch (this.#config.feedForward) {
      case "relu":
        return g.op("Relu", [x]);
      case "gated-silu":
        return g.op("Mul", [x, g.op("Sigmoid", [x])]);
      case "gated-gelu": {
        // By tanh: ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))).
        const cube = g.op("Mul", [g.op("Mul", [x, x]), x]);
        const inner = g.op("Mul", [
          g.op("Add", [x, g.op("Mul", [cube, g.float(0.044715)])]),
          g.float(Math.sqrt(2 / Math.PI)),
        ]);
        const half = g.op("Mul", [x, g.float(0.5)]);
        return g.op("Mul", [half, g.op("Add", [g.op("Tanh", [inner]), g.float(1)])]);
      }
    }
  }

  /** What a sublayer came to, added to what it began with. */
  #add(x: Value, y: Value, stack: Stack, layer: number, sublayer: number): Value {
    const name = `${stack}.block.${layer}.layer.${sublayer}.dropout`;
    return this.#graph.op("Add", [x, this.#dropped(y, { name, of: "states", stack })]);
  }

  #dropped(x: Value, place: DropoutPlace): Value {
    return this.#weights.dropped?.(x, place) ?? x;
  }
}

function attentionPlace(prefix: string, stack: Stack, keys: Stack = stack): DropoutPlace {
  return { name: `${prefix}.dropout`, of: "attention", stack, keys };
}

/** The size of an axis, as a scalar. */
export function lengthOf(g: Graph, x: Value, axis: number): Value {
  return g.op("Squeeze", [g.op("Shape", [x], { start: axis, end: axis + 1 }), g.ints([0])]);
}
