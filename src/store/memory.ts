/** A store in memory: for tests and for packages that are made and used within one process. */
import type { WritableStore } from "./store.ts";

export class MemoryStore implements WritableStore {
  readonly description: string;
  readonly #objects = new Map<string, Uint8Array>();

  constructor(description = "memory") {
    this.description = description;
  }

  get(key: string): Promise<ReadableStream<Uint8Array> | null> {
    const bytes = this.#objects.get(key);
    if (bytes === undefined) return Promise.resolve(null);
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        // A copy: what a reader does to its chunk must not reach the stored object.
        controller.enqueue(bytes.slice());
        controller.close();
      },
    });
    return Promise.resolve(stream);
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
