/** A store in memory: for tests and for packages that are made and used within one process. */
import type { WritableStore } from "./store.ts";

/** One read for a reader without a buffer of its own. */
const READ_BYTES = 1 << 18;

export class MemoryStore implements WritableStore {
  readonly description: string;
  readonly #objects = new Map<string, Uint8Array>();

  constructor(description = "memory") {
    this.description = description;
  }

  get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const bytes = this.#objects.get(key);
    if (bytes === undefined) return Promise.resolve(null);
    let at = 0;
    // A byte stream, as FolderStore's: a reader's buffer is filled with a copy of the next bytes, never of the whole object.
    const stream = new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: READ_BYTES,
      pull(controller) {
        const request = controller.byobRequest;
        const view = request?.view as Uint8Array;
        const end = Math.min(bytes.length, at + view.byteLength);
        if (end === at) controller.close();
        new Uint8Array(view.buffer, view.byteOffset).set(bytes.subarray(at, end));
        request?.respond(end - at);
        at = end;
      },
    });
    return Promise.resolve(stream as ReadableStream<Uint8Array>);
  }

  async put(key: string, body: Uint8Array | ReadableStream<Uint8Array>): Promise<void> {
    const bytes =
      body instanceof Uint8Array
        ? body.slice()
        : new Uint8Array(await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
    this.#objects.set(key, bytes);
  }

  delete(key: string): boolean {
    return this.#objects.delete(key);
  }
}
