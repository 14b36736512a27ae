/** The encoder's and the decoder's Workers, as the gateway calls them. */
import type { Halves } from "../../src/api/answers.ts";
import { type DecodeList, type ScoreList, writeInputs } from "../../src/api/input-stream.ts";
import { LABELS_HEADER, type LabelsHeader, packLabels, parseScores, type Scores } from "../../src/api/label-scores.ts";
import {
  ADAPTER_HEADER,
  DECODE_HEADER,
  type DecodeOptions,
  decodeHeader,
  decoderLost,
  OWNER_HEADER,
  readLines,
  readTokenLines,
} from "../../src/api/token-stream.ts";
import type { TokenEvent } from "../../src/t5/generate.ts";
import { errorOf } from "../shared/error-of.ts";
import type { GatewayBindings } from "./bindings.ts";

/** What a half works with, and for whom. */
export interface CallUse {
  env: GatewayBindings;
  model: string;
  /** Key of an adapter in the bucket, such as `tenants/acme/adapters/shout/<sha256>`. */
  adapter: string | undefined;
  /** The tenant: among them the Workers divide what they have. */
  owner: string;
}

export interface HalvesUse extends CallUse {
  /** Inputs of a list that one call takes. */
  inputsOfCall: number;
}

/** Hidden states of one input, float32 as bytes: they flow on to the decoder, and are never held here. */
export interface Encoded {
  tokens: number;
  ids: Int32Array<ArrayBuffer>;
  hidden: ReadableStream<Uint8Array>;
}

/** The private Workers as answers use them. */
export function halvesOf(use: HalvesUse): Halves<Encoded> {
  return {
    encode: (ids, signal) => encode(use, ids, signal),
    decode: (inputs, options, signal) => decode(use, inputs, options, signal),
    score: (input, labels, signal) => score(use, input, labels, signal),
    async *decodeList(ids, options, signal) {
      const { copies, params, seed } = options;
      const answersEach = Math.max(copies, params.num_return_sequences);
      for (const { first, own } of callsOf(use, ids)) {
        for await (const event of decodeList(use, own, { ...options, seed: seed + first * copies }, signal)) {
          yield { ...event, index: first * answersEach + event.index };
        }
      }
    },
    async *scoreList(ids, labels, signal) {
      for (const { own } of callsOf(use, ids)) yield* scoreList(use, own, labels, signal);
    },
  };
}

function* callsOf<T>({ inputsOfCall }: HalvesUse, inputs: readonly T[]): Generator<{ first: number; own: T[] }> {
  for (let first = 0; first < inputs.length; first += inputsOfCall) {
    yield { first, own: inputs.slice(first, first + inputsOfCall) };
  }
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
 * @param use the same as for {@link decode} or {@link score}
 * @throws EdgeT5Error what the encoder threw
 */
export async function encode(
  { env, model, adapter, owner }: CallUse,
  ids: readonly number[],
  signal: AbortSignal,
): Promise<Encoded> {
  const body = Int32Array.from(ids);
  const response = await env.ENCODER.fetch(`http://encoder/models/${model}/encode`, {
    method: "POST",
    headers: { [OWNER_HEADER]: owner, ...(adapter !== undefined && { [ADAPTER_HEADER]: adapter }) },
    body,
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "encoder");
  return { tokens: ids.length, ids: body, hidden: response.body };
}

/**
 * Tokens of all inputs as they are made.
 *
 * @throws EdgeT5Error what the decoder threw
 */
export async function* decode(
  { env, model, adapter, owner }: CallUse,
  inputs: readonly Encoded[],
  options: Omit<DecodeOptions, "adapter" | "owner">,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, void, undefined> {
  const response = await env.DECODER.fetch(`http://decoder/models/${model}/decode`, {
    method: "POST",
    headers: { [DECODE_HEADER]: decodeHeader(inputs, { ...options, adapter, owner }) },
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
 * @throws EdgeT5Error what the decoder threw
 */
export async function score(
  { env, model, adapter, owner }: CallUse,
  { tokens, hidden }: Encoded,
  labels: readonly (readonly number[])[],
  signal: AbortSignal,
): Promise<Scores> {
  const packed = packLabels(labels);
  const header: LabelsHeader = {
    inputTokens: tokens,
    labelNumbers: packed.length,
    ...(adapter !== undefined && { adapter }),
    owner,
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

/**
 * Tokens of a list's answers, as they are made: what the encoder puts out goes to the decoder as it comes.
 *
 * @throws EdgeT5Error what one of them threw
 */
async function* decodeList(
  use: CallUse,
  ids: readonly (readonly number[])[],
  options: Omit<DecodeOptions, "adapter" | "owner">,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, void, undefined> {
  const { model, adapter, owner } = use;
  const header: DecodeList = { inputs: ids.length, ...options, adapter, owner };
  const response = await use.env.DECODER.fetch(`http://decoder/models/${model}/decode-list`, {
    method: "POST",
    headers: { [DECODE_HEADER]: JSON.stringify(header) },
    body: await encodeList(use, ids, signal),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "decoder");
  yield* readTokenLines(response.body, ids.length * Math.max(options.copies, options.params.num_return_sequences));
}

/**
 * How probable each label is, input by input.
 *
 * @param labels token ids of each
 * @throws EdgeT5Error what one of the halves threw
 */
async function* scoreList(
  use: CallUse,
  ids: readonly (readonly number[])[],
  labels: readonly (readonly number[])[],
  signal: AbortSignal,
): AsyncGenerator<Scores, void, undefined> {
  const { model, adapter, owner } = use;
  const header: ScoreList = { inputs: ids.length, labels: labels.map((label) => [...label]), adapter, owner };
  const response = await use.env.DECODER.fetch(`http://decoder/models/${model}/label-list`, {
    method: "POST",
    headers: { [LABELS_HEADER]: JSON.stringify(header) },
    body: await encodeList(use, ids, signal),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "decoder");
  let scored = 0;
  for await (const scores of readLines(response.body)) {
    yield parseScores(scores);
    scored++;
  }
  if (scored < ids.length) throw decoderLost();
}

/** The list with its hidden states, as the decoder takes it. */
async function encodeList(
  { env, model, adapter, owner }: CallUse,
  ids: readonly (readonly number[])[],
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const response = await env.ENCODER.fetch(`http://encoder/models/${model}/encode-list`, {
    method: "POST",
    headers: { [OWNER_HEADER]: owner, ...(adapter !== undefined && { [ADAPTER_HEADER]: adapter }) },
    body: writeInputs(ids),
    signal,
  });
  if (!response.ok || !response.body) throw await errorOf(response, "encoder");
  return response.body;
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
  const [encoder, decoder, reader] = await Promise.all(
    [env.ENCODER, env.DECODER, env.READER].map(async (worker) =>
      (await worker?.fetch("http://worker/healthz"))?.json(),
    ),
  );
  return { encoder, decoder, ...(reader !== undefined && { reader }) };
}
