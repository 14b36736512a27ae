/**
 * Between the gateway and the private halves. Encoder: ids in as int32, hidden states out as float32. Decoder: ids of
 * all inputs in as int32, then their hidden states; one JSON line a token out, each given out before the next step is
 * made. All little-endian, as WASM is.
 */
import * as z from "zod";
import { EdgeT5Error, type ErrorCode } from "../errors.ts";
import type { GenerationInput, TokenEvent } from "../t5/generate.ts";
import { generationParamsSchema } from "../t5/generation/config.ts";

export const decodeOptionsSchema = z.object({
  maxNewTokens: z.int().min(1),
  /** Whether somebody waits for every single token. */
  stream: z.boolean(),
  params: generationParamsSchema,
  /** Sequences of each input, when it is sampled. */
  copies: z.int().min(1),
  seed: z.int(),
  logprobs: z.int().nonnegative().nullable(),
  /** Key of the adapter that all inputs are decoded with; see {@link ADAPTER_HEADER}. Default: none. */
  adapter: z.string().min(1).optional(),
  /** Whom all inputs are for; see {@link OWNER_HEADER}. */
  owner: z.string().min(1).optional(),
});

export type DecodeOptions = z.infer<typeof decodeOptionsSchema>;

/** Lengths of the inputs whose hidden states a decode request's body holds one after the other, and their limits. */
const decodeHeaderSchema = z.object({
  inputTokens: z.array(z.int().min(1)).min(1),
  ...decodeOptionsSchema.shape,
});

export const DECODE_HEADER = "x-edge-t5-decode";

/**
 * Of an encode request: the adapter to encode with, by its key in the bucket. Below `KEY/` lie the adapter's two files; what
 * lies there never changes, so that a key names one adapter for ever.
 */
export const ADAPTER_HEADER = "x-edge-t5-adapter";

/** Of an encode request: the tenant that it is for. Among tenants the Workers divide what they have. */
export const OWNER_HEADER = "x-edge-t5-owner";

/** What a decode request carries besides its body. */
export function decodeHeader(inputs: readonly { tokens: number }[], options: DecodeOptions): string {
  return JSON.stringify({ inputTokens: inputs.map(({ tokens }) => tokens), ...options });
}

/** @throws EdgeT5Error `E_INPUT` when header and body do not belong together */
export function parseDecodeRequest(
  header: string | undefined,
  body: ArrayBuffer,
  dModel: number,
): { inputs: GenerationInput[]; stream: boolean; adapter: string | undefined } {
  const malformed = () =>
    new EdgeT5Error("E_INPUT", `A decode request's ${DECODE_HEADER} and body do not fit together.`);
  let json: unknown;
  try {
    json = JSON.parse(header ?? "");
  } catch {
    throw malformed();
  }
  const parsed = decodeHeaderSchema.safeParse(json);
  if (!parsed.success) throw malformed();
  const { inputTokens, ...options } = parsed.data;
  const tokens = inputTokens.reduce((sum, n) => sum + n, 0);
  if (body.byteLength !== tokens * (dModel + 1) * 4) throw malformed();
  const ids = new Int32Array(body, 0, tokens);
  let first = 0;
  const inputs = inputTokens.map((count, i) => {
    const hidden = new Float32Array(body, (tokens + first * dModel) * 4, count * dModel);
    const prompt = Array.from(ids.subarray(first, first + count));
    first += count;
    return generationInputOf({ ids: prompt, hidden }, i, options);
  });
  return { inputs, stream: options.stream, adapter: options.adapter };
}

/** The `number`th input of a request as it is decoded: copies of an input count on from its seed. */
export function generationInputOf(
  { ids, hidden }: { ids: readonly number[]; hidden: Float32Array },
  number: number,
  { maxNewTokens, params, copies, seed, logprobs, owner }: Omit<DecodeOptions, "stream" | "adapter">,
): GenerationInput {
  return {
    ...{ hidden, prompt: ids, maxNewTokens, params, copies, owner },
    seed: seed + number * copies,
    ...(logprobs !== null && { logprobs }),
  };
}

/** A half's error: the gateway makes the client's of it. */
export function errorBody(error: EdgeT5Error) {
  return { error: { code: error.code, message: error.message } };
}

const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string() }) });

/** A half's error as it was thrown there. */
export function parseErrorBody(json: unknown): EdgeT5Error | null {
  // Every token's line comes here: what is no error is told without a schema's report.
  if (typeof json !== "object" || json === null || !("error" in json)) return null;
  const parsed = errorSchema.safeParse(json);
  return parsed.success ? new EdgeT5Error(parsed.data.error.code as ErrorCode, parsed.data.error.message) : null;
}

/**
 * Token events, or what else a half answers with, as JSON lines. A line is made when it is pulled: nobody reads, nothing
 * is decoded. Cancelling the stream ends the generator.
 */
export function writeLines(
  events: AsyncGenerator<object, void, undefined>,
  toError: (error: unknown) => EdgeT5Error,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const line = (value: object) => encoder.encode(`${JSON.stringify(value)}\n`);
  let isCancelled = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await events.next();
          if (isCancelled) return;
          if (!done) return controller.enqueue(line(value));
        } catch (error) {
          if (isCancelled) return;
          controller.enqueue(line(errorBody(toError(error))));
        }
        controller.close();
      },
      async cancel() {
        isCancelled = true;
        await events.return();
      },
    },
    { highWaterMark: 0 },
  );
}

/** @throws EdgeT5Error what the decoder threw; `E_DECODER_LOST` when the stream ends before every sequence has. */
export async function* readTokenLines(
  stream: ReadableStream<Uint8Array>,
  sequences: number,
): AsyncGenerator<TokenEvent, void, undefined> {
  let ended = 0;
  for await (const value of readLines(stream)) {
    const event = value as TokenEvent;
    if (event.finishReason) ended++;
    yield event;
  }
  if (ended < sequences) throw decoderLost();
}

export function decoderLost(): EdgeT5Error {
  return new EdgeT5Error("E_DECODER_LOST", "The decoder went away before it was done. Try again.");
}

/** What {@link writeLines} wrote. @throws EdgeT5Error what was thrown there */
export async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<unknown, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const value = JSON.parse(line);
      const error = parseErrorBody(value);
      if (error) throw error;
      yield value;
    }
  }
}
