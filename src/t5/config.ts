/** T5's configuration: read from a Hugging Face `config.json`, normalized once, and carried by every package. */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";

const positive = z.number().int().positive();
/** Of a stack; far above any T5 (24), far below what would exhaust memory by its names alone. */
const layers = positive.max(1024);
const tokenId = z.number().int().nonnegative();

const feedForward = z.enum(["relu", "gated-gelu", "gated-silu"]);

/** The configuration as the kit uses it, and as `manifest.json` stores it. */
export const t5ConfigSchema = z.object({
  modelType: z.enum(["t5", "mt5"]),
  vocabSize: positive,
  /** Width of the residual stream. */
  dModel: positive,
  /** Width of one attention head; `dKv * numHeads` need not be `dModel`. */
  dKv: positive,
  numHeads: positive,
  dFf: positive,
  numLayers: layers,
  numDecoderLayers: layers,
  /** T5 v1.0 uses `relu`; v1.1, FLAN, mT5 and ByT5 `gated-gelu` (gelu by tanh); some of their kin `gated-silu`. */
  feedForward,
  relativeAttentionNumBuckets: positive,
  relativeAttentionMaxDistance: positive,
  layerNormEpsilon: z.number().positive(),
  /** Multiply the decoder's output by `dModel ** -0.5` before the head (T5 v1.0). */
  scaleDecoderOutputs: z.boolean(),
  padTokenId: tokenId,
  eosTokenId: tokenId,
  decoderStartTokenId: tokenId,
  /** Longest input that the model was trained on; null when the checkpoint does not say. */
  nPositions: positive.nullable(),
});

export type T5Config = z.infer<typeof t5ConfigSchema>;

const huggingFaceSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: positive,
  d_model: positive,
  d_kv: positive,
  num_heads: positive,
  d_ff: positive,
  num_layers: layers,
  num_decoder_layers: layers.nullish(),
  feed_forward_proj: z.string().default("relu"),
  relative_attention_num_buckets: positive.default(32),
  relative_attention_max_distance: positive.default(128),
  layer_norm_epsilon: z.number().positive().default(1e-6),
  tie_word_embeddings: z.boolean().optional(),
  scale_decoder_outputs: z.boolean().optional(),
  pad_token_id: tokenId.default(0),
  eos_token_id: tokenId.default(1),
  decoder_start_token_id: tokenId.default(0),
  n_positions: positive.nullish(),
});

/**
 * Normalizes a Hugging Face `config.json`.
 *
 * Scaling follows transformers 4 and 5: `scale_decoder_outputs` when present, else `tie_word_embeddings` is not false
 * (modeling_t5.py). Whether the head is tied is not read here: the checkpoint's tensors say so.
 *
 * @throws EdgeT5Error `E_ARCHITECTURE` for a model that is not a T5, `E_CONFIG` for a field that is missing or wrong.
 */
export function parseHuggingFaceConfig(json: unknown, source = "config.json"): T5Config {
  const modelType = (json as { model_type?: unknown } | null)?.model_type;
  if (modelType !== "t5" && modelType !== "mt5") {
    throw new EdgeT5Error(
      "E_ARCHITECTURE",
      `${source}: model_type is ${JSON.stringify(modelType)}; edge-t5 runs "t5" and "mt5" checkpoints (T5 v1.0, v1.1, FLAN, mT5). Point it at one of those.`,
    );
  }
  const parsed = huggingFaceSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new EdgeT5Error(
      "E_CONFIG",
      `${source}: ${issue?.path.join(".") || "(root)"}: ${issue?.message}. Re-export the checkpoint with its config.json.`,
    );
  }
  const c = parsed.data;
  const activation = feedForward.safeParse(c.feed_forward_proj);
  if (!activation.success) {
    throw new EdgeT5Error(
      "E_ARCHITECTURE",
      `${source}: feed_forward_proj is ${JSON.stringify(c.feed_forward_proj)}; edge-t5 runs ${feedForward.options.join(", ")}.`,
    );
  }
  if (c.relative_attention_num_buckets % 4 !== 0) {
    throw new EdgeT5Error(
      "E_CONFIG",
      `${source}: relative_attention_num_buckets is ${c.relative_attention_num_buckets}; it must be a multiple of 4.`,
    );
  }
  return {
    modelType,
    vocabSize: c.vocab_size,
    dModel: c.d_model,
    dKv: c.d_kv,
    numHeads: c.num_heads,
    dFf: c.d_ff,
    numLayers: c.num_layers,
    numDecoderLayers: c.num_decoder_layers ?? c.num_layers,
    feedForward: activation.data,
    relativeAttentionNumBuckets: c.relative_attention_num_buckets,
    relativeAttentionMaxDistance: c.relative_attention_max_distance,
    layerNormEpsilon: c.layer_norm_epsilon,
    scaleDecoderOutputs: c.scale_decoder_outputs ?? c.tie_word_embeddings !== false,
    padTokenId: c.pad_token_id,
    eosTokenId: c.eos_token_id,
    decoderStartTokenId: c.decoder_start_token_id,
    nPositions: c.n_positions ?? null,
  };
}

/** The `config.json` that {@link parseHuggingFaceConfig} reads, with the names of transformers' T5Config. */
export function toHuggingFaceConfig(config: T5Config, tiedHead: boolean): Record<string, unknown> {
  return {
    architectures: [config.modelType === "mt5" ? "MT5ForConditionalGeneration" : "T5ForConditionalGeneration"],
    model_type: config.modelType,
    is_encoder_decoder: true,
    vocab_size: config.vocabSize,
    d_model: config.dModel,
    d_kv: config.dKv,
    d_ff: config.dFf,
    num_heads: config.numHeads,
    num_layers: config.numLayers,
    num_decoder_layers: config.numDecoderLayers,
    feed_forward_proj: config.feedForward,
    relative_attention_num_buckets: config.relativeAttentionNumBuckets,
    relative_attention_max_distance: config.relativeAttentionMaxDistance,
    layer_norm_epsilon: config.layerNormEpsilon,
    tie_word_embeddings: tiedHead,
    scale_decoder_outputs: config.scaleDecoderOutputs,
    pad_token_id: config.padTokenId,
    eos_token_id: config.eosTokenId,
    decoder_start_token_id: config.decoderStartTokenId,
    use_cache: true,
    ...(config.nPositions === null ? {} : { n_positions: config.nPositions }),
  };
}
