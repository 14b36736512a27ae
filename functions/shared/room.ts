/**
 * The memory that an isolate's models share. Those that fit stay; else they take turns, so that requests for a model
 * wait until it has its turn, and none is refused while others are being served. A model keeps a turn as long as nobody
 * waits for its room; else new requests for it wait as soon as its turn is over, and it goes when the last of its
 * requests has been answered.
 *
 * workerd ties timers and promises to requests, and a request may end at any point without a word. So who waits polls on
 * a timer of its own, and what others know of it is when it last looked.
 */
import { EdgeT5Error } from "../../src/errors.ts";

/** Of one model, what the room has to know. */
export interface Tenant {
  /** Bytes that it holds; 0 when it is not here. */
  readonly bytes: number;
  readonly isLoading: boolean;
  /** Whether a request comes back to what it holds. */
  readonly isBusy: boolean;
  /** Gives its memory back. */
  release(): void;
  /** When it got its room, and when it was last asked for; milliseconds since 1970. The room's own. */
  began: number;
  asked: number;
}

/** While others wait, a model that is in use has at least this long: a load takes a fraction of it. */
export const TURN_MS = 2_000;
/** A model that was not asked for so long has ended its turn. */
const IDLE_MS = 100;
/** Longest wait for room. */
export const PATIENCE_MS = 30_000;
const LOOK_MS = 20;
/** Who has not looked for so long is gone. */
const GONE_MS = 1_000;

/** Room that may be there in a moment; not what never fits. */
export class NoRoomNow extends EdgeT5Error {
  constructor() {
    super("E_BUSY", "Other models are busy in this model's room. Try again in a moment.");
  }
}

export class Room<T extends Tenant> {
  /** Least recently asked for first. */
  readonly models = new Map<string, T>();
  readonly #create: () => T;
  /** Models that wait for room, and when one of their requests last looked. */
  readonly #waiting = new Map<string, number>();

  constructor(create: () => T) {
    this.#create = create;
  }

  /**
   * A request asks for a model, and waits while others wait for its room and it has had its turn.
   *
   * @throws NoRoomNow after waiting too long
   */
  async enter(name: string): Promise<T> {
    for (const started = Date.now(); this.#isClosedTo(name); ) {
      if (Date.now() - started > PATIENCE_MS) throw new NoRoomNow();
      await delay(LOOK_MS);
    }
    const model = this.models.get(name) ?? this.#create();
    model.asked = Date.now();
    this.models.delete(name);
    this.models.set(name, model);
    return model;
  }

  /**
   * Lets go of other models until `bytes` fit, those first that were not asked for longest; waits while they are busy.
   *
   * @param touch called at every look
   * @param signal leaves off when it is aborted; its reason is thrown
   * @throws NoRoomNow after waiting too long
   */
  async make(name: string, bytes: number, limit: number, touch: () => void, signal: AbortSignal): Promise<void> {
    for (const started = Date.now(); !this.#tryMake(name, bytes, limit); ) {
      if (Date.now() - started > PATIENCE_MS) throw new NoRoomNow();
      this.#waiting.set(name, Date.now());
      await delay(LOOK_MS);
      signal.throwIfAborted();
      touch();
    }
    this.#waiting.delete(name);
    const model = this.models.get(name);
    if (model) model.began = Date.now();
  }

  #isClosedTo(name: string): boolean {
    const model = this.models.get(name);
    if (!model || model.bytes === 0 || isWithin(TURN_MS, model.began, Date.now())) return false;
    return this.#someoneWaits(name);
  }

  #someoneWaits(besides: string): boolean {
    const now = Date.now();
    return [...this.#waiting].some(([name, looked]) => name !== besides && isWithin(GONE_MS, looked, now));
  }

  #tryMake(name: string, bytes: number, limit: number): boolean {
    const now = Date.now();
    const others = [...this.models].filter(([other, { bytes }]) => other !== name && bytes > 0);
    let held = others.reduce((sum, [, { bytes }]) => sum + bytes, 0);
    for (const [other, model] of others) {
      if (held + bytes <= limit) break;
      const hasTurn = isWithin(TURN_MS, model.began, now) && isWithin(IDLE_MS, model.asked, now);
      if (model.isLoading || model.isBusy || hasTurn) continue;
      held -= model.bytes;
      this.models.delete(other);
      model.release();
    }
    return held + bytes <= limit;
  }
}

/** A clock that was set back ends a turn, and does not prolong it. */
function isWithin(ms: number, since: number, now: number): boolean {
  return now >= since && now - since < ms;
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
