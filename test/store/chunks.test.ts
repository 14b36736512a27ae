/** Streams in chunks, whatever pieces they come in. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { chunksOf } from "../../src/store/chunks.ts";
import { MemoryStore } from "../../src/store/memory.ts";

async function collect(stream: ReadableStream<Uint8Array>): Promise<{ bytes: Uint8Array; chunks: number }> {
  const parts: Uint8Array[] = [];
  // A chunk holds until the next one is asked for.
  for await (const chunk of chunksOf(stream)) parts.push(chunk.slice());
  return { bytes: Buffer.concat(parts), chunks: parts.length };
}

/** A stream of bytes that gives pieces of these lengths. */
function inPieces(
  bytes: Uint8Array,
  lengths: readonly number[],
  type: "bytes" | undefined,
): ReadableStream<Uint8Array> {
  let at = 0;
  let turn = 0;
  return new ReadableStream<Uint8Array>({
    type: type as undefined,
    pull(controller) {
      if (at === bytes.length) {
        controller.close();
        // A reader with a buffer of its own is told in it.
        if (controller instanceof ReadableByteStreamController) controller.byobRequest?.respond(0);
        return;
      }
      const end = Math.min(bytes.length, at + (lengths[turn++ % lengths.length] ?? 1));
      controller.enqueue(bytes.slice(at, end));
      at = end;
    },
  });
}

test("the bytes are the stream's, in order, whatever its pieces; of a byte stream in full chunks", async () => {
  const length = fc.integer({ min: 0, max: 600_000 });
  const lengths = fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(length, lengths, fc.constantFrom("bytes" as const, undefined), async (length, lengths, type) => {
      const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
      const read = await collect(inPieces(bytes, [...lengths, 4096], type));
      expect(Buffer.compare(read.bytes, bytes)).toBe(0);
      if (type === "bytes") expect(read.chunks).toBe(Math.ceil(length / 2 ** 18));
    }),
    { numRuns: 30 },
  );
});

test("an object in memory is read in chunks, and what a reader does to them does not reach it", async () => {
  const store = new MemoryStore();
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i);
  await store.put("key", bytes);
  for await (const chunk of chunksOf((await store.get("key"))!)) chunk.fill(0);
  const { bytes: again, chunks } = await collect((await store.get("key"))!);
  expect(Buffer.compare(again, bytes)).toBe(0);
  expect(chunks).toBe(2);
  await store.put("empty", new Uint8Array());
  expect((await collect((await store.get("empty"))!)).bytes).toHaveLength(0);
  expect(await new Response((await store.get("key")) as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer()).toEqual(
    bytes.buffer,
  );
});
