/** The thread that a learner lives on: a training step blocks it, and the caller's stays free. */
import { parentPort } from "node:worker_threads";
import { EdgeT5Error } from "../errors.ts";
import { Host } from "./host.ts";

const port = parentPort!;
const host = new Host();
/** One request after the other: a learner does one thing at a time. */
let last: Promise<unknown> = Promise.resolve();

port.on("message", ({ id, method, argument }: { id: number; method: keyof Host; argument: never }) => {
  last = last.then(async () => {
    try {
      port.postMessage({ id, result: await host[method](argument) });
    } catch (error) {
      // What crosses to another thread is copied: a code would be lost with its class.
      const { code } = error instanceof EdgeT5Error ? error : { code: undefined };
      port.postMessage({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
    }
  });
});
