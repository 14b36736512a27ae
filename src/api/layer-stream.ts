/**
 * Between the Workers of a chain: one call a request, a duplex stream of frames. What comes after asks for steps, what
 * comes before answers with hidden states.
 */
import * as z from "zod";
import type { LayersBefore } from "../engines/chained-decoder.ts";
import { EdgeT5Error } from "../errors.ts";
import type { Decoder, DecoderInput, HeldAdapter, Room, Sequence } from "../t5/engine.ts";
import { encodeFrame, type Frame, FrameReader, malformed } from "./frames.ts";
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
