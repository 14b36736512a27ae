/** One model's halves, shared by rows that are answered side by side: what all of them decode goes through it in one batch. */
import { setImmediate as turn } from "node:timers/promises";
import type { Halves } from "../../api/answers.ts";
import { type DecodeOptions, generationInputOf } from "../../api/token-stream.ts";
import type { Engine, HeldAdapter } from "../../t5/engine.ts";
import { type GenerationInput, generate, type TokenEvent } from "../../t5/generate.ts";
import { scoreLabels } from "../../t5/generation/labels.ts";

/** Where signals, heartbeats and requests are seen. */
const MS_A_TURN = 10;

export interface Encoded {
  ids: readonly number[];
  hidden: Float32Array;
}

interface Request {
  inputs: GenerationInput[];
  /** Sequences that come of them. */
  sequences: number;
  events: Channel<TokenEvent>;
}

export class SharedDecoding {
  readonly #engine: Engine;
  readonly #signal: AbortSignal;
  /** Rows that have not been answered. */
  #members: number;
  #waiting: Request[] = [];
  #lastTurn = performance.now();

  /** @param members rows that will each {@link leave} */
  constructor(engine: Engine, members: number, signal: AbortSignal) {
    this.#engine = engine;
    this.#members = members;
    this.#signal = signal;
  }

  halves(adapter: HeldAdapter | undefined): Halves<Encoded> {
    const { encoder, decoder } = this.#engine;
    return {
      encode: async (ids) => {
        await this.#breathe();
        return { ids, hidden: await encoder.encode(ids, undefined, adapter) };
      },
      decode: (inputs, options) => this.#decode(inputs, options, adapter),
      score: async ({ hidden }, labels, signal) => {
        await this.#breathe();
        return scoreLabels(decoder, { hidden, adapter }, labels, signal);
      },
    };
  }

  /** A row has its answer. */
  leave(): void {
    this.#members--;
    this.#runWhenAllWait();
  }

  #decode(
    inputs: readonly Encoded[],
    options: Omit<DecodeOptions, "adapter" | "owner">,
    adapter: HeldAdapter | undefined,
  ): AsyncIterable<TokenEvent> {
    const request: Request = {
      inputs: inputs.map((input, i) => ({ ...generationInputOf(input, i, options), adapter })),
      sequences: inputs.length * Math.max(options.copies, options.params.num_return_sequences),
      events: new Channel(),
    };
    this.#waiting.push(request);
    this.#runWhenAllWait();
    return request.events;
  }

  #runWhenAllWait(): void {
    if (this.#waiting.length === 0 || this.#waiting.length < this.#members) return;
    const requests = this.#waiting;
    this.#waiting = [];
    this.#run(requests).catch((error: unknown) => {
      for (const { events } of requests) events.fail(error);
    });
  }

  async #run(requests: readonly Request[]): Promise<void> {
    const owners = requests.flatMap((request) =>
      Array.from({ length: request.sequences }, (_, index) => ({ request, index })),
    );
    const inputs = requests.flatMap(({ inputs }) => inputs);
    for await (const event of generate(this.#engine.decoder, inputs, { signal: this.#signal })) {
      const owner = owners[event.index];
      owner?.request.events.push({ ...event, index: owner.index });
      // All came to a stop string, or to their end.
      if (requests.every(({ events }) => events.isLeft)) break;
      await this.#breathe();
    }
    for (const { events } of requests) events.end();
  }

  /** Lets others have the thread, from time to time. */
  async #breathe(): Promise<void> {
    if (performance.now() - this.#lastTurn < MS_A_TURN) return;
    await turn();
    this.#lastTurn = performance.now();
    this.#signal.throwIfAborted();
  }
}

/** Items for one reader, who may be slower, or leave. */
class Channel<T> implements AsyncIterable<T> {
  /** The reader wants no more. */
  isLeft = false;
  readonly #items: T[] = [];
  #ended: { error: unknown } | "well" | null = null;
  #wake: () => void = () => {};

  push(item: T): void {
    if (!this.isLeft) this.#items.push(item);
    this.#wake();
  }

  end(): void {
    this.#ended ??= "well";
    this.#wake();
  }

  fail(error: unknown): void {
    this.#ended ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) yield item;
        else if (this.#ended === "well") return;
        else if (this.#ended) throw this.#ended.error;
        else
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
      }
    } finally {
      this.isLeft = true;
    }
  }
}
