/**
 * Between the gateway and the decoder, for closed answers. In: labels as int32 (of each its length, then its token ids),
 * then an input's hidden states as float32, all little-endian. Out: the labels' scores as JSON.
 */
import * as z from "zod";
import { EdgeT5Error } from "../errors.ts";
import type { LabelsInput } from "../t5/generation/labels.ts";

export const LABELS_HEADER = "x-edge-t5-labels";

const headerSchema = z.object({
  inputTokens: z.int().min(1),
  /** Numbers that tell the labels. */
  labelNumbers: z.int().min(1),
  adapter: z.string().optional(),
  owner: z.string().min(1).optional(),
});

export type LabelsHeader = z.infer<typeof headerSchema>;

const scoresSchema = z.object({ logprobs: z.array(z.number()), scores: z.array(z.number()) });
export type Scores = z.infer<typeof scoresSchema>;

export function packLabels(labels: readonly (readonly number[])[]): Int32Array<ArrayBuffer> {
  return Int32Array.from(labels.flatMap((ids) => [ids.length, ...ids]));
}

/** @throws EdgeT5Error `E_INPUT` when header and body do not belong together */
export function parseLabelsRequest(
  header: string | undefined,
  body: ArrayBuffer,
  dModel: number,
): { labels: number[][]; input: LabelsInput; adapter: string | undefined } {
  const malformed = () =>
    new EdgeT5Error("E_INPUT", `A labels request's ${LABELS_HEADER} and body do not fit together.`);
  let json: unknown;
  try {
    json = JSON.parse(header ?? "");
  } catch {
    throw malformed();
  }
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) throw malformed();
  const { inputTokens, labelNumbers, adapter, owner } = parsed.data;
  if (body.byteLength !== (labelNumbers + inputTokens * dModel) * 4) throw malformed();
  const numbers = [...new Int32Array(body, 0, labelNumbers)];
  const labels: number[][] = [];
  for (let at = 0; at < numbers.length; ) {
    const length = numbers[at] ?? 0;
    const ids = numbers.slice(at + 1, at + 1 + length);
    if (length < 1 || ids.length !== length) throw malformed();
    labels.push(ids);
    at += 1 + length;
  }
  const hidden = new Float32Array(body, labelNumbers * 4, inputTokens * dModel);
  return { labels, input: { hidden, owner }, adapter };
}

export function parseScores(json: unknown): Scores {
  return scoresSchema.parse(json);
}
