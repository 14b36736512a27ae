/** `POST /v1/tasks/:name`: one input or a list through one of the tenant's tasks. */

import type { Context } from "hono";
import { type Classified, collect } from "../../src/api/answers.ts";
import { parseWith } from "../../src/api/parse.ts";
import { type TaskResult, taskRunSchema, taskUsage } from "../../src/api/task-run.ts";
import { promptsOf, type TaskInput } from "../../src/tenancy/task-request.ts";
import { answersCache } from "./answers-cache.ts";
import type { GatewayEnv } from "./bindings.ts";
import { readJson } from "./body.ts";
import { perform, performLabels } from "./perform.ts";
import { eventStream } from "./sse.ts";
import { findTaskTarget } from "./target.ts";

export async function runTask(c: Context<GatewayEnv>): Promise<Response> {
  const { input, ...fields } = parseWith(taskRunSchema, await readJson(c.req.raw), "a task's run");
  const target = await findTaskTarget(c, c.req.param("name") ?? "");
  const { task } = target;
  const isList = Array.isArray(input);
  const texts = promptsOf(task, (isList ? input : [input]) as readonly TaskInput[], "input");
  const base = { object: "task.result", task: task.name, task_version: task.version, model: target.modelName };
  const answered = (id: string, results: readonly TaskResult[], inputTokens: number, outputTokens: number) => ({
    ...{ id: `run-${id}`, ...base },
    ...(isList ? { results } : results[0]),
    usage: taskUsage(inputTokens, outputTokens),
  });

  const cache = fields.stream ? null : await answersCache(c, target, texts, fields);
  const cached = await cache?.read();
  if (cached) return c.json(answered(cached.id, cached.results, 0, 0));

  const { labels } = task.definition;
  if (labels) {
    const { metered, inputTokens, results } = await performLabels(c, target, labels, texts, "input", fields);
    if (fields.stream)
      return eventResponse(
        c,
        eventStream(labelEvents(results, inputTokens, metered), () => {}),
      );
    const told = results.map(labelResult);
    cache?.write(told);
    return c.json(answered(metered.id, told, inputTokens, metered.outputTokens));
  }

  const { metered, inputTokens, generation, prompts, gone, pieces } = await perform(
    ...([c, target, texts, "input", fields] as const),
  );
  if (!fields.stream) {
    const choices = await collect(pieces, prompts.length, generation);
    const perInput = choices.length / prompts.length;
    const results = prompts.map((_, i): TaskResult => {
      const own = choices.slice(i * perInput, (i + 1) * perInput);
      const [best] = own;
      return {
        output: best?.text ?? "",
        finish_reason: best?.finish_reason ?? null,
        ...(own.length > 1 && { outputs: own.map(({ text }) => text) }),
      };
    });
    cache?.write(results);
    return c.json(answered(metered.id, results, inputTokens, metered.outputTokens));
  }
  const first = await pieces.next();
  async function* events(): AsyncGenerator<object, void, undefined> {
    try {
      for (let next = first; !next.done; next = await pieces.next()) {
        const { index, text, finishReason } = next.value;
        yield { index, text, finish_reason: finishReason };
      }
      yield { id: `run-${metered.id}`, usage: taskUsage(inputTokens, metered.outputTokens) };
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

async function* labelEvents(
  results: readonly Classified[],
  inputTokens: number,
  { id, outputTokens }: { id: string; outputTokens: number },
): AsyncGenerator<object, void, undefined> {
  for (const [index, result] of results.entries()) yield { index, ...labelResult(result) };
  yield { id: `run-${id}`, usage: taskUsage(inputTokens, outputTokens) };
}

function labelResult({ scores }: Classified): TaskResult {
  const told = scores.map(({ label, score }) => ({ label, score }));
  const [best] = told;
  return { label: best?.label ?? "", score: best?.score ?? 0, scores: told };
}

function eventResponse(c: Context<GatewayEnv>, body: ReadableStream<Uint8Array>): Response {
  return c.body(body, 200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}
