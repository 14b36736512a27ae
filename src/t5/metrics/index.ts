/** How good answers are: pure functions over hypotheses and references, 0 to 100. */
export { accuracy } from "./accuracy.ts";
export { type Bleu, type BleuCounts, type BleuOptions, bleuCounts, bleuOf, corpusBleu, sentenceBleu } from "./bleu.ts";
export { type ChrfOptions, chrf } from "./chrf.ts";
export { type Rouge, type RougeOptions, rouge } from "./rouge.ts";
export { exactMatch, f1 } from "./squad.ts";
