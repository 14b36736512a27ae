/** Text of any length for a model with a window: translation, summaries, classification. Pure: it needs no runtime. */

export { countWords } from "./choose.ts";
export {
  type ClassificationOptions,
  type ClassificationPlan,
  classifyLong,
  combineScores,
  type LongClassification,
  planClassification,
} from "./classify.ts";
export {
  collectText,
  type Fill,
  type LongBounds,
  type LongEnd,
  type LongGenerateOptions,
  type LongModel,
  type LongOptions,
  type LongPiece,
  type LongRunOptions,
  type LongSize,
} from "./model.ts";
export { type Section, sectionsOf } from "./sections.ts";
export { type Piece, splitSentences } from "./sentences.ts";
export { planSummary, type SummaryOptions, type SummaryPlan, summarizeLong } from "./summarize.ts";
export { longModelOf } from "./t5.ts";
export { type OfText, together } from "./together.ts";
export { planTranslation, type TranslationPart, type TranslationPlan, translated, translateLong } from "./translate.ts";
