/** What is given, where no other schema has it: for the API's document, and for the tests that hold answers against it. */
import * as z from "zod";
import { USAGE_GROUPS } from "../../metering/usage.ts";

const time = z.iso.datetime();
const count = z.int().nonnegative();
const dollars = z.string().regex(/^\d+(\.\d{1,9})?$/);

export const errorSchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.enum(["invalid_request_error", "server_error"]),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

export const huggingFaceErrorSchema = errorSchema.shape.error
  .omit({ message: true })
  .extend({ error: errorSchema.shape.error.shape.message });

const finishReason = z.enum(["stop", "length"]).nullable();

export const completionSchema = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: count,
  model: z.string(),
  choices: z.array(
    z.object({
      text: z.string(),
      index: count,
      logprobs: z
        .object({
          tokens: z.array(z.string()),
          token_logprobs: z.array(z.number()),
          top_logprobs: z.array(z.record(z.string(), z.number())),
          text_offset: z.array(count),
        })
        .nullable(),
      finish_reason: finishReason,
    }),
  ),
  usage: z.object({ prompt_tokens: count, completion_tokens: count, total_tokens: count }),
});

const score = z.object({ label: z.string(), score: z.number().min(0).max(1) });
const notes = z.array(z.string()).optional();
const text = { output: z.string(), finish_reason: finishReason, outputs: z.array(z.string()).optional(), notes };
const label = { ...score.shape, scores: z.array(score), notes };
const run = {
  id: z.string(),
  object: z.literal("task.result"),
  task: z.string(),
  task_version: count,
  model: z.string(),
  explain: z.object({ inputs: z.array(z.string()), total: count, notes }).optional(),
  usage: z.object({ input_tokens: count, output_tokens: count, total_tokens: count, cost: dollars }),
};

export const taskResultSchema = z.union([
  z.object({ ...run, ...text }),
  z.object({ ...run, ...label }),
  z.object({ ...run, results: z.array(z.union([z.object(text), z.object(label)])) }),
]);

export const huggingFaceAnswerSchema = z.array(
  z.union([
    z.object({ translation_text: z.string() }),
    z.object({ summary_text: z.string() }),
    z.object({ generated_text: z.string() }),
    z.array(score),
  ]),
);

export const modelSchema = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: count,
  owned_by: z.literal("edge-t5"),
});

export const modelsSchema = z.object({ object: z.literal("list"), data: z.array(modelSchema) });

export const adapterSchema = z.object({
  id: z.string(),
  object: z.literal("adapter"),
  version: z.string(),
  model: z.string(),
  rank: count,
  bytes: count,
  status: z.literal("ready"),
  created_at: time,
});

export const deletedAdapterSchema = z.object({
  id: z.string(),
  object: z.literal("adapter"),
  deleted: z.literal(true),
});

export const priceSchema = z.object({
  id: z.string(),
  object: z.literal("price"),
  tenant: z.string().nullable(),
  task: z.string().nullable(),
  model: z.string().nullable(),
  valid_from: time,
  input_per_1k: dollars,
  output_per_1k: dollars,
  training_per_1k: dollars,
  per_request: dollars,
  adapter_day: dollars,
});

export const listedPriceSchema = priceSchema.extend({
  valid_until: time.nullable(),
  status: z.enum(["scheduled", "current", "past"]),
});

const day = z.iso.date();
const page = { from: day, to: day, has_more: z.boolean(), next_cursor: z.string().nullable() };

export const usageEventAnswerSchema = z.object({
  object: z.literal("usage.event"),
  id: z.string(),
  at: time,
  key: z.string(),
  task: z.string().nullable(),
  task_version: count.nullable(),
  model: z.string(),
  adapter: z.string().nullable(),
  input_tokens: count,
  output_tokens: count,
  training_tokens: count,
  work_units: count,
  served_by: z.enum(["edge", "origin", "cache"]),
  outcome: z.enum(["ok", "cut_off"]),
  duration_ms: count,
});

export const eventsPageSchema = z.object({
  object: z.literal("list"),
  ...page,
  data: z.array(usageEventAnswerSchema),
});

/** Of a row those of `group_by` are there. */
const groups = Object.fromEntries(USAGE_GROUPS.map((name) => [name, z.string().nullable().optional()]));

export const usagePageSchema = z.object({
  object: z.literal("list"),
  ...page,
  group_by: z.array(z.enum(USAGE_GROUPS)),
  data: z.array(
    z.object({
      object: z.literal("usage"),
      ...groups,
      requests: count,
      cut_off_requests: count,
      input_tokens: count,
      output_tokens: count,
      training_tokens: count,
      work_units: count,
      amount: dollars,
    }),
  ),
});

export const invoiceSchema = z.object({
  object: z.literal("invoice"),
  tenant: z.string(),
  month: z.string(),
  period_start: time,
  period_end: time,
  status: z.enum(["open", "closed"]),
  currency: z.literal("usd"),
  usage: z.array(
    z.object({
      task: z.string().nullable(),
      model: z.string(),
      requests: count,
      input_tokens: count,
      output_tokens: count,
      training_tokens: count,
      price: priceSchema.nullable(),
      amount: dollars,
    }),
  ),
  adapters: z.array(
    z.object({
      adapter: z.string(),
      model: z.string(),
      days: count,
      dates: z.array(day),
      price: priceSchema.nullable(),
      amount: dollars,
    }),
  ),
  total: dollars,
});

export const deadLetterSchema = z.object({
  id: z.string(),
  object: z.literal("dead_letter"),
  reason: z.string(),
  body: z.unknown(),
  at: time,
  replayed_at: time.nullable(),
});

export const replaySchema = z.object({
  object: z.literal("dead_letter.replay"),
  id: z.string().optional(),
  replayed: count,
  new_events: count,
  invalid: count,
});

export const stripeCustomerAnswerSchema = z.object({
  object: z.literal("tenant.stripe"),
  tenant: z.string(),
  customer: z.string().nullable(),
});

export const stripeSchema = z.object({
  object: z.literal("stripe"),
  enabled: z.boolean(),
  pending: count,
  last_error: z.string().nullable(),
});

export const stripeFlushSchema = z.object({
  object: z.literal("stripe.flush"),
  sent: count,
  failed: count,
  pending: count,
  last_error: z.string().nullable(),
});

export const modelVersionsSchema = z.object({
  name: z.string(),
  version: z.string().nullable(),
  previous: z.array(z.string()),
  updated: time.nullable(),
  bytes: count,
  versions: z.array(z.object({ version: z.string(), created: time, bytes: count, is_current: z.boolean() })),
});

export const allModelVersionsSchema = z.object({ data: z.array(modelVersionsSchema) });

export const blobSchema = z.object({ sha256: z.string(), bytes: count, uploaded: time.optional() });

export const putVersionSchema = z.object({ name: z.string(), version: z.string(), blobs: count });

export const movedSchema = z.object({
  name: z.string(),
  version: z.string().nullable(),
  previous: z.array(z.string()),
  updated: time,
});

export const deletedVersionSchema = z.object({
  name: z.string(),
  version: z.string(),
  deleted: z.literal(true),
  blobs_deleted: count,
  bytes: count,
});

const half = z.looseObject({ models: z.record(z.string(), z.looseObject({ state: z.string() })) });

const reader = z.object({
  status: z.literal("ok"),
  ocr: z.object({ wasm_bytes: count, captions: z.boolean() }).optional(),
});

/** The Workers for who sends the metrics' or the admin token. */
export const healthSchema = z.object({
  status: z.literal("ok"),
  encoder: half.optional(),
  decoder: half.optional(),
  reader: reader.optional(),
});
