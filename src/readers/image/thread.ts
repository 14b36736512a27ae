/**
 * In Node: OCR on a thread of its own, so that the caller's stays free; and what takes too long, or is given up, ends in the
 * middle of a page with its thread.
 */
import { Worker } from "node:worker_threads";
import { EdgeT5Error, type ErrorCode } from "../../errors.ts";
import type { Ocr, OcrPage, OcrRequest } from "./ocr.ts";

export interface OcrThreadOptions {
  /** Default: as at the edge. */
  readonly memoryBytes?: number;
  /** Most that one image may take. Default: {@link MAX_SECONDS}. */
  readonly maxSeconds?: number;
}

/** A dense page takes some seconds. */
export const MAX_SECONDS = 300;

/** To the thread. */
export interface OcrThreadRequest {
  readonly bytes: Uint8Array;
  readonly request: Omit<OcrRequest, "signal">;
}

/** From the thread: what it holds, and how the request ended. */
export interface OcrThreadAnswer {
  readonly heldBytes: number;
  readonly pages?: OcrPage[];
  readonly error?: { readonly code: ErrorCode | undefined; readonly message: string };
}

/** One thread, one image at a time, in the order in which they come. It starts with the first. */
export function createOcrThread(options: OcrThreadOptions = {}): Ocr {
  return new OcrThread(options);
}

/** The image that the thread reads. */
interface Job {
  end(answer: OcrThreadAnswer): void;
  fail(error: unknown): void;
}

class OcrThread implements Ocr {
  bytes = 0;
  readonly #options: OcrThreadOptions;
  #worker: Worker | null = null;
  #job: Job | null = null;
  /** Settles when the thread is free; never fails. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: OcrThreadOptions) {
    this.#options = options;
  }

  recognize(bytes: Uint8Array, { signal, ...request }: OcrRequest): Promise<OcrPage[]> {
    const mine = this.#last.then(() => {
      signal?.throwIfAborted();
      return this.#ask({ bytes, request }, signal);
    });
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  release(): void {
    const worker = this.#worker;
    this.#worker = null;
    this.bytes = 0;
    void worker?.terminate();
    this.#job?.fail(new EdgeT5Error("E_GIVEN_UP", "The reader of images was released."));
  }

  #ask(message: OcrThreadRequest, signal: AbortSignal | undefined): Promise<OcrPage[]> {
    const { maxSeconds = MAX_SECONDS } = this.#options;
    this.#worker ??= this.#start();
    const worker = this.#worker;
    return new Promise<OcrPage[]>((resolve, reject) => {
      const onAbort = () => this.#stop(signal?.reason);
      const timer = setTimeout(() => this.#stop(tooSlow(maxSeconds)), maxSeconds * 1000);
      const settle = () => {
        this.#job = null;
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        // An idle thread keeps no process alive.
        worker.unref();
      };
      this.#job = {
        end: ({ pages, error, heldBytes }) => {
          settle();
          this.bytes = heldBytes;
          if (pages) resolve(pages);
          else reject(revive(error));
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      worker.ref();
      worker.postMessage(message);
    });
  }

  /** In the middle of something: the next image gets a new thread. */
  #stop(error: unknown): void {
    this.#job?.fail(error);
    this.release();
  }

  #start(): Worker {
    // Beside this file in a checkout and in an installed package, where both are JavaScript.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const { memoryBytes } = this.#options;
    const worker = new Worker(new URL(`./thread-worker.${extension}`, import.meta.url), {
      workerData: { memoryBytes },
    });
    const isMine = () => worker === this.#worker;
    worker.on("message", (answer: OcrThreadAnswer) => isMine() && this.#job?.end(answer));
    worker.on("error", (error) => isMine() && this.#stop(error));
    worker.on("exit", () => {
      if (isMine()) this.#stop(new EdgeT5Error("E_INTERNAL", "The thread that reads images ended."));
    });
    return worker;
  }
}

function tooSlow(seconds: number): EdgeT5Error {
  return new EdgeT5Error(
    "E_TOO_LARGE",
    `The image took longer than ${seconds} seconds to read (maxSeconds). Send it in parts, or with fewer pixels.`,
  );
}

function revive(error: OcrThreadAnswer["error"]): Error {
  const message = error?.message ?? "The thread that reads images gave no answer.";
  return error?.code === undefined ? new Error(message) : new EdgeT5Error(error.code, message);
}
