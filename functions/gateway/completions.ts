/** `POST /v1/completions`: prompts to ids, ids through both halves, tokens to text, whole or as they are made. */
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import { type Completion, parseCompletionRequest, usageOf } from "../../src/api/completions.ts";
import { ApiError, toApiError } from "../../src/api/errors.ts";
import type { FinishReason, TokenEvent } from "../../src/t5/generate.ts";
import { DEFAULT_MAX_NEW_TOKENS } from "../../src/t5/text-to-text.ts";
import { IncrementalDetokenizer } from "../../src/t5/tokenizer.ts";
import type { GatewayBindings, GatewayEnv } from "./bindings.ts";
import { decode, encode } from "./halves.ts";
import { findModel, type GatewayModel } from "./models.ts";

/** A piece of one answer. */
interface Piece {
  index: number;
  text: string;
  finishReason: FinishReason | null;
}

export async function completions(c: Context<GatewayEnv>): Promise<Response> {
  const request = parseCompletionRequest(await readJson(c.req.raw));
  const model = await findModel(c.env.SHARDS, request.model, (work) => c.executionCtx.waitUntil(work));
  const prompts = request.prompts.map((text) => model.tokenizer.encode(text));
  checkLengths(c.env, model, prompts, request.maxTokens);
  const maxNewTokens = request.maxTokens ?? Math.min(DEFAULT_MAX_NEW_TOKENS, c.env.MAX_NEW_TOKENS);

  const gone = new AbortController();
  c.req.raw.signal.addEventListener("abort", () => gone.abort(), { once: true });
  const counter = { tokens: 0 };
  const pieces = answer(
    c.env,
    request.model,
    model,
    prompts,
    { maxNewTokens, stream: request.stream },
    gone.signal,
    counter,
  );
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
    return c.json({ ...base, choices: await collect(pieces, prompts.length), usage: usage() } satisfies Completion);
  }
  // The first piece is waited for, so that what goes wrong before it has a status of its own.
  const first = await pieces.next();
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    const send = (body: object) => stream.writeSSE({ data: JSON.stringify(body) });
    try {
      for (let next = first; !next.done; next = await pieces.next()) {
        const { index, text, finishReason } = next.value;
        await send({ ...base, choices: [{ text, index, logprobs: null, finish_reason: finishReason }] });
      }
      if (request.includeUsage) await send({ ...base, usage: usage() });
      await stream.writeSSE({ data: "[DONE]" });
    } catch (error) {
      if (!gone.signal.aborted) await send(toApiError(error).body());
    } finally {
      await pieces.return();
    }
  });
}

async function readJson(request: Request): Promise<unknown> {
  const text = await request.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError(
      400,
      "invalid_json",
      "The body is not JSON. Send an object, with content-type application/json.",
    );
  }
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

/** The answers' texts, piece by piece; a few prompts at a time go through both halves. */
async function* answer(
  env: GatewayBindings,
  name: string,
  { tokenizer }: GatewayModel,
  prompts: readonly number[][],
  options: { maxNewTokens: number; stream: boolean },
  signal: AbortSignal,
  counter: { tokens: number },
): AsyncGenerator<Piece, void, undefined> {
  for (let first = 0; first < prompts.length; first += env.MAX_SEQUENCES) {
    const group = prompts.slice(first, first + env.MAX_SEQUENCES);
    const encoded = await Promise.all(group.map((ids) => encode(env, name, ids)));
    const detokenizers = group.map(() => new IncrementalDetokenizer(tokenizer));
    for await (const event of decode(env, name, encoded, options, signal)) {
      counter.tokens++;
      const text = textOf(detokenizers[event.index], event);
      if (text || event.finishReason) yield { index: first + event.index, text, finishReason: event.finishReason };
    }
  }
}

function textOf(detokenizer: IncrementalDetokenizer | undefined, { token, finishReason }: TokenEvent): string {
  if (!detokenizer) throw new Error("The decoder named a sequence that nobody asked for.");
  const text = detokenizer.push(token);
  return finishReason ? text + detokenizer.finish() : text;
}

async function collect(pieces: AsyncIterable<Piece>, count: number): Promise<Completion["choices"]> {
  const choices: Completion["choices"] = Array.from({ length: count }, (_, index) => ({
    text: "",
    index,
    logprobs: null,
    finish_reason: null,
  }));
  for await (const { index, text, finishReason } of pieces) {
    const choice = choices[index];
    if (!choice) continue;
    choice.text += text;
    choice.finish_reason = finishReason;
  }
  return choices;
}
