/** Object storage behind one small interface. Keys are relative to the store's root: `manifest.json`, `blobs/<sha256>`. */

export interface Store {
  /** Where it is, for error messages: a path or `r2://bucket/prefix`. */
  readonly description: string;
  /** The object's bytes as a stream, or null when there is none. */
  get(key: string): Promise<ReadableStream<Uint8Array> | null>;
}

/** A store that can be written: `put` is atomic (a reader sees the old object or the new one, whole). */
export interface WritableStore extends Store {
  put(key: string, body: Uint8Array | ReadableStream<Uint8Array>): Promise<void>;
}

/** A small object as text, or null when there is none. */
export async function readText(store: Store, key: string): Promise<string | null> {
  const stream = await store.get(key);
  return stream === null ? null : new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>).text();
}
