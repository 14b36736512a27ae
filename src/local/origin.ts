/** The origin beside the Workers on this machine: a process of its own, started again when it ends by itself. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Not in a hurry: what ends at once ends again. */
const REST_MS = 1_000;

export interface OriginProcess {
  gateway: string;
  secret: string;
  port: number;
  /** Folder for its copies of models. */
  cache: string;
  /** The Workers: the origin ends with them. */
  child: ChildProcess;
  signal: AbortSignal;
}

/** What it does is told on stderr alone, and only what goes wrong. */
export function runOrigin({ gateway, secret, port, cache, child, signal }: OriginProcess): void {
  const over = new AbortController();
  const end = () => over.abort();
  child.once("exit", end);
  signal.addEventListener("abort", end, { once: true });
  const args = [process.argv[1] ?? "", "origin", "--gateway", gateway, "--port", String(port), "--cache", cache];
  const run = async () => {
    while (!over.signal.aborted) {
      const origin = spawn(process.execPath, args, {
        // By the channel it sees when this process is gone, however it went.
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        // By the environment: arguments are seen by all.
        env: { ...process.env, ORIGIN_SECRET: secret },
      });
      const stop = () => void origin.kill("SIGTERM");
      over.signal.addEventListener("abort", stop, { once: true });
      await once(origin, "exit");
      over.signal.removeEventListener("abort", stop);
      if (over.signal.aborted) return;
      console.error("The origin ended by itself; it is started again.");
      await delay(REST_MS);
    }
  };
  run().catch((error: Error) => console.error(`The origin could not be started: ${error.message}`));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("There is no free port.");
  return address.port;
}
