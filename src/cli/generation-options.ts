/** The options of a command that say how to generate, and the parameters that they ask for. */
import { EdgeT5Error } from "../errors.ts";
import { generationParamsSchema } from "../t5/generation/config.ts";
import type { GenerateOptions } from "../t5/model.ts";
import { decimal, type OptionDef, wholeNumber } from "./arguments.ts";

/** Hugging Face's names stand in brackets where they differ: an option cannot be called `--no-…`. */
export const generationArgs = {
  "max-tokens": {
    type: "string",
    valueHint: "n",
    description: "Most tokens of an answer [max_new_tokens]; this and the rest by default: the model's",
  },
  "min-tokens": { type: "string", valueHint: "n", description: "Fewest tokens of an answer [min_new_tokens]" },
  answers: { type: "string", valueHint: "n", description: "Answers, of beams or samples [num_return_sequences]" },
  beams: { type: "string", valueHint: "n", description: "Beam search with so many beams; 1 is greedy [num_beams]" },
  "length-penalty": { type: "string", valueHint: "p", description: "Above 0 for longer answers of a beam search" },
  "early-stopping": {
    type: "enum",
    options: ["true", "false", "never"],
    description: "End a beam search at the first full set, when better is unlikely, or impossible",
  },
  temperature: { type: "string", valueHint: "t", description: "Sample at this temperature; 0 is greedy" },
  "top-k": { type: "string", valueHint: "k", description: "Sample from the k most probable tokens" },
  "top-p": { type: "string", valueHint: "p", description: "Sample from the tokens that reach p together" },
  seed: { type: "string", valueHint: "n", description: "The same seed gives the same sample; default: by chance" },
  "repetition-penalty": { type: "string", valueHint: "p", description: "Above 1 against tokens that came before" },
  "unique-ngrams": {
    type: "string",
    valueHint: "n",
    description: "No run of n tokens comes twice [no_repeat_ngram_size]",
  },
  "bad-words-ids": {
    type: "string",
    valueHint: "json",
    description: "Token ids of words to avoid: [[630],[3449,225]]",
  },
  "suppress-tokens": { type: "string", valueHint: "ids", description: "Token ids that never come: 630,3449" },
  "forced-bos-token-id": { type: "string", valueHint: "id", description: "Token id that every answer begins with" },
  draft: {
    type: "string",
    valueHint: "n",
    description: "Most tokens drafted from the prompt, 0 for none [prompt_lookup_num_tokens]",
  },
  stop: {
    type: "string",
    valueHint: "text",
    multiple: true,
    description: "A text that ends the answer; may be repeated",
  },
} satisfies Record<string, OptionDef>;

type Args = { [Name in Exclude<keyof typeof generationArgs, "stop">]?: string | undefined };

/**
 * Any of the sampling options asks for sampling, temperature 0 aside.
 *
 * @param stop every value of `--stop`
 * @throws EdgeT5Error `E_USAGE`
 */
export function generationOptionsOf(args: Args, stop: readonly string[]): GenerateOptions {
  const whole = (name: keyof Args, least: number, most: number) =>
    args[name] === undefined ? undefined : wholeNumber(`--${name}`, args[name], least, most);
  const number = (name: keyof Args, least: number, most: number) =>
    args[name] === undefined ? undefined : decimal(`--${name}`, args[name], least, most);
  const temperature = number("temperature", 0, 100);
  const topK = whole("top-k", 1, 1_000_000);
  const topP = number("top-p", 0, 1);
  const samples = topK !== undefined || topP !== undefined;
  const early = args["early-stopping"];
  return {
    max_new_tokens: whole("max-tokens", 1, 4096),
    min_new_tokens: whole("min-tokens", 0, 4096),
    num_return_sequences: whole("answers", 1, 64),
    num_beams: whole("beams", 1, 64),
    length_penalty: number("length-penalty", -10, 10),
    early_stopping: early === undefined || early === "never" ? early : early === "true",
    do_sample: temperature === undefined ? samples || undefined : temperature > 0,
    temperature: temperature || undefined,
    top_k: topK,
    top_p: topP,
    seed: whole("seed", 0, 2 ** 31 - 1),
    repetition_penalty: number("repetition-penalty", 0, 100),
    no_repeat_ngram_size: whole("unique-ngrams", 0, 4096),
    bad_words_ids: args["bad-words-ids"] === undefined ? undefined : wordsOf(args["bad-words-ids"]),
    suppress_tokens: args["suppress-tokens"]?.split(",").map((id) => wholeNumber("--suppress-tokens", id, 0, 1e9)),
    forced_bos_token_id: whole("forced-bos-token-id", 0, 1e9),
    prompt_lookup_num_tokens: whole("draft", 0, 64),
    stop: stop.length > 0 ? stop : undefined,
  };
}

function wordsOf(value: string): GenerateOptions["bad_words_ids"] {
  const refuse = (cause?: unknown) =>
    new EdgeT5Error(
      "E_USAGE",
      `--bad-words-ids is ${JSON.stringify(value)}. It must be a list of lists of token ids, such as [[630],[3449,225]].`,
      { cause },
    );
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch (cause) {
    throw refuse(cause);
  }
  const parsed = generationParamsSchema.shape.bad_words_ids.safeParse(json);
  if (!parsed.success) throw refuse(parsed.error);
  return parsed.data;
}

/**
 * The labels of `--labels`, none beside options that generate.
 *
 * @param args all options of the command
 * @throws EdgeT5Error `E_USAGE`
 */
export function labelsOf(args: Readonly<Record<string, unknown>>): string[] | undefined {
  const { labels } = args;
  if (typeof labels !== "string") return undefined;
  const other = [...Object.keys(generationArgs), "logprobs"].find((name) => args[name] !== undefined);
  if (other) {
    throw new EdgeT5Error(
      "E_USAGE",
      `--labels and --${other} contradict each other: every label is scored, nothing is searched or sampled. Drop one of the two.`,
    );
  }
  return labels.split(",").map((label) => label.trim());
}
