/**
 * Between the Workers of a chain: one call a request, a duplex stream of frames. What comes after asks for steps, what
 * comes before answers with hidden states. A frame is two uint32 (bytes of its JSON head, bytes of its payload), the
 * head, and float32 numbers; all little-endian, as WASM is.
 */
import * as z from "zod";
import type { LayersBefore } from "../engines/chained-decoder.ts";
import { EdgeT5Error } from "../errors.ts";
import type { Decoder, DecoderInput, HeldAdapter, Room, Sequence } from "../t5/engine.ts";
import { errorBody, parseErrorBody } from "./token-stream.ts";

const numbers = z.array(z.int().nonnegative());

/** What is asked. `open` carries the inputs' hidden states, and is answered when there is room; a `step` with hidden states. */
const askSchema = z.discriminatedUnion("ask", [
  z.object({
    ask: z.literal("open"),
    inputs: z.array(
      z.object({
        tokens: z.int().min(1),
        maxNewTokens: z.int().min(1),
        copies: z.int().min(1),
        /** Key of the input's adapter. */
        adapter: z.string().min(1).optional(),
        /** Whom it is for. */
        owner: z.string().min(1).optional(),
      }),
    ),
  }),
  z.object({ ask: z.literal("step"), sequences: numbers, tokens: numbers }),
  z.object({ ask: z.literal("rewind"), sequence: z.int().nonnegative(), tokens: z.int().nonnegative() }),
  z.object({ ask: z.literal("reorder"), sequences: numbers, parents: numbers }),
  z.object({ ask: z.literal("close"), sequence: z.int().nonnegative() }),
]);
type Ask = z.infer<typeof askSchema>;

interface Frame {
  head: unknown;
  payload: Float32Array;
}

const PREFIX_BYTES = 8;
/** Longer heads and payloads than any chain sends. */
const MAX_BYTES = 2 ** 27;

function encodeFrame(head: object, payload: readonly Float32Array[] = []): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const bytes = payload.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const frame = new Uint8Array(PREFIX_BYTES + json.length + bytes);
  const view = new DataView(frame.buffer);
  view.setUint32(0, json.length, true);
  view.setUint32(4, bytes, true);
  frame.set(json, PREFIX_BYTES);
  let at = PREFIX_BYTES + json.length;
  for (const part of payload) {
    frame.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return frame;
}

type Chunk = { done: boolean; value?: Uint8Array | undefined };

/** Frames out of a stream that cuts them anywhere. A stream that breaks has ended: who wrote it is gone. */
class FrameReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Asked for at once: wrangler's development server takes a body that nobody has touched for one to be drained. */
  #first: Promise<Chunk> | null;
  #rest = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.#first = this.#read();
  }

  /** @returns null at the stream's end */
  async next(): Promise<Frame | null> {
    if (!(await this.#fill(PREFIX_BYTES))) return null;
    const view = new DataView(this.#rest.buffer, this.#rest.byteOffset);
    const headBytes = view.getUint32(0, true);
    const payloadBytes = view.getUint32(4, true);
    if (headBytes > MAX_BYTES || payloadBytes > MAX_BYTES || payloadBytes % 4 !== 0) throw malformed();
    const end = PREFIX_BYTES + headBytes + payloadBytes;
    if (!(await this.#fill(end))) return null;
    const head = new TextDecoder().decode(this.#rest.subarray(PREFIX_BYTES, PREFIX_BYTES + headBytes));
    // A copy: float32 numbers begin at multiples of four bytes.
    const payload = this.#rest.slice(PREFIX_BYTES + headBytes, end);
    this.#rest = this.#rest.subarray(end);
    try {
      return { head: JSON.parse(head), payload: new Float32Array(payload.buffer) };
    } catch {
      throw malformed();
    }
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel();
    this.#reader.releaseLock();
  }

  #read(): Promise<Chunk> {
    return this.#reader.read().catch(() => ({ done: true }));
  }

  /** Reads until so many bytes are there. @returns whether they came */
  async #fill(bytes: number): Promise<boolean> {
    if (this.#rest.length >= bytes) return true;
    const parts = [this.#rest];
    let length = this.#rest.length;
    while (length < bytes) {
      const { done, value } = await (this.#first ?? this.#read());
      this.#first = null;
      if (done || !value) return false;
      parts.push(value as Uint8Array<ArrayBuffer>);
      length += value.length;
    }
    this.#rest = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      this.#rest.set(part, at);
      at += part.length;
    }
    return true;
  }
}

function malformed(): EdgeT5Error {
  return new EdgeT5Error("E_INPUT", "The Workers of a chain do not understand each other. Deploy all of one version.");
}

/**
 * Serves a part of a decoder to what comes after it, for one request. Its sequences are closed when the stream ends,
 * however it ends.
 *
 * @param ended awaited when all is over
 * @param adapterOf acquires an adapter, by its key, from the part's own engine
 */
export function serveLayers(
  decoder: Decoder,
  asks: ReadableStream<Uint8Array>,
  toError: (error: unknown) => EdgeT5Error,
  ended: () => Promise<void> = async () => {},
  adapterOf: AdapterOf = refuseAdapter,
): ReadableStream<Uint8Array> {
  const reader = new FrameReader(asks);
  const sequences: Sequence[] = [];
  let isOver = false;
  const end = async () => {
    if (isOver) return;
    isOver = true;
    for (const sequence of sequences) decoder.close(sequence);
    await ended();
  };
  /** Does what is asked, up to the first answer. @returns null at the end */
  const answer = async (): Promise<Uint8Array | null> => {
    for (;;) {
      const frame = await reader.next();
      if (!frame) return null;
      const parsed = askSchema.safeParse(frame.head);
      if (!parsed.success) throw malformed();
      const reply = await perform(decoder, sequences, parsed.data, frame.payload, adapterOf);
      if (reply) return reply;
    }
  };
  let isGreeted = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const reply = isGreeted ? await answer() : encodeFrame({ rooms: decoder.rooms });
          isGreeted = true;
          if (reply) return controller.enqueue(reply);
        } catch (error) {
          if (isOver) return;
          controller.enqueue(encodeFrame(errorBody(toError(error))));
        }
        if (isOver) return;
        await end();
        controller.close();
      },
      async cancel() {
        await end();
        await reader.cancel();
      },
    },
    { highWaterMark: 0 },
  );
}

export type AdapterOf = (key: string) => Promise<HeldAdapter>;

const refuseAdapter: AdapterOf = async (key) => {
  throw new EdgeT5Error(
    "E_ADAPTER",
    `These layers take no adapters, such as ${key}. Deploy all Workers of one version.`,
  );
};

/** @returns the answer's frame, null where none is waited for */
async function perform(
  decoder: Decoder,
  sequences: Sequence[],
  ask: Ask,
  payload: Float32Array,
  adapterOf: AdapterOf,
): Promise<Uint8Array | null> {
  const named = (all: readonly number[]) =>
    all.map((number) => {
      const sequence = sequences[number];
      if (!sequence) throw malformed();
      return sequence;
    });
  switch (ask.ask) {
    case "open": {
      const { dModel } = decoder.config;
      const adapters = new Map<string, HeldAdapter>();
      try {
        let first = 0;
        const inputs: DecoderInput[] = [];
        for (const { tokens, maxNewTokens, copies, adapter: key, owner } of ask.inputs) {
          const hidden = payload.subarray(first * dModel, (first + tokens) * dModel);
          first += tokens;
          if (key !== undefined && !adapters.has(key)) adapters.set(key, await adapterOf(key));
          inputs.push({ hidden, maxNewTokens, copies, adapter: adapters.get(key ?? ""), owner });
        }
        if (payload.length !== first * dModel) throw malformed();
        sequences.push(...(await decoder.openAll(inputs)));
        return encodeFrame({ opened: sequences.length });
      } finally {
        // The sequences hold what they are decoded with.
        for (const adapter of adapters.values()) adapter.release();
      }
    }
    case "step": {
      const { hidden } = await decoder.step(named(ask.sequences), ask.tokens);
      if (!hidden) throw malformed();
      return encodeFrame({}, [hidden]);
    }
    case "rewind":
      for (const sequence of named([ask.sequence])) decoder.rewind(sequence, ask.tokens);
      return null;
    case "reorder":
      decoder.reorder(named(ask.sequences), ask.parents);
      return null;
    case "close":
      for (const sequence of named([ask.sequence])) decoder.close(sequence);
      return null;
  }
}

/** The layers before, over a stream; {@link end} it when the request is over. */
export class RemoteLayers implements LayersBefore {
  readonly rooms: readonly Room[];
  readonly #dModel: number;
  readonly #reader: FrameReader;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  private constructor(
    rooms: readonly Room[],
    dModel: number,
    reader: FrameReader,
    writer: WritableStreamDefaultWriter<Uint8Array>,
  ) {
    this.rooms = rooms;
    this.#dModel = dModel;
    this.#reader = reader;
    this.#writer = writer;
  }

  /**
   * @param call makes the request: what is written goes with its body, its answer's body is what comes back
   * @throws EdgeT5Error what `call` throws; `E_DECODER_LOST` when there is no answer
   */
  static async connect(
    dModel: number,
    call: (asks: ReadableStream<Uint8Array>) => Promise<ReadableStream<Uint8Array>>,
  ): Promise<RemoteLayers> {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const reader = new FrameReader(await call(readable));
    const { head } = await answerOf(reader);
    const { rooms } = head as { rooms: Room[] };
    return new RemoteLayers(rooms, dModel, reader, writable.getWriter());
  }

  async open(inputs: readonly DecoderInput[]): Promise<void> {
    const sizes = inputs.map(({ hidden, maxNewTokens, copies = 1, adapter, owner }) => ({
      tokens: hidden.length / this.#dModel,
      maxNewTokens,
      copies,
      ...(adapter && { adapter: adapter.id }),
      owner,
    }));
    this.#ask(
      { ask: "open", inputs: sizes },
      inputs.map(({ hidden }) => hidden),
    );
    await answerOf(this.#reader);
  }

  async step(sequences: readonly number[], tokens: ArrayLike<number>): Promise<Float32Array> {
    this.#ask({ ask: "step", sequences: [...sequences], tokens: Array.from(tokens) });
    const { payload } = await answerOf(this.#reader);
    return payload;
  }

  rewind(sequence: number, tokens: number): void {
    this.#ask({ ask: "rewind", sequence, tokens });
  }

  reorder(sequences: readonly number[], parents: readonly number[]): void {
    this.#ask({ ask: "reorder", sequences: [...sequences], parents: [...parents] });
  }

  close(sequence: number): void {
    this.#ask({ ask: "close", sequence });
  }

  /** Lets the layers before go: their sequences are closed. */
  async end(): Promise<void> {
    // Not waited for: nobody may read any more.
    this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
  }

  #ask(ask: Ask, payload?: readonly Float32Array[]): void {
    // A stream that broke is noticed where its answer is read.
    this.#write(encodeFrame(ask, payload)).catch(() => {});
  }

  /** Node's writer throws at once, rather than by its promise, when its stream broke. */
  async #write(frame: Uint8Array): Promise<void> {
    await this.#writer.write(frame);
  }
}

/** @throws EdgeT5Error what was thrown there; `E_DECODER_LOST` when the stream ended */
async function answerOf(reader: FrameReader): Promise<Frame> {
  const frame = await reader.next().catch(() => null);
  if (!frame) {
    throw new EdgeT5Error("E_DECODER_LOST", "A Worker of the decoder's chain went away. Try again.");
  }
  const error = parseErrorBody(frame.head);
  if (error) throw error;
  return frame;
}
