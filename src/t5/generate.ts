/** The generation loop, written once above every engine: a batch is decoded over one pass of the weights a step. */
import type { Decoder, DecoderInput } from "./engine.ts";
import type { GenerationParams } from "./generation/config.ts";
import { processorsOf, warpersOf } from "./generation/processors.ts";
import { randomOf, sample } from "./generation/sampling.ts";
import { argmax } from "./generation/scores.ts";

/** Why a sequence ended, in OpenAI's words: the end-of-sequence token, or the limit of new tokens. */
export type FinishReason = "stop" | "length";

/** One token of one sequence. */
export interface TokenEvent {
  /** Which input of the batch. */
  index: number;
  token: number;
  /** Set on a sequence's last token. */
  finishReason: FinishReason | null;
}

/** What to decode, and how. */
export interface GenerationInput extends DecoderInput {
  /** Default: greedy. Beams are another loop: `generation/beam-search.ts`. */
  params?: GenerationParams | undefined;
  /** For sampling: the same seed gives the same tokens. Default: 0. */
  seed?: number | undefined;
}

export interface GenerateControl {
  /** Stops the decoding between two steps; its reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Awaited between two steps, for a runtime whose event loop needs a turn to send tokens and to see clients leave. */
  turn?: ((step: number) => Promise<void> | undefined) | undefined;
}

/**
 * Decodes all inputs, greedily or sampling, as many side by side as fit; a token's event leaves before the next step is made. The
 * end-of-sequence token is an event too. Room is given back when the loop ends, however it ends.
 *
 * @throws EdgeT5Error as {@link Decoder.openAll}
 */
export async function* generate(
  decoder: Decoder,
  inputs: readonly GenerationInput[],
  control: GenerateControl = {},
): AsyncGenerator<TokenEvent, void, undefined> {
  for (let first = 0; first < inputs.length; ) {
    let end = first + 1;
    while (end < inputs.length && decoder.fits(inputs.slice(first, end + 1))) end++;
    for await (const event of generateTogether(decoder, inputs.slice(first, end), control)) {
      yield { ...event, index: first + event.index };
    }
    first = end;
  }
}

/** One batch: every step is one pass over the weights for all sequences that still run. */
async function* generateTogether(
  decoder: Decoder,
  inputs: readonly GenerationInput[],
  { signal, turn }: GenerateControl,
): AsyncGenerator<TokenEvent, void, undefined> {
  signal?.throwIfAborted();
  const { decoderStartTokenId, eosTokenId } = decoder.config;
  const sequences = await decoder.openAll(inputs, signal);
  try {
    let running = sequences.map((sequence, index) => ({
      sequence,
      index,
      token: decoderStartTokenId,
      choose: chooserOf(inputs[index], decoder.config),
      left: inputs[index]?.maxNewTokens ?? 0,
    }));
    for (let step = 0; running.length > 0; step++) {
      if (step > 0) await turn?.(step);
      signal?.throwIfAborted();
      const output = await decoder.step(
        running.map(({ sequence }) => sequence),
        running.map(({ token }) => token),
      );
      // Read before the first event leaves: what the step put out is gone with the next step of anybody.
      const chosen = running.map(({ choose, token }, i) => choose?.(token, output.logits(i)) ?? output.argmax(i));
      const going: typeof running = [];
      for (const [i, { sequence, index, choose, left }] of running.entries()) {
        const token = chosen[i] ?? eosTokenId;
        const finishReason = token === eosTokenId ? "stop" : left === 1 ? "length" : null;
        if (finishReason === null) going.push({ sequence, index, token, choose, left: left - 1 });
        else decoder.close(sequence);
        yield { index, token, finishReason };
      }
      running = going;
    }
  } finally {
    for (const sequence of sequences) decoder.close(sequence);
  }
}

/** Chooses the next token of one sequence, given the one just fed and the logits that followed. */
type Chooser = (fed: number, logits: Float32Array) => number;

/** Null where it is the most probable token, which engines find by themselves. */
function chooserOf(input: GenerationInput | undefined, { eosTokenId, vocabSize }: Decoder["config"]): Chooser | null {
  const params = input?.params;
  if (!params) return null;
  const processors = processorsOf(params, eosTokenId);
  if (params.do_sample) processors.push(...warpersOf(params));
  if (processors.length === 0 && !params.do_sample) return null;
  const random = randomOf(input.seed ?? 0);
  const scores = new Float32Array(vocabSize);
  const ids: number[] = [];
  return (fed, logits) => {
    ids.push(fed);
    scores.set(logits);
    for (const process of processors) process(scores, ids);
    return params.do_sample ? sample(scores, random) : argmax(scores);
  };
}
