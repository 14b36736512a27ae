/** Reference outputs of another implementation on one model: `expected.json` and `expected.safetensors` beside it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";

const ids = z.array(z.number().int().nonnegative());

const caseSchema = z.discriminatedUnion("kind", [
  /** Fed `decoder_ids`, the model gives the tensors `encoder.INPUT` and `logits.INPUT`. */
  z.object({ kind: z.literal("logits"), input: z.number().int(), decoder_ids: ids.min(1) }),
  z.object({
    kind: z.literal("generate"),
    input: z.number().int(),
    /** Names of Hugging Face's GenerationConfig. */
    params: z.record(z.string(), z.unknown()),
    /** After the start token, cut after the first end of sequence; in the order returned. */
    sequences: z.array(z.looseObject({ ids, score: z.number().optional() })).min(1),
    /** Each chosen token's log-probability (greedy). */
    logprobs: z.array(z.number()).optional(),
  }),
  /** Fed `decoder_ids`, exactly `tokens` are left to sample from, with `probs`. */
  z.object({
    kind: z.literal("distribution"),
    input: z.number().int(),
    decoder_ids: ids.min(1),
    params: z.record(z.string(), z.unknown()),
    tokens: ids.min(1),
    probs: z.array(z.number()).min(1),
  }),
  /** Each label's log-probability under teacher forcing, and their softmax. */
  z.object({
    kind: z.literal("labels"),
    input: z.number().int(),
    labels: z.array(ids.min(1)).min(1),
    logprobs: z.array(z.number()),
    scores: z.array(z.number()),
  }),
]);

const expectedSchema = z.object({
  inputs: z.array(ids.min(1)),
  cases: z.array(z.looseObject({ kind: z.string() })),
});

export type GoldenCase = z.infer<typeof caseSchema>;

export interface Expected {
  inputs: number[][];
  cases: { kind: string; params: string[]; parsed: GoldenCase | null }[];
}

/**
 * Reads `expected.json` of a model folder; a case of a kind that this build does not know has `parsed: null`.
 *
 * @throws EdgeT5Error `E_INPUT`, naming the file and the field
 */
export async function readExpected(dir: string): Promise<Expected> {
  const path = join(dir, "expected.json");
  const fail = (what: string, cause?: unknown) =>
    new EdgeT5Error("E_INPUT", `${path}: ${what}. Copy the reference folder again.`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw fail("cannot be read as JSON", cause);
  }
  const expected = expectedSchema.safeParse(json);
  if (!expected.success) throw fail(describe(expected.error));
  const { inputs, cases } = expected.data;
  return {
    inputs,
    cases: cases.map((raw, i) => {
      const params = Object.keys((raw.params as object | undefined) ?? {});
      if (!caseSchema.options.some((option) => option.shape.kind.value === raw.kind)) {
        return { kind: raw.kind, params, parsed: null };
      }
      const parsed = caseSchema.safeParse(raw);
      if (!parsed.success) throw fail(`cases[${i}]: ${describe(parsed.error)}`);
      if (!inputs[parsed.data.input]) throw fail(`cases[${i}]: there is no input ${parsed.data.input}`);
      return { kind: raw.kind, params, parsed: parsed.data };
    }),
  };
}

function describe({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.join(".") || "(root)"}: ${issue?.message}`;
}
