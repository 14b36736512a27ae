/** `POST /v1/tasks/:name`: one input or a list through one of the tenant's tasks. */

import type { Context } from "hono";
import { type Classified, collect } from "../../src/api/answers.ts";
import type { GenerationFields } from "../../src/api/generation.ts";
import { explanationOf, type TaskResult, taskUsage } from "../../src/api/task-run.ts";
import { ApiError } from "../../src/api-error.ts";
import { lengthNotes, SPLIT_IT } from "../../src/tenancy/length-note.ts";
import { combined, planWindows, type TextPiece } from "../../src/tenancy/long-texts.ts";
import { isContentKind, readsWriting } from "../../src/tenancy/task-definition.ts";
import { exampleOf } from "../../src/tenancy/task-example.ts";
import { type InlineFile, type RenderedInput, renderInput, type TaskInput } from "../../src/tenancy/task-request.ts";
import type { Task } from "../../src/tenancy/tasks.ts";
import { answersCache } from "./answers-cache.ts";
import type { GatewayEnv } from "./bindings.ts";
import type { Metered } from "./metered.ts";
import { performLabels } from "./perform.ts";
import { boundsOf, longTargetOf } from "./perform-long.ts";
import { planTexts } from "./perform-texts.ts";
import { ProgressLine } from "./progress.ts";
import { readFile } from "./reader.ts";
import { eventStream } from "./sse.ts";
import { findTaskTarget } from "./target.ts";
import { readAsk, type TaskAsk } from "./task-input.ts";

/** A request of a task, read. */
interface Run {
  c: Context<GatewayEnv>;
  target: Awaited<ReturnType<typeof findTaskTarget>>;
  fields: GenerationFields;
  isList: boolean;
  /** That summaries are to have, if any number. */
  words: number | null;
  inputs: readonly RenderedInput[];
  /** Whether the answer says what the model was given. */
  explains: boolean;
}

export async function runTask(c: Context<GatewayEnv>): Promise<Response> {
  const target = await findTaskTarget(c, c.req.param("name") ?? "");
  const ask = await readAsk(c, target.task);
  const { input, explain = false, select: _, words = null, languages, ...fields } = ask.run;
  const { labels, words: ownWords, long: mode } = target.task.definition;
  if (words !== null && mode !== "sections") throw noWords();
  if (languages) checkLanguages(target.task);
  const inputs = await renderAll(c, target, ask);
  const isList = Array.isArray(input);
  const run: Run = { c, target, fields, isList, words: words ?? ownWords, inputs, explains: explain };
  if (labels) return answerLabels(run, labels);
  // Of a template that does not say which of its fields is long.
  if (words !== null && !inputs[0]?.long) throw noWords();
  return answerTexts(run);
}

function checkLanguages({ definition }: Task): void {
  if (readsWriting(definition)) return;
  throw new ApiError(
    400,
    "invalid_value",
    "Only a task that reads the writing in images takes languages: one whose input is document or image. Leave it out.",
    { param: "languages" },
  );
}

function noWords(): ApiError {
  return new ApiError(400, "invalid_value", "Only a task that sums up by sections takes words. Leave it out.", {
    param: "words",
  });
}

/** @throws ApiError as `renderInput` and `readFile` */
async function renderAll(c: Context<GatewayEnv>, target: Run["target"], ask: TaskAsk): Promise<RenderedInput[]> {
  const { task } = target;
  const { input, select, languages } = ask.run;
  const { content } = ask;
  if (input === undefined && !content) {
    const orFile = isContentKind(task.definition.input) ? ", or a file: -F file=@FILE" : "";
    const message = `input is missing from a task's run. Send ${exampleOf(task)}${orFile}.`;
    throw new ApiError(400, "missing_required_parameter", message, { param: "input" });
  }
  if (Array.isArray(input) && content) {
    throw new ApiError(400, "invalid_value", "A file goes with one input, not with a list.", { param: "input" });
  }
  const all: (TaskInput | null)[] = Array.isArray(input) ? input : [input ?? null];
  const read = ({ bytes, type, filename }: InlineFile) =>
    readFile(c, task.definition, { stream: new Blob([bytes]).stream(), type: type ?? "", filename }, languages);
  const sources = { content, select, bounds: boundsOf(c, target, 1), read };
  const rendered: RenderedInput[] = [];
  // One after the other: a request may call a Worker so many times, and memory is for one.
  for (const [i, each] of all.entries()) {
    rendered.push(await renderInput(task, each, all.length > 1 ? `input.${i}` : "input", sources));
  }
  return rendered;
}

/** The answer as JSON. */
async function answered(
  { c, target, isList, explains }: Run,
  metered: Metered,
  results: readonly TaskResult[],
  prompts: readonly string[],
): Promise<Response> {
  return c.json({
    ...{ id: `run-${metered.id}`, object: "task.result", task: target.task.name },
    ...{ task_version: target.task.version, model: target.modelName },
    ...(isList ? { results } : results[0]),
    ...(explains && { explain: explanationOf(prompts) }),
    usage: taskUsage(metered.inputTokens, metered.outputTokens, await metered.cost()),
  });
}

/** The last event of a stream. */
async function endOf({ explains }: Run, metered: Metered, prompts: readonly string[]): Promise<object> {
  return {
    id: `run-${metered.id}`,
    ...(explains && { explain: explanationOf(prompts) }),
    usage: taskUsage(metered.inputTokens, metered.outputTokens, await metered.cost()),
  };
}

function withNotes<T extends TaskResult>(result: T, notes: readonly string[]): T {
  return notes.length > 0 ? { ...result, notes } : result;
}

/** Of a prompt that goes whole: the origin takes more than the model was trained with. */
function notesOfLength({ c, target }: Run, prompt: string): readonly string[] {
  if (!c.env.ORIGIN_URL) return [];
  const { manifest, tokenizer } = target.model;
  const instead = target.task.definition.long === "refuse" ? SPLIT_IT : "Send less of it.";
  return lengthNotes(tokenizer.encode(prompt).length, manifest.model.nPositions, instead);
}

async function answerTexts(run: Run): Promise<Response> {
  const { c, target, fields, words, inputs } = run;
  const plan = planTexts(c, target, inputs, "input", fields, words);
  const texts = plan.prompts;
  const cache = fields.stream ? null : await answersCache(c, target, inputs, fields, words);
  const cached = await cache?.read();
  if (cached) return answered(run, cached.metered, cached.results, texts);
  const lengths = inputs.map(({ prompt }) => (plan.isWhole ? notesOfLength(run, prompt) : []));
  const progress = new ProgressLine();
  // Of a translation the text itself comes all the time.
  const tells = fields.stream && inputs[0]?.long?.mode === "sections";
  const { metered, generation, gone, pieces } = await plan.begin(tells ? progress.tell : undefined);
  if (!fields.stream) {
    const more = new Map<number, readonly string[]>();
    const choices = await collect(heard(pieces, more), inputs.length, generation);
    const perInput = choices.length / inputs.length;
    const results = inputs.map(({ notes }, i): TaskResult => {
      const own = choices.slice(i * perInput, (i + 1) * perInput);
      const [best] = own;
      const result = {
        output: best?.text ?? "",
        finish_reason: best?.finish_reason ?? null,
        ...(own.length > 1 && { outputs: own.map(({ text }) => text) }),
      };
      return withNotes(result, [...notes, ...(lengths[i] ?? []), ...(more.get(i) ?? [])]);
    });
    cache?.write(results);
    return answered(run, metered, results, texts);
  }
  const told = progress.between(pieces);
  const first = await told.next();
  async function* events(): AsyncGenerator<object, void, undefined> {
    try {
      for (const [index, input] of inputs.entries()) {
        const notes = [...input.notes, ...(lengths[index] ?? [])];
        if (notes.length > 0) yield { index, notes };
      }
      for (let next = first; !next.done; next = await told.next()) {
        if ("object" in next.value) yield next.value;
        else {
          const { index, text, finishReason, notes = [] } = next.value;
          yield { index, text, finish_reason: finishReason, ...(notes.length > 0 && { notes }) };
        }
      }
      yield await endOf(run, metered, texts);
    } finally {
      await told.return();
    }
  }
  return eventResponse(
    c,
    eventStream(events(), () => {
      gone.abort();
      return told.return();
    }),
  );
}

/** The same pieces, their notes kept by their texts' numbers. */
async function* heard(
  pieces: AsyncIterable<TextPiece>,
  told: Map<number, readonly string[]>,
): AsyncGenerator<TextPiece, void, undefined> {
  for await (const piece of pieces) {
    if (piece.notes) told.set(piece.index, piece.notes);
    yield piece;
  }
}

async function answerLabels(run: Run, labels: readonly string[]): Promise<Response> {
  const { c, target, fields, words, inputs } = run;
  const plans = planWindows(longTargetOf(c, target), inputs);
  const texts = plans.flatMap(({ prompts }) => prompts);
  const cache = fields.stream ? null : await answersCache(c, target, inputs, fields, words);
  const cached = await cache?.read();
  if (cached) return answered(run, cached.metered, cached.results, texts);
  const { metered, results } = await performLabels(c, target, labels, texts, "input", fields);
  const told = combined(labels, plans, results).map((one, i) => {
    const { prompts = [] } = plans[i] ?? {};
    const [prompt = ""] = prompts;
    const lengths = prompts.length === 1 ? notesOfLength(run, prompt) : [];
    return withNotes(labelResult(one, prompts.length), [...(inputs[i]?.notes ?? []), ...lengths]);
  });
  if (!fields.stream) {
    cache?.write(told);
    return answered(run, metered, told, texts);
  }
  async function* events(): AsyncGenerator<object, void, undefined> {
    for (const [index, result] of told.entries()) yield { index, ...result };
    yield await endOf(run, metered, texts);
  }
  return eventResponse(
    c,
    eventStream(events(), () => {}),
  );
}

function labelResult({ scores }: Classified, windows: number): TaskResult {
  const told = scores.map(({ label, score }) => ({ label, score }));
  const [best] = told;
  const notes = windows > 1 ? [`The text went through the model in ${windows} windows.`] : [];
  return withNotes({ label: best?.label ?? "", score: best?.score ?? 0, scores: told }, notes);
}

function eventResponse(c: Context<GatewayEnv>, body: ReadableStream<Uint8Array>): Response {
  return c.body(body, 200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
}
