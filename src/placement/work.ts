/** How much a request makes a model compute, told from its configuration alone. */
import type { T5Config } from "../t5/config.ts";

/** What a request asks for, as far as its weight goes. */
export interface Load {
  /** Of its longest input. */
  promptTokens: number;
  inputs: number;
  /** Decoded side by side for one input: beams, sampled copies, or labels. */
  sequences: number;
  /** Of one sequence, at most. */
  newTokens: number;
}

/** Multiply-adds of one input: of its encode, and of all rows that are decoded for it. */
export interface Work {
  encode: number;
  decode: number;
}

/**
 * Multiply-adds that the simd engine makes in a millisecond of one core: where a token's step is bound by memory, as it is
 * for one row (T5-small on a 2-core Xeon, DESIGN.md's decision 1); more rows at once, and encodes, go faster.
 */
const A_MS = 30e6;

/** Parameters × rows, and attention over what is there by then. */
export function workOf(config: T5Config, { promptTokens, sequences, newTokens }: Load): Work {
  const { dModel, dFf, dKv, numHeads, numLayers, numDecoderLayers, vocabSize } = config;
  const inner = dKv * numHeads;
  const feedForward = (config.feedForward === "relu" ? 2 : 3) * dModel * dFf;
  const encoderRow = numLayers * (4 * dModel * inner + feedForward + 2 * inner * promptTokens);
  const crossRow = numDecoderLayers * 2 * dModel * inner;
  const attended = promptTokens + newTokens / 2;
  const decoderRow = numDecoderLayers * (6 * dModel * inner + feedForward + 2 * inner * attended) + vocabSize * dModel;
  return { encode: promptTokens * encoderRow, decode: promptTokens * crossRow + sequences * newTokens * decoderRow };
}

/**
 * Milliseconds of processor that the busiest Worker takes for its part: an encode is a call of its own, and so is the
 * decoding of as many inputs as go side by side.
 *
 * @param maxSequences that are decoded side by side
 */
export function workerMs(config: T5Config, load: Load, maxSequences: number): number {
  const { encode, decode } = workOf(config, load);
  const together = Math.min(load.inputs, Math.max(1, Math.floor(maxSequences / load.sequences)));
  return Math.max(encode, together * decode) / A_MS;
}

/**
 * Calls of a half that a request's list may take: Cloudflare lets a request call Workers 32 times in all, which are two
 * halves here, and some for what else is asked.
 */
export const MOST_LIST_CALLS = 12;

/** Inputs of a list that one call of a half takes within the processor time that it has. @param cpuMs milliseconds */
export function inputsOfCall(config: T5Config, load: Load, cpuMs: number): number {
  const { encode, decode } = workOf(config, load);
  return Math.max(1, Math.floor((cpuMs * A_MS) / Math.max(encode, decode)));
}
