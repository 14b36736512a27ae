/** Usage events: one a request or fine-tuning, immutable, written once whatever is retried; prices turn them into money later. */
import * as z from "zod";

const count = z.int().nonnegative();

export const usageEventSchema = z.strictObject({
  /** The request's id: an event that comes twice counts once. */
  id: z.string().min(1),
  tenant: z.string().min(1),
  /** The key's id, never its secret. */
  key: z.string().min(1),
  /** Null for requests that name a model. */
  task: z.string().nullable(),
  taskVersion: count.nullable(),
  model: z.string().min(1),
  adapter: z.string().nullable(),
  /** Of all inputs, and all that was produced, sequences that were dropped or cut off included. */
  inputTokens: count,
  outputTokens: count,
  /** What a fine-tuning trained on: inputs and targets, each as often as it was. Its event has no other tokens. */
  trainingTokens: count.default(0),
  /** Tokens through the encoder, and rows through the decoder: a beam search of four steps four rows a token. */
  workUnits: count,
  servedBy: z.enum(["edge", "origin", "cache"]),
  /** `cut_off`: the client left; what was produced until then is billed. */
  outcome: z.enum(["ok", "cut_off"]),
  /** Milliseconds since 1970, and how long the request took. */
  at: count,
  durationMs: count,
});

export type UsageEvent = z.infer<typeof usageEventSchema>;
