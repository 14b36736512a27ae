/**
 * Child process of the bench: measures one package in Node and prints one JSON object. Run by main.ts as
 * `node --expose-gc node-run.ts PACKAGE KERNELS ROUNDS`.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { KernelName } from "../../src/kernels/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import { instantiateFloors } from "./floors.ts";
import { FLOORS_DIR } from "./floors-build.ts";
import { measure } from "./measure.ts";
import { Subject } from "./subject.ts";

const [dir = "", name = "", rounds = "0"] = process.argv.slice(2);
const kernels = await loadKernels(name as KernelName);
const floors = await WebAssembly.compile(new Uint8Array(await readFile(join(FLOORS_DIR, `floors-${name}.wasm`))));

globalThis.gc?.();
const before = process.memoryUsage();
let peak = 0;
const sample = () => {
  const now = process.memoryUsage();
  // Buffers and heap beyond what the process held before; the WASM memory is counted by itself.
  peak = Math.max(peak, now.heapUsed - before.heapUsed + now.arrayBuffers - before.arrayBuffers);
};
const started = performance.now();
const subject = await Subject.load(new FolderStore(dir), kernels, floors, sample);
const load_ms = performance.now() - started;
sample();
globalThis.gc?.();
const after = process.memoryUsage();
const js = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
const wasm = subject.engine.memoryBytes;
const memory = {
  load_ms,
  wasm_mb: wasm / 1e6,
  peak_load_mb: (wasm + peak) / 1e6,
  after_load_mb: (wasm + js) / 1e6,
};

const perTurn = instantiateFloors(floors, new WebAssembly.Memory({ initial: 1 })).dotsPerTurn();
const figures = await measure(
  async (operation) => {
    const from = performance.now();
    await subject.run(operation);
    return performance.now() - from;
  },
  subject.manifest,
  kernels.name,
  perTurn,
  Number(rounds),
);
console.log(JSON.stringify({ ...memory, ...figures }));
