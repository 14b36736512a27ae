/**
 * Beam search as Hugging Face's `generate` does it (transformers 4.57, generation/utils.py, `_beam_search`): running
 * beams and finished ones are kept apart, a finished one's score is its log-probability ÷ length ** length_penalty.
 */
import type { Decoder, DecoderInput } from "../engine.ts";
import type { GenerationParams } from "./config.ts";
import type { GenerateControl } from "./control.ts";
import { processorsOf } from "./processors.ts";
import { logSumExp, topIndices } from "./scores.ts";

/** One answer of a search. */
export interface Hypothesis {
  /** Ids after the start token, the end of sequence included when it came to it. */
  ids: number[];
  /** Sum of the tokens' log-probabilities (after processors) ÷ length ** length_penalty. */
  score: number;
}

interface Beam {
  /** The start token first. */
  ids: readonly number[];
  /** Sum of log-probabilities. */
  score: number;
}

/** Below every real score, as Hugging Face has it. */
const WORST = -1e9;

/**
 * The best `num_return_sequences` of `num_beams` answers, best first. All beams step in one pass over the weights.
 *
 * @throws EdgeT5Error as {@link Decoder.openAll}
 */
export async function beamSearch(
  decoder: Decoder,
  { hidden, maxNewTokens, adapter, owner }: DecoderInput,
  params: GenerationParams,
  { signal, turn }: GenerateControl = {},
): Promise<Hypothesis[]> {
  const { decoderStartTokenId, eosTokenId, vocabSize } = decoder.config;
  const { num_beams: beams, num_return_sequences, length_penalty, early_stopping } = params;
  const processors = processorsOf(params, eosTokenId);
  const sequences = await decoder.openAll([{ hidden, maxNewTokens, adapter, owner, copies: beams }], signal);
  const scores = new Float32Array(processors.length > 0 ? vocabSize : 0);
  /** The most probable tokens of one beam, after processors, with their log-probabilities; float32 as Hugging Face's. */
  const bestOf = (logits: Float32Array, ids: readonly number[]): [token: number, logprob: number][] => {
    const total = logSumExp(logits);
    if (processors.length === 0) {
      return topIndices(logits, 2 * beams).map((token) => [token, Math.fround(logits[token]! - total)]);
    }
    for (let token = 0; token < vocabSize; token++) scores[token] = logits[token]! - total;
    for (const process of processors) process(scores, ids);
    return topIndices(scores, 2 * beams).map((token) => [token, scores[token]!]);
  };
  try {
    // All beams begin alike: only the first one counts in the first step.
    let running: Beam[] = sequences.map((_, i) => ({ ids: [decoderStartTokenId], score: i === 0 ? 0 : WORST }));
    let finished: Hypothesis[] = [];
    for (let length = 1; ; length++) {
      const wait = turn?.();
      if (wait) await wait;
      signal?.throwIfAborted();
      const output = await decoder.step(
        sequences,
        running.map(({ ids }) => ids.at(-1) as number),
      );
      // Twice as many candidates as beams, of all beams: should each of the best ones end, enough are left to go on.
      const candidates = running
        .flatMap(({ ids, score }, parent) =>
          bestOf(output.logits(parent), ids).map(([token, logprob]) => ({
            parent,
            ids: [...ids, token],
            score: Math.fround(logprob + score),
            ends: token === eosTokenId || length === maxNewTokens,
          })),
        )
        .sort((a, b) => b.score - a.score || a.parent - b.parent)
        .slice(0, 2 * beams);
      const isFull = finished.length === beams && early_stopping === true;
      if (!isFull) {
        const ended = candidates
          .slice(0, beams)
          .filter(({ ends }) => ends)
          .map(({ ids, score }) => ({ ids: ids.slice(1), score: score / length ** length_penalty }));
        finished = [...finished, ...ended].sort((a, b) => b.score - a.score).slice(0, beams);
      }
      const goingOn = candidates.filter(({ ends }) => !ends).slice(0, beams);
      if (goingOn.length === 0) break;
      running = goingOn;
      if (finished.length === beams && early_stopping === true) break;
      // The best that the running beams may still come to, by this rule's guess of their length.
      const hopedLength = early_stopping === "never" && length_penalty > 0 ? maxNewTokens : length;
      const hope = (running[0]?.score ?? WORST) / hopedLength ** length_penalty;
      const worst = finished.length === beams ? (finished.at(-1)?.score ?? WORST) : WORST;
      if (hope <= worst) break;
      decoder.reorder(
        sequences,
        goingOn.map(({ parent }) => parent),
      );
    }
    return finished.slice(0, num_return_sequences);
  } finally {
    for (const sequence of sequences) decoder.close(sequence);
  }
}
