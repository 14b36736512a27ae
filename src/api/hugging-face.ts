/**
 * Hugging Face's inference shape (https://huggingface.co/docs/inference-providers): `inputs` and `parameters` in; texts, or
 * labels with scores, out.
 */
import * as z from "zod";
import type { ApiError } from "../api-error.ts";
import { MAX_ANSWERS } from "./completions.ts";
import type { GenerationFields } from "./generation.ts";
import { oneTextOrList } from "./one-or-list.ts";
import { parseWith } from "./parse.ts";
import { checkPrompts, MAX_PROMPTS } from "./prompts.ts";

const positive = z.int().min(1);
/** More would be refused later, in the names of completions. */
const few = positive.max(MAX_ANSWERS);

const generationShape = {
  max_new_tokens: positive.nullish(),
  max_length: positive.nullish(),
  min_new_tokens: z.int().nonnegative().nullish(),
  min_length: z.int().nonnegative().nullish(),
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  /** Of a task with labels: how many of them to tell. */
  top_k: z.int().nonnegative().nullish(),
  top_p: z.number().positive().max(1).nullish(),
  seed: z.int().nullish(),
  num_beams: few.nullish(),
  num_return_sequences: few.nullish(),
  length_penalty: z.number().min(-10).max(10).nullish(),
  early_stopping: z.union([z.boolean(), z.literal("never")]).nullish(),
  repetition_penalty: z.number().positive().nullish(),
  no_repeat_ngram_size: z.int().nonnegative().nullish(),
  stop: z.array(z.string().min(1)).max(4).nullish(),
};

const parametersSchema = z.strictObject({
  ...generationShape,
  /** Parameters of a generation in their own object, as the clients for summaries and translations send them. */
  generate_parameters: z.strictObject(generationShape).nullish(),
  // Taken, and of no effect here: an encoder-decoder's answer has no prompt in it, scores are always a softmax, and
  // languages and spaces are the template's and the tokenizer's matter; what is too long is refused.
  return_full_text: z.boolean().nullish(),
  function_to_apply: z.enum(["softmax"]).nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  truncation: z.enum(["do_not_truncate"]).nullish(),
  src_lang: z.string().nullish(),
  tgt_lang: z.string().nullish(),
});

export const huggingFaceSchema = z.strictObject({
  inputs: oneTextOrList(
    z
      .array(z.string().refine((text) => text.trim() !== ""))
      .min(1)
      .max(MAX_PROMPTS),
  ),
  parameters: parametersSchema.nullish(),
  /** What is of the hosted service alone: waiting for models, caches, GPUs. */
  options: z.record(z.string(), z.unknown()).nullish(),
});

export type HuggingFaceParameters = z.output<typeof parametersSchema>;

/** @throws ApiError 400 as `checkPrompts` and `parseWith` */
export function parseInference(json: unknown): z.output<typeof huggingFaceSchema> {
  if (typeof json === "object" && json !== null && "inputs" in json) checkPrompts(json.inputs, "inputs");
  return parseWith(huggingFaceSchema, json, "an inference request");
}

/** In the names of completions; what was left out stays so. */
export function fieldsOf(given: HuggingFaceParameters): GenerationFields {
  const parameters = { ...given, ...given.generate_parameters };
  const { max_new_tokens, max_length, min_new_tokens, min_length, num_return_sequences, do_sample } = parameters;
  // Without sampling, what shapes the chances says nothing.
  const sampling =
    do_sample === false
      ? { temperature: 0 }
      : {
          temperature: parameters.temperature ?? (do_sample ? 1 : undefined),
          top_k: parameters.top_k,
          top_p: parameters.top_p,
          seed: parameters.seed,
        };
  return {
    ...sampling,
    max_tokens: max_new_tokens ?? max_length,
    min_new_tokens: min_new_tokens ?? min_length,
    n: num_return_sequences,
    num_beams: parameters.num_beams,
    length_penalty: parameters.length_penalty,
    early_stopping: parameters.early_stopping,
    repetition_penalty: parameters.repetition_penalty,
    no_repeat_ngram_size: parameters.no_repeat_ngram_size,
    stop: parameters.stop,
  };
}

/** What the pipelines call their text: by what the model is asked to do, which T5's prompts begin with. */
export function textKeyOf(prompt: string): "translation_text" | "summary_text" | "generated_text" {
  if (/^translate\b/i.test(prompt)) return "translation_text";
  return /^summari[sz]e\b/i.test(prompt) ? "summary_text" : "generated_text";
}

/** Parameters of a hosted text generation that ask for nothing at these values. */
const NEUTRAL: Readonly<Record<string, unknown>> = {
  details: false,
  decoder_input_details: false,
  watermark: false,
  return_full_text: false,
};

/**
 * The body of a completions request, of what Hugging Face's client sends for a text generation: OpenAI's fields with the
 * generation's parameters among them. What is not known stays, and is refused by its name.
 *
 * @param model the name in the path; the body has the address
 */
export function completionBodyOf(body: unknown, model: string): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  const fields = Object.fromEntries(
    Object.entries(body).filter(([name, value]) => value != null && NEUTRAL[name] !== value),
  );
  const { do_sample, return_full_text, max_new_tokens, num_return_sequences, ...others } = fields;
  const sampled: Record<string, unknown> = { ...others };
  if (do_sample === true) sampled.temperature ??= 1;
  if (do_sample === false) {
    // Without sampling, what shapes the chances says nothing.
    for (const name of ["temperature", "top_k", "top_p", "seed"]) delete sampled[name];
    sampled.temperature = 0;
  }
  return {
    ...sampled,
    model,
    ...(max_new_tokens !== undefined && { max_tokens: max_new_tokens }),
    ...(num_return_sequences !== undefined && { n: num_return_sequences }),
    ...(return_full_text !== undefined && { echo: return_full_text }),
  };
}

/** An error as Hugging Face's client reads it: `error` is the message. */
export function huggingFaceError({ message, type, param, code }: ApiError) {
  return { error: message, type, param, code };
}
