/** What every entry of the library gives out. */
export { onnxEngine } from "./engines/onnx/index.ts";
export { simdEngine } from "./engines/simd/index.ts";
export { EdgeT5Error, type ErrorCode } from "./errors.ts";
export { type LoadOptions, T5 } from "./from-pretrained.ts";
export { HttpStore } from "./store/http.ts";
export { MemoryStore } from "./store/memory.ts";
export { modelStore, R2Store } from "./store/r2.ts";
export { type S3Options, S3Store } from "./store/s3.ts";
export type { Store, WritableStore } from "./store/store.ts";
export { type AdapterFiles, readAdapter } from "./t5/adapter.ts";
export type { AdapterSet, Decoder, Encoder, EngineLoader, HeldAdapter } from "./t5/engine.ts";
export { type FinishReason, generate, type TokenEvent } from "./t5/generate.ts";
export { type GenerationParams, parseGenerationParams } from "./t5/generation/config.ts";
export { scoreLabels } from "./t5/generation/labels.ts";
export type {
  Classification,
  ClassifyOptions,
  GeneratedSequence,
  GenerateOptions,
  Generation,
  LabelScore,
  ListPiece,
  LoadedAdapter,
  TokenLogprob,
} from "./t5/model.ts";
export {
  type ClassificationOptions,
  classifyLong,
  collectText,
  type LongClassification,
  type LongEnd,
  type LongModel,
  longModelOf,
  planClassification,
  planSummary,
  planTranslation,
  type Section,
  type SummaryOptions,
  sectionsOf,
  splitSentences,
  summarizeLong,
  translateLong,
} from "./t5/text-to-text/long/index.ts";
export type { Tokenizer } from "./t5/tokenizer.ts";
