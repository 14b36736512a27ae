/** What text of any length needs of a model: lists of prompts, each within its window, wherever the model runs. */
import { EdgeT5Error } from "../../../errors.ts";
import type { FinishReason } from "../../generate.ts";
import type { LabelScores } from "../../generation/labels.ts";

/** How long prompts and answers may be. */
export interface LongBounds {
  /** Tokens of a prompt, the end of sequence included. */
  count(text: string): number;
  readonly maxInputTokens: number;
  readonly maxNewTokens: number;
}

export interface LongModel extends LongBounds {
  /**
   * One answer a prompt, in pieces, in whatever order they come. How many prompts run side by side is the model's own
   * affair: a list may be as long as a book.
   */
  generate(prompts: readonly string[], options: LongGenerateOptions): AsyncIterable<LongPiece>;
  /** How probable each label is as each prompt's answer. */
  score(
    prompts: readonly string[],
    labels: readonly string[],
    options: { signal?: AbortSignal | undefined },
  ): Promise<readonly LabelScores[]>;
}

export interface LongGenerateOptions {
  /** Default: the model's. */
  maxNewTokens?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A piece of one prompt's answer. */
export interface LongPiece {
  /** The prompt's. */
  readonly index: number;
  readonly text: string;
  /** Set on an answer's last piece. */
  readonly finishReason: FinishReason | null;
}

/** Prompts that have their answers, of those that the model was given so far: later rounds add to them. */
export interface LongProgress {
  readonly done: number;
  readonly of: number;
}

/** The model, which tells how far it is after each prompt. */
export function telling(model: LongModel, tell: (progress: LongProgress) => void): LongModel {
  let [done, of] = [0, 0];
  return {
    ...model,
    async *generate(prompts, options) {
      of += prompts.length;
      for await (const piece of model.generate(prompts, options)) {
        if (piece.finishReason !== null) {
          done++;
          tell({ done, of });
        }
        yield piece;
      }
    },
  };
}

/** Makes a prompt of a piece of the text: a task's template. */
export type Fill = (text: string) => string;

export interface LongOptions {
  fill: Fill;
  /** The text's language, as BCP 47 names it, for its sentences. Default: rules that hold for most. */
  locale?: string | undefined;
}

export interface LongRunOptions extends LongOptions {
  /** Stops the model; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** What a text asks of a model, known before anything runs. */
export interface LongSize {
  prompts: number;
  /** Of all prompts together, and of the longest. */
  promptTokens: number;
  longest: number;
}

/** What is known of an answer at its end. */
export interface LongEnd {
  /** What is not as it was asked for, for people: one sentence each. */
  readonly notes: readonly string[];
}

export function sizeOf(prompts: readonly string[], bounds: LongBounds): LongSize {
  const tokens = prompts.map((prompt) => bounds.count(prompt));
  return {
    prompts: prompts.length,
    promptTokens: tokens.reduce((sum, each) => sum + each, 0),
    longest: tokens.reduce((most, each) => Math.max(most, each), 0),
  };
}

/** Less room than this is none: no sentence would fit. */
const LEAST_ROOM = 16;

/**
 * Tokens that a template leaves for the text.
 *
 * @throws EdgeT5Error `E_CONTEXT_LENGTH`
 */
export function roomOf(bounds: LongBounds, fill: Fill): number {
  const { maxInputTokens } = bounds;
  const own = bounds.count(fill(""));
  if (maxInputTokens - own >= LEAST_ROOM) return maxInputTokens - own;
  throw new EdgeT5Error(
    "E_CONTEXT_LENGTH",
    `The template alone has ${own} tokens, the model takes ${maxInputTokens}: no room for a text. Shorten the template.`,
  );
}

/** All of an answer, and what is known at its end. */
export async function collectText(pieces: AsyncGenerator<string, LongEnd>): Promise<LongEnd & { text: string }> {
  let text = "";
  for (;;) {
    const next = await pieces.next();
    if (next.done) return { ...next.value, text };
    text += next.value;
  }
}

export function noteOf(count: number, one: string, many: string): string[] {
  return count === 0 ? [] : [count === 1 ? `One ${one}` : `${count} ${many}`];
}
