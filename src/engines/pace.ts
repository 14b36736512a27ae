/**
 * How long one request's work holds the thread before it gives way for a turn of the event loop. The thread is shared by
 * more than an isolate: encoder, decoder and gateway of one deployment run on it in turn.
 */
import type { Owners } from "./owners.ts";

/**
 * Multiply-adds of a matrix product, 25 ms' worth: an isolate that nobody else has asked for lately is deaf for so long. A
 * turn is then about 4% of the work.
 */
const ALONE = 1.6e9;
/** Of who has had less than the others lately: 10 ms' worth. */
const BEHIND = 600e6;
/** Of a crowd, and of who has had more: 2 ms' worth, about as long as a token step of another takes. */
const AHEAD = 80e6;

/** Owners that were here so lately are expected back. */
const LATELY_MS = 5_000;

/**
 * Turns of the event loop between two slices of a crowd. Beside it a stream takes a turn a token, and waits for a slice with
 * every sixth: four were measured to make it 1.7 times as long. Where nobody else computes, a turn is 1.1 ms.
 */
export const CROWD_TURNS = 6;

/** Multiply-adds between two turns, for the owner. */
export function sliceOf(owners: Owners, owner: string): number {
  const others = owners.others(owner, LATELY_MS);
  if (others.length === 0) return ALONE;
  if (owners.isCrowd(owner)) return AHEAD;
  const own = owners.servedTo(owner);
  return others.every((other) => owners.servedTo(other) >= own) ? BEHIND : AHEAD;
}
