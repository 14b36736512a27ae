/**
 * What changes a step's scores before a token is chosen: Hugging Face's logits processors and warpers, in its order
 * (transformers 4.57, generation/logits_process.py).
 */
import type { GenerationParams } from "./config.ts";
import { topIndices } from "./scores.ts";

/**
 * Changes `scores` `[vocabSize]` in place.
 *
 * @param ids what the decoder was fed so far, the start token first
 */
export type Processor = (scores: Float32Array, ids: readonly number[]) => void;

const NEVER = Number.NEGATIVE_INFINITY;

/** Processors that hold for searching and sampling alike. */
export function processorsOf(params: GenerationParams, eosTokenId: number): Processor[] {
  const { repetition_penalty, no_repeat_ngram_size, min_new_tokens, forced_bos_token_id } = params;
  const badWords = (params.bad_words_ids ?? []).filter((word) => !(word.length === 1 && word[0] === eosTokenId));
  const suppressed = params.suppress_tokens ?? [];
  return [
    repetition_penalty !== 1 && repetitionPenalty(repetition_penalty),
    no_repeat_ngram_size > 0 && noRepeatNgram(no_repeat_ngram_size),
    badWords.length > 0 && noBadWords(badWords),
    min_new_tokens && minNewTokens(min_new_tokens, eosTokenId),
    forced_bos_token_id != null && forcedBos(forced_bos_token_id),
    suppressed.length > 0 && suppress(suppressed),
  ].filter((processor) => typeof processor === "function");
}

/** Processors that shape the distribution to sample from, after those of {@link processorsOf}. */
export function warpersOf({ temperature, top_k, top_p }: GenerationParams): Processor[] {
  return [temperature !== 1 && byTemperature(temperature), top_k > 0 && topK(top_k), top_p < 1 && topP(top_p)].filter(
    (processor) => typeof processor === "function",
  );
}

/** Keskar et al. 2019 (CTRL): each token there is once made less likely, however often it is there. */
function repetitionPenalty(penalty: number): Processor {
  return (scores, ids) => {
    for (const id of new Set(ids)) {
      const score = scores[id]!;
      scores[id] = score < 0 ? score * penalty : score / penalty;
    }
  };
}

/** No n-gram twice. */
function noRepeatNgram(n: number): Processor {
  return (scores, ids) => {
    const prefix = ids.length - (n - 1);
    for (let i = 0; i + n <= ids.length; i++) {
      let same = true;
      for (let j = 0; j < n - 1 && same; j++) same = ids[i + j] === ids[prefix + j];
      if (same) scores[ids[i + n - 1]!] = NEVER;
    }
  };
}

function noBadWords(words: readonly (readonly number[])[]): Processor {
  return (scores, ids) => {
    for (const word of words) {
      const first = ids.length - (word.length - 1);
      // Hugging Face looks at words of at most as many tokens as there are ids.
      if (word.length > 1 && word.length > ids.length) continue;
      if (word.slice(0, -1).every((id, i) => id === ids[first + i])) scores[word.at(-1)!] = NEVER;
    }
  };
}

function minNewTokens(tokens: number, eosTokenId: number): Processor {
  return (scores, ids) => {
    if (ids.length - 1 < tokens) scores[eosTokenId] = NEVER;
  };
}

function forcedBos(token: number): Processor {
  return (scores, ids) => {
    if (ids.length > 1) return;
    scores.fill(NEVER);
    scores[token] = 0;
  };
}

function suppress(tokens: readonly number[]): Processor {
  return (scores) => {
    for (const token of tokens) scores[token] = NEVER;
  };
}

/** Colder, scores overflow float32, and nothing tells the best from the rest. */
const LEAST_TEMPERATURE = 1e-30;

function byTemperature(temperature: number): Processor {
  const divisor = Math.max(temperature, LEAST_TEMPERATURE);
  return (scores) => {
    for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / divisor;
  };
}

/** Only the `k` most probable tokens, and those that tie with the last of them. */
function topK(k: number): Processor {
  return (scores) => {
    const least = scores[topIndices(scores, Math.min(k, scores.length)).at(-1)!]!;
    for (let i = 0; i < scores.length; i++) if (scores[i]! < least) scores[i] = NEVER;
  };
}

/** Holtzman et al. 2020: the most probable tokens that reach `p` together, at least one. */
function topP(p: number): Processor {
  return (scores) => {
    const probabilities = softmax(scores);
    const rising = [...scores.keys()].sort((a, b) => scores[a]! - scores[b]! || a - b);
    let sum = 0;
    for (const i of rising.slice(0, -1)) {
      sum += probabilities[i]!;
      if (sum > 1 - p) break;
      scores[i] = NEVER;
    }
  };
}

/** Probabilities of scores; those of minus infinity have none. */
export function softmax(scores: Float32Array): Float64Array {
  let largest = NEVER;
  for (const score of scores) largest = Math.max(largest, score);
  const probabilities = Float64Array.from(scores, (score) => Math.exp(score - largest));
  const total = probabilities.reduce((sum, each) => sum + each, 0);
  return probabilities.map((each) => each / total);
}
