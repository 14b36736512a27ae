/**
 * Child process of bench:memory: one load on the library, and the peak as one JSON object. Run as
 * `node --expose-gc memory-node.ts PACKAGE LOAD`.
 */
import { T5 } from "../../src/index.ts";
import type { Load, Peak } from "./memory.ts";
import { promptOf } from "./prompt.ts";

const [dir = "", json = "{}"] = process.argv.slice(2);
const load = JSON.parse(json) as Load;
const { streams, promptTokens, newTokens } = load;

globalThis.gc?.();
const before = process.memoryUsage();
let peak = 0;
const sample = () => {
  const now = process.memoryUsage();
  peak = Math.max(peak, now.heapUsed - before.heapUsed + now.arrayBuffers - before.arrayBuffers);
};
/** Called before and after each call of the engine: there is no turn of the event loop to sample in. */
function sampled<Args extends unknown[], Result>(
  call: (...args: Args) => Promise<Result>,
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    sample();
    const result = await call(...args);
    sample();
    return result;
  };
}

let wasmBytes = 0;
const { Memory } = WebAssembly;
WebAssembly.Memory = class extends Memory {
  constructor(descriptor: WebAssembly.MemoryDescriptor) {
    super(descriptor);
    wasmBytes = Math.max(wasmBytes, this.buffer.byteLength);
  }
};
const limits = { maxInputTokens: promptTokens, maxNewTokens: newTokens, batchSize: streams };
const model = await T5.fromPretrained(dir, { ...limits, onProgress: sample });
model.encoder.encode = sampled(model.encoder.encode.bind(model.encoder));
model.decoder.step = sampled(model.decoder.step.bind(model.decoder));
const prompts = Array.from({ length: streams }, () => promptOf(promptTokens));
for (let round = 0; round < 2; round++) {
  await model.generate(prompts, { max_new_tokens: newTokens, suppress_tokens: [1] });
  sample();
}
const megabytes = { wasm_mb: wasmBytes / 1e6, heap_mb: peak / 1e6, total_mb: (wasmBytes + peak) / 1e6 };
console.log(JSON.stringify({ ...load, ...megabytes, gateway_mb: 0 } satisfies Peak));
