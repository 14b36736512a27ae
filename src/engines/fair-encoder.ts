/**
 * One encoder for all requests of an isolate. An encode gives way now and then, for a turn of the event loop; where another
 * owner waits who has had less, that one's is made first.
 *
 * workerd ties timers to the request that made them, and a request may end at any point without a word. So who waits looks
 * on a timer of its own whether the one at work is still there.
 */

import { eventLoopTurn } from "../event-loop.ts";
import type { EncodeControl, Encoder, HeldAdapter } from "../t5/engine.ts";
import type { Owners } from "./owners.ts";
import { CROWD_TURNS, sliceOf } from "./pace.ts";

/** How often a waiter looks by itself. */
const LOOK_MS = 250;
/** Who is at work and has not gone on for so long is gone. */
const GONE_MS = 2_000;

/** An encode that has begun or waits. */
interface Encode {
  owner: string;
  /** When it last went on; milliseconds since 1970. */
  touched: number;
  /** Lets it go on; null while it does not wait. */
  wake: (() => void) | null;
  /** It is in work no more. */
  end: () => void;
}

export class FairEncoder implements Encoder {
  readonly #own: Encoder;
  readonly #owners: Owners;
  readonly #turn: () => Promise<void>;
  #atWork: Encode | null = null;
  /** In order of arrival. */
  readonly #waiting: Encode[] = [];
  /** Multiply-adds since the event loop's last turn. */
  #work = 0;

  /** @param turn of the event loop, in the request that calls {@link encode} */
  constructor(own: Encoder, owners: Owners, turn: () => Promise<void> = eventLoopTurn) {
    this.#own = own;
    this.#owners = owners;
    this.#turn = turn;
  }

  get config() {
    return this.#own.config;
  }
  get isFirst() {
    return this.#own.isFirst;
  }
  get maxInputTokens() {
    return this.#own.maxInputTokens;
  }

  async encode(
    ids: ArrayLike<number>,
    before?: Float32Array,
    adapter?: HeldAdapter,
    { owner = "", signal }: EncodeControl = {},
  ): Promise<Float32Array> {
    signal?.throwIfAborted();
    const encode: Encode = { owner, touched: Date.now(), wake: null, end: this.#owners.begin(owner) };
    const onAbort = () => this.#leave(encode);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      if (!this.#atWork) this.#atWork = encode;
      else if (this.#isBehind(encode, this.#atWork)) this.#overtake(encode);
      else await this.#wait(encode, signal);
      return await this.#own.encode(ids, before, adapter, {
        pause: (multiplyAdds) => {
          this.#owners.serve(owner, multiplyAdds);
          this.#work += multiplyAdds;
          return this.#work < sliceOf(this.#owners, owner) ? null : this.#giveWay(encode, signal);
        },
      });
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#leave(encode);
    }
  }

  /** Who is at work waits for a turn now, or this request would not run. It goes on before others of its owner. */
  #overtake(encode: Encode): void {
    if (this.#atWork) this.#waiting.unshift(this.#atWork);
    this.#atWork = encode;
  }

  async #giveWay(encode: Encode, signal: AbortSignal | undefined): Promise<void> {
    for (let turns = this.#owners.isCrowd(encode.owner) ? CROWD_TURNS : 1; turns > 0; turns--) {
      await this.#turn();
      this.#work = 0;
      signal?.throwIfAborted();
      encode.touched = Date.now();
      if (this.#atWork !== encode) break;
    }
    const next = this.#next();
    if (this.#atWork === encode && next && this.#isBehind(next, encode)) {
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#overtake(next);
      this.#wake(next);
    }
    if (this.#atWork !== encode) await this.#wait(encode, signal);
  }

  /** Until it is this one's turn. */
  async #wait(encode: Encode, signal: AbortSignal | undefined): Promise<void> {
    let timer: ReturnType<typeof setInterval> | undefined;
    let onAbort = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      encode.wake = resolve;
      if (!this.#waiting.includes(encode)) this.#waiting.push(encode);
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      timer = setInterval(() => {
        if (!this.#atWork || Date.now() - this.#atWork.touched > GONE_MS) this.#giveNext();
      }, LOOK_MS);
    });
    try {
      await turn;
    } finally {
      clearInterval(timer);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #leave(encode: Encode): void {
    encode.end();
    const index = this.#waiting.indexOf(encode);
    if (index >= 0) this.#waiting.splice(index, 1);
    encode.wake = null;
    if (this.#atWork === encode) this.#giveNext();
  }

  #giveNext(): void {
    // Also of one that is gone.
    this.#atWork?.end();
    this.#atWork = null;
    const next = this.#next();
    if (next) this.#give(next);
  }

  #give(next: Encode): void {
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    this.#atWork = next;
    this.#wake(next);
  }

  /** One that is in a turn of its own finds out by itself. */
  #wake(next: Encode): void {
    next.touched = Date.now();
    next.wake?.();
    next.wake = null;
  }

  /** Whose owner has had least; the first of these. */
  #next(): Encode | undefined {
    let [best] = this.#waiting;
    for (const encode of this.#waiting) if (best && this.#isBehind(encode, best)) best = encode;
    return best;
  }

  #isBehind(encode: Encode, other: Encode): boolean {
    return encode.owner !== other.owner && this.#owners.servedTo(encode.owner) < this.#owners.servedTo(other.owner);
  }
}
