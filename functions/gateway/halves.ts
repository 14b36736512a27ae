/** The encoder's and the decoder's Workers, as the gateway calls them. */
import { LABELS_HEADER, type LabelsHeader, packLabels, parseScores, type Scores } from "../../src/api/label-scores.ts";
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
    body: oneAfterTheOther(
      inputs.map(({ ids }) => new Uint8Array(ids.buffer)),
      inputs.map(({ hidden }) => hidden),
    ),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "decoder");
  yield* readTokenLines(response.body, inputs.length * Math.max(options.copies, options.params.num_return_sequences));
}

/**
 * How probable each label is as an input's answer.
 *
 * @param labels token ids of each
 * @param adapter as {@link encode}
 * @throws EdgeT5Error what the decoder threw
 */
export async function score(
  env: GatewayBindings,
  model: string,
  { tokens, hidden }: Encoded,
  labels: readonly (readonly number[])[],
  adapter: string | undefined,
  signal: AbortSignal,
): Promise<Scores> {
  const packed = packLabels(labels);
  const header: LabelsHeader = {
    inputTokens: tokens,
    labelNumbers: packed.length,
    ...(adapter !== undefined && { adapter }),
  };
  const response = await env.DECODER.fetch(`http://decoder/models/${model}/labels`, {
    method: "POST",
    headers: { [LABELS_HEADER]: JSON.stringify(header) },
    body: oneAfterTheOther([new Uint8Array(packed.buffer)], [hidden]),
    signal,
  });
  if (!response.ok) throw await errorOf(response, "decoder");
  return parseScores(await response.json());
}

/** Bytes, then streams, as one stream. */
function oneAfterTheOther(
  first: readonly Uint8Array[],
  streams: readonly ReadableStream<Uint8Array>[],
): ReadableStream<Uint8Array> {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const pipe = async () => {
    const writer = writable.getWriter();
    for (const bytes of first) await writer.write(bytes);
    writer.releaseLock();
    for (const stream of streams) await stream.pipeTo(writable, { preventClose: true });
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
