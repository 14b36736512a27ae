/**
 * T5's architecture, defined once: every tensor by its checkpoint name, with shape, kind and the half that needs it.
 * The splitter checks checkpoints against it; engines look their weights up by it. Names are those of
 * `modeling_t5.py` in Hugging Face transformers.
 */
import type { T5Config } from "./config.ts";

/** `linear` and `embedding` are quantized; `norm` and `bias` (relative attention) stay float32. */
export type TensorKind = "linear" | "embedding" | "norm" | "bias";

/** Which blob holds a tensor: the embedding is shared by both halves. */
export type ShardRole = "embedding" | "encoder" | "decoder";

export interface TensorSpec {
  name: string;
  /** Linear weights are `[out, in]`, the embedding and the head `[vocabSize, dModel]`, biases `[buckets, heads]`. */
  shape: number[];
  kind: TensorKind;
  role: ShardRole;
  /** The layer of its stack that it belongs to; null for what comes before or after the layers. */
  layer: number | null;
}

export const EMBEDDING = "shared.weight";
export const LM_HEAD = "lm_head.weight";

/** Copies or unused leftovers that checkpoints may carry besides {@link tensorsOf}: read by nobody. */
export const IGNORED_TENSORS: ReadonlySet<string> = new Set([
  "encoder.embed_tokens.weight",
  "decoder.embed_tokens.weight",
  "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
]);

/** The names of one attention's projections below its prefix. */
export function attentionNames(prefix: string): { q: string; k: string; v: string; o: string } {
  return {
    q: `${prefix}.q.weight`,
    k: `${prefix}.k.weight`,
    v: `${prefix}.v.weight`,
    o: `${prefix}.o.weight`,
  };
}

export const layerPrefix = {
  selfAttention: (stack: "encoder" | "decoder", layer: number) => `${stack}.block.${layer}.layer.0.SelfAttention`,
  encDecAttention: (layer: number) => `decoder.block.${layer}.layer.1.EncDecAttention`,
  denseReluDense: (stack: "encoder" | "decoder", layer: number) =>
    `${stack}.block.${layer}.layer.${stack === "encoder" ? 1 : 2}.DenseReluDense`,
  layerNorm: (stack: "encoder" | "decoder", layer: number, sublayer: number) =>
    `${stack}.block.${layer}.layer.${sublayer}.layer_norm.weight`,
  relativeAttentionBias: (stack: "encoder" | "decoder") =>
    `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`,
  finalLayerNorm: (stack: "encoder" | "decoder") => `${stack}.final_layer_norm.weight`,
};

/**
 * Every tensor of a model, in the order in which a package stores and an engine reads them.
 *
 * @param tiedHead true when the checkpoint has no `lm_head.weight` of its own
 */
export function tensorsOf(config: T5Config, tiedHead: boolean): TensorSpec[] {
  const { dModel, dKv, numHeads, dFf, vocabSize } = config;
  const inner = dKv * numHeads;
  const specs: TensorSpec[] = [
    { name: EMBEDDING, shape: [vocabSize, dModel], kind: "embedding", role: "embedding", layer: null },
  ];

  const attention = (role: ShardRole, prefix: string, layer: number) => {
    const names = attentionNames(prefix);
    for (const name of [names.q, names.k, names.v]) {
      specs.push({ name, shape: [inner, dModel], kind: "linear", role, layer });
    }
    specs.push({ name: names.o, shape: [dModel, inner], kind: "linear", role, layer });
  };
  const norm = (role: ShardRole, name: string, layer: number | null) =>
    specs.push({ name, shape: [dModel], kind: "norm", role, layer });
  const feedForward = (stack: "encoder" | "decoder", layer: number) => {
    const prefix = layerPrefix.denseReluDense(stack, layer);
    for (const name of feedForwardInputs(config)) {
      specs.push({ name: `${prefix}.${name}.weight`, shape: [dFf, dModel], kind: "linear", role: stack, layer });
    }
    specs.push({ name: `${prefix}.wo.weight`, shape: [dModel, dFf], kind: "linear", role: stack, layer });
  };

  for (const stack of ["encoder", "decoder"] as const) {
    for (let layer = 0; layer < layersIn(config, stack); layer++) {
      norm(stack, layerPrefix.layerNorm(stack, layer, 0), layer);
      attention(stack, layerPrefix.selfAttention(stack, layer), layer);
      if (layer === 0) {
        specs.push({
          name: layerPrefix.relativeAttentionBias(stack),
          shape: [config.relativeAttentionNumBuckets, numHeads],
          kind: "bias",
          role: stack,
          layer,
        });
      }
      if (stack === "decoder") {
        norm(stack, layerPrefix.layerNorm(stack, layer, 1), layer);
        attention(stack, layerPrefix.encDecAttention(layer), layer);
      }
      norm(stack, layerPrefix.layerNorm(stack, layer, stack === "encoder" ? 1 : 2), layer);
      feedForward(stack, layer);
    }
    norm(stack, layerPrefix.finalLayerNorm(stack), null);
  }
  if (!tiedHead) {
    specs.push({ name: LM_HEAD, shape: [vocabSize, dModel], kind: "linear", role: "decoder", layer: null });
  }
  return specs;
}

/** Layers of a stack. */
export function layersIn(config: T5Config, stack: "encoder" | "decoder"): number {
  return stack === "encoder" ? config.numLayers : config.numDecoderLayers;
}

/** The feed-forward's input projections: one for relu, gate and value for a gated activation. */
export function feedForwardInputs(config: T5Config): string[] {
  return config.feedForward === "relu" ? ["wi"] : ["wi_0", "wi_1"];
}

/**
 * Bucket of a relative position, as T5Attention._relative_position_bucket in modeling_t5.py.
 *
 * @param relativePosition key position − query position
 */
export function relativePositionBucket(
  relativePosition: number,
  bidirectional: boolean,
  numBuckets: number,
  maxDistance: number,
): number {
  let bucket = 0;
  let buckets = numBuckets;
  let distance: number;
  if (bidirectional) {
    buckets = Math.floor(buckets / 2);
    if (relativePosition > 0) bucket += buckets;
    distance = Math.abs(relativePosition);
  } else {
    distance = Math.max(0, -relativePosition);
  }
  const maxExact = Math.floor(buckets / 2);
  if (distance < maxExact) return bucket + distance;
  // The reference computes this in float32; Math.fround at each step lands on the same side of every boundary.
  const ratio = Math.fround(Math.log(Math.fround(distance / maxExact)));
  const scaled = Math.fround(Math.fround(ratio / Math.log(maxDistance / maxExact)) * (buckets - maxExact));
  return bucket + Math.min(maxExact + Math.trunc(scaled), buckets - 1);
}
