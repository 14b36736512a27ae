/** Runs a deployment's Workers under one `wrangler dev`, on their local R2. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { EdgeT5Error } from "../errors.ts";

export interface ServeOptions {
  /** The kit's folder, with wrangler.toml and functions/. */
  root: string;
  port: number;
  host: string;
  /** The Workers' configuration files, the public one's first. */
  configs: readonly string[];
  /** Wrangler's folder for local state. */
  state: string;
  /** A folder for wrangler's register of Workers: the one that all its servers share binds Workers of other servers. */
  registry: string;
  signal: AbortSignal;
}

/** Bundling and starting three Workers takes 2 to 5 seconds; a loaded machine gets time. */
const PATIENCE_MS = 60_000;
const POLL_MS = 100;

/**
 * Starts the Workers and waits until they answer.
 *
 * @returns the running process
 * @throws EdgeT5Error `E_IO` when the Workers do not come up
 */
export async function serve(options: ServeOptions): Promise<ChildProcess> {
  const { root, configs, port, host, state, registry, signal } = options;
  const wrangler = join(dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin/wrangler.js");
  const args = [
    wrangler,
    "dev",
    ...configs.flatMap((config) => ["-c", config]),
    ...["--port", String(port), "--ip", host, "--inspector-port", "0", "--persist-to", state],
    ...["--show-interactive-dev-session=false", "--log-level", "warn"],
  ];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    // Neither question needs an answer on this machine, and without a network each costs a warning. Wrangler's record of
    // every request costs each of them some milliseconds; the kit has its own traces and metrics.
    env: {
      X_LOCAL_OBSERVABILITY: "false",
      ...process.env,
      WRANGLER_SEND_METRICS: "false",
      CLOUDFLARE_CF_FETCH_ENABLED: "false",
      WRANGLER_REGISTRY_PATH: registry,
    },
  });
  const stop = () => void child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  const exited = once(child, "exit");
  const address = `http://${host}:${port}/healthz`;
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    signal.throwIfAborted();
    if (child.exitCode !== null || child.signalCode !== null) break;
    const answer = await fetch(address).catch(() => null);
    await answer?.body?.cancel();
    if (answer?.ok) return child;
    await delay(POLL_MS);
  }
  stop();
  await exited;
  throw new EdgeT5Error("E_IO", "The Workers did not start; wrangler's messages above say why.");
}

/**
 * A clear word before anything is written, and before wrangler takes another port or fails in its own words.
 *
 * @throws EdgeT5Error `E_IO` when the port cannot be listened on
 */
export async function checkPort(port: number, host: string): Promise<void> {
  const probe = createServer();
  probe.listen(port, host);
  try {
    await once(probe, "listening");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "is in use" : `cannot be opened (${code})`;
    throw new EdgeT5Error("E_IO", `Port ${port} on ${host} ${why}. Choose another: PORT=9000 npm start.`, { cause });
  }
  probe.close();
  await once(probe, "close");
}
