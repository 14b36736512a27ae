/** How to generate, in the names, defaults and meaning of Hugging Face's GenerationConfig (transformers 4.57). */
import * as z from "zod";
import { EdgeT5Error } from "../../errors.ts";
import { issueText } from "../../issue-text.ts";

const tokenId = z.int().nonnegative();

/** The parameters of `generation_config.json` and of a request that generation honours. */
export const generationParamsSchema = z.object({
  max_new_tokens: z.int().min(1).optional(),
  min_new_tokens: z.int().nonnegative().nullish(),
  num_beams: z.int().min(1).default(1),
  num_return_sequences: z.int().min(1).default(1),
  length_penalty: z.number().default(1),
  early_stopping: z.union([z.boolean(), z.literal("never")]).default(false),
  do_sample: z.boolean().default(false),
  temperature: z.number().positive().default(1),
  /** 0 for no limit. */
  top_k: z.int().nonnegative().default(0),
  top_p: z.number().positive().max(1).default(1),
  repetition_penalty: z.number().positive().default(1),
  no_repeat_ngram_size: z.int().nonnegative().default(0),
  bad_words_ids: z.array(z.array(tokenId).min(1)).nullish(),
  suppress_tokens: z.array(tokenId).nullish(),
  forced_bos_token_id: tokenId.nullish(),
  /**
   * Most tokens that are drafted from the prompt's own and checked in one pass, for greedy answers, which stay what they
   * are; 0 for none. Default: what suits the engine.
   */
  prompt_lookup_num_tokens: z.int().nonnegative().nullish(),
});

export type GenerationParams = z.infer<typeof generationParamsSchema>;

export const GENERATION_PARAMS: readonly string[] = Object.keys(generationParamsSchema.shape);

/**
 * @param params names as in Hugging Face's GenerationConfig; what is left out has its default
 * @throws EdgeT5Error `E_INPUT` for a value out of range, or parameters that contradict each other
 */
export function parseGenerationParams(params: object): GenerationParams {
  const parsed = generationParamsSchema.safeParse(params, { error: issueText });
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new EdgeT5Error(
      "E_INPUT",
      `${issue?.path.join(".")}: ${issue?.message}. See GenerationConfig's description.`,
    );
  }
  const config = parsed.data;
  const refuse = (why: string) => new EdgeT5Error("E_INPUT", why);
  const { num_beams, num_return_sequences, do_sample, max_new_tokens, min_new_tokens } = config;
  if (num_beams > 1 && do_sample) {
    throw refuse(
      "num_beams and do_sample contradict each other here: beams are searched, not sampled. Drop one of them.",
    );
  }
  if (!do_sample && num_return_sequences > num_beams) {
    throw refuse(
      `num_return_sequences is ${num_return_sequences}, num_beams ${num_beams}: a search returns no more sequences than it has beams. Raise num_beams, or set do_sample.`,
    );
  }
  if (max_new_tokens !== undefined && (min_new_tokens ?? 0) > max_new_tokens) {
    throw refuse(`min_new_tokens is ${min_new_tokens}, above max_new_tokens ${max_new_tokens}. Lower it.`);
  }
  return config;
}

/**
 * @param vocabSize ids from here on are no pieces of the model
 * @throws EdgeT5Error `E_INPUT` for an id outside the vocabulary: it would force, ban or suppress nothing
 */
export function checkTokenIds(params: GenerationParams, vocabSize: number): void {
  const { bad_words_ids, suppress_tokens, forced_bos_token_id } = params;
  const lists = {
    bad_words_ids: bad_words_ids?.flat(),
    suppress_tokens,
    forced_bos_token_id: forced_bos_token_id == null ? [] : [forced_bos_token_id],
  };
  for (const [name, ids] of Object.entries(lists)) {
    const outside = ids?.find((id) => id >= vocabSize);
    if (outside === undefined) continue;
    throw new EdgeT5Error("E_INPUT", `${name} has ${outside}; token ids of this model end at ${vocabSize - 1}.`);
  }
}

/**
 * A caller's parameters over a model's defaults: who asks to sample does not search beams by default, and the other way
 * round.
 *
 * @param defaults from {@link generationDefaults}
 * @throws EdgeT5Error as {@link parseGenerationParams}; `E_INPUT` for a name that is none of them
 */
export function mergeGenerationParams(
  defaults: Partial<GenerationParams>,
  given: { [Name in keyof GenerationParams]?: GenerationParams[Name] | undefined },
): GenerationParams {
  const unknown = Object.keys(given).find((name) => !GENERATION_PARAMS.includes(name));
  if (unknown !== undefined) {
    const hint = unknown === "labels" ? "Use classify." : `There are ${GENERATION_PARAMS.join(", ")}.`;
    throw new EdgeT5Error("E_INPUT", `${unknown} is no parameter of generation. ${hint}`);
  }
  const said = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const asks: { do_sample?: boolean; num_beams?: number } = {};
  if (given.do_sample && given.num_beams === undefined) asks.num_beams = 1;
  if ((given.num_beams ?? 1) > 1 && given.do_sample === undefined) asks.do_sample = false;
  return parseGenerationParams({ ...defaults, ...asks, ...said });
}

/**
 * What a model's `generation_config.json` asks for, as far as it is known here and not null: defaults for a request. A
 * `max_length` counts the start token; values out of range are left out.
 */
export function generationDefaults(json: Readonly<Record<string, unknown>> | null): Partial<GenerationParams> {
  const { max_length, ...rest } = json ?? {};
  const fields: Record<string, unknown> = rest;
  if (typeof max_length === "number" && max_length > 1) fields.max_new_tokens ??= max_length - 1;
  const defaults: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(generationParamsSchema.shape)) {
    const parsed = schema.safeParse(fields[name]);
    if (fields[name] != null && parsed.success) defaults[name] = parsed.data;
  }
  return defaults as Partial<GenerationParams>;
}
