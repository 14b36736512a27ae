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

/** Of one field of the template: the only one, or the one that is called so. The others are texts. */
const CONTENT_KINDS = ["table", "document", "image"] as const;
export type ContentKind = (typeof CONTENT_KINDS)[number];

const inputKind = z.enum(["text", "pair", ...CONTENT_KINDS], {
  error:
    '"text" for a template of one field, "pair" for one of several; "table", "document" or "image" for what is read first',
});
export type InputKind = z.output<typeof inputKind>;

/** How a table becomes text (t5/text-to-text/table.ts). */
const tableOptions = z.strictObject({
  form: z.enum(["tapex", "totto"]).default("tapex"),
  /** Only these columns, in this order; null: all. */
  columns: z.array(z.string().max(200)).min(1).max(200).nullable().default(null),
  /** Of `totto`: the first column's cells are their rows' headers. */
  row_headers: z.boolean().default(false),
});

/** That writing in images may be in: those that the OCR Worker has data for. */
export const IMAGE_LANGUAGES = ["eng", "deu", "fra"] as const;

/** How an image becomes text (readers/image). */
const imageOptions = z.strictObject({
  /** `text`: what is written in it; `caption`: what is seen. */
  read: z.enum(["text", "caption"]).default("text"),
  /**
   * That the writing may be in, likeliest first; a request may name others. All that there are: an English page of A4 takes
   * as long as in English alone, a German one twice as long, with 0.1 % of its characters wrong instead of 1.6 %.
   */
  languages: z
    .array(z.enum(IMAGE_LANGUAGES))
    .min(1)
    .default([...IMAGE_LANGUAGES]),
});

/**
 * What is done with an input that is longer than the model takes: it is refused, translated sentence by sentence, summed up
 * section by section, or labelled window by window (t5/text-to-text/long).
 */
export const LONG = ["refuse", "sentences", "sections", "windows"] as const;

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
  table: tableOptions.prefault({}),
  image: imageOptions.prefault({}),
  long: z.enum(LONG).default("refuse"),
  /** Of a summary by sections, unless a request says otherwise; null: as long as the model makes it. */
  words: z.int().min(5).max(5000).nullable().default(null),
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
  .superRefine(({ template, input, generation, max_output_tokens, labels, long, words }, context) => {
    const refuse = (name: string, message: string) => context.addIssue({ code: "custom", path: [name], message });
    if (long !== "refuse" && (long === "windows") !== (labels !== null)) {
      refuse(
        "long",
        labels ? 'a task with labels goes by "windows"' : 'a task without labels goes by "sentences" or "sections"',
      );
    }
    if (words !== null && long !== "sections")
      refuse("words", 'only summaries by sections have a length; set long to "sections"');
    try {
      const kind = kindOf(template);
      if (input && isContentKind(input)) {
        if (contentField(template, input) === null) {
          refuse("template", `one of its fields must be called ${input}, for there are several`);
        }
      } else if (input && input !== kind) {
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

export function isContentKind(kind: InputKind): kind is ContentKind {
  return (CONTENT_KINDS as readonly string[]).includes(kind);
}

/** Whether the writing in an image is read, in the languages that it may be in. */
export function readsWriting({ input, image }: Pick<TaskDefinition, "input" | "image">): boolean {
  return (input === "document" || input === "image") && image.read === "text";
}

/** The template's field that takes the content; null where there is none, or no telling which. */
export function contentField(template: string, kind: ContentKind): string | null {
  const { fields } = parseTemplate(template);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined) return only;
  return fields.includes(kind) ? kind : null;
}

/** The template's field that may be of any length; null where there is no telling which. */
export function longField({ template, input }: { template: string; input: InputKind }): string | null {
  if (isContentKind(input)) return contentField(template, input);
  const { fields } = parseTemplate(template);
  const [only] = fields;
  if (fields.length === 1 && only !== undefined) return only;
  return ["text", "input", "document"].find((name) => fields.includes(name)) ?? null;
}

function messageOf(error: unknown): string {
  if (error instanceof EdgeT5Error) return error.message.replace(/\.$/, "");
  throw error;
}
