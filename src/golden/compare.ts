/** One reference case on an engine: equal or not, and how far off. */
import type { Decoder, Encoder } from "../t5/engine.ts";
import { generate } from "../t5/generate.ts";
import { beamSearch } from "../t5/generation/beam-search.ts";
import { GENERATION_PARAMS, parseGenerationParams } from "../t5/generation/config.ts";
import { scoreLabels } from "../t5/generation/labels.ts";
import { processorsOf, softmax, warpersOf } from "../t5/generation/processors.ts";
import { argmax, logSumExp } from "../t5/generation/scores.ts";
import type { Expected, GoldenCase } from "./format.ts";

/** Numbers are equal within this part of the largest magnitude, log-probabilities and scores within this much. */
export const TOLERANCE = 1e-4;
/** New tokens when a case's parameters do not say. */
const DEFAULT_MAX_NEW_TOKENS = 24;

export interface Comparison {
  equal: boolean;
  /** `logits`: part of the largest magnitude; else of a log-probability, score or probability, null when none is known. */
  difference: number | null;
}

export interface Subject {
  encoder: Encoder;
  decoder: Decoder;
  /** Whether weights are as the reference had them: numbers must then be equal, not only choices. */
  exact: boolean;
  /** A tensor of `expected.safetensors`. */
  tensor(name: string): Promise<Float32Array>;
}

/** Why a case cannot be run yet, or null. */
export function unsupported({ kind, params, parsed }: Expected["cases"][number]): string | null {
  if (parsed === null) return `kind ${kind}`;
  const unknown = params.filter((name) => !GENERATION_PARAMS.includes(name));
  return unknown.length > 0 ? `${kind} with ${unknown.join(", ")}` : null;
}

/** What a case needs room for. */
export function sizeOf(golden: GoldenCase): { newTokens: number; sequences: number } {
  switch (golden.kind) {
    case "logits":
    case "distribution":
      return { newTokens: golden.decoder_ids.length, sequences: 1 };
    case "labels":
      return { newTokens: Math.max(...golden.labels.map(({ length }) => length)), sequences: golden.labels.length };
    case "generate": {
      const { max_new_tokens = DEFAULT_MAX_NEW_TOKENS, num_beams } = parseGenerationParams(golden.params);
      return { newTokens: max_new_tokens, sequences: num_beams };
    }
  }
}

export async function compareCase(subject: Subject, ids: readonly number[], golden: GoldenCase): Promise<Comparison> {
  const hidden = await subject.encoder.encode(ids);
  switch (golden.kind) {
    case "logits":
      return compareLogits(subject, hidden, golden);
    case "distribution":
      return compareDistribution(subject, hidden, golden);
    case "labels":
      return compareLabels(subject, hidden, golden);
    case "generate":
      return compareGenerate(subject, hidden, golden);
  }
}

async function compareLogits(
  { decoder, exact, tensor }: Subject,
  hidden: Float32Array,
  { input, decoder_ids }: GoldenCase & { kind: "logits" },
): Promise<Comparison> {
  const rows = await feed(decoder, hidden, decoder_ids, (logits) => logits.slice());
  const expected = await tensor(`logits.${input}`);
  const { vocabSize } = decoder.config;
  const actual = new Float32Array(rows.length * vocabSize);
  for (const [i, row] of rows.entries()) actual.set(row, i * vocabSize);
  const difference = Math.max(
    relativeDifference(hidden, await tensor(`encoder.${input}`)),
    relativeDifference(actual, expected),
  );
  const sameChoices = rows.every(
    (row, i) => argmax(row) === argmax(expected.subarray(i * vocabSize, (i + 1) * vocabSize)),
  );
  return { equal: exact ? difference <= TOLERANCE : sameChoices, difference };
}

async function compareGenerate(
  { decoder, exact }: Subject,
  hidden: Float32Array,
  golden: GoldenCase & { kind: "generate" },
): Promise<Comparison> {
  const { sequences, logprobs } = golden;
  const params = parseGenerationParams(golden.params);
  const input = { hidden, maxNewTokens: sizeOf(golden).newTokens, params };
  if (params.num_beams > 1) {
    const found = await beamSearch(decoder, input, params);
    const same = found.length === sequences.length && found.every(({ ids }, i) => sameIds(ids, sequences[i]?.ids));
    const difference = same
      ? largestDifference(
          found.map(({ score }) => score),
          sequences.map(({ score = Number.NaN }) => score),
        )
      : null;
    return { equal: same && (!exact || (difference ?? 0) <= TOLERANCE), difference };
  }
  const expected = sequences[0]?.ids ?? [];
  const actual: number[] = [];
  for await (const { token } of generate(decoder, [input])) actual.push(token);
  const same = sameIds(actual, expected);
  if (!logprobs) return { equal: same, difference: null };

  const fed = [decoder.config.decoderStartTokenId, ...expected.slice(0, -1)];
  const chosen = await feed(decoder, hidden, fed, (logits, i) => logits[expected[i] ?? 0]! - logSumExp(logits));
  const difference = largestDifference(chosen, logprobs);
  return { equal: same && (!exact || difference <= TOLERANCE), difference };
}

async function compareDistribution(
  { decoder, exact }: Subject,
  hidden: Float32Array,
  golden: GoldenCase & { kind: "distribution" },
): Promise<Comparison> {
  const params = parseGenerationParams(golden.params);
  const { decoder_ids } = golden;
  const rows = await feed(decoder, hidden, decoder_ids, (logits) => logits.slice());
  const scores = rows.at(-1)!;
  const processors = [...processorsOf(params, decoder.config.eosTokenId), ...warpersOf(params)];
  for (const process of processors) process(scores, decoder_ids);
  const probabilities = softmax(scores);
  const left = [...probabilities.keys()].filter((token) => scores[token] !== Number.NEGATIVE_INFINITY);
  const same = sameIds(
    left,
    [...golden.tokens].sort((a, b) => a - b),
  );
  const difference = largestDifference(
    golden.tokens.map((token) => probabilities[token]!),
    golden.probs,
  );
  return { equal: same && (!exact || difference <= TOLERANCE), difference };
}

async function compareLabels(
  { decoder, exact }: Subject,
  hidden: Float32Array,
  golden: GoldenCase & { kind: "labels" },
): Promise<Comparison> {
  const { logprobs, scores } = await scoreLabels(decoder, { hidden }, golden.labels);
  const difference = Math.max(largestDifference(logprobs, golden.logprobs), largestDifference(scores, golden.scores));
  const same = argmax(Float32Array.from(scores)) === argmax(Float32Array.from(golden.scores));
  return { equal: same && (!exact || difference <= TOLERANCE), difference };
}

export function sameIds(actual: readonly number[], expected: readonly number[] = []): boolean {
  return actual.length === expected.length && actual.every((id, i) => id === expected[i]);
}

/** Of numbers above one, as part of them: a beam's score can be hundreds, and the references are float32. */
export function largestDifference(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!) / Math.max(1, Math.abs(expected[i]!))));
}

/** Feeds tokens one by one and reads the logits of each step. */
async function feed<T>(
  decoder: Decoder,
  hidden: Float32Array,
  tokens: readonly number[],
  read: (logits: Float32Array, i: number) => T,
): Promise<T[]> {
  const sequence = await decoder.open(hidden, tokens.length);
  try {
    const results: T[] = [];
    for (const [i, token] of tokens.entries()) {
      results.push(read((await decoder.step([sequence], [token])).logits(0), i));
    }
    return results;
  } finally {
    decoder.close(sequence);
  }
}

/** Largest difference ÷ largest magnitude expected; infinite when the lengths differ or a number is not one. */
export function relativeDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  let difference = 0;
  for (const [i, value] of expected.entries()) {
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs((actual[i] ?? Number.NaN) - value));
  }
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / largest;
}
