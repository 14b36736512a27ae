/** `edge-t5 generate --task NAME INPUT`: a text, table, document or image through a task, of any length. */
import { readFile, stat } from "node:fs/promises";
import { EdgeT5Error } from "../errors.ts";
import { contentOfPages } from "../readers/image/ocr.ts";
import { imageFormat } from "../readers/image/size.ts";
import { createOcrThread } from "../readers/image/thread.ts";
import { readContent } from "../readers/index.ts";
import type { GenerateOptions, TextToText } from "../t5/model.ts";
import type { Content } from "../t5/text-to-text/content.ts";
import {
  classifyLong,
  type LongEnd,
  type LongProgress,
  longModelOf,
  summarizeLong,
  telling,
  translateLong,
} from "../t5/text-to-text/long/index.ts";
import type { TaskDefinition } from "../tenancy/task-definition.ts";
import { type RenderedInput, renderInput, type TableChoice, type TaskInput } from "../tenancy/task-request.ts";

export interface TaskRunOptions {
  select?: TableChoice | undefined;
  /** Of a summary by sections. */
  words?: number | undefined;
}

/** One word that ends as files do that are read here. */
const NAMES_A_FILE = /^\S+\.(?:pdf|docx|xlsx|csv|tsv|json|html?|md|eml|txt|png|jpe?g|webp|tiff?)$/i;

/** What an input is: a file's path, JSON of a task's fields, or a text. */
export async function taskInputOf(
  given: string,
  definition: TaskDefinition,
  signal: AbortSignal,
): Promise<{ input: TaskInput | null; content: Content | null }> {
  const found = given.length < 4096 ? await stat(given).catch(() => null) : null;
  if (found?.isFile()) {
    // Not Node's Buffer: pdf.js refuses it.
    const bytes = new Uint8Array(await readFile(given));
    return { input: null, content: await readAny(bytes, given, definition, signal) };
  }
  if (found || NAMES_A_FILE.test(given)) {
    throw new EdgeT5Error("E_INPUT", `${given} is no file. Name one, or send a text that looks like it on stdin: -.`);
  }
  if (/^\s*\{/.test(given) && definition.input !== "text") {
    try {
      return { input: JSON.parse(given) as TaskInput, content: null };
    } catch {
      // A text that begins with a brace.
    }
  }
  return { input: given, content: null };
}

async function readAny(
  bytes: Uint8Array<ArrayBuffer>,
  filename: string | undefined,
  { input, image }: TaskDefinition,
  signal: AbortSignal,
): Promise<Content> {
  if (imageFormat(bytes)) {
    if (image.read === "caption") {
      throw new EdgeT5Error(
        "E_INPUT",
        "Captions are made by a deployment's Workers AI, not here. Set image.read to text.",
      );
    }
    const ocr = createOcrThread();
    try {
      return contentOfPages(await ocr.recognize(bytes, { languages: image.languages, signal }), image.languages);
    } finally {
      ocr.release();
    }
  }
  return readContent(bytes, { filename, as: input === "table" ? "table" : "document", signal });
}

/** The input as the model is given it. */
export function render(
  t5: TextToText,
  definition: TaskDefinition,
  { input, content }: { input: TaskInput | null; content: Content | null },
  select: TableChoice | undefined,
  signal: AbortSignal,
): Promise<RenderedInput> {
  const { count, maxInputTokens } = longModelOf(t5);
  const most = Math.min(maxInputTokens, definition.max_input_tokens ?? Number.POSITIVE_INFINITY);
  return renderInput({ definition }, input, "the input", {
    ...{ content, select, bounds: { count, maxInputTokens: most } },
    read: ({ bytes, filename }) => readAny(bytes, filename, definition, signal),
  });
}

/** The answer in pieces, as they are made. @param tell of a summary by sections, how far it is */
export async function* answerTask(
  t5: TextToText,
  { prompt, long }: RenderedInput,
  options: GenerateOptions,
  words: number | undefined,
  tell: (progress: LongProgress) => void = () => {},
): AsyncGenerator<string, LongEnd, undefined> {
  const { signal } = options;
  if (long?.mode === "sentences") {
    return yield* translateLong(longModelOf(t5, options), long.document ?? long.text, { fill: long.fill, signal });
  }
  if (long?.mode === "sections") {
    const source = long.sections ?? long.text;
    return yield* summarizeLong(telling(longModelOf(t5, options), tell), source, { fill: long.fill, words, signal });
  }
  yield* t5.stream(prompt, options);
  return { notes: [] };
}

/** Labels with their scores, the most probable first. */
export async function labelTask(
  t5: TextToText,
  { prompt, long }: RenderedInput,
  labels: readonly string[],
  options: Pick<GenerateOptions, "adapter" | "signal">,
) {
  if (long?.mode !== "windows") return { ...(await t5.classify(prompt, labels, options)), windows: 1 };
  const { scores, logprobs, windows } = await classifyLong(longModelOf(t5, options), long.text, labels, {
    ...{ fill: long.fill, signal: options.signal },
  });
  const ranked = labels
    .map((label, i) => ({ label, score: scores[i] ?? 0, logprob: logprobs[i] ?? 0 }))
    .sort((a, b) => b.logprob - a.logprob);
  return { label: ranked[0]?.label ?? "", scores: ranked, windows };
}
