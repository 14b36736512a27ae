/** The bench in workerd: `wrangler dev` over a local R2 that holds the package, timed from outside over HTTP. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { KernelName } from "../../src/kernels/index.ts";
import { freePort } from "../../src/local/origin.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { instantiateFloors } from "./floors.ts";
import { FLOORS_DIR } from "./floors-build.ts";
import { HeapWatch } from "./heap-watch.ts";
import { type Figures, measure } from "./measure.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const CONFIG = fileURLToPath(new URL("./workerd/wrangler.toml", import.meta.url));
const WRANGLER = fileURLToPath(new URL("../../node_modules/wrangler/bin/wrangler.js", import.meta.url));

/** Nothing measured here takes a tenth of this: who waits longer waits for a Worker that is gone. */
const PATIENCE_MS = 60_000;

export interface MemoryFigures {
  load_ms: number;
  wasm_mb: number;
  peak_load_mb: number;
  after_load_mb: number;
}

/** Measures the package in `dir` in workerd. @param state folder for the local R2's state */
export async function measureInWorkerd(
  dir: string,
  state: string,
  kernels: KernelName,
  rounds: number,
): Promise<MemoryFigures & Figures> {
  return inWorkerd(CONFIG, dir, state, async (url, inspectorPort) => {
    const memory = await measureLoad(url, inspectorPort, `kernels=${kernels}`);
    const manifest = await readManifest(new FolderStore(dir));
    const module = await WebAssembly.compile(
      new Uint8Array(await readFile(join(FLOORS_DIR, `floors-${kernels}.wasm`))),
    );
    const perTurn = instantiateFloors(module, new WebAssembly.Memory({ initial: 1 })).dotsPerTurn();
    const figures = await measure(
      async (operation) => {
        const from = performance.now();
        await get(`${url}/run?operation=${operation}`);
        return performance.now() - from;
      },
      manifest,
      kernels,
      perTurn,
      rounds,
    );
    return { ...memory, ...figures };
  });
}

/** Has the Worker load, and watches its memory meanwhile. */
export async function measureLoad(url: string, inspectorPort: number, query: string): Promise<MemoryFigures> {
  const heap = await HeapWatch.connect(inspectorPort);
  const before = await heap.usage();
  heap.start();
  const started = performance.now();
  const { wasmBytes } = await get<{ wasmBytes: number }>(`${url}/load?${query}`);
  const load_ms = performance.now() - started;
  const peak = await heap.stop();
  await heap.collect(() => get(`${url}/run?operation=nothing`));
  const after = await heap.usage();
  heap.close();
  // The backing store of the WASM memory is counted apart from V8's heap and the buffers.
  return {
    load_ms,
    wasm_mb: wasmBytes / 1e6,
    peak_load_mb: (wasmBytes + Math.max(0, peak - before)) / 1e6,
    after_load_mb: (wasmBytes + Math.max(0, after - before)) / 1e6,
  };
}

/** A Worker under a `wrangler dev` of its own. */
export interface RunningWorker {
  url: string;
  inspectorPort: number;
  stop(): Promise<void>;
}

/** `wrangler dev` ended before it answered. */
class EndedError extends Error {}

/** How often a Worker is started that ends before it answers: a port that was free may be taken by then. */
const STARTS = 3;

/** @param env more of the environment; @param state folder for local state */
export async function startWorker(config: string, state: string, env: NodeJS.ProcessEnv = {}): Promise<RunningWorker> {
  for (let start = 1; ; start++) {
    try {
      return await startOnce(config, state, env);
    } catch (error) {
      if (!(error instanceof EndedError) || start === STARTS) throw error;
      console.error(`${error.message} Starting it again.`);
    }
  }
}

async function startOnce(config: string, state: string, env: NodeJS.ProcessEnv): Promise<RunningWorker> {
  const [port, inspectorPort] = [await freePort(), await freePort()];
  const server = spawn(
    process.execPath,
    [
      ...[WRANGLER, "dev", "-c", config, "--port", String(port), "--inspector-port", String(inspectorPort)],
      ...["--persist-to", state, "--show-interactive-dev-session=false", "--log-level", "error"],
    ],
    {
      stdio: ["ignore", "ignore", "inherit"],
      // Wrangler's record of every request takes longer than three steps, on the processor that they are measured on.
      env: {
        ...process.env,
        X_LOCAL_OBSERVABILITY: "false",
        WRANGLER_SEND_METRICS: "false",
        CLOUDFLARE_CF_FETCH_ENABLED: "false",
        ...env,
      },
    },
  );
  const url = `http://127.0.0.1:${port}`;
  try {
    await waitFor(url, server);
  } catch (error) {
    await stop(server);
    throw error;
  }
  return { url, inspectorPort, stop: () => stop(server) };
}

/** Runs a Worker of the bench, with the package in `dir` in its R2. */
export async function inWorkerd<T>(
  config: string,
  dir: string,
  state: string,
  use: (url: string, inspectorPort: number) => Promise<T>,
): Promise<T> {
  await seedR2(dir, ROOT, state);
  const worker = await startWorker(config, state);
  try {
    return await use(worker.url, worker.inspectorPort);
  } finally {
    await worker.stop();
  }
}

export async function get<T>(url: string): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${url}: ${response.status} ${text}`);
  return JSON.parse(text) as T;
}

async function waitFor(url: string, server: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (server.exitCode !== null) throw new EndedError(`wrangler dev ended with ${server.exitCode}.`);
    const up = await fetch(`${url}/run?operation=nothing`).then(
      (response) => response.status < 500,
      () => false,
    );
    if (up) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("wrangler dev did not answer within a minute.");
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null) return;
  const ended = new Promise((resolve) => server.once("exit", resolve));
  server.kill("SIGINT");
  const killed = setTimeout(() => server.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(killed);
}
