/** `POST /v1/completions` in OpenAI's shape: one schema for what is taken, and the shapes of what is given. */
import * as z from "zod";
import { ApiError } from "../api-error.ts";
import { issueText } from "../issue-text.ts";
import type { FinishReason } from "../t5/generate.ts";
import { generationParamsSchema } from "../t5/generation/config.ts";
import type { CompletionLogprobs } from "./logprobs.ts";
import { oneTextOrList } from "./one-or-list.ts";
import { checkPrompts, MAX_PROMPTS } from "./prompts.ts";

/** Most answers to one prompt. */
export const MAX_ANSWERS = 8;

const promptText = z.string().refine((text) => text.trim() !== "");

/** What is said of how to generate, in every shape of request. */
export const generationFieldsSchema = z.strictObject({
  max_tokens: z.int().min(1).nullish(),
  stream: z.boolean().nullish(),
  /** 0, or left out: greedy. Above: sampling. */
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().positive().max(1).nullish(),
  seed: z.int().nullish(),
  n: z.int().min(1).max(MAX_ANSWERS).nullish(),
  best_of: z.int().min(1).max(MAX_ANSWERS).nullish(),
  logprobs: z.int().min(0).max(5).nullish(),
  stop: oneTextOrList(z.array(z.string().min(1)).max(4).nullish()),
  echo: z.boolean().nullish(),
  // Hugging Face's names, for what OpenAI has none for.
  num_beams: z.int().min(1).max(MAX_ANSWERS).nullish(),
  length_penalty: z.number().min(-10).max(10).nullish(),
  early_stopping: generationParamsSchema.shape.early_stopping.unwrap().nullish(),
  top_k: z.int().nonnegative().nullish(),
  repetition_penalty: z.number().positive().nullish(),
  no_repeat_ngram_size: z.int().nonnegative().nullish(),
  min_new_tokens: z.int().nonnegative().nullish(),
  bad_words_ids: z.array(z.array(z.int().nonnegative()).min(1)).max(64).nullish(),
  suppress_tokens: z.array(z.int().nonnegative()).max(256).nullish(),
  forced_bos_token_id: z.int().nonnegative().nullish(),
  prompt_lookup_num_tokens: z.int().nonnegative().max(64).nullish(),
});

export type GenerationFields = z.infer<typeof generationFieldsSchema>;

export const completionRequestSchema = z.strictObject({
  model: z.string(),
  /** One text or a list of them; each stands for itself, its task prefix included. */
  prompt: oneTextOrList(z.array(promptText).min(1).max(MAX_PROMPTS)),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  /** Taken, and of no effect here. */
  user: z.string().nullish(),
  ...generationFieldsSchema.shape,
});

export type CompletionFields = z.infer<typeof completionRequestSchema>;

/** OpenAI's parameters that this build cannot honour, with the values at which they ask for nothing. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  frequency_penalty: [0],
  logit_bias: [],
  presence_penalty: [0],
  suffix: [""],
};

export interface CompletionRequest {
  model: string;
  prompts: string[];
  maxTokens: number | null;
  stream: boolean;
  includeUsage: boolean;
  /** All fields as they were given; `resolveGeneration` makes the way to generate of them. */
  fields: CompletionFields;
}

/**
 * Checks a request's body.
 *
 * @throws ApiError 400: `missing_required_parameter`, `invalid_type`, `invalid_value`, `empty_prompt`,
 * `unsupported_parameter`, `unknown_parameter`; `param` names the field
 */
export function parseCompletionRequest(body: unknown): CompletionRequest {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new ApiError(
      400,
      "invalid_type",
      'The body must be a JSON object, such as {"model": "default", "prompt": "…"}.',
    );
  }
  const fields: Record<string, unknown> = { ...body };
  for (const [param, neutral] of Object.entries(NEUTRAL)) {
    const value = fields[param];
    if (value !== undefined && value !== null && !neutral.includes(value)) {
      const allowed =
        neutral.length > 0 ? `Leave it out, or set it to ${JSON.stringify(neutral[0])}.` : "Leave it out.";
      throw new ApiError(400, "unsupported_parameter", `${param} is not supported. ${allowed}`, {
        param,
      });
    }
    delete fields[param];
  }
  checkPrompts(fields.prompt, "prompt");
  const parsed = completionRequestSchema.safeParse(fields, { error: issueText });
  if (!parsed.success) throw describe(parsed.error, fields);
  const { model, prompt, max_tokens, stream, stream_options } = parsed.data;
  if (stream_options && !stream) {
    throw new ApiError(400, "invalid_value", "stream_options is for streams. Set stream to true, or leave it out.", {
      param: "stream_options",
    });
  }
  return {
    model,
    prompts: prompt,
    maxTokens: max_tokens ?? null,
    stream: stream ?? false,
    includeUsage: stream_options?.include_usage ?? false,
    fields: parsed.data,
  };
}

function describe({ issues: [issue] }: z.ZodError, fields: Record<string, unknown>): ApiError {
  if (issue?.code === "unrecognized_keys") {
    const param = [...issue.path, issue.keys[0]].join(".");
    return new ApiError(400, "unknown_parameter", `${param} is not a parameter of completions. Leave it out.`, {
      param,
    });
  }
  const path = issue?.path ?? [];
  const name = String(path[0]);
  // One text stands for a list of one: what is wrong with it is wrong with the field.
  const param = (typeof fields[name] === "string" ? name : path.join(".")) || null;
  if (path.length === 1 && fields[name] === undefined) {
    return new ApiError(400, "missing_required_parameter", `${name} is missing. Give ${EXPECTED[name] ?? "it"}.`, {
      param,
    });
  }
  const code = issue?.code === "invalid_type" ? "invalid_type" : "invalid_value";
  return new ApiError(400, code, `${param} must be ${EXPECTED[name] ?? issue?.message}.`, { param });
}

/** What each field takes, for error messages. */
const EXPECTED: Readonly<Record<string, string>> = {
  model: "the name of a model, as GET /v1/models lists them",
  prompt: `a text, or a list of 1 to ${MAX_PROMPTS} texts, each with its task prefix`,
  max_tokens: "a whole number of at least 1",
  stream: "true or false",
  stream_options: 'an object such as {"include_usage": true}',
  temperature: "a number from 0 to 2",
  top_p: "a number above 0, up to 1",
  seed: "a whole number",
  n: `a whole number from 1 to ${MAX_ANSWERS}`,
  best_of: `a whole number from 1 to ${MAX_ANSWERS}`,
  logprobs: "a whole number from 0 to 5",
  stop: "a text, or a list of up to 4 texts, none of them empty",
  echo: "true or false",
  user: "a text",
  num_beams: `a whole number from 1 to ${MAX_ANSWERS}`,
  length_penalty: "a number from -10 to 10",
  early_stopping: 'true, false or "never"',
  top_k: "a whole number of at least 0",
  repetition_penalty: "a number above 0",
  no_repeat_ngram_size: "a whole number of at least 0",
  min_new_tokens: "a whole number of at least 0",
  bad_words_ids: "a list of up to 64 lists of token ids",
  suppress_tokens: "a list of up to 256 token ids",
  forced_bos_token_id: "a token id",
  prompt_lookup_num_tokens: "a whole number from 0 to 64",
};

export interface Usage {
  prompt_tokens: number;
  /** Tokens the model made, the end of sequence included. */
  completion_tokens: number;
  total_tokens: number;
}

export function usageOf(promptTokens: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

export interface CompletionChoice {
  text: string;
  index: number;
  logprobs: CompletionLogprobs | null;
  finish_reason: FinishReason | null;
}

export interface Completion {
  id: string;
  object: "text_completion";
  /** Unix time in seconds. */
  created: number;
  model: string;
  choices: CompletionChoice[];
  usage?: Usage | null;
}
