/** Reads a stream in chunks through one buffer that is used again and again, where the stream allows it. */

/** Large enough that a chunk's cost is its bytes; small beside what is loaded. */
const CHUNK_BYTES = 1 << 18;

/** The chunks of a stream, in order. A chunk holds until the next one is asked for. */
export async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = byteReader(stream);
  if (!reader) {
    yield* stream;
    return;
  }
  let ended = false;
  try {
    let buffer = new ArrayBuffer(CHUNK_BYTES);
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      ended = done;
      if (done) return;
      yield value;
      buffer = value.buffer;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

/** Null for a stream that is not one of bytes. */
function byteReader(stream: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return stream.getReader({ mode: "byob" });
  } catch {
    return null;
  }
}
