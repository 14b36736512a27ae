/** V8's heap and buffers in workerd, asked over its inspector while something else runs. */

/** Longest wait for an answer: the isolate answers between two turns of its event loop. */
const PATIENCE_MS = 20_000;
const WAKE_MS = 100;

interface HeapUsage {
  usedSize: number;
  embedderHeapUsedSize?: number;
  backingStorageSize?: number;
}

export class HeapWatch {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, (result: unknown) => void>();
  #nextId = 1;
  #watching = false;
  #peak = 0;
  #loop: Promise<void> | null = null;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", (event) => {
      const { id, result } = JSON.parse(String(event.data)) as { id?: number; result?: unknown };
      if (id === undefined) return;
      this.#pending.get(id)?.(result);
      this.#pending.delete(id);
    });
  }

  static async connect(port: number): Promise<HeapWatch> {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as { webSocketDebuggerUrl: string }[];
    const url = targets[0]?.webSocketDebuggerUrl;
    if (!url) throw new Error("workerd's inspector names no target.");
    // Wrangler's inspector takes clients of this origin only.
    const options = { headers: { origin: "http://localhost" } };
    const socket = new WebSocket(url, options as unknown as string[]);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", reject, { once: true });
    });
    return new HeapWatch(socket);
  }

  /** Runs the garbage collector. @param wake sends the isolate a request: idle, it does not collect */
  async collect(wake: () => Promise<unknown>): Promise<void> {
    const timer = setInterval(() => wake().catch(() => {}), WAKE_MS);
    try {
      await this.#send("HeapProfiler.collectGarbage");
    } finally {
      clearInterval(timer);
    }
  }

  /** Bytes of heap and buffers in use. */
  async usage(): Promise<number> {
    const { usedSize, backingStorageSize = 0 } = (await this.#send("Runtime.getHeapUsage")) as HeapUsage;
    return usedSize + backingStorageSize;
  }

  /** Watches until {@link stop}, as often as the isolate answers. */
  start(): void {
    this.#watching = true;
    this.#peak = 0;
    this.#loop = (async () => {
      while (this.#watching) this.#peak = Math.max(this.#peak, await this.usage());
    })();
  }

  /** The highest usage seen. */
  async stop(): Promise<number> {
    this.#watching = false;
    await this.#loop;
    return this.#peak;
  }

  close(): void {
    this.#socket.close();
  }

  async #send(method: string): Promise<unknown> {
    const id = this.#nextId++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const answer = new Promise((resolve, reject) => {
      this.#pending.set(id, resolve);
      timer = setTimeout(() => reject(new Error(`workerd's inspector does not answer ${method}.`)), PATIENCE_MS);
      this.#socket.send(JSON.stringify({ id, method }));
    });
    return answer.finally(() => clearTimeout(timer));
  }
}
