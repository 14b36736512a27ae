/**
 * `npm run bench:memory [-- --json] [--skip-workerd]`: what an isolate holds at its peak, WASM memory, JavaScript heap and
 * buffers together: T5-small's shape at int8, encoder and decoder in one isolate, under 4 streams of 512 + 128 tokens and
 * under 16 of 128 + 64. Over HTTP through the gateway in workerd; in Node with the library.
 *
 * Each Worker runs under a `wrangler dev` of its own, so that each isolate can be asked. It answers between two turns of its
 * event loop: what comes and goes within one is not seen.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { formatTable } from "../../src/cli/output.ts";
import { seedR2 } from "../../src/local/seed-r2.ts";
import { writeWorkers } from "../../src/local/workers.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { makeKey } from "../local-key.ts";
import { HeapWatch } from "./heap-watch.ts";
import { BENCH, makeBenchPackage, prepareGateway, ROOT } from "./package.ts";
import { promptOf } from "./prompt.ts";
import { type RunningWorker, startWorker } from "./workerd-run.ts";

/** Streams at once, tokens in, tokens out. */
export interface Load {
  streams: number;
  promptTokens: number;
  newTokens: number;
}

export const LOADS: readonly Load[] = [
  { streams: 4, promptTokens: 512, newTokens: 128 },
  { streams: 16, promptTokens: 128, newTokens: 64 },
];

/** Megabytes at the peak of one load. */
export interface Peak extends Load {
  wasm_mb: number;
  /** JavaScript's heap and buffers. */
  heap_mb: number;
  total_mb: number;
  /** The gateway's, in workerd. */
  gateway_mb: number;
}

/** Answers must not end early. */
const ENDLESS = { suppress_tokens: [1] };

/** @param dir the package; @param work folder for state */
export async function measureMemoryInWorkerd(dir: string, work: string): Promise<Peak[]> {
  const manifest = await readManifest(new FolderStore(dir));
  const { workers } = await writeWorkers(manifest, join(work, "workers"), {
    root: ROOT,
    engine: "simd",
    oneWorker: true,
    readers: "none",
  });
  const state = join(work, "state");
  await seedR2(dir, ROOT, state);
  await prepareGateway(workers, state);
  const peaks: Peak[] = [];
  for (const load of LOADS) {
    const running: RunningWorker[] = [];
    try {
      for (const { path } of workers) {
        running.push(await startWorker(path, state, { WRANGLER_REGISTRY_PATH: join(work, "registry") }));
      }
      const [model, gateway] = running as [RunningWorker, RunningWorker];
      const { key, adminToken } = await makeKey(gateway.url, state);
      peaks.push(await peakOf(load, model, gateway, { key, adminToken }));
    } finally {
      for (const worker of running) await worker.stop();
    }
  }
  return peaks;
}

/** The first request loads the model, the others join; then the same again, on what is loaded. */
async function peakOf(
  load: Load,
  model: RunningWorker,
  gateway: RunningWorker,
  { key, adminToken }: { key: string; adminToken: string },
): Promise<Peak> {
  const watches = await Promise.all([model, gateway].map(({ inspectorPort }) => HeapWatch.connect(inspectorPort)));
  for (const watch of watches) watch.start();
  for (let round = 0; round < 2; round++) {
    await Promise.all(Array.from({ length: load.streams }, () => stream(gateway.url, key, load)));
  }
  const [heap = 0, gatewayHeap = 0] = await Promise.all(watches.map((watch) => watch.stop()));
  for (const watch of watches) watch.close();
  const asAdmin = { headers: { authorization: `Bearer ${adminToken}` } };
  const health = (await (await fetch(`${gateway.url}/healthz`, asAdmin)).json()) as {
    decoder: { models: Record<string, { wasm_bytes: number }> };
  };
  const wasm = Object.values(health.decoder.models)[0]?.wasm_bytes ?? 0;
  return {
    ...load,
    wasm_mb: wasm / 1e6,
    heap_mb: heap / 1e6,
    total_mb: (wasm + heap) / 1e6,
    gateway_mb: gatewayHeap / 1e6,
  };
}

async function stream(url: string, key: string, { promptTokens, newTokens }: Load): Promise<void> {
  const body = { model: BENCH, prompt: promptOf(promptTokens), max_tokens: newTokens, stream: true, ...ENDLESS };
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok || !text.includes("[DONE]")) throw new Error(`${response.status}: ${text.slice(-300)}`);
}

/** Each load in a process of its own, with nothing else in its heap. */
export async function measureMemoryInNode(dir: string): Promise<Peak[]> {
  const script = fileURLToPath(new URL("./memory-node.ts", import.meta.url));
  const peaks: Peak[] = [];
  for (const load of LOADS) {
    const args = ["--expose-gc", script, dir, JSON.stringify(load)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    peaks.push(JSON.parse(stdout) as Peak);
  }
  return peaks;
}

/** The figure of a table of loads: the larger one. */
export function peakMb(peaks: readonly Peak[]): number {
  return Math.max(...peaks.map(({ total_mb }) => total_mb));
}

export function memoryTable(node: readonly Peak[], workerd: readonly Peak[]): string {
  const rows = [
    ...node.map((peak) => ["Node", peak] as const),
    ...workerd.map((peak) => ["workerd", peak] as const),
  ].map(([runtime, { streams, promptTokens, newTokens, wasm_mb, heap_mb, total_mb, gateway_mb }]) => [
    runtime,
    `${streams} of ${promptTokens} + ${newTokens}`,
    ...[wasm_mb, heap_mb, total_mb].map((value) => value.toFixed(1)),
    gateway_mb ? gateway_mb.toFixed(1) : "",
  ]);
  const header = ["", "STREAMS", "WASM, MB", "JS HEAP AND BUFFERS, PEAK, MB", "SUM, MB", "GATEWAY'S HEAP, PEAK, MB"];
  return formatTable(header, rows);
}

if (import.meta.main) {
  const work = await mkdtemp(join(tmpdir(), "edge-t5-memory-"));
  try {
    const dir = await makeBenchPackage(work);
    const node = await measureMemoryInNode(dir);
    const workerd = process.argv.includes("--skip-workerd") ? [] : await measureMemoryInWorkerd(dir, work);
    if (process.argv.includes("--json")) {
      const figures = { peak_mb_node: peakMb(node), ...(workerd.length > 0 && { peak_mb_workerd: peakMb(workerd) }) };
      console.log(JSON.stringify({ figures, node, workerd }));
    } else {
      console.log(memoryTable(node, workerd));
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
