/**
 * @module Training data: from files to examples that a run can return to. Nothing here knows of graphs or devices.
 */
export { cutAtSpace, type Pair, type PairFormat } from "./columns.ts";
export { Corpus, type CorpusOptions, type CorpusReport, type CorruptionOptions, prepareCorpus } from "./corpus.ts";
export { type Denoiser, PREFIX_LM, SPAN_CORRUPTION, UL2 } from "./denoise.ts";
export type { LengthSummary } from "./lengths.ts";
export { mixture, mixtureRates, type Rates, SIZE_LIMIT } from "./mixture.ts";
export { Pairs, type PairsOptions, type PairsReport, preparePairs } from "./pairs.ts";
export type { DataTokenizer } from "./source.ts";
export type { Part } from "./token-store.ts";
