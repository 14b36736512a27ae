/** One reference case on an engine: equal or not, and how far off. */
import { EdgeT5Error } from "../errors.ts";
import type { Decoder, Encoder } from "../t5/engine.ts";
import { generate } from "../t5/generate.ts";
import type { Expected, GoldenCase } from "./format.ts";

/** Numbers are equal within this part of the largest magnitude; log-probabilities within this much. */
export const TOLERANCE = 1e-4;
/** New tokens when a case's parameters do not say. */
const DEFAULT_MAX_NEW_TOKENS = 24;
const SUPPORTED_PARAMS: ReadonlySet<string> = new Set(["max_new_tokens"]);

export interface Comparison {
  equal: boolean;
  /** `logits`: part of the largest magnitude; `generate`: of a chosen token's log-probability, null when not known. */
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
  const unknown = params.filter((name) => !SUPPORTED_PARAMS.has(name));
  return unknown.length > 0 ? `${kind} with ${unknown.join(", ")}` : null;
}

/** New tokens that a case asks for. */
export function newTokens(golden: GoldenCase): number {
  if (golden.kind === "logits") return golden.decoder_ids.length;
  const asked = golden.params.max_new_tokens ?? DEFAULT_MAX_NEW_TOKENS;
  if (!Number.isInteger(asked)) {
    throw new EdgeT5Error("E_INPUT", `max_new_tokens is ${JSON.stringify(asked)}, not a whole number.`);
  }
  return asked as number;
}

export async function compareCase(subject: Subject, ids: readonly number[], golden: GoldenCase): Promise<Comparison> {
  const hidden = await subject.encoder.encode(ids);
  return golden.kind === "logits"
    ? compareLogits(subject, hidden, golden)
    : compareGenerate(subject, hidden, newTokens(golden), golden);
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
    (row, i) => indexOfMax(row) === indexOfMax(expected.subarray(i * vocabSize, (i + 1) * vocabSize)),
  );
  return { equal: exact ? difference <= TOLERANCE : sameChoices, difference };
}

async function compareGenerate(
  { decoder, exact }: Subject,
  hidden: Float32Array,
  maxNewTokens: number,
  { sequences, logprobs }: GoldenCase & { kind: "generate" },
): Promise<Comparison> {
  const expected = sequences[0]?.ids ?? [];
  const actual: number[] = [];
  for await (const { token } of generate(decoder, [{ hidden, maxNewTokens }])) actual.push(token);
  const same = actual.length === expected.length && actual.every((id, i) => id === expected[i]);
  if (!logprobs) return { equal: same, difference: null };

  const fed = [decoder.config.decoderStartTokenId, ...expected.slice(0, -1)];
  const chosen = await feed(decoder, hidden, fed, (logits, i) => logProbability(logits, expected[i] ?? 0));
  const difference = Math.max(...chosen.map((logprob, i) => Math.abs(logprob - (logprobs[i] ?? Number.NaN))));
  return { equal: same && (!exact || difference <= TOLERANCE), difference };
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
function relativeDifference(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  let difference = 0;
  for (const [i, value] of expected.entries()) {
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs((actual[i] ?? Number.NaN) - value));
  }
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / largest;
}

function indexOfMax(values: Float32Array): number {
  let best = 0;
  for (const [i, value] of values.entries()) if (value > (values[best] ?? 0)) best = i;
  return best;
}

function logProbability(logits: Float32Array, token: number): number {
  const largest = logits[indexOfMax(logits)] ?? 0;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - largest);
  return (logits[token] ?? Number.NaN) - largest - Math.log(sum);
}
