/** The encoder's and the decoder's Workers, as the gateway calls them. */
import {
  ADAPTER_HEADER,
  DECODE_HEADER,
  type DecodeOptions,
  decodeHeader,
  readTokenLines,
} from "../../src/api/token-stream.ts";
import type { TokenEvent } from "../../src/t5/generate.ts";
import { errorOf } from "../shared/error-of.ts";
import type { GatewayBindings } from "./bindings.ts";

/** Hidden states of one input, float32 as bytes: they flow on to the decoder, and are never held here. */
export interface Encoded {
  tokens: number;
  ids: Int32Array<ArrayBuffer>;
  hidden: ReadableStream<Uint8Array>;
}

/**
 * Has both halves load a model, side by side, all Workers of their chains included.
 *
 * @throws EdgeT5Error what one of them threw
 */
export async function loadHalves({ ENCODER, DECODER }: GatewayBindings, model: string): Promise<void> {
  const load = async (half: Fetcher, name: "encoder" | "decoder") => {
    const response = await half.fetch(`http://${name}/models/${model}/load`, { method: "POST" });
    if (!response.ok) throw await errorOf(response, name);
  };
  await Promise.all([load(ENCODER, "encoder"), load(DECODER, "decoder")]);
}

/**
 * @param adapter key of the adapter to encode with, such as `tenants/acme/adapters/shout/<sha256>`; give {@link decode} the
 * same
 * @throws EdgeT5Error what the encoder threw
 */
export async function encode(
  env: GatewayBindings,
  model: string,
  ids: readonly number[],
  adapter?: string,
): Promise<Encoded> {
  const body = Int32Array.from(ids);
  const response = await env.ENCODER.fetch(`http://encoder/models/${model}/encode`, {
    method: "POST",
    headers: adapter === undefined ? {} : { [ADAPTER_HEADER]: adapter },
    body,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "encoder");
  return { tokens: ids.length, ids: body, hidden: response.body };
}

/**
 * Tokens of all inputs as they are made.
 *
 * @param options with the `adapter` that the inputs were encoded with, if any
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
    body: joined(inputs),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "decoder");
  yield* readTokenLines(response.body, inputs.length * Math.max(options.copies, options.params.num_return_sequences));
}

/** The ids of all inputs, then their hidden states, one stream after the other. */
function joined(inputs: readonly Encoded[]): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const pipe = async () => {
    const writer = writable.getWriter();
    for (const { ids } of inputs) await writer.write(new Uint8Array(ids.buffer));
    writer.releaseLock();
    for (const { hidden } of inputs) await hidden.pipeTo(writable, { preventClose: true });
    await writable.close();
  };
  // A stream that breaks breaks the request that reads it: that is where it is noticed.
  pipe().catch(() => {});
  return readable;
}

export async function health(env: GatewayBindings) {
  const [encoder, decoder] = await Promise.all(
    [env.ENCODER, env.DECODER].map(async (half) => (await half.fetch("http://half/healthz")).json()),
  );
  return { encoder, decoder };
}
