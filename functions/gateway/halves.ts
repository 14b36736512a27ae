/** The encoder's and the decoder's Workers, as the gateway calls them. */
import { DECODE_HEADER, type DecodeOptions, decodeHeader, readTokenLines } from "../../src/api/token-stream.ts";
import type { TokenEvent } from "../../src/t5/generate.ts";
import { errorOf } from "../shared/error-of.ts";
import type { GatewayBindings } from "./bindings.ts";

/** Hidden states of one input, float32 as bytes: the gateway only passes them on. */
export interface Encoded {
  tokens: number;
  ids: Int32Array<ArrayBuffer>;
  hidden: ArrayBuffer;
}

/** @throws EdgeT5Error what the encoder threw */
export async function encode(env: GatewayBindings, model: string, ids: readonly number[]): Promise<Encoded> {
  const body = Int32Array.from(ids);
  const response = await env.ENCODER.fetch(`http://encoder/models/${model}/encode`, { method: "POST", body });
  if (!response.ok) throw await errorOf(response, "encoder");
  return { tokens: ids.length, ids: body, hidden: await response.arrayBuffer() };
}

/**
 * Tokens of all inputs as they are made.
 *
 * @throws EdgeT5Error what the decoder threw
 */
export async function* decode(
  env: GatewayBindings,
  model: string,
  inputs: readonly Encoded[],
  options: DecodeOptions,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, void, undefined> {
  const response = await env.DECODER.fetch(`http://decoder/models/${model}/decode`, {
    method: "POST",
    headers: { [DECODE_HEADER]: decodeHeader(inputs, options) },
    body: await new Blob([...inputs.map(({ hidden }) => hidden), ...inputs.map(({ ids }) => ids)]).arrayBuffer(),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "decoder");
  yield* readTokenLines(response.body, inputs.length * Math.max(options.copies, options.params.num_return_sequences));
}

export async function health(env: GatewayBindings) {
  const [encoder, decoder] = await Promise.all(
    [env.ENCODER, env.DECODER].map(async (half) => (await half.fetch("http://half/healthz")).json()),
  );
  return { encoder, decoder };
}
