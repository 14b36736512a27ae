/** A learner on a thread of its own. */
import { Worker } from "node:worker_threads";
import { EdgeT5Error, type ErrorCode } from "../errors.ts";
import type { Host } from "./host.ts";

type Methods = { [K in keyof Host]: Host[K] };
type Argument<K extends keyof Methods> = Parameters<Methods[K]>[0];
type Result<K extends keyof Methods> = Awaited<ReturnType<Methods[K]>>;

interface Waiting {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class RemoteHost {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #requests = 0;

  constructor() {
    // Beside this file in a checkout and in an installed package, where both are JavaScript.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    this.#worker = new Worker(new URL(`./worker.${extension}`, import.meta.url));
    this.#worker.on("message", ({ id, result, error }: { id: number; result: unknown; error?: RemoteError }) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(revive(error));
      else waiting?.resolve(result);
    });
    this.#worker.on("error", (error) => this.#failAll(error));
    this.#worker.on("exit", () => this.#failAll(new EdgeT5Error("E_INTERNAL", "The training thread ended.")));
  }

  call<K extends keyof Methods>(method: K, argument?: Argument<K>): Promise<Result<K>> {
    const id = this.#requests++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.#worker.postMessage({ id, method, argument });
    });
  }

  async close(): Promise<void> {
    await this.call("close").catch(() => undefined);
    await this.#worker.terminate();
  }

  #failAll(cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

interface RemoteError {
  code: ErrorCode | undefined;
  message: string;
}

function revive({ code, message }: RemoteError): Error {
  return code === undefined ? new Error(message) : new EdgeT5Error(code, message);
}
