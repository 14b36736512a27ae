/**
 * Texts of any length through a model, in the pieces that a task's `long` says: what the model will be asked, before
 * anything runs, and how it is asked, wherever it runs (src/t5/text-to-text/long).
 */

import type { Prompt } from "../api/answers.ts";
import {
  answer,
  type Classified,
  type Counter,
  classify,
  type Halves,
  type Piece,
  type Placement,
} from "../api/answers.ts";
import type { Generation, GenerationFields } from "../api/generation.ts";
import { ApiError } from "../api-error.ts";
import { boundsFor, type Lengths, newTokensFor } from "../placement/lengths.ts";
import type { Manifest } from "../t5/manifest.ts";
import { type ClassificationPlan, combineScores, planClassification } from "../t5/text-to-text/long/classify.ts";
import { type LongBounds, type LongModel, type LongSize, sizeOf } from "../t5/text-to-text/long/model.ts";
import { planSummary, summarizeLong } from "../t5/text-to-text/long/summarize.ts";
import { type OfText, together } from "../t5/text-to-text/long/together.ts";
import { planTranslation, translated } from "../t5/text-to-text/long/translate.ts";
import type { Tokenizer } from "../t5/tokenizer.ts";
import type { LongInput, RenderedInput } from "./task-request.ts";
import type { Task } from "./tasks.ts";

/** What texts are for. */
export interface LongTarget {
  task: Pick<Task, "name" | "definition"> | null;
  model: { manifest: Pick<Manifest, "model">; tokenizer: Tokenizer };
  lengths: Lengths;
}

/** A piece of the answer; its end, with what is to be said of it. */
export type LongPart = { text: string } | { notes: readonly string[] };

/** A piece of one of several texts' answers. */
export interface TextPiece extends Piece {
  /** With a text's last: what is not as it was asked for, for people. */
  notes?: readonly string[];
}

/** What goes through the model in pieces, before anything runs. */
export interface LongPlan<Part = LongPart> {
  /** Of the first round. */
  prompts: readonly string[];
  size: LongSize;
  /** Of an answer, at most. */
  newTokens: number;
  generation: Generation;
  bounds: LongBounds;
  parts(model: LongModel, signal: AbortSignal): AsyncGenerator<Part, void, undefined>;
}

/** Prompts that a request, or a row of a batch, may come to, wherever it runs: a book of six hundred pages. */
export const MOST_PROMPTS = 20_000;

/** @throws ApiError 413 `content_too_large` */
export function checkPieces({ prompts }: LongSize, most: number, param: string): void {
  if (prompts <= most) return;
  const message = `The text comes to ${prompts} pieces for the model; up to ${most} are taken here. Divide it.`;
  throw new ApiError(413, "content_too_large", message, { param });
}

/**
 * One text.
 *
 * @param words that a summary is to have, if any number
 * @throws ApiError 400 as `newTokensFor`; EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room
 */
export function planLong(
  { task, model, lengths }: LongTarget,
  generation: Generation,
  input: LongInput,
  fields: GenerationFields,
  words: number | null,
): LongPlan {
  const most = newTokensFor(lengths, task, generation, fields);
  const bounds = boundsFor(lengths, task, model, most);
  const common = { generation, bounds };
  const { text, document, sections, fill } = input;
  if (input.mode === "sentences") {
    const plan = planTranslation(document ?? text, bounds, { fill });
    const pieces = (model: LongModel, signal: AbortSignal) =>
      plan.prompts.length === 0 ? nothing() : model.generate(plan.prompts, { signal });
    return {
      ...{ ...common, prompts: plan.prompts, size: plan.size, newTokens: plan.newTokens },
      parts: (model, signal) => partsOf(translated(plan, pieces(model, signal))),
    };
  }
  const options = { fill, ...(words !== null && { words }) };
  const source = sections ?? text;
  return {
    ...{ ...common, newTokens: most },
    ...planSummary(source, bounds, options),
    parts: (model, signal) => partsOf(summarizeLong(model, source, { ...options, signal })),
  };
}

/** Of a document that is translated, tokens that are asked for are each piece's: its tables and names stay as they are. */
export function keepsPieces({ mode, document }: LongInput): boolean {
  return mode === "sentences" && document !== null;
}

/**
 * Several texts, those that fit whole and the others in pieces, all of them together.
 *
 * A text that fits goes whole where the request asks for what one prompt's answer has alone: several answers,
 * log-probabilities, a stop, an answer of so many tokens at most. Of a document that is to be translated, which has tables
 * and names, these tokens are each piece's.
 *
 * @param words that a summary is to have, if any number
 * @returns null where all of them go whole
 * @throws as {@link planLong}
 */
export function planPieces(
  target: LongTarget,
  generation: Generation,
  inputs: readonly RenderedInput[],
  fields: GenerationFields,
  words: number | null,
): LongPlan<TextPiece> | null {
  if (inputs.every(({ long }) => long === null) || onlyOfOne(generation) !== null) return null;
  const { task, model, lengths } = target;
  const bounds = boundsFor(lengths, task, model, newTokensFor(lengths, task, generation, fields));
  const ways = inputs.map(({ prompt, long }): Way => {
    const one = oneOf(prompt, { prompts: [prompt], size: sizeOf([prompt], bounds), newTokens: bounds.maxNewTokens });
    if (!long) return one;
    const mayBeOne = fields.max_tokens != null && words === null && !keepsPieces(long);
    if (mayBeOne && one.size.longest <= bounds.maxInputTokens) return one;
    const plan = planLong(target, generation, long, fields, words);
    if (words === null && plan.prompts.length === 1 && plan.prompts[0] === prompt) return one;
    return { ...plan, isWhole: false, parts: (model, signal) => told(plan.parts(model, signal)) };
  });
  if (ways.every(({ isWhole }) => isWhole)) return null;
  // As much for each: what differs would be lists of their own.
  const ofPieces = Math.max(...ways.map(({ isWhole, newTokens }) => (isWhole ? 0 : newTokens)));
  return {
    ...{ generation, bounds, prompts: ways.flatMap(({ prompts }) => prompts), size: sumOf(ways) },
    newTokens: Math.max(...ways.map(({ newTokens }) => newTokens)),
    parts: (model, signal) => {
      const all = ways.map(({ isWhole, newTokens, parts }) => (own: LongModel) => {
        return parts(upTo(isWhole ? newTokens : ofPieces, own), signal);
      });
      return piecesOf(together(model, all, { signal }));
    },
  };
}

/**
 * Of a text that did not go whole: that it would go in pieces, but for what was asked for.
 *
 * @returns ApiError 400 `invalid_value` in its place; any other error as it is
 */
export function notWhole(
  error: unknown,
  inputs: readonly RenderedInput[],
  generation: Generation,
  param: string,
): unknown {
  const name = inputs.every(({ long }) => long === null) ? null : onlyOfOne(generation);
  const isTooLong = error instanceof ApiError && error.code === "context_length_exceeded" && error.param === param;
  if (name === null || !isTooLong) return error;
  const message = `${error.message} In pieces it would have one answer, made of many: leave ${name} out for that.`;
  return new ApiError(400, "invalid_value", message, { param: name, cause: error });
}

/** The field that asks for what one prompt's answer has alone, if any does. */
function onlyOfOne({ answers, candidates, logprobs, echo, stop }: Generation): string | null {
  if (answers > 1) return "n";
  if (candidates > 1) return "best_of";
  if (logprobs !== null) return "logprobs";
  if (echo) return "echo";
  return stop.length > 0 ? "stop" : null;
}

type Told = Pick<TextPiece, "text" | "finishReason" | "notes">;

/** How one of the texts goes through the model. */
interface Way {
  /** As one prompt. */
  isWhole: boolean;
  prompts: readonly string[];
  size: LongSize;
  newTokens: number;
  parts(model: LongModel, signal: AbortSignal): AsyncIterable<Told>;
}

function oneOf(prompt: string, way: Pick<Way, "prompts" | "size" | "newTokens">): Way {
  return { ...way, isWhole: true, parts: (model, signal) => model.generate([prompt], { signal }) };
}

async function* told(parts: AsyncIterable<LongPart>): AsyncGenerator<Told, void, undefined> {
  for await (const part of parts) {
    if ("text" in part) yield { text: part.text, finishReason: null };
    else yield { text: "", finishReason: "stop", notes: part.notes };
  }
}

async function* piecesOf(all: AsyncIterable<OfText<Told>>): AsyncGenerator<TextPiece, void, undefined> {
  for await (const { index, value } of all) yield { ...value, index, logprobs: null };
}

function sumOf(ways: readonly Way[]): LongSize {
  const sum = (of: (size: LongSize) => number) => ways.reduce((total, { size }) => total + of(size), 0);
  return {
    prompts: sum(({ prompts }) => prompts),
    promptTokens: sum(({ promptTokens }) => promptTokens),
    longest: Math.max(...ways.map(({ size }) => size.longest)),
  };
}

/** The model, making so many tokens at most. */
function upTo(most: number, model: LongModel): LongModel {
  const generate: LongModel["generate"] = (prompts, { maxNewTokens = most, signal }) =>
    model.generate(prompts, { maxNewTokens: Math.min(maxNewTokens, most), signal });
  return { ...model, generate };
}

async function* nothing(): AsyncGenerator<never, void, undefined> {}

async function* partsOf(
  pieces: AsyncGenerator<string, { notes: readonly string[] }, undefined>,
): AsyncGenerator<LongPart, void, undefined> {
  try {
    for (;;) {
      const { done, value } = await pieces.next();
      if (done) return yield { notes: value.notes };
      yield { text: value };
    }
  } finally {
    await pieces.return({ notes: [] });
  }
}

/** What went through the model so far. */
export interface LongCounter extends Counter {
  inputTokens: number;
}

/** The model as texts of any length use it: what goes through it is counted. */
export function longModelOf<Encoded>(
  halves: Halves<Encoded>,
  placement: Placement,
  { generation, newTokens, bounds }: Pick<LongPlan<unknown>, "generation" | "newTokens" | "bounds">,
  tokenizer: Tokenizer,
  counter: LongCounter,
): LongModel {
  return {
    ...bounds,
    async *generate(texts, { maxNewTokens = newTokens, signal = NEVER }) {
      const order = likeLengths(texts.map((text) => ({ text, ids: tokenizer.encode(text) })));
      const prompts = order.map(({ prompt }) => prompt);
      counter.inputTokens += prompts.reduce((sum, { ids }) => sum + ids.length, 0);
      const most = Math.min(maxNewTokens, newTokens);
      const work = { tokenizer, prompts, generation, maxNewTokens: most, stream: true, asList: true };
      for await (const { index, text, finishReason } of answer(halves, placement, work, signal, counter)) {
        yield { index: order[index]?.index ?? 0, text, finishReason };
      }
    },
    async score(texts, labels, { signal = NEVER }) {
      const prompts = texts.map((text) => ({ text, ids: tokenizer.encode(text) }));
      const all = await classify(halves, placement, { tokenizer, prompts }, labels, signal, counter);
      return all.map((classified) => inOrder(labels, classified));
    },
  };
}

const NEVER = new AbortController().signal;

/** Inputs that are decoded side by side last as long as the longest: those of like length go together. */
const FIRST = 16;
const TOGETHER = 64;

/** The first few stay as they are, so that the answer begins soon. */
function likeLengths(prompts: readonly Prompt[]): { prompt: Prompt; index: number }[] {
  const all = prompts.map((prompt, index) => ({ prompt, index }));
  const ordered = all.slice(0, FIRST);
  for (let first = FIRST; first < all.length; first += TOGETHER) {
    const group = all.slice(first, first + TOGETHER);
    ordered.push(...group.sort((a, b) => a.prompt.ids.length - b.prompt.ids.length));
  }
  return ordered;
}

/** Of a text that is labelled. */
export type Windows = Pick<ClassificationPlan, "prompts" | "weights">;

/** Of each input. @throws EdgeT5Error `E_CONTEXT_LENGTH` when the template leaves no room */
export function planWindows({ task, model, lengths }: LongTarget, inputs: readonly RenderedInput[]): Windows[] {
  const bounds = boundsFor(lengths, task, model, 1);
  return inputs.map(({ long, prompt }) =>
    long?.mode === "windows" ? planClassification(long.text, bounds, long) : { prompts: [prompt], weights: [1] },
  );
}

/** Of each input's windows one answer, its labels the most probable first. @param scored all windows, one after the other */
export function combined(
  labels: readonly string[],
  plans: readonly Windows[],
  scored: readonly Classified[],
): Classified[] {
  let first = 0;
  return plans.map((plan) => {
    const own = scored.slice(first, first + plan.prompts.length);
    first += plan.prompts.length;
    const windows = own.map((window) => inOrder(labels, window));
    const { scores, logprobs } = combineScores(plan, windows);
    const all = labels.map((label, i) => ({ label, score: scores[i] ?? 0, logprob: logprobs[i] ?? 0 }));
    return { scores: all.sort((a, b) => b.score - a.score) };
  });
}

/** Labels' scores as they were ranked, in the labels' order. */
function inOrder(labels: readonly string[], { scores }: Classified) {
  const of = new Map(scores.map((score) => [score.label, score]));
  const all = labels.map((label) => of.get(label));
  return { logprobs: all.map((one) => one?.logprob ?? 0), scores: all.map((one) => one?.score ?? 0) };
}
