/**
 * What a request has the model do, whatever shape it came in and wherever the halves run: prompts through both, tokens to
 * text.
 */

import { ApiError } from "../api-error.ts";
import type { FinishReason, TokenEvent } from "../t5/generate.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../t5/model.ts";
import { SequenceText } from "../t5/sequence-text.ts";
import type { Tokenizer } from "../t5/tokenizer.ts";
import type { CompletionChoice } from "./completions.ts";
import type { Generation } from "./generation.ts";
import type { Scores } from "./label-scores.ts";
import { addLogprob, type CompletionLogprobs, emptyLogprobs, joinLogprobs } from "./logprobs.ts";
import type { DecodeOptions } from "./token-stream.ts";

/** Encoder and decoder of one model, with one adapter or none. */
export interface Halves<Encoded> {
  encode(ids: readonly number[], signal: AbortSignal): Promise<Encoded>;
  /** Tokens of all inputs as they are made. */
  decode(
    inputs: readonly Encoded[],
    options: Omit<DecodeOptions, "adapter" | "owner">,
    signal: AbortSignal,
  ): AsyncIterable<TokenEvent>;
  /** How probable each label is as an input's answer. */
  score(input: Encoded, labels: readonly (readonly number[])[], signal: AbortSignal): Promise<Scores>;
  /** As `encode` and `decode`, for any number of inputs: where calls are counted, as a Worker's are. */
  decodeList?(
    ids: readonly (readonly number[])[],
    options: Omit<DecodeOptions, "adapter" | "owner">,
    signal: AbortSignal,
  ): AsyncIterable<TokenEvent>;
  /** As `encode` and `score`, input by input. */
  scoreList?(
    ids: readonly (readonly number[])[],
    labels: readonly (readonly number[])[],
    signal: AbortSignal,
  ): AsyncIterable<Scores>;
}

/** The longest that is taken and made, and how many sequences decode side by side. */
export interface Placement {
  MAX_PROMPT_TOKENS: number;
  MAX_NEW_TOKENS: number;
  MAX_SEQUENCES: number;
}

export interface Prompt {
  text: string;
  ids: readonly number[];
}

export interface Work {
  tokenizer: Tokenizer;
  prompts: readonly Prompt[];
  generation: Generation;
  /** Of one sequence. */
  maxNewTokens: number;
  /** Whether somebody waits for every single token. */
  stream: boolean;
  /** Whether also few prompts go as a list: of a request that has many such, whose calls are counted. */
  asList?: boolean | undefined;
}

/** A piece of one sequence. */
export interface Piece {
  /** Prompt × candidates + candidate. */
  index: number;
  text: string;
  logprobs: CompletionLogprobs | null;
  finishReason: FinishReason | null;
}

/** What has been made so far. */
export interface Counter {
  outputTokens: number;
  /** Tokens through the encoder and rows through the decoder. */
  workUnits: number;
}

/** Limits of tokens, as far as a task has its own. */
export interface TokenLimits {
  maxInputTokens?: number | null;
  maxOutputTokens?: number | null;
}

/**
 * @param param the field of the request that the prompts stand in
 * @throws ApiError 400 `context_length_exceeded`
 */
export function tokenize(
  env: Placement,
  { manifest, tokenizer }: { manifest: { model: { nPositions?: number | null | undefined } }; tokenizer: Tokenizer },
  texts: readonly string[],
  { maxInputTokens }: TokenLimits,
  param: string,
): Prompt[] {
  const limit = Math.min(
    env.MAX_PROMPT_TOKENS,
    manifest.model.nPositions ?? Number.POSITIVE_INFINITY,
    maxInputTokens ?? Number.POSITIVE_INFINITY,
  );
  return texts.map((text, i) => {
    const ids = tokenizer.encode(text);
    if (ids.length <= limit) return { text, ids };
    const which = texts.length > 1 ? `Number ${i} of ${param}` : `The ${param}`;
    throw new ApiError(
      400,
      "context_length_exceeded",
      `${which} has ${ids.length} tokens; up to ${limit} are taken here. Shorten it, or split it.`,
      { param },
    );
  });
}

/**
 * Most new tokens of a sequence.
 *
 * @param asked what the request asks for, if anything
 * @throws ApiError 400 `context_length_exceeded` when that is more than may be made
 */
export function newTokensOf(
  env: Placement,
  { params }: Generation,
  { maxOutputTokens }: TokenLimits,
  asked: number | null,
): number {
  const limit = Math.min(env.MAX_NEW_TOKENS, maxOutputTokens ?? Number.POSITIVE_INFINITY);
  if (asked !== null && asked > limit) {
    throw new ApiError(
      400,
      "context_length_exceeded",
      `max_tokens is ${asked}; an answer may have up to ${limit} here. Ask for fewer.`,
      { param: "max_tokens" },
    );
  }
  return Math.min(params.max_new_tokens ?? DEFAULT_MAX_NEW_TOKENS, limit);
}

/** The sequences' texts, piece by piece. */
export async function* answer<Encoded>(
  halves: Halves<Encoded>,
  env: Placement,
  { tokenizer, prompts, generation, maxNewTokens, stream, asList = false }: Work,
  signal: AbortSignal,
  counter: Counter,
): AsyncGenerator<Piece, void, undefined> {
  const { params, candidates, answers, seed, logprobs, echo } = generation;
  const copies = params.num_beams > 1 ? 1 : candidates;
  const choices = prompts.flatMap(({ text }, i) =>
    Array.from({ length: candidates }, (_, k) => {
      return new Choice(tokenizer, generation, i * candidates + k, echo ? text : "");
    }),
  );
  // Candidates are ranked by their tokens' log-probabilities.
  const told = candidates > answers ? (logprobs ?? 0) : logprobs;
  const options = { maxNewTokens, stream, params, copies, seed, logprobs: told };
  const ids = prompts.map((prompt) => prompt.ids);
  for (const each of ids) counter.workUnits += each.length;
  let open = choices.length;
  for await (const event of decodeAll(halves, env, ids, { ...options, asList }, signal)) {
    const choice = choices[event.index];
    if (!choice) throw new Error("The decoder named a sequence that nobody asked for.");
    if (choice.ended) continue;
    counter.outputTokens++;
    counter.workUnits += params.num_beams;
    const piece = choice.push(event);
    if (piece) yield piece;
    if (choice.ended) open--;
    // Every one came to its end or to a stop string: leaving the loop ends the decoding.
    if (open === 0) break;
  }
}

/** A few inputs at a time go through both halves; or all as a list. */
async function* decodeAll<Encoded>(
  halves: Halves<Encoded>,
  { MAX_SEQUENCES }: Placement,
  ids: readonly (readonly number[])[],
  { asList, ...options }: Omit<DecodeOptions, "adapter" | "owner"> & { asList: boolean },
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, void, undefined> {
  const { copies, seed, params } = options;
  const together = Math.max(1, Math.floor(MAX_SEQUENCES / Math.max(copies, params.num_beams)));
  if (halves.decodeList && ids.length > (asList ? 1 : together)) return yield* halves.decodeList(ids, options, signal);
  const answersEach = Math.max(copies, params.num_return_sequences);
  for (let first = 0; first < ids.length; first += together) {
    const group = ids.slice(first, first + together);
    const encoded = await Promise.all(group.map((each) => halves.encode(each, signal)));
    for await (const event of halves.decode(encoded, { ...options, seed: seed + first * copies }, signal)) {
      yield { ...event, index: first * answersEach + event.index };
    }
  }
}

/** One sequence on its way from tokens to what the client is sent. */
class Choice {
  readonly #tokenizer: Tokenizer;
  readonly #index: number;
  readonly #text: SequenceText;
  readonly #wantsLogprobs: boolean;
  /** Comes before the first piece. */
  #prefix: string;
  #logprobs = emptyLogprobs();

  constructor(
    tokenizer: Tokenizer,
    { stop, logprobs, candidates, answers }: Generation,
    index: number,
    prefix: string,
  ) {
    this.#tokenizer = tokenizer;
    this.#index = index;
    this.#text = new SequenceText(tokenizer, stop);
    this.#wantsLogprobs = logprobs !== null || candidates > answers;
    this.#prefix = prefix;
  }

  get ended(): boolean {
    return this.#text.finishReason !== null;
  }

  /** @returns null when there is nothing to send yet */
  push(event: TokenEvent): Piece | null {
    if (this.#wantsLogprobs) {
      addLogprob(this.#logprobs, event, this.#text.length, (id) => this.#tokenizer.nameOf(id));
    }
    const text = this.#text.push(event);
    const { finishReason } = this.#text;
    if (!text && !finishReason) return null;
    const piece: Piece = {
      index: this.#index,
      text: this.#prefix + text,
      logprobs: this.#wantsLogprobs ? this.#logprobs : null,
      finishReason,
    };
    this.#prefix = "";
    this.#logprobs = emptyLogprobs();
    return piece;
  }
}

/** The whole answers: of each prompt's candidates the most probable a token, when there are more than asked for. */
export async function collect(
  pieces: AsyncIterable<Piece>,
  prompts: number,
  { candidates, answers, logprobs }: Generation,
): Promise<CompletionChoice[]> {
  const all: CompletionChoice[] = Array.from({ length: prompts * candidates }, (_, index) => ({
    text: "",
    index,
    logprobs: null,
    finish_reason: null,
  }));
  for await (const piece of pieces) {
    const choice = all[piece.index];
    if (!choice) continue;
    choice.text += piece.text;
    choice.finish_reason = piece.finishReason;
    if (piece.logprobs) {
      choice.logprobs ??= emptyLogprobs();
      joinLogprobs(choice.logprobs, piece.logprobs);
    }
  }
  if (candidates === answers) return all;
  const chosen = Array.from({ length: prompts }, (_, i) => i).flatMap((i) =>
    all
      .slice(i * candidates, (i + 1) * candidates)
      .sort((a, b) => meanLogprob(b) - meanLogprob(a))
      .slice(0, answers),
  );
  return chosen.map((choice, index) => ({ ...choice, index, logprobs: logprobs === null ? null : choice.logprobs }));
}

function meanLogprob({ logprobs }: CompletionChoice): number {
  const values = logprobs?.token_logprobs ?? [];
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** An input's labels, the most probable first. */
export interface Classified {
  scores: { label: string; score: number; logprob: number }[];
}

/** Scores a closed set of labels for each prompt. */
export async function classify<Encoded>(
  halves: Halves<Encoded>,
  env: Placement,
  { tokenizer, prompts }: Pick<Work, "tokenizer" | "prompts">,
  labels: readonly string[],
  signal: AbortSignal,
  counter: Counter,
): Promise<Classified[]> {
  const ids = labels.map((label) => tokenizer.encode(label));
  const rows = ids.reduce((sum, { length }) => sum + length, 0);
  const inputs = prompts.map((prompt) => prompt.ids);
  const results: Classified[] = [];
  for await (const { scores, logprobs } of scoreAll(halves, env, inputs, ids, signal)) {
    const all = labels.map((label, i) => ({ label, score: scores[i] ?? 0, logprob: logprobs[i] ?? 0 }));
    const ranked = all.sort((a, b) => b.score - a.score);
    counter.workUnits += (inputs[results.length]?.length ?? 0) + rows;
    counter.outputTokens += ids[labels.indexOf(ranked[0]?.label ?? "")]?.length ?? 0;
    results.push({ scores: ranked });
  }
  return results;
}

async function* scoreAll<Encoded>(
  halves: Halves<Encoded>,
  { MAX_SEQUENCES }: Placement,
  ids: readonly (readonly number[])[],
  labels: readonly (readonly number[])[],
  signal: AbortSignal,
): AsyncGenerator<Scores, void, undefined> {
  if (halves.scoreList && ids.length > 1) return yield* halves.scoreList(ids, labels, signal);
  const scoreOne = async (each: readonly number[]) => halves.score(await halves.encode(each, signal), labels, signal);
  for (let first = 0; first < ids.length; first += MAX_SEQUENCES) {
    yield* await Promise.all(ids.slice(first, first + MAX_SEQUENCES).map(scoreOne));
  }
}

/** The most tokens that a request's answers can have together. */
export function mostTokens({
  generation,
  maxNewTokens,
  prompts,
}: Pick<Work, "generation" | "maxNewTokens" | "prompts">): number {
  const { candidates, params } = generation;
  return prompts.length * Math.max(candidates, params.num_return_sequences) * maxNewTokens;
}

/** The most tokens that labels can be billed as. */
export function mostLabelTokens(tokenizer: Tokenizer, labels: readonly string[], prompts: number): number {
  return prompts * Math.max(...labels.map((label) => tokenizer.encode(label).length));
}
