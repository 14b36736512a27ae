/** What a task is: one schema for what is taken, kept and told. */
import * as z from "zod";
import type { CompletionFields } from "../api/completions.ts";
import { EdgeT5Error } from "../errors.ts";
import { MODEL_NAME } from "../store/r2.ts";
import { type GenerationParams, generationParamsSchema, parseGenerationParams } from "../t5/generation/config.ts";
import { parseTemplate } from "../t5/template.ts";

/** What a task may be called, and an adapter. */
export const TASK_NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** Parameters of a request that a task may leave to its callers. */
export const OVERRIDABLE = [
  "max_tokens",
  "temperature",
  "top_p",
  "top_k",
  "seed",
  "n",
  "best_of",
  "stop",
  "logprobs",
  "echo",
  "num_beams",
  "length_penalty",
  "early_stopping",
  "repetition_penalty",
  "no_repeat_ngram_size",
  "min_new_tokens",
  "bad_words_ids",
  "suppress_tokens",
  "forced_bos_token_id",
  "prompt_lookup_num_tokens",
] as const satisfies readonly (keyof CompletionFields)[];

/** Hugging Face's parameters as {@link generationParamsSchema} has them; what is left out is the model's. */
const generation = z.strictObject(
  Object.fromEntries(
    Object.entries(generationParamsSchema.shape).map(([name, field]) => [
      name,
      (field instanceof z.ZodDefault ? (field.unwrap() as z.ZodType) : field).optional(),
    ]),
  ),
) as unknown as z.ZodType<Partial<GenerationParams>>;

const tokens = z.int().min(1).max(1_000_000).nullable().default(null);

const LATER = ["table", "document", "image"];

const inputKind = z.enum(["text", "pair"], {
  error: ({ input: given }) =>
    LATER.includes(String(given))
      ? `${given} inputs are not supported yet; send their text, as "text" or "pair"`
      : '"text" for a template of one field, "pair" for one of several',
});

const fields = {
  model: z.string().regex(MODEL_NAME, "the name of a model, as GET /v1/models lists them"),
  /** `summarize: {input}` */
  template: z.string().max(20_000),
  /** The answer is one of these, with scores; null: it is a text. */
  labels: z
    .array(z.string().trim().min(1).max(200))
    .min(2)
    .max(64)
    .refine((labels) => new Set(labels).size === labels.length, "labels must differ from each other")
    .nullable()
    .default(null),
  /** How answers are generated unless a request may say otherwise, and does. */
  generation: generation.default({}),
  /** Parameters that a request may give. */
  overridable: z.array(z.enum(OVERRIDABLE)).default([]),
  /** One of the tenant's adapters. */
  adapter: z.string().regex(TASK_NAME, "the name of an adapter").nullable().default(null),
  /** Null: what the deployment and the model allow. */
  max_input_tokens: tokens,
  max_output_tokens: tokens,
  /** `answers`: the same question gets the same answer again, for a time. */
  cache: z
    .strictObject({
      policy: z.enum(["none", "answers"]).default("none"),
      ttl_seconds: z
        .int()
        .min(1)
        .max(30 * 24 * 3600)
        .default(3600),
    })
    .prefault({}),
  /** Where requests run (placement/rule.ts); bounds that are null are the deployment's. */
  placement: z
    .strictObject({
      run: z.enum(["auto", "edge", "origin"]).default("auto"),
      edge: z.strictObject({ prompt_tokens: tokens, inputs: tokens, beam_tokens: tokens, cpu_ms: tokens }).prefault({}),
    })
    .prefault({}),
};

const whole = z.strictObject({ ...fields, input: inputKind });

export type TaskDefinition = z.output<typeof whole>;

export const taskDefinitionSchema = z
  .strictObject({
    ...fields,
    /** Left out: what the template's fields ask for. */
    input: inputKind.optional(),
  })
  .superRefine(({ template, input, generation, max_output_tokens }, context) => {
    const refuse = (name: string, message: string) => context.addIssue({ code: "custom", path: [name], message });
    try {
      const kind = kindOf(template);
      if (input && input !== kind) {
        refuse("input", `the template asks for "${kind}"; change the template's fields, or leave input out`);
      }
    } catch (error) {
      refuse("template", messageOf(error));
    }
    try {
      parseGenerationParams(generation);
    } catch (error) {
      refuse("generation", messageOf(error));
    }
    const { max_new_tokens } = generation;
    if (max_output_tokens !== null && (max_new_tokens ?? 0) > max_output_tokens) {
      refuse(
        "max_output_tokens",
        `it is ${max_output_tokens}, below generation.max_new_tokens ${max_new_tokens}; lower that`,
      );
    }
  })
  .transform(({ input, ...definition }) => ({ ...definition, input: input ?? kindOf(definition.template) }))
  // For who reads the schema: every field is there.
  .pipe(whole as unknown as z.ZodType<TaskDefinition, TaskDefinition>);

function kindOf(template: string): "text" | "pair" {
  return parseTemplate(template).fields.length === 1 ? "text" : "pair";
}

function messageOf(error: unknown): string {
  if (error instanceof EdgeT5Error) return error.message.replace(/\.$/, "");
  throw error;
}
