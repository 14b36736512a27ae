/**
 * Child process of the bench: the kit's engine and onnxruntime, web and native, on one package in Node; prints one JSON
 * object. Run by peers.ts as `node peers-node-run.ts PACKAGE ROUNDS`.
 */
import { onnxEngine } from "../../src/engines/onnx/index.ts";
import { nativeRuntime, webRuntime } from "../../src/engines/onnx/node.ts";
import { simdEngine } from "../../src/engines/simd/index.ts";
import { loadKernels } from "../../src/kernels/node.ts";
import { FolderStore } from "../../src/store/folder.ts";
import type { EngineLoader } from "../../src/t5/engine.ts";
import { readManifest } from "../../src/t5/manifest.ts";
import { PEER_LIMITS, PEER_STEPS, PeerSubject } from "./peer-subject.ts";
import { comparePeers, type PeerTimer } from "./peers.ts";

const [dir = "", rounds = "0"] = process.argv.slice(2);
const store = new FolderStore(dir);
const manifest = await readManifest(store);

async function timerOf(load: EngineLoader): Promise<PeerTimer> {
  const subject = new PeerSubject(await load({ manifest, store, roles: ["encoder", "decoder"], limits: PEER_LIMITS }));
  const timed = async (run: () => Promise<unknown>) => {
    const from = performance.now();
    await run();
    return performance.now() - from;
  };
  return async (operation) => {
    if (operation !== "steps") return timed(() => subject.run(operation));
    // Each step by itself, so that the fastest is one that nothing disturbed.
    let fastest = Number.POSITIVE_INFINITY;
    for (let i = 0; i < PEER_STEPS; i++) fastest = Math.min(fastest, await timed(() => subject.step()));
    return fastest * PEER_STEPS;
  };
}

const timers = {
  simd: await timerOf(simdEngine(await loadKernels())),
  ort_web: await timerOf(onnxEngine(await webRuntime())),
  ort_native: await timerOf(onnxEngine(await nativeRuntime({ threads: 1 }))),
};
console.log(JSON.stringify(await comparePeers(timers, Number(rounds))));
process.exit();
