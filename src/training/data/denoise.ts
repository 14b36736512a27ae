/** From a text's tokens to an example: what to read, and what to write, of a text that is partly taken away. */
import { EdgeT5Error } from "../../errors.ts";
import type { Tokenizer } from "../../t5/tokenizer.ts";
import type { Example } from "../example.ts";
import { iidMask, randomSpansMask, type SpanNoise, spansIn, textLengthFor } from "./noise.ts";
import type { RandomNumbers } from "./random.ts";

/** Ids of `<extra_id_0>`, `<extra_id_1>`, …: the first one stands for a text's first span. */
export type Sentinels = readonly number[];

const EOS = 1;

/** A way to take away; several are mixed by their weights. */
export type Denoiser = (
  | ({ kind: "spans" } & SpanNoise)
  /** Each token by itself, with this probability. */
  | { kind: "iid"; density: number }
  /** The end of the text: its length is drawn evenly, and is `density` of the text in the mean. 0.5: T5's prefix LM. */
  | { kind: "prefix-lm"; density: number }
) & {
  /** How often, beside others. Default: 1. */
  weight?: number | undefined;
  /** Put before every input, as UL2's `[NLU]`, `[S2S]` and `[NLG]`. */
  prefix?: string | undefined;
};

/** T5's own. */
export const SPAN_CORRUPTION: readonly Denoiser[] = [{ kind: "spans", density: 0.15, meanSpan: 3 }];

/** Half of the text, from anywhere on. */
export const PREFIX_LM: readonly Denoiser[] = [{ kind: "prefix-lm", density: 0.5 }];

/** UL2's seven (Tay et al. 2022, table 1): regular, sequential, extreme. */
export const UL2: readonly Denoiser[] = [
  { kind: "spans", density: 0.15, meanSpan: 3 },
  { kind: "spans", density: 0.15, meanSpan: 8 },
  { kind: "prefix-lm", density: 0.25 },
  { kind: "spans", density: 0.5, meanSpan: 3 },
  { kind: "spans", density: 0.5, meanSpan: 8 },
  { kind: "spans", density: 0.15, meanSpan: 64 },
  { kind: "spans", density: 0.5, meanSpan: 64 },
];

/**
 * Sentinels by the names that the tokenizer has for its ids.
 *
 * @throws EdgeT5Error `E_TOKENIZER` for a tokenizer without any
 */
export function sentinelsOf(tokenizer: Pick<Tokenizer, "nameOf">, vocabSize: number): Sentinels {
  const sentinels: number[] = [];
  for (let id = 0; id < vocabSize; id++) {
    const number = /^\s*<extra_id_(\d+)>$/.exec(tokenizer.nameOf(id))?.[1];
    if (number !== undefined) sentinels[Number(number)] = id;
  }
  let count = 0;
  while (sentinels[count] !== undefined) count++;
  if (count > 0) return sentinels.slice(0, count);
  throw new EdgeT5Error("E_TOKENIZER", "The tokenizer has no <extra_id_0>. Pretrain with one that has sentinels.");
}

/**
 * Noise becomes a sentinel a span in the input, and the target has each sentinel before what it stands for. A last
 * sentinel closes a target whose text ends without noise (`noise_span_to_unique_sentinel` of the text, and of its
 * complement).
 *
 * @param tokens of the text, without eos
 * @param mask 1 is noise; its spans must be fewer than the sentinels, or as many when it ends in noise
 */
export function corrupt(tokens: Int32Array, mask: Uint8Array, sentinels: Sentinels): Example {
  const input: number[] = [];
  const target: number[] = [];
  let spans = 0;
  for (const [i, token] of tokens.entries()) {
    if (!mask[i]) {
      input.push(token);
      continue;
    }
    if (!mask[i - 1]) {
      const sentinel = sentinels[spans++] as number;
      input.push(sentinel);
      target.push(sentinel);
    }
    target.push(token);
  }
  if (!mask[tokens.length - 1]) target.push(sentinels[spans] as number);
  return { input: Int32Array.from([...input, EOS]), target: Int32Array.from([...target, EOS]) };
}

/** One denoiser, ready for texts of its length. */
export interface Corruption {
  /** Tokens of the texts that it takes. */
  textLength: number;
  weight: number;
  /** @param tokens 2 at least, `textLength` at most */
  apply(tokens: Int32Array, random: RandomNumbers): Example;
}

/**
 * @param inputLength longest input, in tokens, eos and prefix included
 * @throws EdgeT5Error `E_USAGE` for a length or a share that leaves nothing to read or to write
 */
export function corruptionOf(
  denoiser: Denoiser,
  inputLength: number,
  tokenizer: Pick<Tokenizer, "encode">,
  sentinels: Sentinels,
): Corruption {
  const prefix = denoiser.prefix ? tokenizer.encode(denoiser.prefix).slice(0, -1) : [];
  const length = inputLength - prefix.length;
  const refuse = (what: string): never => {
    throw new EdgeT5Error("E_USAGE", what);
  };
  if (length < 8) refuse(`An input of ${inputLength} tokens is too short for span corruption. Give 8 at least.`);
  if (!(denoiser.density > 0 && denoiser.density < 1))
    refuse(`The noise density is ${denoiser.density}. It must lie between 0 and 1.`);
  if (denoiser.kind === "spans" && !(denoiser.meanSpan >= 1))
    refuse(`The mean span is ${denoiser.meanSpan}. It must be 1 at least.`);
  const put = ({ input, target }: Example): Example =>
    prefix.length === 0 ? { input, target } : { input: Int32Array.from([...prefix, ...input]), target };
  const weight = denoiser.weight ?? 1;
  switch (denoiser.kind) {
    case "spans":
      return {
        textLength: textLengthFor(length, denoiser, sentinels.length),
        weight,
        apply: (tokens, random) => put(corrupt(tokens, randomSpansMask(tokens.length, denoiser, random), sentinels)),
      };
    case "iid":
      return {
        textLength: length - 1,
        weight,
        apply: (tokens, random) =>
          put(corrupt(tokens, iidWithin(tokens.length, denoiser.density, random, sentinels), sentinels)),
      };
    case "prefix-lm":
      // As long in the target as in the input, at most.
      return { textLength: length, weight, apply: (tokens, random) => put(cutOff(tokens, denoiser.density, random)) };
  }
}

/** Some token is noise, some is not; spans beyond the sentinels are left alone. */
function iidWithin(length: number, density: number, random: RandomNumbers, sentinels: Sentinels): Uint8Array {
  const mask = iidMask(length, density, random);
  if (mask.every((isNoise) => isNoise === mask[0])) {
    const place = random.below(length);
    mask[place] = mask[place] ? 0 : 1;
  }
  for (let i = length - 1; i >= 0 && spansIn(mask) >= sentinels.length; i--) mask[i] = 0;
  return mask;
}

/** Prefix and rest (`random_prefix_noise_mask`): both have a token at least. */
function cutOff(tokens: Int32Array, density: number, random: RandomNumbers): Example {
  const longest = Math.min(tokens.length - 1, Math.max(1, Math.round(2 * density * tokens.length) - 1));
  const at = tokens.length - 1 - random.below(longest);
  return {
    input: Int32Array.from([...tokens.subarray(0, at), EOS]),
    target: Int32Array.from([...tokens.subarray(at), EOS]),
  };
}
