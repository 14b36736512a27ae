/** The generation loop, written once above every engine: a batch is decoded over one pass of the weights a step. */
import type { Decoder, DecoderInput, Sequence } from "./engine.ts";
import { beamSearch, type Hypothesis } from "./generation/beam-search.ts";
import { checkTokenIds, type GenerationParams } from "./generation/config.ts";
import type { GenerateControl } from "./generation/control.ts";
import { processorsOf, warpersOf } from "./generation/processors.ts";
import { PromptLookup } from "./generation/prompt-lookup.ts";
import { randomOf, sample } from "./generation/sampling.ts";
import { argmax, logSumExp, topIndices } from "./generation/scores.ts";

/** Why a sequence ended, in OpenAI's words: the end-of-sequence token, or the limit of new tokens. */
export type FinishReason = "stop" | "length";

/** One token of one sequence. */
export interface TokenEvent {
  /** Which sequence: the first input's come first, then the second's. */
  index: number;
  token: number;
  /** Set on a sequence's last token. */
  finishReason: FinishReason | null;
  /** The token's log-probability, by the model's own scores, where it was asked for. */
  logprob?: number;
  /** The most probable tokens and their log-probabilities, best first. */
  top?: [token: number, logprob: number][];
  /** On the last token of a beam search's sequence: what it was ranked by. */
  score?: number;
}

/** What to decode, and how. */
export interface GenerationInput extends DecoderInput {
  /** Default: greedy. With beams, `num_return_sequences` sequences come out, best first, when the search has ended. */
  params?: GenerationParams | undefined;
  /** For sampling: the same seed gives the same tokens; copies of an input count on from it. Default: 0. */
  seed?: number | undefined;
  /** The prompt's token ids: greedy answers that copy from it take fewer passes over the weights. */
  prompt?: readonly number[] | undefined;
  /** Log-probabilities of the chosen token and of so many of the most probable ones. Not with beams. */
  logprobs?: number | undefined;
}

/**
 * Decodes all inputs, as many side by side as fit; a token's event leaves before the next step is made, those of a beam
 * search when it has ended. The end-of-sequence token is an event too. Room is given back when the loop ends, however it
 * ends.
 *
 * @throws EdgeT5Error as {@link Decoder.openAll}; `E_INPUT` for parameters with ids outside the vocabulary
 */
export async function* generate(
  decoder: Decoder,
  inputs: readonly GenerationInput[],
  control: GenerateControl = {},
): AsyncGenerator<TokenEvent, void, undefined> {
  for (const { params } of inputs) if (params) checkTokenIds(params, decoder.config.vocabSize);
  let sequences = 0;
  for (let first = 0; first < inputs.length; ) {
    let end = first + 1;
    const params = inputs[first]?.params;
    if (params && params.num_beams > 1) {
      const found = await beamSearch(decoder, inputs[first] as GenerationInput, params, control);
      for (const [i, hypothesis] of found.entries()) {
        yield* eventsOf(hypothesis, sequences + i, decoder.config.eosTokenId);
      }
      sequences += found.length;
    } else {
      while (end < inputs.length && !hasBeams(inputs[end]) && decoder.fits(inputs.slice(first, end + 1))) end++;
      const group = inputs.slice(first, end);
      for await (const event of generateTogether(decoder, group, control)) {
        yield { ...event, index: sequences + event.index };
      }
      sequences += group.reduce((sum, { copies = 1 }) => sum + copies, 0);
    }
    first = end;
  }
}

function hasBeams(input: GenerationInput | undefined): boolean {
  return (input?.params?.num_beams ?? 1) > 1;
}

function* eventsOf(
  { ids, score }: Hypothesis,
  index: number,
  eosTokenId: number,
): Generator<TokenEvent, void, undefined> {
  for (const [i, token] of ids.entries()) {
    if (i < ids.length - 1) yield { index, token, finishReason: null };
    else yield { index, token, finishReason: token === eosTokenId ? "stop" : "length", score };
  }
}

/** A sequence that still runs. */
interface Running {
  sequence: Sequence;
  index: number;
  /** The next token to be fed. */
  token: number;
  /** Null where the most probable token is taken. */
  choose: Chooser | null;
  /** Tokens that may still come. */
  left: number;
  lookup: PromptLookup | null;
}

/**
 * One batch: every step is one pass over the weights for all sequences that still run. A sequence with a draft is fed that
 * too, and goes on as far as the draft was right.
 */
async function* generateTogether(
  decoder: Decoder,
  inputs: readonly GenerationInput[],
  { signal, turn }: GenerateControl,
): AsyncGenerator<TokenEvent, void, undefined> {
  signal?.throwIfAborted();
  const { decoderStartTokenId, eosTokenId } = decoder.config;
  const sequences = await decoder.openAll(inputs, signal);
  try {
    const owners = inputs.flatMap((input) => Array.from({ length: input.copies ?? 1 }, (_, copy) => ({ input, copy })));
    let running = owners.map(({ input, copy }, index): Running => {
      const choose = chooserOf(input, copy, decoder.config);
      return {
        sequence: sequences[index] as Sequence,
        index,
        token: decoderStartTokenId,
        choose,
        left: input.maxNewTokens,
        lookup: choose ? null : lookupOf(input, decoder),
      };
    });
    while (running.length > 0) {
      const wait = turn?.();
      if (wait) await wait;
      signal?.throwIfAborted();
      const drafts = draftsOf(running, decoder);
      const output = await decoder.step(
        running.flatMap(({ sequence }, i) => [sequence, ...(drafts[i] ?? []).map(() => sequence)]),
        running.flatMap(({ token }, i) => [token, ...(drafts[i] ?? [])]),
      );
      // Read before the first event leaves: what the step put out is gone with the sequence's next step.
      let row = 0;
      const chosen = running.map(({ choose, token }, i): Choice[] => {
        const first = row;
        const draft = drafts[i] ?? [];
        row += 1 + draft.length;
        if (draft.length === 0) return [choose?.(token, output.logits(first)) ?? { token: output.argmax(first) }];
        return followDraft(draft, (place) => output.argmax(first + place));
      });
      const going: Running[] = [];
      for (const [i, state] of running.entries()) {
        const choices = chosen[i] as Choice[];
        const draft = drafts[i] ?? [];
        if (draft.length > 0) decoder.rewind(state.sequence, 1 + draft.length - choices.length);
        for (const [place, choice] of choices.entries()) {
          const finishReason = choice.token === eosTokenId ? "stop" : state.left === 1 ? "length" : null;
          state.left--;
          state.token = choice.token;
          state.lookup?.push(choice.token);
          if (finishReason) decoder.close(state.sequence);
          else if (place === choices.length - 1) going.push(state);
          yield { index: state.index, ...choice, finishReason };
          if (finishReason) break;
        }
      }
      running = going;
    }
  } finally {
    for (const sequence of sequences) decoder.close(sequence);
  }
}

type Choice = Pick<TokenEvent, "token" | "logprob" | "top">;

/** Tokens of a draft when nobody says, on engines that take drafts. */
const DEFAULT_DRAFT = 8;

function lookupOf({ prompt, params }: GenerationInput, { lookahead, config }: Decoder): PromptLookup | null {
  const most = Math.min(params?.prompt_lookup_num_tokens ?? DEFAULT_DRAFT, lookahead - 1);
  return prompt && most > 0 ? new PromptLookup(prompt, most, config.eosTokenId) : null;
}

/**
 * With more sequences than this, a pass waits for dot products, not for memory: a drafted row that is wrong then costs as
 * much as one that is right saves (README, benchmarks).
 */
const DRAFTING_SEQUENCES = 2;

/** What each sequence may go on with. The last token that may come is never drafted: nothing would follow it. */
function draftsOf(running: readonly Running[], { lookahead, openSequences }: Decoder): number[][] {
  if (openSequences > DRAFTING_SEQUENCES) return running.map(() => []);
  return running.map(({ lookup, left }) => lookup?.draft(Math.min(left - 1, lookahead - 1)) ?? []);
}

/** The most probable tokens, one after the other, as long as the draft foresaw them; and the one that follows. */
function followDraft(draft: readonly number[], best: (place: number) => number): Choice[] {
  const choices: Choice[] = [];
  for (let place = 0; place <= draft.length; place++) {
    const token = best(place);
    choices.push({ token });
    if (token !== draft[place]) break;
  }
  return choices;
}

/** Chooses the next token of one sequence, given the one just fed and the logits that followed. */
type Chooser = (fed: number, logits: Float32Array) => Choice;

/** Null where it is the most probable token, which engines find by themselves. */
function chooserOf(
  { params, seed = 0, logprobs }: GenerationInput,
  copy: number,
  { eosTokenId, vocabSize }: Decoder["config"],
): Chooser | null {
  const processors = params ? processorsOf(params, eosTokenId) : [];
  if (params?.do_sample) processors.push(...warpersOf(params));
  if (processors.length === 0 && !params?.do_sample && logprobs === undefined) return null;
  const random = randomOf(seed + copy);
  const scores = new Float32Array(vocabSize);
  const ids: number[] = [];
  return (fed, logits) => {
    ids.push(fed);
    scores.set(logits);
    for (const process of processors) process(scores, ids);
    const token = params?.do_sample ? sample(scores, random) : argmax(scores);
    if (logprobs === undefined) return { token };
    const total = logSumExp(logits);
    const top = topIndices(logits, logprobs).map((id): [number, number] => [id, (logits[id] as number) - total]);
    return { token, logprob: (logits[token] as number) - total, top };
  };
}
