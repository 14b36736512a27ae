/** Answers a model's rows, a batch at a time, and counts what it took. */
import type { GenerateOptions, TextToText } from "../t5/model.ts";

export interface Answers {
  texts: string[];
  promptTokens: number;
  completionTokens: number;
  milliseconds: number;
}

export interface AnswerOptions extends GenerateOptions {
  /** Choose one of these instead of generating. */
  labels?: readonly string[] | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** @throws EdgeT5Error as {@link TextToText.generate} and {@link TextToText.classify}; the signal's reason */
export async function answerAll(
  model: TextToText,
  prompts: readonly string[],
  { labels, onProgress, ...options }: AnswerOptions = {},
): Promise<Answers> {
  const started = performance.now();
  const answers: Answers = {
    texts: new Array<string>(prompts.length),
    promptTokens: 0,
    completionTokens: 0,
    milliseconds: 0,
  };
  // Prompts of like length side by side: a batch lasts as long as its longest answer.
  const order = [...prompts.keys()].sort((a, b) => (prompts[a]?.length ?? 0) - (prompts[b]?.length ?? 0));
  const together = Math.max(1, Math.floor(model.batchSize / (options.num_beams ?? model.defaults.num_beams ?? 1)));
  for (let first = 0; first < order.length; first += together) {
    options.signal?.throwIfAborted();
    const batch = order.slice(first, first + together);
    const texts = batch.map((i) => prompts[i] as string);
    if (labels) {
      const chosen = await model.classify(texts, labels, { adapter: options.adapter, signal: options.signal });
      for (const [k, { label, inputIds }] of chosen.entries()) {
        answers.texts[batch[k] as number] = label;
        answers.promptTokens += inputIds.length;
      }
    } else {
      for (const [k, { text, ids, inputIds }] of (await model.generate(texts, options)).entries()) {
        answers.texts[batch[k] as number] = text;
        answers.promptTokens += inputIds.length;
        answers.completionTokens += ids.length;
      }
    }
    onProgress?.(Math.min(order.length, first + together), order.length);
  }
  answers.milliseconds = performance.now() - started;
  return answers;
}
