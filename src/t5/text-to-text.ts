/** A whole T5 in one process: text in, text out. The edge does the same over three Workers. */
import type { Decoder, Encoder } from "./engine.ts";
import { type FinishReason, generate } from "./generate.ts";
import type { GenerationParams } from "./generation/config.ts";
import { IncrementalDetokenizer, type Tokenizer } from "./tokenizer.ts";

/** New tokens when nobody says how many, as far as the placement allows them. */
export const DEFAULT_MAX_NEW_TOKENS = 128;

export interface GenerateOptions {
  /** Default: {@link DEFAULT_MAX_NEW_TOKENS}, or the placement's limit when that is smaller. */
  maxNewTokens?: number | undefined;
  /** Beams, sampling and the rest; default: greedy. From `parseGenerationParams`. */
  params?: GenerationParams | undefined;
  /** For sampling: the same seed gives the same text. Default: 0. */
  seed?: number | undefined;
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Called with every piece of text as soon as it is certain. */
  onText?: ((piece: string) => void) | undefined;
}

export interface Generation {
  text: string;
  inputIds: number[];
  /** The end of sequence included, when the model came to it. */
  outputIds: number[];
  finishReason: FinishReason;
}

export class T5 {
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;

  constructor(parts: { encoder: Encoder; decoder: Decoder; tokenizer: Tokenizer }) {
    this.encoder = parts.encoder;
    this.decoder = parts.decoder;
    this.tokenizer = parts.tokenizer;
  }

  /**
   * Answers one prompt: with the most probable answer found, or one drawn by chance when `params` ask for it.
   *
   * @throws EdgeT5Error `E_CONTEXT_LENGTH` for a prompt or a limit beyond the placement's, `E_CAPACITY`
   */
  async generate(prompt: string, options: GenerateOptions = {}): Promise<Generation> {
    const maxNewTokens = options.maxNewTokens ?? Math.min(DEFAULT_MAX_NEW_TOKENS, this.decoder.maxNewTokens);
    const inputIds = this.tokenizer.encode(prompt);
    const hidden = await this.encoder.encode(inputIds);
    const detokenizer = new IncrementalDetokenizer(this.tokenizer);
    const outputIds: number[] = [];
    let finishReason: FinishReason = "length";
    const params = options.params && { ...options.params, num_return_sequences: 1 };
    const input = { hidden, maxNewTokens, params, seed: options.seed };
    for await (const event of generate(this.decoder, [input], options)) {
      outputIds.push(event.token);
      const piece = detokenizer.push(event.token);
      if (piece) options.onText?.(piece);
      if (event.finishReason) finishReason = event.finishReason;
    }
    const rest = detokenizer.finish();
    if (rest) options.onText?.(rest);
    return { text: this.tokenizer.decode(outputIds), inputIds, outputIds, finishReason };
  }
}
