/** The page's reader of server-sent events. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { eventData } from "../../functions/console/events.ts";

/** `bytes` as a network brings them: `sizes` are those of the pieces, over and over. */
function bodyOf(bytes: Uint8Array<ArrayBuffer>, sizes: readonly number[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  let i = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      const size = sizes[i++ % sizes.length] ?? 1;
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}

async function readAll(body: ReadableStream<BufferSource>): Promise<string[]> {
  const all: string[] = [];
  for await (const data of eventData(body)) all.push(data);
  return all;
}

const encode = (text: string) => new TextEncoder().encode(text);

test("every event's data, wherever the bytes are cut", async () => {
  const data = fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/.test(text));
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.array(data), sizes, fc.constantFrom("\n", "\r\n"), async (all, sizes, end) => {
      const bytes = encode(all.map((text) => `data: ${text}${end}${end}`).join(""));
      expect(await readAll(bodyOf(bytes, sizes))).toEqual(all);
    }),
  );
});

test("lines of one event, other fields and comments, an event that is cut", async () => {
  const bytes = encode(": hello\n\nevent: x\nid: 1\ndata: a\ndata:b\n\ndata: cut");
  expect(await readAll(bodyOf(bytes, [3]))).toEqual(["a\nb"]);
});

test("who leaves early cancels the body", async () => {
  let isCancelled = false;
  const body = new ReadableStream<BufferSource>({
    pull: (controller) => controller.enqueue(encode("data: again\n\n")),
    cancel() {
      isCancelled = true;
    },
  });
  for await (const data of eventData(body)) {
    expect(data).toBe("again");
    break;
  }
  expect(isCancelled).toBe(true);
});
