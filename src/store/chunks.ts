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
      // Full ones, where the runtime can: storage that gives little at a time costs a turn of the event loop each.
      const { done, value } = await reader.read(new Uint8Array(buffer), { min: CHUNK_BYTES });
      ended = done;
      if (value && value.length > 0) yield value;
      if (done || !value) return;
      buffer = value.buffer;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => {});
    reader.releaseLock();
  }
}

/** A reader as the Streams standard has it by now; type libraries lag behind. */
interface ByteReader {
  /** @param options with at least so many bytes before the end */
  read(
    view: Uint8Array<ArrayBuffer>,
    options: { min: number },
  ): Promise<{ done: boolean; value: Uint8Array<ArrayBuffer> | undefined }>;
  cancel(): Promise<void>;
  releaseLock(): void;
}

/** Null for a stream that is not one of bytes. */
function byteReader(stream: ReadableStream<Uint8Array>): ByteReader | null {
  try {
    return stream.getReader({ mode: "byob" }) as unknown as ByteReader;
  } catch {
    return null;
  }
}
