/** A whole T5 in one process: text in, text out. The edge does the same over three Workers. */
import { EdgeT5Error } from "../errors.ts";
import { Turns } from "../event-loop.ts";
import { createSha256 } from "../store/sha256.ts";
import { type AdapterFiles, parseAdapter } from "./adapter.ts";
import type { AdapterSet, Decoder, Encoder, HeldAdapter } from "./engine.ts";
import { type FinishReason, type GenerationInput, generate, type TokenEvent } from "./generate.ts";
import { type GenerationParams, mergeGenerationParams } from "./generation/config.ts";
import { scoreLabels } from "./generation/labels.ts";
import { SequenceText } from "./sequence-text.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** New tokens when nobody says how many, as far as the placement allows them. */
export const DEFAULT_MAX_NEW_TOKENS = 128;

/**
 * Parameters in the names of Hugging Face's GenerationConfig; what is left out is the model's default. Without `do_sample`
 * there is no sampling: `temperature`, `top_k`, `top_p` and `seed` change nothing then, as with Hugging Face.
 */
export type GenerateOptions = { [Name in keyof GenerationParams]?: GenerationParams[Name] | undefined } & {
  /** For sampling: the same seed gives the same text. Default: by chance. */
  seed?: number | undefined;
  /** Strings that end the answer; they are not part of it. */
  stop?: string | readonly string[] | undefined;
  /** Tell each token's log-probability, and so many of the most probable tokens. Not with beams. */
  logprobs?: number | undefined;
  /** What to answer with, from {@link TextToText.loadAdapter}. Default: the base alone. */
  adapter?: LoadedAdapter | undefined;
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
};

/** A LoRA adapter that fits a model; it takes room in its memory while it is used. */
export interface LoadedAdapter {
  /** The SHA-256 of what it is. */
  readonly id: string;
  readonly files: AdapterFiles;
}

export interface TokenLogprob {
  id: number;
  /** The token's own text. */
  token: string;
  logprob: number;
  /** The most probable tokens at its place, best first. */
  top: { id: number; token: string; logprob: number }[];
}

export interface GeneratedSequence {
  text: string;
  /** The end of sequence included, when the model came to it. */
  ids: number[];
  finishReason: FinishReason;
  /** With beams: the sum of log-probabilities ÷ length ** length_penalty. */
  score?: number;
  logprobs?: TokenLogprob[];
}

export interface ClassifyOptions {
  /** As {@link GenerateOptions}'. */
  adapter?: LoadedAdapter | undefined;
  /** Stops the scoring between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/** The best answer, and with `num_return_sequences` all of them. */
export interface Generation extends GeneratedSequence {
  inputIds: number[];
  /** Best first; the first one is this. */
  sequences: GeneratedSequence[];
}

/** A piece of one of a list's answers. */
export interface ListPiece {
  /** The prompt's. */
  index: number;
  text: string;
  /** Set on an answer's last piece. */
  finishReason: FinishReason | null;
}

export interface LabelScore {
  label: string;
  /** Of all labels together 1. */
  score: number;
  /** Sum of its tokens' log-probabilities. */
  logprob: number;
}

export interface Classification {
  label: string;
  inputIds: number[];
  /** Every label, the most probable first. */
  scores: LabelScore[];
}

interface Prepared {
  params: GenerationParams;
  maxNewTokens: number;
  copies: number;
  seed: number;
  stop: readonly string[];
  logprobs: number | undefined;
  adapter: LoadedAdapter | undefined;
  signal: AbortSignal | undefined;
}

/** What a model is made of. */
export interface TextToTextParts {
  encoder: Encoder;
  decoder: Decoder;
  adapters: AdapterSet;
  tokenizer: Tokenizer;
  /** Default: none. */
  defaults?: Partial<GenerationParams>;
  /** Default: 1. */
  batchSize?: number;
}

export class TextToText {
  #parts: Required<TextToTextParts>;
  #adapter: LoadedAdapter | undefined;
  readonly #turns = new Turns();

  constructor(parts: TextToTextParts) {
    this.#parts = { defaults: {}, batchSize: 1, ...parts };
  }

  get encoder(): Encoder {
    return this.#parts.encoder;
  }

  get decoder(): Decoder {
    return this.#parts.decoder;
  }

  get tokenizer(): Tokenizer {
    return this.#parts.tokenizer;
  }

  get adapters(): AdapterSet {
    return this.#parts.adapters;
  }

  /** How it generates unless told otherwise: the model's `generation_config.json`. */
  get defaults(): Partial<GenerationParams> {
    return this.#parts.defaults;
  }

  /** Prompts that {@link generate} decodes side by side. */
  get batchSize(): number {
    return this.#parts.batchSize;
  }

  /** From now on it answers with these parts, and with this adapter where a request names none. */
  protected become(parts: Partial<TextToTextParts>, adapter?: LoadedAdapter): void {
    this.#parts = { ...this.#parts, ...parts };
    this.#adapter = adapter;
  }

  /**
   * Checks an adapter against this model: pass what comes back as `adapter`. Answers with different ones and with none may
   * go on at the same time.
   *
   * @param source where they are from, for messages
   * @throws EdgeT5Error `E_ADAPTER`, saying what does not fit
   */
  async loadAdapter(files: AdapterFiles, source?: string): Promise<LoadedAdapter> {
    parseAdapter(files, this.encoder.config, source);
    const hash = createSha256();
    hash.update(new TextEncoder().encode(JSON.stringify(files.config)));
    hash.update(files.tensors);
    return { id: hash.digest(), files };
  }

  /**
   * Answers a prompt, or each of a list.
   *
   * @throws EdgeT5Error `E_INPUT` for what is no text, options that contradict each other or are not known;
   * `E_CONTEXT_LENGTH` for a prompt or a limit beyond the placement's, `E_CAPACITY`
   */
  generate(prompt: string, options?: GenerateOptions): Promise<Generation>;
  generate(prompts: readonly string[], options?: GenerateOptions): Promise<Generation[]>;
  async generate(
    prompts: string | readonly string[],
    options: GenerateOptions = {},
  ): Promise<Generation | Generation[]> {
    const prepared = this.#prepare(options);
    const all = textsOf(prompts);
    const answers: Generation[] = [];
    const together = this.#together(prepared);
    for (let first = 0; first < all.length; first += together) {
      answers.push(...(await this.#generateTogether(all.slice(first, first + together), first, prepared)));
    }
    return typeof prompts === "string" ? (answers[0] as Generation) : answers;
  }

  /**
   * One answer, piece by piece, each as soon as it is certain; that of a beam search in one piece.
   *
   * @throws EdgeT5Error as {@link generate}
   */
  async *stream(prompt: string, options: GenerateOptions = {}): AsyncGenerator<string, void, undefined> {
    const prepared = this.#prepare(options);
    if (prepared.params.num_return_sequences > 1) {
      throw new EdgeT5Error("E_INPUT", "A stream has one answer. Set num_return_sequences to 1, or use generate.");
    }
    const text = new SequenceText(this.tokenizer, prepared.stop);
    const inputs = textsOf([prompt]).map((each) => this.tokenizer.encode(each));
    for await (const event of this.#events(inputs, 0, prepared)) {
      const piece = text.push(event);
      if (piece) yield piece;
      if (text.finishReason) return;
    }
  }

  /**
   * Answers a list, piece by piece, each as soon as it is certain: several answers side by side, in turns.
   *
   * @throws EdgeT5Error as {@link generate}
   */
  async *streamAll(
    prompts: readonly string[],
    options: GenerateOptions = {},
  ): AsyncGenerator<ListPiece, void, undefined> {
    const prepared = this.#prepare(options);
    if (prepared.params.num_return_sequences > 1) {
      throw new EdgeT5Error("E_INPUT", "A stream has one answer. Set num_return_sequences to 1, or use generate.");
    }
    const together = this.#together(prepared);
    const all = textsOf(prompts);
    for (let first = 0; first < all.length; first += together) {
      const inputs = all.slice(first, first + together).map((prompt) => this.tokenizer.encode(prompt));
      const texts = inputs.map(() => new SequenceText(this.tokenizer, prepared.stop));
      let open = texts.length;
      for await (const event of this.#events(inputs, first, prepared)) {
        const answer = texts[event.index] as SequenceText;
        if (answer.finishReason) continue;
        const text = answer.push(event);
        const { finishReason } = answer;
        if (text || finishReason) yield { index: first + event.index, text, finishReason };
        if (finishReason) open--;
        if (open === 0) break;
      }
    }
  }

  /**
   * Which of the labels a text is, by the model's own log-probabilities of each.
   *
   * @throws EdgeT5Error `E_INPUT` for what is no text, no labels, an empty or a doubled one, and options of generation;
   * `E_CONTEXT_LENGTH`, `E_CAPACITY`
   */
  classify(text: string, labels: readonly string[], options?: ClassifyOptions): Promise<Classification>;
  classify(texts: readonly string[], labels: readonly string[], options?: ClassifyOptions): Promise<Classification[]>;
  async classify(
    texts: string | readonly string[],
    labels: readonly string[],
    { adapter, signal, ...others }: ClassifyOptions = {},
  ): Promise<Classification | Classification[]> {
    const [other] = Object.keys(others);
    if (other !== undefined) {
      throw new EdgeT5Error(
        "E_INPUT",
        `Labels and ${other} contradict each other: every label is scored, nothing is searched or sampled. Leave ${other} out.`,
      );
    }
    const all = textsOf(texts);
    const ids = encodeLabels(labels, this.tokenizer);
    const answers: Classification[] = [];
    const held = await this.#acquire(adapter ?? this.#adapter, signal);
    const { due } = this.#turns;
    try {
      for (const text of all) {
        const wait = due();
        if (wait) await wait;
        signal?.throwIfAborted();
        const inputIds = this.tokenizer.encode(text);
        const hidden = await this.encoder.encode(inputIds, undefined, held);
        const scores = await scoreLabels(this.decoder, { hidden, adapter: held }, ids, signal);
        answers.push({ inputIds, ...rankLabels(labels, scores) });
      }
    } finally {
      held?.release();
    }
    return typeof texts === "string" ? (answers[0] as Classification) : answers;
  }

  /** Prompts that are decoded side by side. */
  #together({ copies, params }: Prepared): number {
    return Math.max(1, Math.floor(this.batchSize / Math.max(copies, params.num_beams)));
  }

  async #generateTogether(prompts: readonly string[], first: number, prepared: Prepared): Promise<Generation[]> {
    const inputs = prompts.map((prompt) => this.tokenizer.encode(prompt));
    const { copies, params, stop } = prepared;
    const answersEach = Math.max(copies, params.num_return_sequences);
    const sequences = Array.from({ length: inputs.length * answersEach }, () => new Collected(this.tokenizer, stop));
    let open = sequences.length;
    for await (const event of this.#events(inputs, first, prepared)) {
      const sequence = sequences[event.index] as Collected;
      if (sequence.ended) continue;
      sequence.push(event);
      if (sequence.ended) open--;
      // All came to their end or to a stop string: leaving the loop ends the decoding.
      if (open === 0) break;
    }
    return inputs.map((inputIds, i) => {
      const own = sequences.slice(i * answersEach, (i + 1) * answersEach).map((each) => each.result());
      return { ...(own[0] as GeneratedSequence), inputIds, sequences: own };
    });
  }

  /** @param first how many prompts came before, for their seeds */
  async *#events(inputs: readonly number[][], first: number, prepared: Prepared): AsyncGenerator<TokenEvent> {
    const { params, maxNewTokens, copies, logprobs, signal } = prepared;
    const adapter = await this.#acquire(prepared.adapter, signal);
    const { due } = this.#turns;
    try {
      const encoded: GenerationInput[] = [];
      for (const [i, ids] of inputs.entries()) {
        const wait = due();
        if (wait) await wait;
        signal?.throwIfAborted();
        const hidden = await this.encoder.encode(ids, undefined, adapter);
        const seed = prepared.seed + (first + i) * copies;
        encoded.push({ hidden, prompt: ids, maxNewTokens, params, copies, seed, logprobs, adapter });
      }
      const answersEach = Math.max(copies, params.num_return_sequences);
      for await (const event of generate(this.decoder, encoded, { signal, turn: due })) {
        release(encoded[Math.floor(event.index / answersEach)]?.hidden);
        yield event;
      }
    } finally {
      adapter?.release();
    }
  }

  async #acquire(
    adapter: LoadedAdapter | undefined,
    signal: AbortSignal | undefined,
  ): Promise<HeldAdapter | undefined> {
    return adapter && this.adapters.acquire(adapter.id, async () => adapter.files, signal);
  }

  #prepare({ seed, stop = [], logprobs, adapter, signal, ...given }: GenerateOptions): Prepared {
    const params = mergeGenerationParams(this.defaults, given);
    if (logprobs !== undefined && params.num_beams > 1) {
      throw new EdgeT5Error("E_INPUT", "logprobs are not told for beams. Leave logprobs out, or set num_beams to 1.");
    }
    if (logprobs !== undefined && !(Number.isInteger(logprobs) && logprobs >= 0)) {
      throw new EdgeT5Error("E_INPUT", `logprobs is ${logprobs}. It must be a whole number of at least 0.`);
    }
    const stops = typeof stop === "string" ? [stop] : stop;
    if (stops.includes("")) throw new EdgeT5Error("E_INPUT", "A stop string is empty. Leave it out.");
    return {
      params,
      // What a model wants by default is cut to the placement; what is asked for is not.
      maxNewTokens:
        given.max_new_tokens ?? Math.min(params.max_new_tokens ?? DEFAULT_MAX_NEW_TOKENS, this.decoder.maxNewTokens),
      copies: params.num_beams > 1 ? 1 : params.num_return_sequences,
      seed: seed ?? crypto.getRandomValues(new Int32Array(1))[0] ?? 0,
      stop: stops,
      logprobs,
      adapter: adapter ?? this.#adapter,
      signal,
    };
  }
}

/** The texts of a list, or the one. @throws EdgeT5Error `E_INPUT` for what is neither: JavaScript has no types. */
function textsOf(given: string | readonly string[]): readonly string[] {
  const texts: unknown = typeof given === "string" ? [given] : given;
  if (!Array.isArray(texts))
    throw new EdgeT5Error("E_INPUT", `${typeof given} is no text. Give one, or a list of them.`);
  const other = texts.findIndex((text) => typeof text !== "string");
  if (other < 0) return texts as string[];
  throw new EdgeT5Error("E_INPUT", `Text ${other + 1} is none, but ${typeof texts[other]}. Give texts alone.`);
}

/** Frees hidden states that a decoder has read: at once, not when the garbage collector comes by. */
function release(hidden: Float32Array | undefined): void {
  const buffer = hidden?.buffer;
  if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}

/** A sequence's answer while it is made. */
class Collected {
  readonly #tokenizer: Tokenizer;
  readonly #text: SequenceText;
  readonly #result: GeneratedSequence = { text: "", ids: [], finishReason: "length" };

  constructor(tokenizer: Tokenizer, stop: readonly string[]) {
    this.#tokenizer = tokenizer;
    this.#text = new SequenceText(tokenizer, stop);
  }

  get ended(): boolean {
    return this.#text.finishReason !== null;
  }

  push(event: TokenEvent): void {
    const result = this.#result;
    result.ids.push(event.token);
    result.text += this.#text.push(event);
    if (this.#text.finishReason) result.finishReason = this.#text.finishReason;
    if (event.score !== undefined) result.score = event.score;
    if (event.logprob !== undefined) {
      const named = (id: number, logprob: number) => ({ id, token: this.#tokenizer.nameOf(id), logprob });
      result.logprobs ??= [];
      const top = (event.top ?? []).map(([id, logprob]) => named(id, logprob));
      result.logprobs.push({ ...named(event.token, event.logprob), top });
    }
  }

  result(): GeneratedSequence {
    return this.#result;
  }
}

/**
 * Token ids of each label.
 *
 * @throws EdgeT5Error `E_INPUT` for a label that is empty, given twice, or like another one to the tokenizer
 */
export function encodeLabels(labels: readonly string[], tokenizer: Tokenizer): number[][] {
  const seen = new Map<string, string>();
  return labels.map((label, i) => {
    if (label.trim() === "") throw new EdgeT5Error("E_INPUT", `Label ${i + 1} is empty. Give it a text.`);
    const ids = tokenizer.encode(label);
    const other = seen.get(ids.join());
    if (other === label) throw new EdgeT5Error("E_INPUT", `Label ${JSON.stringify(label)} is given twice. Drop one.`);
    if (other !== undefined) {
      throw new EdgeT5Error(
        "E_INPUT",
        `Labels ${JSON.stringify(other)} and ${JSON.stringify(label)} have the same tokens: this model cannot tell them apart. Rename one.`,
      );
    }
    seen.set(ids.join(), label);
    return ids;
  });
}

/** Labels with their scores, the most probable first. */
export function rankLabels(
  labels: readonly string[],
  { scores, logprobs }: { scores: readonly number[]; logprobs: readonly number[] },
): Pick<Classification, "label" | "scores"> {
  const ranked = labels
    .map((label, i) => ({ label, score: scores[i] as number, logprob: logprobs[i] as number }))
    .sort((a, b) => b.logprob - a.logprob);
  return { label: ranked[0]?.label ?? "", scores: ranked };
}
