/** `POST /v1/completions`: prompts to ids, ids through both halves, tokens to text, whole or as they are made. */
import type { Context } from "hono";
import {
  type Completion,
  type CompletionChoice,
  type CompletionRequest,
  parseCompletionRequest,
  usageOf,
} from "../../src/api/completions.ts";
import { ApiError, toApiError } from "../../src/api/errors.ts";
import { type Generation, resolveGeneration } from "../../src/api/generation.ts";
import { addLogprob, type CompletionLogprobs, emptyLogprobs, joinLogprobs } from "../../src/api/logprobs.ts";
import type { FinishReason, TokenEvent } from "../../src/t5/generate.ts";
import { SequenceText } from "../../src/t5/sequence-text.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../../src/t5/text-to-text.ts";
import type { Tokenizer } from "../../src/t5/tokenizer.ts";
import { mayUse } from "../../src/tenancy/caller.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { readJson } from "./body.ts";
import { decode, encode, loadHalves } from "./halves.ts";
import { findModel, type GatewayModel, modelNotFound } from "./models.ts";

/** A piece of one sequence. */
interface Piece {
  /** Prompt × candidates + candidate. */
  index: number;
  text: string;
  logprobs: CompletionLogprobs | null;
  finishReason: FinishReason | null;
}

/** What has been counted so far. */
interface Counter {
  tokens: number;
}

export async function completions(c: Context<GatewayEnv>): Promise<Response> {
  const request = parseCompletionRequest(await readJson(c.req.raw));
  if (!mayUse(c.get("caller"), request.model)) throw modelNotFound(request.model);
  const model = await findModel(
    c.env.SHARDS,
    request.model,
    (work) => c.executionCtx.waitUntil(work),
    () => loadHalves(c.env, request.model),
  );
  const prompts = request.prompts.map((text) => model.tokenizer.encode(text));
  checkLengths(c.env, model, prompts, request.maxTokens);
  const generation = resolveGeneration(request.fields, model.defaults);

  const gone = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => gone.abort(), { once: true });
  const counter: Counter = { tokens: 0 };
  const pieces = answer(c.env, request, generation, model, prompts, gone.signal, counter);
  const base: Completion = {
    id: `cmpl-${c.get("requestId")}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: request.model,
    choices: [],
  };
  const promptTokens = prompts.reduce((sum, ids) => sum + ids.length, 0);
  const usage = () => usageOf(promptTokens, counter.tokens);
  if (!request.stream) {
    return c.json({
      ...base,
      choices: await collect(pieces, prompts.length, generation),
      usage: usage(),
    } satisfies Completion);
  }
  // The first piece is waited for, so that what goes wrong before it has a status of its own.
  const first = await pieces.next();
  async function* events(): AsyncGenerator<object, void, undefined> {
    for (let next = first; !next.done; next = await pieces.next()) {
      const { index, text, logprobs, finishReason } = next.value;
      yield { ...base, choices: [{ text, index, logprobs, finish_reason: finishReason }] };
    }
    if (request.includeUsage) yield { ...base, usage: usage() };
  }
  const body = eventStream(events(), () => gone.abort());
  return c.body(body, 200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}

/**
 * Server-sent events, `[DONE]` last; an error is the last event. An event is made when it is pulled: one stream from the
 * decoder's line to the client's socket, since in workerd each one between costs as much as a token's detokenizing.
 *
 * @param onGone called when the client goes away
 */
function eventStream(events: AsyncGenerator<object, void, undefined>, onGone: () => void): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const line = (data: string) => encoder.encode(`data: ${data}\n\n`);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await events.next();
          if (!done) return controller.enqueue(line(JSON.stringify(value)));
          controller.enqueue(line("[DONE]"));
        } catch (error) {
          controller.enqueue(line(JSON.stringify(toApiError(error).body())));
        }
        controller.close();
      },
      async cancel() {
        onGone();
        await events.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/** @throws ApiError 400 `context_length_exceeded` */
function checkLengths(
  env: GatewayBindings,
  { manifest }: GatewayModel,
  prompts: readonly number[][],
  maxTokens: number | null,
): void {
  const limit = Math.min(env.MAX_PROMPT_TOKENS, manifest.model.nPositions ?? Number.POSITIVE_INFINITY);
  for (const [i, { length }] of prompts.entries()) {
    if (length > limit) {
      const which = prompts.length > 1 ? `Prompt ${i}` : "The prompt";
      throw new ApiError(
        400,
        "context_length_exceeded",
        `${which} has ${length} tokens; this model takes up to ${limit} here. Shorten it, or split it.`,
        { param: "prompt" },
      );
    }
  }
  if (maxTokens !== null && maxTokens > env.MAX_NEW_TOKENS) {
    throw new ApiError(
      400,
      "context_length_exceeded",
      `max_tokens is ${maxTokens}; an answer may have up to ${env.MAX_NEW_TOKENS} here. Ask for fewer.`,
      { param: "max_tokens" },
    );
  }
}

/** The sequences' texts, piece by piece; a few prompts at a time go through both halves. */
async function* answer(
  env: GatewayBindings,
  request: CompletionRequest,
  generation: Generation,
  { tokenizer }: GatewayModel,
  prompts: readonly number[][],
  signal: AbortSignal,
  counter: Counter,
): AsyncGenerator<Piece, void, undefined> {
  const { params, candidates, answers, seed, logprobs, echo } = generation;
  const { stream } = request;
  const copies = params.num_beams > 1 ? 1 : candidates;
  const maxNewTokens = Math.min(params.max_new_tokens ?? DEFAULT_MAX_NEW_TOKENS, env.MAX_NEW_TOKENS);
  const together = Math.max(1, Math.floor(env.MAX_SEQUENCES / Math.max(copies, params.num_beams)));
  for (let first = 0; first < prompts.length; first += together) {
    const group = prompts.slice(first, first + together);
    const encoded = await Promise.all(group.map((ids) => encode(env, request.model, ids)));
    const choices = group.flatMap((_, i) =>
      Array.from({ length: candidates }, (_, k) => {
        const prompt = echo ? (request.prompts[first + i] ?? "") : "";
        return new Choice(tokenizer, generation, (first + i) * candidates + k, prompt);
      }),
    );
    // Candidates are ranked by their tokens' log-probabilities.
    const told = candidates > answers ? (logprobs ?? 0) : logprobs;
    const options = { maxNewTokens, stream, params, copies, seed: seed + first * copies, logprobs: told };
    let open = choices.length;
    for await (const event of decode(env, request.model, encoded, options, signal)) {
      const choice = choices[event.index];
      if (!choice) throw new Error("The decoder named a sequence that nobody asked for.");
      if (choice.ended) continue;
      counter.tokens++;
      const piece = choice.push(event);
      if (piece) yield piece;
      if (choice.ended) open--;
      // Every one came to its end or to a stop string: leaving the loop ends the decoding.
      if (open === 0) break;
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
async function collect(
  pieces: AsyncIterable<Piece>,
  prompts: number,
  { candidates, answers, logprobs }: Generation,
): Promise<Completion["choices"]> {
  const all: Completion["choices"] = Array.from({ length: prompts * candidates }, (_, index) => ({
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
