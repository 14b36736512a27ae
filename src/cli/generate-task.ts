/** `edge-t5 generate --task NAME INPUT`: a text, table, document or image through a task, of any length. */
import { ApiError } from "../api-error.ts";
import { EdgeT5Error } from "../errors.ts";
import type { GenerateOptions, TextToText } from "../t5/model.ts";
import { parseTemplate } from "../t5/template.ts";
import {
  classifyLong,
  type LongEnd,
  type LongModel,
  type LongProgress,
  longModelOf,
  planClassification,
  planSummary,
  planTranslation,
  summarizeLong,
  telling,
  translateLong,
} from "../t5/text-to-text/long/index.ts";
import { lengthNotes } from "../tenancy/length-note.ts";
import { keepsPieces } from "../tenancy/long-texts.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import { type RenderedInput, renderInput, type TableChoice } from "../tenancy/task-request.ts";
import { type GivenInput, readAny } from "./task-input.ts";
import type { TaskRun } from "./task-run-options.ts";

/** The model as a task uses it: a prompt is as long as it was trained with, if the task does not have it shorter. */
export function modelFor(t5: TextToText, { max_input_tokens }: TaskDefinition, options?: GenerateOptions): LongModel {
  const model = longModelOf(t5, options);
  const trained = t5.encoder.config.nPositions ?? Number.POSITIVE_INFINITY;
  const own = max_input_tokens ?? Number.POSITIVE_INFINITY;
  return { ...model, maxInputTokens: Math.min(model.maxInputTokens, trained, own) };
}

/** How to generate, within what the task gives. @throws EdgeT5Error `E_CONTEXT_LENGTH` for more than that */
export function withinTask<Options extends GenerateOptions>(
  { defaults, decoder }: TextToText,
  { max_output_tokens: most }: TaskDefinition,
  options: Options,
): Options {
  if (most === null) return options;
  const tokens = options.max_new_tokens ?? Math.min(most, defaults.max_new_tokens ?? decoder.maxNewTokens);
  if (tokens <= most) return { ...options, max_new_tokens: tokens };
  throw new EdgeT5Error(
    "E_CONTEXT_LENGTH",
    `--max-tokens is ${tokens}; this task gives up to ${most} (max_output_tokens). Lower it.`,
  );
}

/**
 * The input as the model is given it.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH` for one that the task neither takes whole nor in pieces; ApiError as `renderInput`
 */
export async function render(
  model: LongModel,
  definition: TaskDefinition,
  { input, content }: GivenInput,
  select: TableChoice | undefined,
  signal: AbortSignal,
): Promise<RenderedInput> {
  const rendered = await renderInput({ definition }, input, "the input", {
    ...{ content, select, bounds: model },
    read: ({ bytes, filename }) => readAny(bytes, filename, definition, signal),
  }).catch((error: unknown) => {
    throw withFieldHint(error, definition);
  });
  const most = definition.max_input_tokens ?? Number.POSITIVE_INFINITY;
  const tokens = model.count(rendered.prompt);
  if (rendered.long || tokens <= most) return rendered;
  throw new EdgeT5Error(
    "E_CONTEXT_LENGTH",
    `The input has ${tokens} tokens; this task takes up to ${most} (max_input_tokens). Shorten it, or have the task split it: set its long.`,
  );
}

/** Of fields that are missing, of several: how the terminal takes them. */
function withFieldHint(error: unknown, { template }: TaskDefinition): unknown {
  if (parseTemplate(template).fields.length < 2) return error;
  const isMissing = error instanceof ApiError && ["missing_field", "invalid_type"].includes(error.code);
  if (!isMissing || error.param !== "the input") return error;
  return new EdgeT5Error("E_INPUT", `${error.message} Give what is missing by --field NAME=TEXT.`, { cause: error });
}

/**
 * A text that fits goes whole where the command line asks for what one prompt's answer has alone, as of requests
 * (`planPieces` in tenancy/long-texts.ts): a stop, or an answer of so many tokens at most. Of a document that is to be
 * translated, these tokens are each piece's.
 *
 * @throws EdgeT5Error `E_INPUT` for a text that does not fit, with a stop
 */
export function wholeIfAsked(
  model: LongModel,
  rendered: RenderedInput,
  { options: { stop = [] }, hasMaxTokens, words }: Pick<TaskRun, "options" | "hasMaxTokens" | "words">,
): RenderedInput {
  const { prompt, long } = rendered;
  if (!long || long.mode === "windows") return rendered;
  const mayBeOne = hasMaxTokens && words === undefined && !keepsPieces(long);
  if (stop.length === 0 && !mayBeOne) return rendered;
  const tokens = model.count(prompt);
  if (tokens <= model.maxInputTokens) return { ...rendered, long: null };
  if (stop.length === 0) return rendered;
  throw new EdgeT5Error(
    "E_INPUT",
    `The input has ${tokens} tokens; up to ${model.maxInputTokens} are taken whole. In pieces it would have one answer, made of many: leave --stop out for that.`,
  );
}

/** What is said of a prompt that is longer than those that the model was trained with, and is taken. */
export function promptNotes({ tokenizer, encoder }: TextToText, prompt: string, instead: string): string[] {
  const tokens = tokenizer.encode(prompt).length;
  return tokens > encoder.maxInputTokens ? [] : lengthNotes(tokens, encoder.config.nPositions, instead);
}

/** What the model is given: the whole prompt, or the pieces; of a summary those of its first round. */
export function promptsOf(
  model: LongModel,
  { prompt, long }: RenderedInput,
  words: number | undefined,
): readonly string[] {
  if (!long) return [prompt];
  const { mode, text, document, sections, fill } = long;
  if (mode === "sentences") return planTranslation(document ?? text, model, { fill }).prompts;
  if (mode === "sections") return planSummary(sections ?? text, model, { fill, words }).prompts;
  return planClassification(text, model, { fill }).prompts;
}

/** The answer in pieces, as they are made. @param tell of a summary by sections, how far it is */
export async function* answerTask(
  t5: TextToText,
  model: LongModel,
  { prompt, long }: RenderedInput,
  options: GenerateOptions,
  words: number | undefined,
  tell: (progress: LongProgress) => void = () => {},
): AsyncGenerator<string, LongEnd, undefined> {
  const { signal } = options;
  if (long?.mode === "sentences") {
    return yield* translateLong(model, long.document ?? long.text, { fill: long.fill, signal });
  }
  if (long?.mode === "sections") {
    const source = long.sections ?? long.text;
    return yield* summarizeLong(telling(model, tell), source, { fill: long.fill, words, signal });
  }
  yield* t5.stream(prompt, options);
  return { notes: [] };
}

/** Labels with their scores, the most probable first. */
export async function labelTask(
  t5: TextToText,
  model: LongModel,
  { prompt, long }: RenderedInput,
  labels: readonly string[],
  options: Pick<GenerateOptions, "adapter" | "signal">,
) {
  if (long?.mode !== "windows") return { ...(await t5.classify(prompt, labels, options)), windows: 1 };
  const { scores, logprobs, windows } = await classifyLong(model, long.text, labels, {
    ...{ fill: long.fill, signal: options.signal },
  });
  const ranked = labels
    .map((label, i) => ({ label, score: scores[i] ?? 0, logprob: logprobs[i] ?? 0 }))
    .sort((a, b) => b.logprob - a.logprob);
  return { label: ranked[0]?.label ?? "", scores: ranked, windows };
}
