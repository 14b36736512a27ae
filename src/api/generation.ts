/** How a completions request is to be generated: its fields over the model's defaults. */

import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import { type GenerationParams, parseGenerationParams } from "../t5/generation/config.ts";
import type { GenerationFields } from "./completions.ts";

export type { GenerationFields } from "./completions.ts";

export interface Generation {
  params: GenerationParams;
  /** Sequences decoded for a prompt, of which `answers` are given: the most probable ones. */
  candidates: number;
  answers: number;
  seed: number;
  /** How many of the most probable tokens to tell beside each chosen one; null for no log-probabilities. */
  logprobs: number | null;
  stop: string[];
  echo: boolean;
}

/**
 * Who asks to sample does not search beams by default, and the other way round; temperature 0 is greedy.
 *
 * @param defaults the model's, from `generationDefaults`
 * @throws ApiError 400 `invalid_value` for what contradicts itself, with the reason
 */
export function resolveGeneration(fields: GenerationFields, defaults: Partial<GenerationParams>): Generation {
  const { temperature, top_p, top_k, seed, n, best_of, logprobs, stop, echo } = fields;
  const asksToSample = temperature == null ? (top_p ?? 1) < 1 || (top_k ?? 0) > 0 : temperature > 0;
  const asksForBeams = (fields.num_beams ?? 1) > 1;
  const isSampling = asksToSample || (temperature == null && !asksForBeams && defaults.do_sample === true);
  const beams = fields.num_beams ?? (isSampling ? 1 : (defaults.num_beams ?? 1));
  const answers = n ?? 1;
  const candidates = best_of ?? answers;
  refuseContradictions(fields, { isSampling, beams, answers, candidates });
  const given = Object.entries({
    length_penalty: fields.length_penalty,
    early_stopping: fields.early_stopping,
    temperature: temperature === 0 ? null : temperature,
    top_p,
    top_k,
    repetition_penalty: fields.repetition_penalty,
    no_repeat_ngram_size: fields.no_repeat_ngram_size,
    min_new_tokens: fields.min_new_tokens,
    bad_words_ids: fields.bad_words_ids,
    suppress_tokens: fields.suppress_tokens,
    forced_bos_token_id: fields.forced_bos_token_id,
    prompt_lookup_num_tokens: fields.prompt_lookup_num_tokens,
  }).filter(([, value]) => value != null);
  const params = toParams({
    ...defaults,
    ...Object.fromEntries(given),
    num_beams: beams,
    do_sample: isSampling,
    num_return_sequences: answers,
    ...(fields.max_tokens != null && { max_new_tokens: fields.max_tokens }),
  });
  return {
    params,
    candidates,
    answers,
    // Without a seed each request draws anew.
    seed: seed ?? crypto.getRandomValues(new Int32Array(1))[0] ?? 0,
    logprobs: logprobs ?? null,
    stop: stop ?? [],
    echo: echo ?? false,
  };
}

/** @throws ApiError 400 `invalid_value`, naming the field that has to change */
function refuseContradictions(
  { logprobs, echo, stream, min_new_tokens, max_tokens }: GenerationFields,
  way: { isSampling: boolean; beams: number; answers: number; candidates: number },
): void {
  const { isSampling, beams, answers, candidates } = way;
  const refuse = (param: string, why: string) => new ApiError(400, "invalid_value", why, { param });
  if (candidates > 1 && !isSampling && beams === 1) {
    const param = answers > 1 ? "n" : "best_of";
    throw refuse(
      param,
      `${param} is ${candidates}, but greedy decoding has one answer. Set temperature above 0, or num_beams.`,
    );
  }
  if (isSampling && beams > 1) {
    throw refuse(
      "num_beams",
      "temperature, top_p and top_k ask to sample, num_beams to search. Leave one of them out.",
    );
  }
  if (!isSampling && answers > beams) {
    throw refuse(
      "n",
      `n is ${answers}, num_beams ${beams}: a search has no more answers than beams. Raise num_beams, or set temperature above 0 instead.`,
    );
  }
  if ((min_new_tokens ?? 0) > (max_tokens ?? Number.POSITIVE_INFINITY)) {
    throw refuse("min_new_tokens", `min_new_tokens is ${min_new_tokens}, above max_tokens = ${max_tokens}. Lower it.`);
  }
  if (candidates < answers) throw refuse("best_of", `best_of is ${candidates}, below n = ${answers}. Raise it.`);
  if (candidates > answers && beams > 1) {
    throw refuse("best_of", "best_of is for sampling; beams are ranked by themselves. Leave best_of or num_beams out.");
  }
  if (candidates > answers && stream) {
    throw refuse("best_of", "What is streamed cannot be ranked first. Leave best_of out, or set stream to false.");
  }
  if (logprobs != null && beams > 1) {
    throw refuse("logprobs", "logprobs are not told for beams. Leave logprobs or num_beams out.");
  }
  if (logprobs != null && echo) {
    throw refuse("logprobs", "A prompt that is encoded has no log-probabilities. Leave logprobs or echo out.");
  }
}

function toParams(fields: object): GenerationParams {
  try {
    return parseGenerationParams(fields);
  } catch (error) {
    if (error instanceof EdgeT5Error) throw new ApiError(400, "invalid_value", error.message, { cause: error });
    throw error;
  }
}
