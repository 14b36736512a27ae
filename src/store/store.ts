/** Object storage behind one small interface. Keys are relative to the store's root: `manifest.json`, `blobs/<sha256>`. */
import { chunksOf } from "./chunks.ts";

export interface Store {
  /** Where it is, for error messages: a path or `r2://bucket/prefix`. */
  readonly description: string;
  /** The object's bytes as a stream, or null when there is none. */
  get(key: string): Promise<ReadableStream<Uint8Array> | null>;
  /** Puts an object into memory that is there, where the store has a better way than its stream; null when there is none. */
  fill?(key: string, target: Uint8Array): Promise<Filling | null>;
}

/** An object on its way into memory. */
export interface Filling {
  /**
   * Lengths of what has arrived, one after the other from the target's start; in all more than the target's length when the
   * object is longer. When it is left early, nothing more is written once its `return` has settled.
   */
  arrivals: AsyncIterable<number>;
  /** The SHA-256 that the storage itself holds the object to, 64 lower-case hex digits; none where it holds it to none. */
  sha256?: string | undefined;
}

/** A store that can be written: `put` is atomic (a reader sees the old object or the new one, whole). */
export interface WritableStore extends Store {
  put(key: string, body: Uint8Array | ReadableStream<Uint8Array>): Promise<void>;
}

/** {@link Store.fill} of any store. */
export async function fill(store: Store, key: string, target: Uint8Array): Promise<Filling | null> {
  if (store.fill) return store.fill(key, target);
  const stream = await store.get(key);
  return stream && { arrivals: arrivalsOf(stream, target) };
}

/** Copies a stream into memory. @returns see {@link Filling} */
export async function* arrivalsOf(
  stream: ReadableStream<Uint8Array>,
  target: Uint8Array,
): AsyncGenerator<number, void> {
  let at = 0;
  for await (const chunk of chunksOf(stream)) {
    if (at < target.length) target.set(chunk.subarray(0, target.length - at), at);
    at += chunk.length;
    yield chunk.length;
  }
}

/** A small object as text, or null when there is none. */
export async function readText(store: Store, key: string): Promise<string | null> {
  const stream = await store.get(key);
  return stream === null ? null : new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).text();
}
