/** `POST /v1/completions`: OpenAI's shape, of a model or of one of the tenant's tasks. */

import type { Context } from "hono";
import { collect } from "../../src/api/answers.ts";
import { type Completion, type CompletionChoice, parseCompletionRequest, usageOf } from "../../src/api/completions.ts";
import { completionBodyOf } from "../../src/api/hugging-face.ts";
import { ApiError } from "../../src/api-error.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readJson } from "./body.ts";
import { inputsOf, planTexts } from "./perform-texts.ts";
import { performWindows } from "./perform-windows.ts";
import { eventStream } from "./sse.ts";
import { findTarget } from "./target.ts";

export async function completions(c: Context<GatewayEnv>): Promise<Response> {
  const body = await readJson(c.req.raw);
  const name = c.req.param("name");
  const request = parseCompletionRequest(name === undefined ? body : completionBodyOf(body, name));
  const target = await findTarget(c, request.model);
  const { task } = target;
  const inputs = inputsOf(target, request.prompts, "prompt");
  const base: Completion = {
    id: "",
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: request.model,
    choices: [],
  };
  if (task?.definition.labels) {
    if (request.stream) throw noStream(task.name);
    const { labels } = task.definition;
    const { metered, results } = await performWindows(c, target, labels, inputs, "prompt", request.fields);
    const choices = results.map(
      ({ scores }, index): CompletionChoice => ({
        ...{ text: scores[0]?.label ?? "", index, logprobs: null },
        finish_reason: "stop",
      }),
    );
    return c.json({
      ...base,
      id: idOf(metered.id),
      choices,
      usage: usageOf(metered.inputTokens, metered.outputTokens),
    });
  }
  const { metered, generation, gone, pieces } = await planTexts(c, target, inputs, "prompt", request.fields).begin();
  base.id = idOf(metered.id);
  const usage = () => usageOf(metered.inputTokens, metered.outputTokens);
  if (!request.stream) {
    const choices = await collect(pieces, inputs.length, generation);
    return c.json({ ...base, choices, usage: usage() } satisfies Completion);
  }
  // The first piece is waited for, so that what goes wrong before it has a status of its own.
  const first = await pieces.next();
  async function* events(): AsyncGenerator<object, void, undefined> {
    try {
      for (let next = first; !next.done; next = await pieces.next()) {
        const { index, text, logprobs, finishReason } = next.value;
        yield { ...base, choices: [{ text, index, logprobs, finish_reason: finishReason }] };
      }
      if (request.includeUsage) yield { ...base, usage: usage() };
    } finally {
      await pieces.return();
    }
  }
  return eventResponse(
    c,
    eventStream(events(), () => {
      gone.abort();
      return pieces.return();
    }),
  );
}

function eventResponse(c: Context<GatewayEnv>, body: ReadableStream<Uint8Array>): Response {
  return c.body(body, 200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}

function idOf(request: string): string {
  return `cmpl-${request}`;
}

function noStream(task: string): ApiError {
  return new ApiError(400, "invalid_value", `${task} answers with a label, at once. Leave stream out.`, {
    param: "stream",
  });
}
