/** Rows of pixels out of deflated data, by the runtime's own decompressor: each is there only until the next is made. */

/**
 * @param parts of one zlib stream
 * @yields the same array each time
 * @throws what the decompressor throws for data that is none
 */
export async function* inflatedRows(
  parts: readonly Uint8Array[],
  rowBytes: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const row = new Uint8Array(rowBytes);
  let filled = 0;
  for await (const piece of inflated(parts)) {
    for (let at = 0; at < piece.length; ) {
      const taken = piece.subarray(at, at + rowBytes - filled);
      row.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled < rowBytes) break;
      yield row;
      filled = 0;
    }
  }
}

async function* inflated(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array, void, undefined> {
  let next = 0;
  const packed = new ReadableStream<BufferSource>({
    pull(controller) {
      const part = parts[next++];
      if (part) controller.enqueue(part as Uint8Array<ArrayBuffer>);
      else controller.close();
    },
  });
  const reader = packed.pipeThrough(new DecompressionStream("deflate")).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    // Whose rows are enough does not wait for the rest; what is wrong with that is nobody's concern.
    await reader.cancel().catch(() => {});
  }
}
